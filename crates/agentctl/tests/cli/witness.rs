use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agentos_api::event::EventFilter;
use agentos_ledger::{Ledger, LedgerOptions, NewEvent};
use serde_json::Value;

use crate::support::{Agentd, Run, agentctl};

const WITNESSES: [&str; 2] = ["one", "two"];

/// An agentd that knows two witnesses, whose state is in `one` and `two`, and their keys.
fn watched() -> (Agentd, [String; 2]) {
    let mut agentd = Agentd::start();
    let keys = WITNESSES.map(|name| {
        let arguments =
            ["witness", "init", "--name", &format!("witness.test/{name}"), "--state-dir", name, "--json"];
        let run = agentd.run(&arguments).with(0);
        assert!(run.stderr.contains("[ledger] witnesses = ["), "{}", run.stderr);
        run.json()["key"].as_str().unwrap().to_owned()
    });
    agentd.stop();
    let config = fs::read_to_string(agentd.path("agentd.toml")).unwrap();
    fs::write(agentd.path("agentd.toml"), format!("{config}witnesses = {keys:?}\n")).unwrap();
    agentd.start_again();
    (agentd, keys)
}

fn witness(agentd: &Agentd, name: &str) -> Run {
    agentd.run(&["witness", "run", "--once", "--state-dir", name, "--json"])
}

fn size(agentd: &Agentd) -> u64 {
    agentd.run(&["checkpoint", "--json"]).with(0).json()["size"].as_u64().unwrap()
}

fn verify(agentd: &Agentd, keys: &[String], quorum: &str) -> Run {
    let mut arguments = vec!["verify-ledger", "--state-dir", "state", "--quorum", quorum, "--json"];
    for key in keys {
        arguments.extend(["--witness", key]);
    }
    agentd.run(&arguments)
}

/// What root can do: the same ledger with one event told differently, every hash, the tree and all checkpoints made anew
/// and signed with agentd's own key.
fn rewrite(agentd: &Agentd) {
    let (state, new) = (agentd.state(), agentd.path("rewritten"));
    fs::create_dir(&new).unwrap();
    for name in ["ledger.key", "ledger.vkey"] {
        fs::copy(state.join(name), new.join(name)).unwrap();
    }
    // A beginning that was interrupted: the ledger is made with the key that is there.
    fs::write(new.join("ledger.db.creating"), "").unwrap();
    let old = Ledger::open(&LedgerOptions::new(&state, "test.example/ledger")).unwrap();
    let ledger = Ledger::open(&LedgerOptions::new(&new, "test.example/ledger")).unwrap();
    let filter = EventFilter {
        after: Some(0),
        limit: agentos_api::Bounded::new(1000).unwrap(),
        ..EventFilter::default()
    };
    let page = old.page(&filter).unwrap();
    assert!(page.next.is_none());
    for event in page.events {
        let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
        let mut data = payload["data"].clone();
        if data["query"] == "kernel" {
            data["query"] = "uptime".into();
        }
        ledger.append_blocking(NewEvent::new(event.kind, event.actor, &data).unwrap()).unwrap();
    }
    assert_eq!(ledger.public_key(), old.public_key());
    drop((old, ledger));
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(state.join(name)));
    }
    fs::copy(new.join("ledger.db"), state.join("ledger.db")).unwrap();
}

#[test]
fn a_ledger_that_root_rewrote_and_signed_anew_is_found_by_its_witnesses() {
    let (mut agentd, keys) = watched();
    for query in ["os", "kernel", "time"] {
        agentd.run(&["query", query]).with(0);
    }
    let before = verify(&agentd, &keys, "2").with(1).json();
    assert_eq!(before["verdict"], "not_witnessed");
    for name in WITNESSES {
        let round = witness(&agentd, name).with(0).json();
        assert_eq!((&round["outcome"], &round["recorded"]), (&"cosigned".into(), &true.into()), "{round}");
    }
    agentd.run(&["query", "users"]).with(0);
    let whole = verify(&agentd, &keys, "2").with(0).json();
    assert_eq!(whole["verdict"], "whole");
    let (all, vouched) = (&whole["report"]["size"], &whole["witnessed"]["size"]);
    // The first witness's cosignature, the second's, and the question after them.
    assert_eq!(whole["witnessed"]["unwitnessed"], 3, "{whole}");
    assert_eq!(all.as_u64().unwrap() - vouched.as_u64().unwrap(), 3);
    let shown =
        agentd.run(&["verify-ledger", "--state-dir", "state", "--witness", &keys[0], "--witness", &keys[1]]);
    assert!(shown.stdout.starts_with("The ledger is whole.\n"), "{shown:?}");
    assert!(shown.stdout.contains(" by 2; 3 after them not"), "{shown:?}");
    verify(&agentd, &keys, "3").with(2);
    verify(&agentd, &keys[..1], "1").with(0);

    agentd.stop();
    verify(&agentd, &keys, "2").with(0);
    rewrite(&agentd);
    // In itself it is whole: nobody without the witnesses could tell.
    agentd.run(&["verify-ledger", "--state-dir", "state", "--full"]).with(0);
    let found = verify(&agentd, &keys, "2").with(1).json();
    assert_eq!(found["verdict"], "tampered");
    assert!(found["reason"].as_str().unwrap().contains("witness.test/"), "{found}");

    agentd.start_again();
    for name in WITNESSES {
        let refused = witness(&agentd, name).with(7);
        assert!(refused.stderr.contains("REFUSED"), "{}", refused.stderr);
        let evidence: Vec<_> = fs::read_dir(agentd.path(name).join("refused")).unwrap().collect();
        assert_eq!(evidence.len(), 1);
        let text = fs::read_to_string(evidence[0].as_ref().unwrap().path()).unwrap();
        assert_eq!(text.matches("\ntest.example/ledger\n").count(), 2, "{text}");
        assert_eq!(
            agentd.run(&["witness", "show", "--state-dir", name, "--json"]).with(1).json()["refused"],
            1
        );
    }
    // Who looks again and again ends there, too.
    agentd.run(&["witness", "run", "--every", "1s", "--state-dir", "one"]).with(7);
    // Without what was cosigned it does not pass either.
    fs::remove_file(agentd.state().join("ledger.cosigned")).unwrap();
    assert_eq!(verify(&agentd, &keys, "2").with(1).json()["verdict"], "not_witnessed");
}

#[test]
fn a_witness_that_looks_does_not_make_the_ledger_grow() {
    let (agentd, keys) = watched();
    for name in WITNESSES {
        witness(&agentd, name).with(0);
    }
    let grown = size(&agentd);
    for _ in 0..3 {
        for name in WITNESSES {
            let round = witness(&agentd, name).with(0).json();
            assert_eq!(
                (&round["outcome"], &round["recorded"]),
                (&"nothing_new".into(), &false.into()),
                "{round}"
            );
        }
    }
    assert_eq!(size(&agentd), grown);
    // What agentd lost is handed over again.
    let mut agentd = agentd;
    agentd.stop();
    fs::remove_file(agentd.state().join("ledger.cosigned")).unwrap();
    agentd.start_again();
    for name in WITNESSES {
        witness(&agentd, name).with(0);
    }
    verify(&agentd, &keys, "2").with(0);
}

#[test]
fn agentd_takes_cosignatures_from_the_operator_and_from_witnesses_it_knows() {
    let (agentd, _) = watched();
    let agent = agentd.path("agent.sock").display().to_string();
    let mut command = agentctl();
    command.args(["--socket", &agent, "witness", "run", "--state-dir"]).arg(agentd.path("one"));
    let refused = Run::of(&mut command).with(4);
    assert!(refused.stderr.contains("on the operator's socket only"), "{}", refused.stderr);
    agentd.run(&["witness", "init", "--name", "witness.test/three", "--state-dir", "three"]).with(0);
    let unknown = witness(&agentd, "three").with(4);
    assert!(unknown.stderr.contains("[ledger] witnesses"), "{}", unknown.stderr);
    let events = agentd.run(&["events", "--json", "--type", "ledger.*"]).with(0).stdout;
    assert!(
        events.contains("ledger.cosigning_refused") && !events.contains("\"ledger.cosigned\""),
        "{events}"
    );
}

#[test]
fn the_key_is_the_witnesses_alone_and_a_second_witness_does_not_replace_it() {
    let (agentd, keys) = watched();
    let mode = fs::metadata(agentd.path("one").join("witness.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    agentd.run(&["witness", "init", "--name", "other", "--state-dir", "one"]).with(5);
    let shown = agentd.run(&["witness", "show", "--state-dir", "one", "--json"]).with(0).json();
    assert_eq!(shown["key"], keys[0].as_str());
    agentd.run(&["witness", "run", "--state-dir", "nowhere"]).with(5);
}

/// `agentctl witness serve` on a socket of its own; ends with this.
struct Serving {
    child: std::process::Child,
    url: String,
}

impl Serving {
    fn start(agentd: &Agentd, name: &str) -> Self {
        let socket = agentd.path(&format!("{name}.sock"));
        let url = format!("unix:{}", socket.display());
        let arguments = ["witness", "serve", "--listen", &url, "--state-dir", name, "--json"];
        let child = agentd.command(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        let serving = Self { child, url };
        for _ in 0..3000 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                return serving;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the witness does not listen");
    }

    /// Sends a request as it stands, and answers all that came back.
    fn send(&self, request: &str) -> String {
        use std::io::{Read as _, Write as _};
        let path = self.url.strip_prefix("unix:").unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // What is not read to its end is answered and reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn post(&self, body: &str) -> String {
        let length = body.len();
        self.send(&format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn end(mut self) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(!std::path::Path::new(self.url.strip_prefix("unix:").unwrap()).exists());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_witness_that_serves_is_asked_and_its_cosignature_counts() {
    let (mut agentd, keys) = watched();
    let serving = Serving::start(&agentd, "one");
    let ask = |agentd: &Agentd| agentd.run(&["witness", "ask", &serving.url, "--json"]);
    for query in ["os", "kernel", "time"] {
        agentd.run(&["query", query]).with(0);
        let asked = ask(&agentd).with(0).json();
        assert_eq!(asked["recorded"], serde_json::json!(["witness.test/one"]), "{asked}");
    }
    verify(&agentd, &keys[..1], "1").with(0);
    // While it serves, nobody else uses its memory.
    let busy = witness(&agentd, "one").with(5);
    assert!(busy.stderr.contains("another process uses"), "{}", busy.stderr);

    let note = agentd.run(&["checkpoint", "--json"]).with(0).json()["note"].as_str().unwrap().to_owned();
    let unknowing = serving.post(&format!("old 0\n\n{note}"));
    assert!(unknowing.starts_with("HTTP/1.1 409 ") && unknowing.contains("text/x.tlog.size"), "{unknowing}");
    let foreign = note.replace("test.example/ledger", "test.example/other");
    assert!(serving.post(&format!("old 0\n\n{foreign}")).starts_with("HTTP/1.1 404 "));
    assert!(serving.post("old x\n\n").starts_with("HTTP/1.1 400 "));
    assert!(serving.post(&"x".repeat(100_000)).starts_with("HTTP/1.1 413 "));
    assert!(
        serving
            .send("GET /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n")
            .starts_with("HTTP/1.1 405 ")
    );

    agentd.stop();
    rewrite(&agentd);
    agentd.start_again();
    agentd.run(&["query", "os"]).with(0);
    let refused = ask(&agentd).with(7);
    assert!(refused.stderr.contains("refuses the ledger (422)"), "{}", refused.stderr);
    serving.end();
    let gone = agentd.run(&["witness", "ask", "unix:/nowhere/witness.sock"]).with(3);
    assert!(gone.stderr.contains("cannot be reached"), "{}", gone.stderr);
}
