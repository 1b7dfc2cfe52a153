//! Changes through the real sockets: planned, approved by a person and nobody else, made, taken back, each step on the record.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Answer, Daemon, command_under, eventually, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

const ALLOW: &str = "[[rule]]\nrisk = [\"low\", \"medium\"]\nthen = \"allow\"\n";
const ASK: &str =
    "[[rule]]\nrisk = [\"low\", \"medium\"]\nthen = \"ask\"\nreason = \"a person decides here\"\n";
const DENY: &str = "[[rule]]\nmutation = \"file.*\"\nthen = \"deny\"\nreason = \"nothing is changed here\"\n";

/// agentd under a policy, and a folder that is changed.
struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

impl Bench {
    fn under(policy: &str) -> Self {
        Self::with(policy, "")
    }

    fn with(policy: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let daemon = start(folder.path(), policy, more);
        Self { daemon, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) -> Answer {
        self.mutate(&json!({
            "mutation": "file.write",
            "args": {"path": self.path(name), "content": content},
            "reason": "a test",
        }))
    }

    fn mutate(&self, body: &Value) -> Answer {
        self.daemon.post("/system/mutate", &body.to_string())
    }

    fn operator(&self, path: &str, body: &Value) -> Answer {
        exchange(&self.daemon.operator(), &post_request(path, "", body.to_string().as_bytes()))
    }

    /// agentd is killed, and started again.
    fn restart(self) -> Self {
        let Self { daemon, folder } = self;
        daemon.kill();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"));
        command.arg("--config").arg(folder.path().join("agentd.toml"));
        let daemon = Daemon::spawn(folder.path(), command);
        Self { daemon, folder }
    }

    fn waiting(&self, name: &str, content: &str) -> Value {
        let answer = self.write(name, content);
        assert_eq!(answer.status, 202, "{}", answer.json());
        answer.json()
    }

    fn approve(&self, change: &Value) -> Answer {
        let path = format!("/approvals/{}", change["id"]);
        self.operator(&path, &json!({"decision": "approve", "plan_hash": change["plan"]["hash"]}))
    }

    fn change(&self, id: &Value) -> Value {
        let answer = self.daemon.get(&format!("/changes/{id}"));
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    }

    fn steps(&self) -> Vec<String> {
        let events = self.daemon.events("change.");
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

fn start(folder: &Path, policy: &str, more: &str) -> Daemon {
    Daemon::spawn(folder, command_under(folder, policy, more))
}

#[test]
fn what_the_policy_allows_is_made_on_the_record_and_taken_back() {
    let bench = Bench::under(ALLOW);
    let answer = bench.write("a", "first\n");
    assert_eq!(answer.status, 200, "{}", answer.json());
    let change = answer.json();
    assert_eq!((&change["id"], &change["status"]), (&json!(1), &json!("applied")));
    assert_eq!(bench.read("a"), "first\n");
    assert_eq!(
        bench.steps(),
        ["change.requested", "change.planned", "change.approved", "change.applying", "change.applied"]
    );
    let requested = &bench.daemon.events("change.requested")[0];
    assert!(!requested.to_string().contains("first"), "the content is on the ledger: {requested}");
    let undo = bench.daemon.post("/changes/1/undo", &json!({"reason": "not wanted"}).to_string());
    assert_eq!(undo.status, 200, "{}", undo.json());
    assert_eq!(undo.json()["undoes"], 1);
    assert!(!bench.path("a").exists());
    assert_eq!(bench.change(&json!(1))["status"], "undone");
    assert_eq!(bench.change(&json!(1))["undone_by"], 2);
    bench.daemon.post("/changes/1/undo", r#"{"reason": "again"}"#).problem(409, "change_stands");
    // Taking back what took it back makes it again.
    let redo = bench.daemon.post("/changes/2/undo", r#"{"reason": "wanted after all"}"#);
    assert_eq!(redo.status, 200, "{}", redo.json());
    assert_eq!(bench.read("a"), "first\n");
    assert_eq!(bench.change(&json!(1))["status"], "applied");
    assert_eq!(bench.change(&json!(2))["status"], "undone");
}

#[test]
fn a_dry_run_and_what_is_so_already_change_nothing() {
    let bench = Bench::under(ASK);
    std::fs::write(bench.path("a"), "a\n").unwrap();
    let body = |content: &str, dry_run: bool| {
        json!({
            "mutation": "file.write", "args": {"path": bench.path("a"), "content": content},
            "reason": "a test", "dry_run": dry_run,
        })
    };
    let plan = bench.mutate(&body("b\n", true)).json();
    assert_eq!((&plan["id"], &plan["status"]), (&json!(0), &json!("planned")));
    assert_eq!(plan["plan"]["steps"][0]["effects"][0]["diff"], "@@ -1 +1 @@\n-a\n+b\n");
    let same = bench.mutate(&body("a\n", false));
    assert_eq!((same.status, same.json()["plan"]["risk"].as_str()), (200, Some("read")));
    assert_eq!(bench.read("a"), "a\n");
    assert_eq!(bench.daemon.get("/changes").json()["changes"], json!([]));
    let mut other = body("b\n", false);
    other["plan_hash"] = json!("0".repeat(64));
    bench.mutate(&other).problem(409, "plan_changed");
}

#[test]
fn what_waits_is_made_by_a_persons_yes_and_by_nothing_else() {
    let bench = Bench::under(ASK);
    let change = bench.waiting("a", "wanted\n");
    let text = change["next_step"].as_str().unwrap();
    assert!(text.contains("agentctl approvals approve 1") && text.contains("in another way"), "{text}");
    assert!(!bench.path("a").exists());
    let yes = json!({"decision": "approve", "plan_hash": change["plan"]["hash"]}).to_string();
    for headers in
        ["", "X-AgentOS-Actor: operator\r\n", "Authorization: Bearer root\r\nX-Forwarded-For: operator\r\n"]
    {
        let request = post_request("/approvals/1", headers, yes.as_bytes());
        exchange(&bench.daemon.agent(), &request).problem(403, "forbidden");
    }
    assert_eq!(bench.daemon.events("approval.refused").len(), 3);
    bench.daemon.post("/changes/1/confirm", "{}").problem(403, "forbidden");
    bench.daemon.get("/grants").problem(403, "forbidden");
    // The agent sees that it waits.
    assert_eq!(bench.daemon.get("/approvals").json()["changes"][0]["id"], 1);
    let wrong = json!({"decision": "approve", "plan_hash": "0".repeat(64)});
    bench.operator("/approvals/1", &wrong).problem(409, "plan_changed");
    bench.operator("/approvals/1", &json!({"decision": "approve"})).problem(409, "plan_changed");
    let made = bench.approve(&change);
    assert_eq!(made.status, 200, "{}", made.json());
    assert_eq!(made.json()["status"], "applied");
    assert!(made.json()["decided"]["by"].as_str().unwrap().starts_with("operator:"), "{}", made.json());
    assert_eq!(bench.read("a"), "wanted\n");
    let again = bench.approve(&change).problem(409, "change_stands");
    assert!(again["detail"].as_str().unwrap().contains("applied (by operator:"), "{again}");
    bench.operator("/approvals/99", &json!({"decision": "deny"})).problem(404, "not_found");
    bench.operator("/approvals/0", &json!({"decision": "deny"})).problem(422, "invalid_argument");
}

#[test]
fn a_no_is_a_no() {
    let bench = Bench::under(ASK);
    let change = bench.waiting("a", "x");
    let denied = bench.operator("/approvals/1", &json!({"decision": "deny", "reason": "not on a Friday"}));
    assert_eq!(denied.json()["status"], "denied", "{}", denied.json());
    assert_eq!(bench.change(&json!(1))["decided"]["reason"], "not on a Friday");
    bench.approve(&change).problem(409, "change_stands");
    assert!(!bench.path("a").exists());
    let bench = Bench::under(DENY);
    let problem = bench.write("a", "x").problem(403, "policy_denied");
    assert!(problem["detail"].as_str().unwrap().contains("nothing is changed here"), "{problem}");
    assert_eq!(bench.daemon.events("policy.denied").len(), 1);
    assert!(!bench.path("a").exists());
}

#[test]
fn two_people_who_say_yes_at_once_make_it_once() {
    let bench = Bench::under(ASK);
    for round in 0..10 {
        let change = bench.waiting("a", &format!("round {round}\n"));
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.approve(&change).status)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 409).count(), 3, "{answers:?}");
    }
    assert_eq!(bench.daemon.events("change.applied").len(), 10);
}

#[test]
fn a_plan_whose_machine_moved_waits_again_with_another_plan() {
    let bench = Bench::under(ASK);
    std::fs::write(bench.path("a"), "one\n").unwrap();
    let change = bench.waiting("a", "two\n");
    std::fs::write(bench.path("a"), "somebody's\n").unwrap();
    let problem = bench.approve(&change).problem(409, "plan_moved");
    assert!(problem["detail"].as_str().unwrap().contains("planned anew"), "{problem}");
    assert_eq!(bench.read("a"), "somebody's\n");
    let anew = bench.change(&json!(1));
    assert_eq!(anew["status"], "waiting");
    assert_ne!(anew["plan"]["hash"], change["plan"]["hash"]);
    assert!(
        anew["plan"]["steps"][0]["effects"][0]["diff"].as_str().unwrap().contains("-somebody's"),
        "{anew}"
    );
    bench.approve(&change).problem(409, "plan_changed");
    assert_eq!(bench.approve(&anew).status, 200);
    assert_eq!(bench.read("a"), "two\n");
}

#[test]
fn what_nobody_decides_expires() {
    let bench = Bench::with(ASK, "[changes]\nexpire_minutes = 0\n");
    let change = bench.waiting("a", "x");
    eventually("it expires", || (bench.change(&json!(1))["status"] == "expired").then_some(()));
    bench.approve(&change).problem(409, "change_stands");
    assert_eq!(bench.steps().last().unwrap(), "change.expired");
}

#[test]
fn a_yes_for_a_while_is_for_the_same_rule_and_caller_and_can_be_taken_away() {
    let bench = Bench::under(ASK);
    let change = bench.waiting("a", "x");
    let yes = json!({"decision": "approve", "plan_hash": change["plan"]["hash"], "for_seconds": 600});
    assert_eq!(bench.operator("/approvals/1", &yes).status, 200);
    assert_eq!(bench.write("b", "x").status, 200, "the same rule asks");
    // A larger risk is another question.
    let delete = json!({"mutation": "file.delete", "args": {"path": bench.path("")}, "reason": "x"});
    std::fs::remove_file(bench.path("a")).unwrap();
    std::fs::remove_file(bench.path("b")).unwrap();
    assert_eq!(bench.mutate(&delete).status, 202);
    // It survives a restart, and its end.
    let Bench { daemon, folder } = bench;
    daemon.stop();
    let bench = Bench { daemon: start(folder.path(), ASK, ""), folder };
    assert_eq!(bench.write("c", "x").status, 200);
    let revoked = bench.operator("/grants/1/revoke", &json!({}));
    assert_eq!(revoked.json(), json!({"grants": []}));
    assert_eq!(bench.write("d", "x").status, 202);
    bench.operator("/grants/1/revoke", &json!({})).problem(404, "not_found");
}

#[test]
fn what_later_changes_build_on_is_taken_back_with_them() {
    let bench = Bench::under(ALLOW);
    for content in ["one\n", "two\n", "three\n"] {
        assert_eq!(bench.write("a", content).status, 200);
    }
    assert_eq!(bench.write("b", "other\n").status, 200);
    let problem =
        bench.daemon.post("/changes/1/undo", r#"{"reason":"x"}"#).problem(409, "change_has_dependents");
    assert!(problem["detail"].as_str().unwrap().ends_with(": 2, 3"), "{problem}");
    let undo = bench.daemon.post("/changes/2/undo", r#"{"reason":"x","with_dependents":true}"#);
    assert_eq!(undo.status, 200, "{}", undo.json());
    assert_eq!(bench.read("a"), "one\n");
    assert_eq!(bench.read("b"), "other\n");
    for (id, status) in [(1, "applied"), (2, "undone"), (3, "undone"), (4, "applied")] {
        assert_eq!(bench.change(&json!(id))["status"], status, "{id}");
    }
    let on = format!("file%20{}", bench.path("a").display());
    let page = bench.daemon.get(&format!("/changes?on={on}&limit=2")).json();
    assert_eq!(page["changes"][0]["id"], 5);
    assert_eq!(page["next"], 3);
}

#[test]
fn a_change_that_fails_says_so_and_leaves_nothing() {
    let bench = Bench::under(ASK);
    let change = bench.waiting("a", "x");
    assert_eq!(change["plan"]["steps"].as_array().unwrap().len(), 1);
    // A folder in its place: the plan cannot be made any more, not even anew.
    std::fs::create_dir(bench.path("a")).unwrap();
    let problem = bench.approve(&change).problem(409, "change_failed");
    assert!(problem["detail"].as_str().unwrap().contains("cannot be planned any more"), "{problem}");
    assert_eq!(bench.change(&json!(1))["status"], "failed");
}

#[test]
fn several_steps_are_one_change() {
    let bench = Bench::under(ALLOW);
    let steps = json!([
        {"mutation": "file.mkdir", "args": {"path": bench.path("d")}},
        {"mutation": "file.write", "args": {"path": bench.path("d/e"), "content": "e"}},
    ]);
    let answer = bench.mutate(&json!({"steps": steps, "reason": "a folder with a file"}));
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(bench.read("d/e"), "e");
    assert_eq!(bench.daemon.post("/changes/1/undo", r#"{"reason":"x"}"#).status, 200);
    assert!(!bench.path("d").exists());
    let wrong = json!({"steps": [{"mutation": "file.mkdir", "args": {"path": "relative"}}], "reason": "x"});
    let problem = bench.mutate(&wrong).problem(422, "invalid_argument");
    assert_eq!(problem["field"], "steps.0.args.path");
}

#[test]
fn bad_requests_are_named_and_recorded_nowhere() {
    let bench = Bench::under(ALLOW);
    let path = bench.path("a");
    for (body, status, code, field) in [
        (json!({"reason": "x"}), 422, "invalid_argument", Some("mutation")),
        (
            json!({"mutation": "file.write", "args": {"path": path, "content": ""}, "reason": " "}),
            422,
            "invalid_argument",
            Some("reason"),
        ),
        (json!({"mutation": "file.wirte", "reason": "x"}), 404, "unknown_mutation", None),
        (
            json!({"mutation": "file.write", "args": {"path": path}, "reason": "x"}),
            422,
            "invalid_argument",
            Some("args.content"),
        ),
        (
            json!({"mutation": "file.write", "steps": [{"mutation": "file.mkdir"}], "reason": "x"}),
            422,
            "invalid_argument",
            Some("steps"),
        ),
        (
            json!({"mutation": "file.chmod", "args": {"path": path, "mode": "0600"}, "reason": "x", "sudo": true}),
            422,
            "invalid_argument",
            Some("sudo"),
        ),
    ] {
        let problem = bench.mutate(&body).problem(status, code);
        assert_eq!(problem["field"].as_str(), field, "{problem}");
    }
    assert_eq!(bench.steps(), Vec::<String>::new());
    let missing = json!({"mutation": "file.delete", "args": {"path": path}, "reason": "x"});
    bench.mutate(&missing).problem(404, "not_found");
    let own = json!({"mutation": "file.delete", "args": {"path": bench.daemon.database()}, "reason": "x"});
    bench.mutate(&own).problem(403, "forbidden");
    bench.daemon.get("/changes?status=sideways").problem(422, "invalid_argument");
    bench.daemon.get("/changes/7").problem(404, "not_found");
}

#[test]
fn secrets_are_masked_for_the_agent_and_what_it_may_not_read_it_does_not_see() {
    let kept =
        "[[rule]]\nquery = \"file\"\npath = \"/tmp/**/kept\"\nprincipal = \"agent\"\nthen = \"deny\"\n";
    let bench = Bench::under(&format!("{kept}{ASK}"));
    std::fs::write(bench.path("kept"), "canary-1\n").unwrap();
    std::fs::write(bench.path("env"), "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz\n")
        .unwrap();
    let append = |name: &str| {
        bench.mutate(&json!({
        "mutation": "file.append", "args": {"path": bench.path(name), "content": "more\n"}, "reason": "x",
    })).json()
    };
    let change = append("kept");
    assert!(!change.to_string().contains("canary"), "{change}");
    assert!(
        change["plan"]["steps"][0]["effects"][0]["diff_omitted"]
            .as_str()
            .unwrap()
            .contains("kept from the agent"),
        "{change}"
    );
    let change = append("env");
    assert!(!change.to_string().contains("wJalrXUtnFEMI"), "{change}");
    let whole = exchange(
        &bench.daemon.operator(),
        b"GET /changes/1 HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\n\r\n",
    );
    assert!(whole.json().to_string().contains("canary-1"), "the person sees it: {}", whole.json());
}

#[test]
fn the_database_of_changes_is_made_anew_from_the_ledger() {
    let bench = Bench::under(ASK);
    let change = bench.waiting("a", "x\n");
    assert_eq!(bench.approve(&change).status, 200);
    bench.waiting("b", "y\n");
    let list = bench.daemon.get("/changes").json();
    let one = bench.change(&json!(1));
    let Bench { daemon, folder } = bench;
    daemon.stop();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("state/changes.db{suffix}")));
    }
    let bench = Bench { daemon: start(folder.path(), ASK, ""), folder };
    assert_eq!(bench.daemon.get("/changes").json(), list);
    assert_eq!(bench.change(&json!(1)), one);
    // And a file that is no database is put aside.
    let Bench { daemon, folder } = bench;
    daemon.stop();
    std::fs::write(folder.path().join("state/changes.db"), vec![7; 9000]).unwrap();
    let bench = Bench { daemon: start(folder.path(), ASK, ""), folder };
    assert_eq!(bench.daemon.get("/changes").json(), list);
}

#[test]
fn a_daemon_that_is_killed_while_it_changes_things_leaves_nothing_half_done() {
    let mut bench = Bench::under(ALLOW);
    for round in 0..8 {
        let pid = rustix::process::Pid::from_raw(i32::try_from(bench.daemon.pid()).unwrap()).unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20 + 17 * round));
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        let socket = bench.daemon.agent();
        let mut acknowledged = Vec::new();
        for number in 0.. {
            let name = format!("{round}-{number}");
            let body = json!({
                "steps": [
                    {"mutation": "file.write", "args": {"path": bench.path(&format!("{name}-a")), "content": "a"}},
                    {"mutation": "file.write", "args": {"path": bench.path(&format!("{name}-b")), "content": "b"}},
                ],
                "reason": "a test",
            });
            let request = post_request("/system/mutate", "", body.to_string().as_bytes());
            let answered = std::panic::catch_unwind(|| exchange(&socket, &request).status);
            match answered {
                Ok(200) => acknowledged.push(name),
                _ => break,
            }
        }
        killer.join().unwrap();
        let Bench { daemon, folder } = bench;
        daemon.kill();
        bench = Bench { daemon: start(folder.path(), ALLOW, ""), folder };
        for name in &acknowledged {
            assert!(
                bench.path(&format!("{name}-a")).exists() && bench.path(&format!("{name}-b")).exists(),
                "{name}"
            );
        }
        // Each is made or not, and the list says which.
        let list = bench.daemon.get("/changes?limit=200").json();
        for change in list["changes"].as_array().unwrap() {
            let whole = bench.change(&change["id"]);
            let made = whole["plan"]["steps"].as_array().unwrap().iter().map(|step| {
                let on = step["effects"][0]["on"].as_str().unwrap().strip_prefix("file ").unwrap().to_owned();
                Path::new(&on).exists()
            });
            let expected = match whole["status"].as_str().unwrap() {
                "applied" => true,
                "failed" => false,
                other => panic!("{other}: {whole}"),
            };
            assert!(made.into_iter().all(|made| made == expected), "{whole}");
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn the_person_is_told_by_a_command_of_their_choosing() {
    let folder = tempfile::tempdir().unwrap();
    let (script, said) = (folder.path().join("notify"), folder.path().join("said"));
    std::fs::write(
        &script,
        format!("#!/bin/sh\necho \"$1 $AGENTOS_CHANGE $AGENTOS_RISK\" > {}\n", said.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bench =
        Bench::with(ASK, &format!("[approvals]\nnotify = [{:?}, \"waits\"]\n", script.display().to_string()));
    bench.waiting("a", "x");
    let text = eventually("the command runs", || {
        std::fs::read_to_string(&said).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(text, "waits 1 low\n");
}

#[test]
fn what_is_asked_for_too_often_waits_for_the_person() {
    let quota = "[quota.agent]\nwaiting_at_once = 2\nchanges_per_hour = 4\n";
    let bench = Bench::under(&format!("{ASK}{quota}"));
    bench.waiting("a", "x");
    bench.waiting("b", "x");
    for _ in 0..2 {
        let problem = bench.write("c", "x").problem(429, "quota_reached");
        assert!(problem["detail"].as_str().unwrap().contains("waiting_at_once"), "{problem}");
    }
    assert_eq!(bench.daemon.events("quota.reached").len(), 1);
    let problem = bench.write("c", "x").problem(429, "quota_reached");
    assert!(problem["detail"].as_str().unwrap().contains("changes_per_hour"), "{problem}");
    // The person is not the one who goes round in circles.
    let body =
        json!({"mutation": "file.write", "args": {"path": bench.path("c"), "content": "x"}, "reason": "x"});
    assert_eq!(bench.operator("/system/mutate", &body).status, 200);
}

#[test]
fn a_quota_that_is_reached_holds_after_a_new_start_and_is_lifted_by_a_person_alone() {
    let bench = Bench::under("[quota.agent]\nchanges_per_hour = 2\n");
    bench.write("a", "x");
    bench.write("b", "x");
    let bench = bench.restart();
    let problem = bench.write("c", "x").problem(429, "quota_reached");
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("agentctl grants lift changes_per_hour --for 10m"), "{hint}");
    let lift = json!({"to": "agent", "quota": "changes_per_hour", "for_seconds": 600});
    bench.daemon.post("/grants", &lift.to_string()).problem(403, "forbidden");
    for (wrong, field) in [
        (json!({"to": "agent", "quota": "calls_per_minute"}), "to"),
        (json!({"to": "agent:other", "quota": "changes_per_hour"}), "to"),
        (json!({"to": "agent", "quota": "nothing"}), "quota"),
    ] {
        let problem = bench.operator("/grants", &wrong).problem(422, "invalid_argument");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let grants = bench.operator("/grants", &lift).json();
    let number = grants["grants"][0]["grant"].as_u64().unwrap();
    assert_eq!(number, 1_000_000_001, "{grants}");
    bench.waiting("c", "x");
    // It is in force after a new start too, and ends when it is taken away.
    let bench = bench.restart();
    bench.waiting("d", "x");
    assert_eq!(bench.operator(&format!("/grants/{number}/revoke"), &json!({})).status, 200);
    bench.write("e", "x").problem(429, "quota_reached");
    assert_eq!(bench.daemon.events("grant.given").len(), 1);
}

#[test]
fn what_is_kept_for_changes_is_bounded_as_a_share_of_the_disk() {
    let bench = Bench::under(&format!("{ASK}[quota.agent]\ndisk_share = \"0 %\"\n"));
    let problem = bench.write("a", "x").problem(429, "quota_reached");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("disk_share = 0 % of agent") && detail.contains("would be kept"), "{detail}");
    assert!(detail.contains("agentctl grants lift disk_share"), "{detail}");
    let bench = Bench::under(&format!("{ASK}[quota.agent]\ndisk_share = \"50 %\"\n"));
    bench.waiting("a", "x");
}

#[test]
fn a_folder_is_not_taken_back_from_under_what_was_written_into_it() {
    let bench = Bench::under(ALLOW);
    let body = json!({"mutation": "file.mkdir", "args": {"path": bench.path("d/e"), "parents": true}, "reason": "x"});
    assert_eq!(bench.mutate(&body).status, 200);
    assert_eq!(bench.write("d/e/f", "content").status, 200);
    assert_eq!(bench.write("de", "beside it").status, 200);
    let undo = |body: &str| bench.daemon.post("/changes/1/undo", body);
    let problem = undo(r#"{"reason": "x", "dry_run": true}"#).problem(409, "change_has_dependents");
    assert_eq!(problem["detail"], "later changes build on change 1: 2", "{problem}");
    // What came into it otherwise is named too, before anything is made.
    std::fs::write(bench.path("d/by-hand"), "x").unwrap();
    let problem = undo(r#"{"reason": "x", "dry_run": true, "with_dependents": true}"#);
    let text = problem.json().to_string();
    assert!(problem.status >= 400 && text.contains("a folder with by-hand in it"), "{text}");
    std::fs::remove_file(bench.path("d/by-hand")).unwrap();
    assert_eq!(undo(r#"{"reason": "x", "with_dependents": true}"#).status, 200);
    assert!(!bench.path("d").exists() && bench.path("de").exists());
}
