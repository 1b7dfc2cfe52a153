//! Commands that are applied: for real, after a yes, to their end, and not on agentd. Needs root, as agentd does.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Answer, Daemon, command_under, eventually, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

const ALLOW: &str = "[[rule]]\nmutation = \"shell.apply\"\nrisk = [\"destructive\"]\nthen = \"allow\"\n";
const ASK: &str =
    "[[rule]]\nmutation = \"shell.apply\"\nthen = \"ask\"\nreason = \"a person decides here\"\n";

/// agentd under a policy, and a folder that commands work in.
struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

impl Bench {
    fn under(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let daemon = Daemon::spawn(folder.path(), command_under(folder.path(), policy, ""));
        Self { daemon, folder }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn ask(&self, args: &Value) -> Answer {
        let mut args = args.clone();
        args.as_object_mut().unwrap().entry("folder").or_insert_with(|| json!(self.work()));
        let body = json!({ "mutation": "shell.apply", "args": args, "reason": "a test" });
        self.daemon.post("/system/mutate", &body.to_string())
    }

    /// Runs a command line that the policy allows: the change, which is applied.
    #[track_caller]
    fn apply(&self, command: &str) -> Value {
        self.apply_for(command, 20)
    }

    #[track_caller]
    fn apply_for(&self, command: &str, seconds: u64) -> Value {
        let answer = self.ask(&json!({ "command": command, "time_limit_seconds": seconds }));
        assert_eq!(answer.status, 200, "{command}: {:#}", answer.json());
        let change = answer.json();
        assert_eq!(change["status"], "applied", "{command}: {change:#}");
        change
    }

    /// What is kept of what a change's command wrote.
    fn said(&self, change: &Value, stream: &str) -> String {
        let kept = self.state().join("outputs").join(format!("{}-1", change["id"])).join(stream);
        String::from_utf8_lossy(&std::fs::read(kept).unwrap()).into_owned()
    }

    fn stdout(&self, change: &Value) -> String {
        self.said(change, "stdout")
    }

    fn approve(&self, change: &Value) -> Answer {
        let body = json!({ "decision": "approve", "plan_hash": change["plan"]["hash"] });
        let path = format!("/approvals/{}", change["id"]);
        exchange(&self.daemon.operator(), &post_request(&path, "", body.to_string().as_bytes()))
    }

    fn change(&self, id: &Value) -> Value {
        self.daemon.get(&format!("/changes/{id}")).json()
    }
}

/// Whether a process runs whose command line is that.
fn runs(line: &str) -> bool {
    !std::process::Command::new("pgrep").args(["-fx", line]).output().unwrap().stdout.is_empty()
}

fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

#[test]
fn it_is_made_after_a_yes_and_for_real() {
    let bench = Bench::under(ASK);
    let made = bench.work().join("made");
    let answer = bench.ask(&json!({ "command": "echo hello | tee made; echo trouble >&2; umask; exit 3" }));
    assert_eq!(answer.status, 202, "{:#}", answer.json());
    let waiting = answer.json();
    assert!(!made.exists(), "nothing is done before the yes");
    let step = &waiting["plan"]["steps"][0];
    assert_eq!((&step["risk"], &step["undo"]), (&json!("destructive"), &json!("impossible")), "{step:#}");
    assert!(step["because"].as_str().unwrap().contains("run it as a preview"), "{step:#}");
    assert!(step["summary"].as_str().unwrap().contains("sh -c 'echo hello | tee made;"), "{step:#}");
    bench
        .daemon
        .post(&format!("/approvals/{}", waiting["id"]), r#"{"decision":"approve"}"#)
        .problem(403, "forbidden");
    assert!(!made.exists());

    let approved = bench.approve(&waiting);
    assert_eq!(approved.status, 200, "{:#}", approved.json());
    let change = approved.json();
    assert_eq!(change["status"], "applied", "an exit status is no failure: {change:#}");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "hello\n");
    let ran = &change["ran"][0];
    assert_eq!(ran["exit_status"], 3, "{change:#}");
    assert_eq!(ran["stdout"]["bytes"], "hello\n0022\n".len(), "{ran}");
    let sha256 = agentos_objects::Hash::of(b"trouble\n").to_string();
    assert_eq!(ran["stderr"], json!({ "bytes": 8, "sha256": sha256, "kept": 8 }));
    assert!(change["outcome"].as_str().unwrap().starts_with("it exited with 3 after "), "{change:#}");
    // On the record: the words before, what became of it after.
    let steps: Vec<Value> =
        bench.daemon.events("change.").iter().map(|event| event["type"].clone()).collect();
    assert_eq!(
        steps,
        [
            "change.requested",
            "change.planned",
            "change.waiting",
            "change.approved",
            "change.applying",
            "change.applied"
        ]
    );
    let requested = &bench.daemon.events("change.requested")[0]["payload"]["data"];
    assert!(requested.to_string().contains("tee made"), "{requested}");
    let applied = &bench.daemon.events("change.applied")[0]["payload"]["data"];
    assert_eq!(applied["ran"][0], *ran, "{applied}");
    let undo = bench.daemon.post(&format!("/changes/{}/undo", change["id"]), r#"{"reason":"not wanted"}"#);
    assert_eq!(undo.status, 409, "{:#}", undo.json());
}

#[test]
fn words_are_executed_as_they_are_and_what_cannot_be_started_changes_nothing() {
    let bench = Bench::under(ALLOW);
    let change = bench.ask(&json!({ "words": ["printf", "%s|", "$(id)", "a b", "ä\u{1b}"] })).json();
    assert_eq!(bench.stdout(&change), "$(id)|a b|ä\u{1b}|");
    assert!(change["plan"]["summary"].as_str().unwrap().contains(r"'ä\u{1b}'"), "{change:#}");
    let binary = bench.apply("cat; printf '\\377\\000\\376'; printf '\\377' >&2");
    let sha256 = agentos_objects::Hash::of(b"\xff\x00\xfe").to_string();
    assert_eq!(binary["ran"][0]["stdout"], json!({ "bytes": 3, "sha256": sha256, "kept": 3 }), "{binary:#}");
    let script = bench.work().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for args in [
        json!({ "words": ["/no/such/program"] }),
        json!({ "words": [script] }),
        json!({ "command": "true", "folder": "/no/such" }),
        json!({ "command": "true", "shell": "/etc/passwd" }),
    ] {
        let problem = bench.ask(&args).json();
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| text.contains("could not be") || text.contains("/no/such")),
            "{problem:#}"
        );
        let last = bench.daemon.get("/changes?limit=1").json()["changes"][0].clone();
        assert_eq!(last["status"], "failed", "{last:#}");
        assert!(!bench.state().join("outputs").join(format!("{}-1", last["id"])).exists());
    }
    for (args, field) in [
        (json!({}), "command"),
        (json!({ "command": "a", "words": ["b"] }), "words"),
        (json!({ "command": "true", "time_limit_seconds": 1801 }), "time_limit_seconds"),
    ] {
        let problem = bench.ask(&args).problem(422, "invalid_argument");
        assert!(problem["field"].as_str().is_some_and(|at| at.ends_with(field)), "{problem:#}");
    }
}

#[test]
fn whatever_it_does_it_ends_with_all_that_it_left() {
    let bench = Bench::under(ALLOW);
    let before = descriptors(&bench);
    for (command, seconds, timed_out) in [
        ("sleep 7361", 1, true),
        ("trap '' TERM INT HUP; while :; do sleep 0.1; done", 1, true),
        ("kill -STOP $$", 1, true),
        ("exec >&- 2>&-; sleep 7361", 1, true),
        ("(setsid sh -c 'trap \"\" TERM; sleep 7361; sleep 7361' >/dev/null 2>&1 &); echo left", 20, false),
        ("setsid sh -c 'setsid sleep 7361 & exit' & sleep 0.2; echo left", 20, false),
        (
            "perl -e 'fork and exit; setpgrp; fork and exit; $SIG{$_} = \"IGNORE\" for keys %SIG; exec \"sleep\", \"7361\"'; sleep 0.2",
            20,
            false,
        ),
        // Each begins the next and goes: whoever looks for the one finds it gone.
        ("perl -e 'fork and exit; while (1) { exit if fork; }' & sleep 0.3; echo left", 20, false),
    ] {
        let asked = Instant::now();
        let change = bench.apply_for(command, seconds);
        assert!(asked.elapsed() < Duration::from_secs(12), "{command}: {:?}", asked.elapsed());
        let ran = &change["ran"][0];
        assert_eq!(ran["timed_out"].as_bool().unwrap_or_default(), timed_out, "{command}: {change:#}");
        assert!(ran["left"].is_null(), "{command}: {change:#}");
        assert!(!runs("sleep 7361"), "{command}");
    }
    let flood = bench.apply("head -c 100000000 /dev/zero");
    let stdout = &flood["ran"][0]["stdout"];
    assert_eq!((&stdout["bytes"], &stdout["kept"]), (&json!(100_000_000), &json!(262_144)));
    let output = std::process::Command::new("sh")
        .args(["-c", "head -c 100000000 /dev/zero | sha256sum"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(stdout["sha256"].as_str().unwrap()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.daemon.pid())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 100_000, "agentd took {peak} KiB");
    eventually("descriptors are as they were", || (descriptors(&bench) <= before + 1).then_some(()));
}

fn descriptors(bench: &Bench) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", bench.daemon.pid())).unwrap().count()
}
