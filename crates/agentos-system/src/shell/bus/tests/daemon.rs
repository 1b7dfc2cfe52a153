//! The relay in front of a real dbus-daemon, with a service of the test's own under the name of systemd.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::{Connection, MessageStream, Variant};

use crate::shell::bus::relay;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// A list that threads add to.
type List = Arc<Mutex<Vec<String>>>;

/// A bus of its own, which ends with the value.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// `None` where dbus-daemon is not installed.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("bus");
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_type=\"method_call\"/><allow send_type=\"method_return\"/><allow send_type=\"error\"/><allow send_type=\"signal\"/><allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/><allow receive_type=\"error\"/><allow receive_type=\"signal\"/><allow own=\"*\"/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let started = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            eprintln!("not tested: dbus-daemon is not installed here");
            return None;
        };
        // The address is printed once the socket is there.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line}");
        Some(Self { child, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    /// A socket on which each connection gets a relay of its own, and what the relays refuse.
    fn relayed(&self) -> (PathBuf, List) {
        let path = self.folder.path().join("relayed");
        let listener = UnixListener::bind(&path).unwrap();
        let (bus, refused) = (self.socket(), List::default());
        let told = refused.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, bus) = (client.unwrap(), UnixStream::connect(&bus).unwrap());
                let told = told.clone();
                std::thread::spawn(move || {
                    let tell = |what: &str| told.lock().unwrap().push(what.to_owned());
                    let _ = relay(client, bus, Instant::now() + Duration::from_secs(30), &tell);
                });
            }
        });
        (path, refused)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(socket: &Path) -> Connection {
    Builder::address(format!("unix:path={}", socket.display()).as_str()).build().await.unwrap()
}

/// Answers each call with a dictionary, and keeps its name and flags.
async fn serve(socket: &Path) -> List {
    let connection = connect(socket).await;
    let mut stream = MessageStream::from(&connection);
    connection.request_name(SYSTEMD).await.unwrap();
    let reached = List::default();
    let list = reached.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            let header = message.header();
            if message.message_type() != zbus::message::Type::MethodCall {
                continue;
            }
            let what = format!("{} {:?}", header.member().unwrap(), message.primary_header().flags());
            list.lock().unwrap().push(what);
            let answer = HashMap::from([("Version", Variant::from("of the test"))]);
            connection.reply(&header, &answer).await.unwrap();
        }
    });
    reached
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.unwrap() });
}

#[test]
fn reading_works_and_changing_does_not_reach_the_service() {
    let Some(daemon) = Daemon::start() else { return };
    run(async {
        let reached = serve(&daemon.socket()).await;
        let (socket, refused) = daemon.relayed();
        let client = connect(&socket).await;

        let answer =
            client.call_method(Some(SYSTEMD), PATH, Some(PROPERTIES), "GetAll", &MANAGER).await.unwrap();
        let properties: HashMap<String, zbus::OwnedVariant> = answer.body().deserialize().unwrap();
        assert!(properties.contains_key("Version"));

        let set = (MANAGER, "LogLevel", Variant::from("debug"));
        let denied = [
            client.call_method(Some(SYSTEMD), PATH, Some(PROPERTIES), "Set", &set).await,
            client.call_method(Some(SYSTEMD), PATH, Some(MANAGER), "StartUnit", &("a.service", "fail")).await,
            client.call_method(Some(BUS), "/", Some(BUS), "RequestName", &("org.example.A", 0u32)).await,
            client.call_method(Some(SYSTEMD), PATH, None::<&str>, "StartUnit", &("a.service", "fail")).await,
        ];
        for answer in denied {
            let text = format!("{:?}", answer.unwrap_err());
            assert!(text.contains("AccessDenied") && text.contains("not while observing"), "{text}");
        }
        // What comes after them is still answered, and the name is nobody's.
        let owned =
            client.call_method(Some(BUS), "/", Some(BUS), "NameHasOwner", &"org.example.A").await.unwrap();
        assert!(!owned.body().deserialize::<bool>().unwrap());

        let reached = reached.lock().unwrap().clone();
        assert_eq!(reached, ["GetAll Flags(NO_AUTO_START)"]);
        let refused = refused.lock().unwrap().clone();
        assert_eq!(
            refused,
            [
                "org.freedesktop.DBus.Properties.Set of org.freedesktop.systemd1",
                "org.freedesktop.systemd1.Manager.StartUnit of org.freedesktop.systemd1",
                "org.freedesktop.DBus.RequestName of org.freedesktop.DBus",
                "-.StartUnit of org.freedesktop.systemd1",
            ]
        );
    });
}

#[test]
fn busctl_works_through_the_relay() {
    let Some(daemon) = Daemon::start() else { return };
    run(async {
        let reached = serve(&daemon.socket()).await;
        let (socket, refused) = daemon.relayed();
        let busctl = |arguments: &[&str]| {
            let mut command = Command::new("busctl");
            command.arg(format!("--address=unix:path={}", socket.display())).args(arguments);
            tokio::task::spawn_blocking(move || command.output())
        };
        let Ok(list) = busctl(&["list", "--no-pager"]).await.unwrap() else {
            eprintln!("not tested: busctl is not installed here");
            return;
        };
        let text = String::from_utf8_lossy(&list.stdout).into_owned();
        assert!(text.contains(SYSTEMD), "{text}{}", String::from_utf8_lossy(&list.stderr));
        let get = ["call", SYSTEMD, PATH, PROPERTIES, "GetAll", "s", MANAGER];
        let get = busctl(&get).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&get.stdout).contains("of the test"), "{get:?}");
        let stop = ["call", SYSTEMD, PATH, MANAGER, "StopUnit", "ss", "a.service", "fail"];
        let stop = busctl(&stop).await.unwrap().unwrap();
        assert!(!stop.status.success());
        // busctl has words of its own for this error; that it was the relay's is in what the relay told.
        assert!(String::from_utf8_lossy(&stop.stderr).contains("Access denied"), "{stop:?}");
        let told = "org.freedesktop.systemd1.Manager.StopUnit of org.freedesktop.systemd1";
        assert!(refused.lock().unwrap().iter().any(|what| what == told));
        assert!(!reached.lock().unwrap().iter().any(|what| what.starts_with("StopUnit")));
    });
}
