//! What is remembered of programs that ran, and the advice that follows from it. Needs root, as agentd does.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Answer, Daemon, command_under};
use serde_json::{Value, json};
use tempfile::TempDir;

const ASK: &str = "[[rule]]\nmutation = \"*\"\nthen = \"ask\"\n";

struct Bench {
    daemon: Option<Daemon>,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let daemon = Some(start(folder.path()));
        Self { daemon, folder }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Ends agentd in order.
    fn stop(&mut self) {
        assert!(self.daemon.take().unwrap().stop().success());
    }

    fn start(&mut self) {
        self.daemon = Some(start(self.folder.path()));
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("work/file")
    }

    fn observe(&self, words: &[&str]) -> Value {
        self.daemon().query("shell", &json!({ "words": words })).json()
    }

    fn preview(&self, words: &[&str], more: &Value) -> Answer {
        let mut body = json!({ "mode": "preview", "words": words, "reason": "a test" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.daemon().post("/shell/exec", &body.to_string())
    }

    /// What is kept of the program at a path.
    fn kept(&self, path: &Path) -> Option<Value> {
        let text = std::fs::read(self.folder.path().join("state/programs.json")).unwrap();
        let kept: Value = serde_json::from_slice(&text).unwrap();
        let programs = kept["programs"].as_array().unwrap();
        programs.iter().find(|program| program["path"] == path.to_str().unwrap()).cloned()
    }
}

fn start(folder: &Path) -> Daemon {
    Daemon::spawn(folder, command_under(folder, ASK, ""))
}

fn program(name: &str) -> PathBuf {
    let found = ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(name));
    std::fs::canonicalize(found.into_iter().find(|path| path.exists()).unwrap()).unwrap()
}

fn said(change: &Value) -> &Value {
    &change["plan"]["steps"][0]["said"]
}

#[test]
fn what_ran_is_remembered_across_a_restart_and_told_and_allows_nothing() {
    let mut bench = Bench::new();
    let file = bench.file();
    std::fs::write(&file, "one\n").unwrap();
    let path = file.to_str().unwrap();
    let edit = ["sed", "-i", "s/one/two/", path];

    for _ in 0..2 {
        let answer = bench.observe(&["ls", "/"]);
        assert_eq!((&answer["exit_status"], &answer["advice"]), (&json!(0), &Value::Null), "{answer:#}");
    }
    let reading = bench.preview(&["sed", "-n", "p", path], &json!({})).json();
    assert!(said(&reading)["advice"].as_str().unwrap().contains("would do"), "{reading:#}");
    let answer = bench.observe(&edit);
    let advice = answer["advice"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
    assert!(advice.contains("mode preview") && !advice.contains("mode apply"), "{advice}");
    assert!(
        advice.ends_with(
            " sed was refused something while observing once; previews with it changed no file once."
        ),
        "{advice}"
    );

    let shown = bench.preview(&edit, &json!({ "dry_run": true })).json();
    assert_eq!(said(&shown)["advice"], Value::Null, "{shown:#}");
    bench.stop();
    let mode =
        std::fs::metadata(bench.folder.path().join("state/programs.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let counts = |bench: &Bench, name: &str| bench.kept(&program(name)).unwrap()["counts"].clone();
    assert_eq!(counts(&bench, "ls"), json!({ "observed": 2, "refused": 0, "unchanged": 0, "changed": 0 }));
    assert_eq!(counts(&bench, "sed"), json!({ "observed": 0, "refused": 1, "unchanged": 1, "changed": 1 }));

    bench.start();
    let answer = bench.observe(&edit);
    let advice = answer["advice"].as_str().unwrap();
    assert!(
        advice.ends_with(
            " sed was refused something while observing 2 times; previews with it changed files once, and none once."
        ),
        "{advice}"
    );
    // The same plan as before, and it waits as before.
    let waits = bench.preview(&edit, &json!({ "plan_hash": shown["plan"]["hash"] }));
    assert_eq!(waits.status, 202, "{:#}", waits.json());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n");

    let listed = bench.preview(&["ls", "/"], &json!({})).json();
    let advice = said(&listed)["advice"].as_str().unwrap_or_else(|| panic!("{listed:#}"));
    assert!(advice.contains("mode observe would do"), "{advice}");
    let printed = bench.preview(&["sed", "-n", "p", path], &json!({})).json();
    let advice = said(&printed)["advice"].as_str().unwrap_or_else(|| panic!("{printed:#}"));
    assert!(
        advice.contains("mode observe may do. But sed was refused something while observing 2 times"),
        "{advice}"
    );
    assert_eq!(printed["plan"]["hash"], reading["plan"]["hash"], "advice is not part of what is agreed to");
    // What went well often is refused all the same.
    for _ in 0..5 {
        assert_eq!(bench.observe(&["sed", "-n", "p", path])["exit_status"], 0);
    }
    let answer = bench.observe(&edit);
    assert_eq!(answer["refused"][0]["what"], "write", "{answer:#}");
    assert!(answer["advice"].as_str().unwrap().contains("3 times, and nothing 5 times;"), "{answer:#}");
    assert_eq!(bench.preview(&edit, &json!({})).status, 202);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n");
}

#[test]
fn only_the_program_that_was_refused_is_named() {
    let bench = Bench::new();
    std::fs::write(bench.file(), "one\n").unwrap();
    let line = format!("ls / >/dev/null; sed -i s/one/two/ {}; cat {0}", bench.file().display());
    let answer = bench.daemon().query("shell", &json!({ "command": line })).json();
    let advice = answer["advice"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
    assert!(advice.contains(" sed was refused") && advice.matches(" was refused").count() == 1, "{advice}");
}

#[test]
fn speaking_to_other_programs_is_for_other_modes() {
    let bench = Bench::new();
    let socket = bench.folder.path().join("work/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let script =
        "use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un($ARGV[0])) or exit 7;";
    let answer = bench.observe(&["perl", "-e", script, socket.to_str().unwrap()]);
    assert_eq!(answer["exit_status"], 7, "{answer:#}");
    let advice = answer["advice"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
    assert!(advice.contains("system_mutate") && advice.contains("mode apply"), "{advice}");
    assert!(!advice.contains("mode preview"), "{advice}");
    assert!(advice.contains(" perl was refused something while observing once."), "{advice}");
}

#[test]
fn programs_that_are_kept_or_made_by_the_command_are_not_remembered() {
    let mut bench = Bench::new();
    // Each of another content than any program of the machine's.
    let copy = |name: &str| {
        let path = bench.folder.path().join(name);
        let mut content = std::fs::read(program("ls")).unwrap();
        content.extend(name.as_bytes());
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let (open, kept) = (copy("work/open"), copy("state/kept"));
    for tool in [&open, &kept] {
        let answer = bench.observe(&[tool.to_str().unwrap(), "/"]);
        assert_eq!(answer["exit_status"], 0, "it is run: {answer:#}");
    }
    let made = bench.folder.path().join("work/made");
    let line = format!("cp {} {made}; echo >>{made}; {made} /", open.display(), made = made.display());
    let answer = bench.preview(&["sh", "-c", &line], &json!({}));
    assert_eq!(said(&answer.json())["exit_status"], 0, "{:#}", answer.json());
    // Nor is one that it writes to taken for what it was.
    let line = format!("echo >>{open}; {open} /", open = open.display());
    let answer = bench.preview(&["sh", "-c", &line], &json!({}));
    assert_eq!(said(&answer.json())["exit_status"], 0, "{:#}", answer.json());
    bench.stop();
    let open = bench.kept(&open).unwrap();
    assert_eq!(open["counts"], json!({ "observed": 1, "refused": 0, "unchanged": 0, "changed": 0 }));
    assert!(bench.kept(&kept).is_none() && bench.kept(&made).is_none());
    assert_eq!(bench.kept(&program("sh")).unwrap()["counts"]["changed"], 2);
}

#[test]
fn a_damaged_file_is_set_aside_and_begun_anew() {
    let mut bench = Bench::new();
    bench.observe(&["ls", "/"]);
    bench.stop();
    let file = bench.folder.path().join("state/programs.json");
    let whole = std::fs::read(&file).unwrap();
    let half = &whole[..whole.len() / 2];
    std::fs::write(&file, half).unwrap();
    bench.start();
    assert_eq!(bench.observe(&["ls", "/"])["exit_status"], 0);
    bench.stop();
    assert_eq!(std::fs::read(bench.folder.path().join("state/programs.json.damaged")).unwrap(), half);
    assert_eq!(bench.kept(&program("ls")).unwrap()["counts"]["observed"], 1);
}
