//! The system bus for a command that is applied: a socket of its own, with a relay behind each connection.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentos_api::query::shell::Refused;

use super::super::bus::{Rules, relay_by};
use super::super::wait;

/// Where the system bus is (D-Bus Specification, "System message bus").
pub(super) const SOCKET: &str = "/run/dbus/system_bus_socket";
/// Connections at once.
const MOST: usize = 32;
/// Calls that were refused, and are told.
const MOST_REFUSED: usize = 20;
/// How often it looks whether the command is over.
const PAUSE: Duration = Duration::from_millis(100);

/// What serves it.
pub(super) struct Served {
    over: Arc<AtomicBool>,
    refused: Arc<Mutex<Vec<Refused>>>,
}

impl Served {
    /// Begins to serve the socket that the cell made, if it made one.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(listener: Option<UnixListener>, deadline: Instant) -> std::io::Result<Self> {
        let served = Self { over: Arc::default(), refused: Arc::default() };
        if let Some(listener) = listener {
            let (over, refused) = (Arc::clone(&served.over), Arc::clone(&served.refused));
            std::thread::Builder::new()
                .name("shell bus".to_owned())
                .spawn(move || serve(&listener, deadline, &over, &refused))?;
        }
        Ok(served)
    }

    /// The command is over. Says what was refused.
    pub(super) fn end(self) -> Vec<Refused> {
        self.over.store(true, Ordering::Release);
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(listener: &UnixListener, deadline: Instant, over: &AtomicBool, refused: &Arc<Mutex<Vec<Refused>>>) {
    let connected = Arc::new(AtomicUsize::new(0));
    while !over.load(Ordering::Acquire) && Instant::now() < deadline {
        match wait(listener.as_fd(), PAUSE) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => return,
        }
        let Ok((client, _)) = listener.accept() else { return };
        // What the relay passes on, the bus takes for root's.
        let is_root = rustix::net::sockopt::socket_peercred(&client).is_ok_and(|peer| peer.uid.is_root());
        if !is_root || connected.load(Ordering::Acquire) >= MOST {
            continue;
        }
        connected.fetch_add(1, Ordering::AcqRel);
        let (connected, refused) = (Arc::clone(&connected), Arc::clone(refused));
        let one = move || {
            pass_on(client, deadline, &refused);
            connected.fetch_sub(1, Ordering::AcqRel);
        };
        if std::thread::Builder::new().name("shell bus".to_owned()).spawn(one).is_err() {
            return;
        }
    }
}

fn pass_on(client: UnixStream, deadline: Instant, refused: &Mutex<Vec<Refused>>) {
    let Ok(bus) = UnixStream::connect(SOCKET) else { return };
    let told = RefCell::new(refused);
    let note = |what: &str| {
        let one = Refused {
            what: "call".to_owned(),
            on: what.to_owned(),
            because: "on the system bus, only what operates services by their names is called".to_owned(),
        };
        let mut refused = told.borrow().lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MOST_REFUSED && !refused.contains(&one) {
            refused.push(one);
        }
    };
    if let Err(error) = relay_by(Rules::Operates, client, bus, deadline, &note) {
        note(&format!("a message that is none: {error}"));
    }
}
