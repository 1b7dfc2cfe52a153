//! Questions that a rule asks about: a person's yes answers exactly that question, once; each step is on the record first.

mod common;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Answer, Daemon, command_under, eventually, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// agentd that asks about what lies in `secret` and in `other`, by two rules.
struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["secret", "other", "open"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("secret/a"), "canary-a\npassword=hunter2hunter2\n").unwrap();
        std::fs::write(folder.path().join("secret/b"), "canary-b\n").unwrap();
        std::fs::write(folder.path().join("other/c"), "canary-c\n").unwrap();
        let daemon = start(folder.path(), more);
        Self { daemon, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self, name: &str) -> Value {
        json!({ "path": self.path(name) })
    }

    fn ask(&self, name: &str) -> Answer {
        self.daemon.query("file", &self.args(name))
    }

    /// Asks, and answers the number under which it waits.
    fn waits(&self, name: &str) -> u64 {
        self.ask(name).problem(403, "approval_required")["approval"].as_u64().unwrap()
    }

    fn question(&self, id: u64) -> Value {
        let request = format!("GET /questions/{id} HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\n\r\n");
        exchange(&self.daemon.operator(), request.as_bytes()).json()
    }

    fn operator(&self, path: &str, body: &Value) -> Answer {
        exchange(&self.daemon.operator(), &post_request(path, "", body.to_string().as_bytes()))
    }

    fn approve_with(&self, id: u64, more: &Value) -> Answer {
        let mut body = json!({"decision": "approve", "plan_hash": self.question(id)["hash"]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.operator(&format!("/questions/{id}"), &body)
    }

    fn approve(&self, id: u64) -> Answer {
        self.approve_with(id, &json!({}))
    }

    fn steps(&self) -> Vec<String> {
        let events = self.daemon.events("question.");
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

fn start(folder: &Path, more: &str) -> Daemon {
    let rule = |name: &str| {
        format!(
            "[[rule]]\nname = {name:?}\npath = \"{}/{name}/**\"\nthen = \"ask\"\nreason = \"It is {name}.\"\n",
            folder.display()
        )
    };
    let text = format!("{}{}[[rule]]\nquery = \"os\"\nthen = \"ask\"\n", rule("secret"), rule("other"));
    Daemon::spawn(folder, command_under(folder, &text, more))
}

#[test]
fn a_yes_answers_this_question_once_and_everything_is_on_the_record() {
    let bench = Bench::new();
    let problem = bench.ask("secret/a").problem(403, "approval_required");
    assert_eq!(problem["approval"], 1);
    let (detail, hint) = (problem["detail"].as_str().unwrap(), problem["hint"].as_str().unwrap());
    assert!(detail.contains("\"secret\"") && detail.contains("It is secret"), "{detail}");
    assert!(hint.contains("`agentctl approvals approve 1`") && hint.contains("exactly the same"), "{hint}");
    assert_eq!(bench.daemon.events("system.query").len(), 0, "nothing was read");
    // Asked again before that, it is the same question.
    assert_eq!(bench.waits("secret/a"), 1);
    assert_eq!(bench.steps(), ["question.waiting"]);
    let waiting = bench.daemon.get("/approvals").json();
    assert_eq!(waiting["questions"][0]["args"], bench.args("secret/a"), "{waiting}");
    assert_eq!(waiting["questions"][0]["because"], "It is secret.");

    let approved = bench.approve(1);
    assert_eq!((approved.status, approved.json()["status"].as_str()), (200, Some("approved")));
    let answer = bench.ask("secret/a");
    assert_eq!(answer.status, 200, "{}", answer.json());
    let content = answer.json()["content"].as_str().unwrap().to_owned();
    assert!(content.contains("canary-a") && !content.contains("hunter2"), "{content}");
    assert_eq!(bench.steps(), ["question.waiting", "question.approved", "question.used"]);
    let read = &bench.daemon.events("system.query")[0];
    assert_eq!(read["payload"]["data"]["approval"], 1, "{read}");
    let used = &bench.daemon.events("question.used")[0];
    assert!(used["id"].as_u64() < read["id"].as_u64(), "it was read before the yes was used up");

    // Once.
    assert_eq!(bench.waits("secret/a"), 2);
    assert_eq!(bench.question(1)["status"], "used");
    bench.approve(1).problem(409, "change_stands");
}

#[test]
fn a_yes_is_for_nothing_that_differs_by_a_byte() {
    let bench = Bench::new();
    let id = bench.waits("secret/a");
    assert_eq!(bench.approve(id).status, 200);
    let path = bench.path("secret/a");
    for args in [
        json!({"path": bench.path("secret/b")}),
        json!({"path": format!("{}/", path.display())}),
        json!({"path": format!("{}/./a", bench.path("secret").display())}),
        json!({"path": path, "length": 5}),
        json!({"path": path, "offset": 0}),
    ] {
        let answer = bench.daemon.query("file", &args);
        assert!(answer.status == 403 || answer.status == 422, "{args}: {}", answer.json());
    }
    bench
        .daemon
        .query("directory", &json!({"path": bench.path("secret/a")}))
        .problem(403, "approval_required");
    // Another order of the same arguments, and other white space, is the same question.
    let text = format!("{{\"args\" : {{\"path\":{:?}}} , \"query\":\"file\"}}", path.display().to_string());
    assert_eq!(bench.daemon.post("/system/query", &text).status, 200);
}

#[test]
fn nobody_but_the_person_says_yes() {
    let bench = Bench::new();
    let id = bench.waits("secret/a");
    let hash = bench.question(id)["hash"].clone();
    let yes = json!({"decision": "approve", "plan_hash": hash}).to_string();
    for headers in ["", "X-AgentOS-Actor: operator\r\n"] {
        let request = post_request(&format!("/questions/{id}"), headers, yes.as_bytes());
        exchange(&bench.daemon.agent(), &request).problem(403, "forbidden");
    }
    assert_eq!(bench.daemon.events("approval.refused").len(), 2);
    let path = format!("/questions/{id}");
    bench.operator(&path, &json!({"decision": "approve"})).problem(409, "plan_changed");
    let wrong = json!({"decision": "approve", "plan_hash": "0".repeat(64)});
    bench.operator(&path, &wrong).problem(409, "plan_changed");
    bench.operator("/questions/99", &json!({"decision": "deny"})).problem(404, "not_found");
    bench.operator(&format!("/approvals/{id}"), &json!({"decision": "deny"})).problem(404, "not_found");
    assert_eq!(bench.waits("secret/a"), id);
    // The person needs nobody's yes.
    assert_eq!(bench.daemon.query_as_operator("file", &bench.args("secret/a")).status, 200);
}

#[test]
fn a_no_holds_with_its_reason_and_makes_no_new_question() {
    let bench = Bench::new();
    let id = bench.waits("secret/a");
    let no = json!({"decision": "deny", "reason": "It is mine."});
    assert_eq!(bench.operator(&format!("/questions/{id}"), &no).json()["status"], "denied");
    for _ in 0..3 {
        let problem = bench.ask("secret/a").problem(403, "approval_denied");
        assert!(problem["detail"].as_str().unwrap().ends_with("It is mine"), "{problem}");
        assert_eq!(problem["approval"], id);
    }
    assert_eq!(bench.steps(), ["question.waiting", "question.denied"]);
    bench.approve(id).problem(409, "change_stands");
    // Nor does a yes for a while to the rule take back the no to this.
    let other = bench.waits("secret/b");
    assert_eq!(bench.approve_with(other, &json!({"for_seconds": 600})).status, 200);
    bench.ask("secret/a").problem(403, "approval_denied");
}

#[test]
fn a_yes_for_a_while_is_for_what_the_same_rule_asks_about() {
    let bench = Bench::new();
    let id = bench.waits("secret/a");
    assert_eq!(bench.approve_with(id, &json!({"for_seconds": 600})).status, 200);
    for name in ["secret/b", "secret/a", "secret/b"] {
        assert_eq!(bench.ask(name).status, 200, "{name}");
    }
    let read = bench.daemon.events("system.query");
    assert!(read.iter().all(|event| event["payload"]["data"]["grant"] == id), "{read:?}");
    bench.ask("other/c").problem(403, "approval_required");
    // It outlives the process, and ends when it is taken away.
    let Bench { daemon, folder } = bench;
    daemon.kill();
    let bench = Bench { daemon: start(folder.path(), ""), folder };
    assert_eq!(bench.ask("secret/b").status, 200);
    assert_eq!(bench.operator(&format!("/grants/{id}/revoke"), &json!({})).status, 200);
    bench.ask("secret/b").problem(403, "approval_required");
    // The yes to the question itself was not needed, and still holds.
    assert_eq!(bench.ask("secret/a").status, 200);
    bench.ask("secret/a").problem(403, "approval_required");
}

#[test]
fn what_the_file_turns_out_to_be_is_asked_about_by_its_names() {
    let bench = Bench::new();
    // Nothing in the words of the question is kept.
    symlink(bench.path("secret/a"), bench.path("open/link")).unwrap();
    let id = bench.waits("open/link");
    assert_eq!(bench.question(id)["names"], json!([bench.path("secret/a")]));
    assert_eq!(bench.approve(id).status, 200);
    // Then it is another file, which the same rule keeps; the yes was not to that.
    std::fs::remove_file(bench.path("open/link")).unwrap();
    symlink(bench.path("secret/b"), bench.path("open/link")).unwrap();
    let second = bench.waits("open/link");
    assert_ne!(second, id);
    assert_eq!(bench.question(second)["names"], json!([bench.path("secret/b")]));
    // And one that another rule keeps.
    std::fs::remove_file(bench.path("open/link")).unwrap();
    symlink(bench.path("other/c"), bench.path("open/link")).unwrap();
    let third = bench.waits("open/link");
    assert_eq!(bench.question(third)["rule"].as_str().map(|rule| rule.contains("other")), Some(true));
    assert_eq!(bench.approve(third).status, 200);
    let answer = bench.ask("open/link");
    assert!(answer.json()["content"].as_str().unwrap().contains("canary-c"), "{}", answer.json());
    // Back to the first: its yes was used by nobody.
    std::fs::remove_file(bench.path("open/link")).unwrap();
    symlink(bench.path("secret/a"), bench.path("open/link")).unwrap();
    assert_eq!(bench.ask("open/link").status, 200);
}

#[test]
fn a_link_in_a_kept_folder_needs_a_yes_that_names_both() {
    let bench = Bench::new();
    symlink(bench.path("other/c"), bench.path("secret/link")).unwrap();
    let first = bench.waits("secret/link");
    assert_eq!(bench.approve(first).status, 200);
    let second = bench.waits("secret/link");
    let names = json!([bench.path("other/c"), bench.path("secret/link")]);
    assert_eq!(bench.question(second)["names"], names);
    assert_eq!(bench.approve(second).status, 200);
    let answer = bench.ask("secret/link");
    assert!(answer.json()["content"].as_str().unwrap().contains("canary-c"), "{}", answer.json());
}

#[test]
fn a_question_without_a_file_is_asked_about_too() {
    let bench = Bench::new();
    let problem = bench.daemon.query("os", &json!({})).problem(403, "approval_required");
    assert_eq!(bench.approve(problem["approval"].as_u64().unwrap()).status, 200);
    assert_eq!(bench.daemon.query("os", &json!({})).status, 200);
    bench.daemon.query("os", &json!({})).problem(403, "approval_required");
}

#[test]
fn two_people_at_once_decide_once_and_two_who_ask_at_once_use_one_yes() {
    let bench = Bench::new();
    for _ in 0..10 {
        let id = bench.waits("secret/a");
        let statuses = |count: usize, what: &(dyn Fn() -> u16 + Sync)| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..count).map(|_| scope.spawn(what)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<u16>>()
            })
        };
        let decided = statuses(4, &|| bench.approve(id).status);
        assert_eq!(decided.iter().filter(|status| **status == 200).count(), 1, "{decided:?}");
        assert_eq!(decided.iter().filter(|status| **status == 409).count(), 3, "{decided:?}");
        let answered = statuses(4, &|| bench.ask("secret/a").status);
        assert_eq!(answered.iter().filter(|status| **status == 200).count(), 1, "{answered:?}");
        // The others are one question that waits.
        assert_eq!(bench.daemon.get("/approvals").json()["questions"].as_array().unwrap().len(), 1);
        let left = bench.waits("secret/a");
        assert_eq!(bench.approve(left).status, 200);
        assert_eq!(bench.ask("secret/a").status, 200);
    }
    assert_eq!(bench.daemon.events("system.query").len(), 20);
}

#[test]
fn what_nobody_decides_expires_and_may_be_asked_again() {
    let bench = Bench::with("[changes]\nexpire_minutes = 0\n");
    let id = bench.waits("secret/a");
    eventually("it expires", || (bench.question(id)["status"] == "expired").then_some(()));
    bench.approve(id).problem(409, "change_stands");
    assert_eq!(bench.waits("secret/a"), id + 1);
}

#[test]
fn what_waits_and_what_was_said_is_found_again_in_the_ledger() {
    let bench = Bench::new();
    let (a, b, c) = (bench.waits("secret/a"), bench.waits("secret/b"), bench.waits("other/c"));
    assert_eq!(bench.approve(a).status, 200);
    let no = json!({"decision": "deny", "reason": "no"});
    assert_eq!(bench.operator(&format!("/questions/{b}"), &no).status, 200);
    let Bench { daemon, folder } = bench;
    daemon.kill();
    // The list beside the ledger is not needed.
    for name in ["changes.db", "changes.db-wal", "changes.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join("state").join(name));
    }
    let bench = Bench { daemon: start(folder.path(), ""), folder };
    assert_eq!(bench.ask("secret/a").status, 200);
    bench.ask("secret/b").problem(403, "approval_denied");
    assert_eq!(bench.waits("other/c"), c);
    // No number is given twice.
    assert_eq!(bench.waits("secret/a"), c + 1);
}

#[test]
fn what_waits_is_bounded_and_so_is_what_a_person_is_shown() {
    let bench = Bench::new();
    let long = "x".repeat(17_000);
    let answer =
        bench.daemon.query("file", &json!({"path": format!("{}/{long}", bench.path("secret").display())}));
    assert!(answer.status == 403 || answer.status == 422, "{}", answer.json());
    for number in 0..200 {
        bench.waits(&format!("secret/{number}"));
    }
    let busy = bench.ask("secret/one-more").problem(503, "busy");
    assert!(busy["detail"].as_str().unwrap().contains("200 questions wait"), "{busy}");
    // Those that wait already are told so, as before; and a decision makes room.
    let id = bench.waits("secret/7");
    assert_eq!(bench.operator(&format!("/questions/{id}"), &json!({"decision": "deny"})).status, 200);
    bench.waits("secret/one-more");
}
