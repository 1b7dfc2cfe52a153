//! The program, on a system below a folder: what it writes, for whom, what its codes say, and what it does when it is cut
//! off or lied to.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Answer, Project, Server};
use tempfile::TempDir;

/// A number that no account has.
const GATEWAY: u32 = 60_998;
const OPERATORS: u32 = 60_997;

/// A system below a folder, with a project like ours in place of what the package ships.
struct System {
    place: TempDir,
    project: Project,
}

impl System {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let share = root.join("usr/share/agentos");
        fs::create_dir_all(root.join("etc/agentos")).unwrap();
        fs::create_dir_all(&share).unwrap();
        let project = Project::like_ours(place.path());
        symlink(&project.folder, share.join("runtime")).unwrap();
        symlink(repository.join("templates"), share.join("templates")).unwrap();
        symlink(repository.join("skills"), share.join("skills")).unwrap();
        let (uid, gid, operators) = if is_root() {
            (GATEWAY, GATEWAY, OPERATORS)
        } else {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            (uid, gid, gid)
        };
        let passwd = format!("root:x:0:0::/:/bin/sh\nopenclaw:x:{uid}:{gid}::/var/lib/openclaw:/bin/false\n");
        fs::write(root.join("etc/passwd"), passwd).unwrap();
        fs::write(root.join("etc/group"), format!("agentos-operators:x:{operators}:\n")).unwrap();
        Self { place, project }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("etc/agentos/gateway.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("--root").arg(self.path("")).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it and expects `code`; answers what it printed on both outputs.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    fn mirror(&self) -> String {
        self.project.address()
    }

    /// Owner, group and mode.
    fn held(&self, path: &str) -> (u32, u32, u32) {
        let metadata = fs::symlink_metadata(self.path(path)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o7777)
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_agentos-setup"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn everything_is_set_up_once_and_then_left_alone() {
    let system = System::new();
    let missing = system.expect(1, &["--check"]);
    assert!(missing.contains("not installed") && missing.contains("agentos-setup"), "{missing}");
    let text = system.expect(0, &["--registry", &system.mirror()]);
    assert!(text.contains("SCRIPTED") && text.contains("--model-key-file"), "{text}");
    system.expect(0, &["--check"]);

    let files = ["openclaw.json", "environment", "operator.json", "scripted"];
    let stamps =
        || files.map(|name| fs::metadata(system.path("var/lib/agentos-gateway").join(name)).unwrap().ino());
    let before = stamps();
    // Nothing is fetched and nothing is written again.
    fs::remove_dir_all(&system.project.mirror).unwrap();
    system.expect(0, &["--registry", &system.mirror()]);
    assert_eq!(before, stamps());

    let environment = system.read("var/lib/agentos-gateway/environment");
    let token =
        environment.lines().next().unwrap().strip_prefix("OPENCLAW_GATEWAY_TOKEN=").unwrap().to_owned();
    assert!(token.len() == 64 && environment.contains("\nOPENCLAW_CONFIG_READONLY=1\n"));
    let operator: Value =
        serde_json::from_str(&system.read("var/lib/agentos-gateway/operator.json")).unwrap();
    assert_eq!(operator, serde_json::json!({ "url": "http://127.0.0.1:18789", "token": token }));
    let gateway: Value = serde_json::from_str(&system.read("var/lib/agentos-gateway/openclaw.json")).unwrap();
    assert_eq!(gateway["gateway"]["port"], 18789);
    assert_eq!(gateway["models"]["providers"]["rehearsal"]["baseUrl"], "http://127.0.0.1:18790/v1");
    assert!(!gateway.to_string().contains(&token), "the gateway's configuration holds its token");
    let current = fs::canonicalize(system.path("var/lib/agentos-runtime/current")).unwrap();
    assert!(current.join("bin/openclaw").is_file() && current.join(".complete").is_file());
}

#[test]
fn each_file_is_for_whom_it_should_be() {
    let system = System::new();
    system.expect(0, &["--registry", &system.mirror()]);
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (gateway, operators) = if is_root() { ((GATEWAY, GATEWAY), OPERATORS) } else { (me, me.1) };
    for (path, owner, group, mode) in [
        ("var/lib/agentos-runtime", me.0, me.1, 0o755),
        ("var/lib/agentos-gateway", me.0, me.1, 0o755),
        ("var/lib/agentos-gateway/openclaw.json", me.0, gateway.1, 0o640),
        ("var/lib/agentos-gateway/environment", me.0, me.1, 0o600),
        ("var/lib/agentos-gateway/operator.json", me.0, operators, 0o640),
        ("var/lib/openclaw", gateway.0, gateway.1, 0o700),
        ("var/lib/openclaw/home", gateway.0, gateway.1, 0o700),
        ("var/lib/openclaw/state", gateway.0, gateway.1, 0o700),
        ("var/lib/openclaw/workspace", me.0, gateway.1, 0o1770),
        ("var/lib/openclaw/workspace/AGENTS.md", me.0, gateway.1, 0o640),
        ("var/lib/openclaw/workspace/skills/system-monitor/SKILL.md", me.0, gateway.1, 0o640),
        ("var/lib/openclaw/workspace/USER.md", gateway.0, gateway.1, 0o640),
    ] {
        assert_eq!(system.held(path), (owner, group, mode), "{path}");
    }
    // Whatever the caller's umask is.
    let strict = System::new();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(env!("CARGO_BIN_EXE_agentos-setup"));
    command.arg("--root").arg(strict.path("")).args(["--registry", &strict.mirror()]);
    assert!(command.output().unwrap().status.success());
    assert_eq!(strict.held("var/lib/agentos-runtime").2, 0o755);
    assert_eq!(strict.held("var/cache/agentos-setup/npm/c/-/c-3.1.4-rc.1+x.tgz").2, 0o644);
}

#[test]
fn a_key_makes_a_model_and_is_shown_nowhere() {
    let system = System::new();
    system.expect(0, &["--registry", &system.mirror()]);
    let file = system.place.path().join("key");
    fs::write(&file, "sk-ant-canary\n").unwrap();
    let text = system.expect(0, &["--model-key-file", file.to_str().unwrap()]);
    assert!(text.contains("anthropic/") && !text.contains("canary") && !text.contains("SCRIPTED"), "{text}");
    assert_eq!(system.read("etc/agentos/model.env"), "ANTHROPIC_API_KEY=sk-ant-canary\n");
    assert_eq!(system.held("etc/agentos/model.env").2, 0o600);
    assert!(!system.path("var/lib/agentos-gateway/scripted").exists());
    assert!(!system.read("var/lib/agentos-gateway/openclaw.json").contains("canary"));

    let output = system
        .command(&["--model-key-env", "OPENAI_API_KEY"])
        .env("OPENAI_API_KEY", "sk-second")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(system.read("etc/agentos/model.env"), "OPENAI_API_KEY=sk-second\n");
    let text = system.expect(0, &["--check", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["complete"], &report["scripted"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(report["model"], "openai/gpt-5.6-sol");
    // Without the key the scripted model is back.
    fs::remove_file(system.path("etc/agentos/model.env")).unwrap();
    system.expect(1, &["--check"]);
    system.expect(0, &[]);
    assert!(system.path("var/lib/agentos-gateway/scripted").exists());
}

#[test]
fn what_gateway_toml_says_is_followed_and_what_it_cannot_say_is_refused() {
    let system = System::new();
    system.configure(&format!(
        "port = 20000\nregistry = \"{}\"\n[model]\nurl = \"http://127.0.0.1:1/v1\"\nname = \"m\"\n",
        system.mirror()
    ));
    system.expect(0, &[]);
    let gateway: Value = serde_json::from_str(&system.read("var/lib/agentos-gateway/openclaw.json")).unwrap();
    assert_eq!(
        (&gateway["gateway"]["port"], &gateway["agents"]["defaults"]["model"]["primary"]),
        (&20000.into(), &"own/m".into())
    );
    let token = system.read("var/lib/agentos-gateway/environment").lines().next().unwrap().to_owned();
    system.configure("port = 20001\n");
    assert!(system.expect(1, &["--check"]).contains("openclaw.json is not as it should be"));
    system.expect(0, &[]);
    assert_eq!(
        system.read("var/lib/agentos-gateway/environment").lines().next().unwrap(),
        token,
        "a new token"
    );
    system.configure("port = 20001\nprt = 1\n");
    let text = system.expect(1, &[]);
    assert!(text.contains("line 2") && text.contains("prt") && text.contains("gateway.toml"), "{text}");
}

#[test]
fn without_a_network_the_gateway_is_configured_and_the_code_says_why_it_is_missing() {
    let system = System::new();
    let text = system.expect(1, &[]);
    assert!(text.contains("--registry URL"), "{text}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fs::write(system.project.folder.join(".npmrc"), format!("registry=http://127.0.0.1:{closed}/\n"))
        .unwrap();
    let text = system.expect(3, &[]);
    assert!(text.contains("agentd works without the gateway") && text.contains("Then run again"), "{text}");
    assert!(system.path("var/lib/agentos-gateway/openclaw.json").exists());
    let text = system.expect(1, &["--offline"]);
    assert!(text.contains("without --offline"), "{text}");
    // A mirror on this machine is no network.
    system.expect(0, &["--offline", "--registry", &system.mirror()]);
}

#[test]
fn a_mirror_can_be_made_and_used() {
    let system = System::new();
    let mirror = system.place.path().join("made");
    let text = system
        .expect(0, &["--download-only", mirror.to_str().unwrap(), "--registry", &system.mirror(), "--json"]);
    let report: Value = serde_json::from_str(
        text.split_once('{')
            .map(|(_, rest)| format!("{{{rest}"))
            .unwrap()
            .split_inclusive("\n}")
            .next()
            .unwrap(),
    )
    .unwrap();
    let address = report["registry"].as_str().unwrap();
    assert_eq!(report["packages"], 5);
    assert!(!system.path("var/lib/agentos-runtime").exists());
    fs::remove_dir_all(&system.project.mirror).unwrap();
    system.expect(0, &["--registry", address]);
}

#[test]
fn killed_at_any_time_it_is_finished_by_the_next_run() {
    let system = System::new();
    let slow = Server::start(&system.project.mirror, |path, _| {
        Answer::After(Duration::from_millis(if path.contains("openclaw") { 600_000 } else { 0 }))
    });
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        let mut process =
            system.command(&["--registry", &slow.address()]).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while !system.path("var/cache/agentos-setup/npm/c/-/c-3.1.4-rc.1+x.tgz").exists()
            || !slow.requests().iter().any(|path| path.contains("openclaw"))
        {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        let number = rustix::process::Pid::from_raw(process.id().cast_signed()).unwrap();
        rustix::process::kill_process(number, signal).unwrap();
        assert!(!process.wait().unwrap().success());
        system.expect(1, &["--check"]);
    }
    let asked = slow.requests().iter().filter(|path| path.contains("/c-")).count();
    assert_eq!(asked, 1, "what was there was fetched again");
    let server = Server::start(&system.project.mirror, |_, _| Answer::Whole);
    system.expect(0, &["--registry", &server.address()]);
    assert_eq!(server.requests(), ["/openclaw/-/openclaw-2.0.0.tgz"]);
    system.expect(0, &["--check"]);
}

#[test]
fn links_of_the_gateways_lead_root_nowhere() {
    let system = System::new();
    system.expect(0, &["--registry", &system.mirror()]);
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let workspace = system.path("var/lib/openclaw/workspace");
    // What is made by root in a folder of the gateway's is there as a link, under the name of a file and of a folder.
    fs::remove_file(workspace.join("SOUL.md")).unwrap();
    symlink(&precious, workspace.join("SOUL.md")).unwrap();
    system.expect(0, &[]);
    assert!(fs::symlink_metadata(workspace.join("SOUL.md")).unwrap().is_file());
    for name in ["state", "home", "workspace"] {
        let path = system.path("var/lib/openclaw").join(name);
        fs::remove_dir_all(&path).unwrap();
        symlink(outside.path(), &path).unwrap();
        let text = system.expect(1, &[]);
        assert!(text.contains(&format!("{name} is not a folder")), "{text}");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::metadata(outside.path()).unwrap().uid(), rustix::process::geteuid().as_raw());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    system.expect(0, &[]);
}

#[test]
fn who_is_not_root_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // A copy, since another user may not get to where it was built.
    let copy = place.path().join("agentos-setup");
    fs::copy(env!("CARGO_BIN_EXE_agentos-setup"), &copy).unwrap();
    let mut command = Command::new(copy);
    command.current_dir("/");
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("only root") && text.contains("sudo agentos-setup"), "{text}");
}

#[test]
fn the_package_gets_its_pages() {
    let place = tempfile::tempdir().unwrap();
    let script = program().args(["completions", "bash"]).output().unwrap();
    assert!(String::from_utf8_lossy(&script.stdout).contains("--model-key-file"));
    assert!(program().arg("man").arg(place.path()).output().unwrap().status.success());
    let page = fs::read_to_string(place.path().join("agentos-setup.8")).unwrap();
    assert!(page.contains("EXAMPLES AND EXIT STATUS") && page.contains("download"), "{page}");
    assert_eq!(program().args(["--registry"]).output().unwrap().status.code(), Some(2));
}
