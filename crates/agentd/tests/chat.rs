//! A yes through the chat: off unless the owner switches it on, with a code that never comes over the agent's socket, for
//! nothing destructive and nothing that a rule keeps to the operator's socket.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Answer, Daemon, command_under, eventually, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

const POLICY: &str = "[[rule]]\npath = \"/**/soft/**\"\nthen = \"ask\"\n\
                      [[rule]]\npath = \"/**/only/**\"\nthen = \"ask\"\noperator_only = true\n\
                      [[rule]]\nquery = \"os\"\nthen = \"ask\"\n\
                      [[rule]]\nrisk = [\"low\", \"medium\", \"destructive\"]\nthen = \"ask\"\n";

impl Bench {
    fn with(approvals: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["work", "work/only"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let program = folder.path().join("tell");
        std::fs::write(
            &program,
            "#!/bin/sh\nenv > \"$1.new.$$\" && mv \"$1.new.$$\" \"$1.${AGENTOS_CHANGE:-q$AGENTOS_QUESTION}\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let more = format!(
            "[approvals]\nnotify = [{:?}, {:?}]\n{approvals}",
            program.display().to_string(),
            folder.path().join("told").display().to_string()
        );
        let daemon = start(folder.path(), &more);
        Self { daemon, folder }
    }

    fn on() -> Self {
        Self::with("chat = true\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Asks for a file, which waits; answers what the agent was answered.
    fn waits(&self, name: &str) -> Value {
        let body = json!({
            "mutation": "file.write",
            "args": {"path": self.path(name), "content": "wanted\n"},
            "reason": "a test",
        });
        let answer = self.daemon.post("/system/mutate", &body.to_string());
        assert_eq!(answer.status, 202, "{}", answer.json());
        answer.json()
    }

    /// What the person was told of what waits under that name: `1`, `q2`.
    fn told(&self, name: &str) -> String {
        let file = self.folder.path().join(format!("told.{name}"));
        eventually("the person is told", || std::fs::read_to_string(&file).ok())
    }

    /// The code that the person was sent.
    fn code(&self, name: &str) -> Option<String> {
        self.told(name).lines().find_map(|line| line.strip_prefix("AGENTOS_CODE=").map(str::to_owned))
    }

    fn as_operator(&self, path: &str) -> Value {
        let request = format!("GET {path} HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\n\r\n");
        exchange(&self.daemon.operator(), request.as_bytes()).json()
    }

    fn typed(&self, id: u64, more: &Value) -> Answer {
        let mut body = json!({"channel": "telegram", "sender": "4711"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.daemon.post(&format!("/approvals/{id}/chat"), &body.to_string())
    }

    fn yes(&self, id: u64, code: &str) -> Answer {
        self.typed(id, &json!({"decision": "approve", "code": code}))
    }
}

fn start(folder: &Path, more: &str) -> Daemon {
    Daemon::spawn(folder, command_under(folder, POLICY, more))
}

#[test]
fn it_is_off_unless_it_is_switched_on() {
    let bench = Bench::with("");
    bench.waits("a");
    assert_eq!(bench.code("1"), None);
    assert_eq!(bench.as_operator("/changes/1")["chat_code"], Value::Null);
    for body in [json!({"decision": "approve", "code": "AAAA-AAAA"}), json!({"decision": "deny"})] {
        bench.typed(1, &body).problem(403, "forbidden");
    }
    let refused = bench.daemon.events("approval.refused");
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0]["payload"]["data"]["chat"]["sender"], "4711");
    assert!(!bench.path("a").exists());
}

#[test]
fn a_yes_with_the_code_makes_it_and_the_record_says_that_it_came_through_the_chat() {
    let bench = Bench::on();
    let change = bench.waits("a");
    let code = bench.code("1").unwrap();
    assert_eq!(bench.as_operator("/changes/1")["chat_code"], json!(code));
    let made = bench.yes(1, &code.to_lowercase());
    assert_eq!((made.status, made.json()["status"].as_str()), (200, Some("applied")), "{}", made.json());
    assert_eq!(std::fs::read_to_string(bench.path("a")).unwrap(), "wanted\n");
    let decided = bench.daemon.get("/changes/1").json()["decided"]["by"].as_str().unwrap().to_owned();
    assert!(decided.starts_with("chat:") && decided.ends_with("/telegram:4711"), "{decided}");
    let approved = &bench.daemon.events("change.approved")[0];
    assert_eq!(approved["actor"], json!(decided));
    // Twice is once.
    bench.yes(1, &code).problem(409, "change_stands");
    // What the agent can see of all this holds no code.
    let log = bench.daemon.get("/events/log?limit=1000").json().to_string();
    for seen in [change.to_string(), bench.daemon.get("/changes/1").json().to_string(), log] {
        assert!(!seen.contains(&code) && !seen.contains(&code.replace('-', "")), "{seen}");
    }
}

#[test]
fn the_agent_sees_no_code_while_it_waits() {
    let bench = Bench::on();
    bench.waits("a");
    let code = bench.code("1").unwrap();
    let question = bench.daemon.query("os", &json!({})).problem(403, "approval_required");
    let other = bench.code("q2").unwrap();
    assert_ne!(code, other);
    for path in ["/changes/1", "/changes", "/approvals", "/questions/2", "/events/log?limit=1000"] {
        let seen = bench.daemon.get(path).json().to_string();
        assert!(
            !seen.contains(&code) && !seen.contains(&other) && !seen.contains("chat_code"),
            "{path}: {seen}"
        );
    }
    assert!(!question.to_string().contains(&other), "{question}");
}

#[test]
fn wrong_codes_are_counted_and_then_only_the_operators_socket_decides() {
    let bench = Bench::on();
    bench.waits("a");
    bench.waits("b");
    let (first, second) = (bench.code("1").unwrap(), bench.code("2").unwrap());
    // The code of another change, none, and one that is wrong by a character.
    let mut near = first.clone();
    let last = if near.ends_with('0') { '1' } else { '0' };
    near.pop();
    near.push(last);
    bench.yes(1, &second).problem(403, "forbidden");
    bench.typed(1, &json!({"decision": "approve"})).problem(403, "forbidden");
    let problem = bench.yes(1, &near).problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("0 more"), "{problem}");
    let locked = bench.yes(1, &first).problem(403, "forbidden");
    assert!(locked["detail"].as_str().unwrap().contains("only the operator's socket"), "{locked}");
    assert_eq!(bench.daemon.events("approval.refused").len(), 4);
    assert!(!bench.path("a").exists());
    assert_eq!(bench.yes(2, &second).status, 200);
    // The person at the operator's socket still can.
    let hash = bench.as_operator("/changes/1")["plan"]["hash"].clone();
    let body = json!({"decision": "approve", "plan_hash": hash}).to_string();
    let approved = exchange(&bench.daemon.operator(), &post_request("/approvals/1", "", body.as_bytes()));
    assert_eq!(approved.status, 200, "{}", approved.json());
}

#[test]
fn a_code_is_for_the_plan_that_was_shown() {
    let bench = Bench::on();
    std::fs::write(bench.path("a"), "before\n").unwrap();
    bench.waits("a");
    let code = bench.code("1").unwrap();
    std::fs::write(bench.path("a"), "somebody's\n").unwrap();
    std::fs::remove_file(bench.folder.path().join("told.1")).unwrap();
    bench.yes(1, &code).problem(409, "plan_moved");
    assert_eq!(std::fs::read_to_string(bench.path("a")).unwrap(), "somebody's\n");
    // The person is told anew, with another code; the first is none any more.
    let anew = bench.code("1").unwrap();
    assert_ne!(anew, code);
    bench.yes(1, &code).problem(403, "forbidden");
    assert_eq!(bench.yes(1, &anew).status, 200);
    assert_eq!(std::fs::read_to_string(bench.path("a")).unwrap(), "wanted\n");
}

#[test]
fn what_is_destructive_or_kept_to_the_operator_is_decided_in_no_chat() {
    let bench = Bench::on();
    bench.waits("only/a");
    assert_eq!(bench.as_operator("/changes/1")["operator_only"], true);
    assert_eq!(bench.code("1"), None);
    // Asked about by a rule for reading, too.
    let args = json!({"path": bench.path("only/b")});
    bench.daemon.query("file", &args).problem(403, "approval_required");
    assert_eq!(bench.code("q2"), None);
    // Also where another rule asks as well, by what the file turns out to be.
    std::fs::create_dir(bench.path("soft")).unwrap();
    std::fs::write(bench.path("soft/c"), "c").unwrap();
    std::os::unix::fs::symlink(bench.path("soft/c"), bench.path("only/c")).unwrap();
    let args = json!({"path": bench.path("only/c")});
    let first = bench.daemon.query("file", &args).problem(403, "approval_required")["approval"].clone();
    let hash = bench.as_operator(&format!("/questions/{first}"))["hash"].clone();
    let body = json!({"decision": "approve", "plan_hash": hash}).to_string();
    let path = format!("/questions/{first}");
    assert_eq!(exchange(&bench.daemon.operator(), &post_request(&path, "", body.as_bytes())).status, 200);
    let second = bench.daemon.query("file", &args).problem(403, "approval_required")["approval"].clone();
    assert_eq!(bench.as_operator(&format!("/questions/{second}"))["operator_only"], true);
    assert_eq!(bench.code(&format!("q{second}")), None);
    std::fs::create_dir(bench.path("d")).unwrap();
    std::fs::write(bench.path("d/e"), "e").unwrap();
    let delete = json!({
        "mutation": "file.delete", "args": {"path": bench.path("d"), "recursive": true}, "reason": "a test",
    });
    let deleted = bench.daemon.post("/system/mutate", &delete.to_string()).json();
    assert_eq!((&deleted["plan"]["risk"], &deleted["status"]), (&json!("destructive"), &json!("waiting")));
    assert_eq!(bench.code("5"), None);
    for id in 1..=5 {
        bench.yes(id, "0000-0000").problem(403, "forbidden");
        bench.typed(id, &json!({"decision": "deny"})).problem(403, "forbidden");
    }
    assert!(bench.path("d/e").exists());
}

#[test]
fn a_no_needs_no_code_and_a_question_is_answered_once() {
    let bench = Bench::on();
    bench.waits("a");
    let denied = bench.typed(1, &json!({"decision": "deny", "reason": "not now"}));
    assert_eq!(denied.json()["status"], "denied", "{}", denied.json());
    assert_eq!(bench.daemon.get("/changes/1").json()["decided"]["reason"], "not now");
    bench.daemon.query("os", &json!({})).problem(403, "approval_required");
    let approved = bench.yes(2, &bench.code("q2").unwrap());
    assert!(approved.json()["text"].as_str().unwrap().contains("answered once"), "{}", approved.json());
    assert_eq!(bench.daemon.query("os", &json!({})).status, 200);
    bench.daemon.query("os", &json!({})).problem(403, "approval_required");
}

#[test]
fn bad_requests_are_named_and_the_operators_socket_has_its_own_way() {
    let bench = Bench::on();
    bench.waits("a");
    bench.typed(9, &json!({"decision": "deny"})).problem(404, "not_found");
    bench.typed(0, &json!({"decision": "deny"})).problem(422, "invalid_argument");
    for more in [
        json!({"decision": "deny", "sender": ""}),
        json!({"decision": "deny", "channel": "x".repeat(65)}),
        json!({"decision": "deny", "for_seconds": 600}),
        json!({"decision": "maybe"}),
    ] {
        bench.typed(1, &more).problem(422, "invalid_argument");
    }
    // A sender's name never becomes another principal.
    let odd = bench.typed(1, &json!({"decision": "deny", "sender": "a/../operator:root {\u{1b}[31m\n"}));
    assert_eq!(odd.status, 200, "{}", odd.json());
    let actor = bench.daemon.events("change.denied")[0]["actor"].as_str().unwrap().to_owned();
    assert!(actor.starts_with("chat:") && actor.matches('/').count() == 1, "{actor}");
    let body = json!({"decision": "deny", "channel": "x", "sender": "y"}).to_string();
    exchange(&bench.daemon.operator(), &post_request("/approvals/1/chat", "", body.as_bytes()))
        .problem(403, "forbidden");
}
