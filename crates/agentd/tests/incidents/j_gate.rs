//! A sandbox or a gate that was off, and nobody was told.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::bench::Bench;
use crate::common::{command, command_under, eventually};
use crate::incident::{Expected, Files, Found, Incident, Replay, Row, Typed};
use crate::{page, replay};

pub(crate) const TITLE: &str = "J. Sandbox or gate off silently";

const INCIDENTS: &[Incident] = &[
    Incident {
        name: "J1",
        what: "the sandbox was on in the settings, and off in fact: files outside were written",
        source: "2026-03, anthropics/claude-code 32285",
        expected: Expected::Blocked,
        types: &["file.write"],
        replay: Replay::Files(Files {
            set_up: "mkdir ws outside; echo 'sandbox: true' >ws/settings",
            act: "cd ws; echo x >../outside/f",
            typed: Typed::Steps(
                |root| json!([{ "mutation": "file.write", "args": { "path": root.join("w/outside/f"), "content": "x\n" } }]),
            ),
            holds: "test ! -e outside/f",
        }),
    },
    Incident {
        name: "J1-a",
        what: "what the sandbox is made of was missing",
        source: "the same",
        expected: Expected::Blocked,
        types: &[],
        replay: Replay::Own(missing),
    },
    Incident {
        name: "J3",
        what: "after an update the key that asked for confirmation had another name, and nothing was asked any more",
        source: "2026-01, zed-industries/zed 47346",
        expected: Expected::Blocked,
        types: &["file.write"],
        replay: Replay::Own(old_policy),
    },
];

#[test]
fn gates_off() {
    page::check(TITLE, INCIDENTS);
}

/// agentd that may not make namespaces: a command is refused, not run without them.
fn missing() -> Row {
    let folder = tempfile::tempdir().unwrap();
    let plain = command(folder.path(), "");
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set=-sys_admin", "--"]).arg(plain.get_program()).args(plain.get_args());
    let bench = Bench::of(folder, without);
    let place = bench.place("missing", "true");
    let before = place.tree();
    let refused = |command: String| {
        let observed = bench.observe(&command);
        assert!(observed.status >= 400, "{:#}", observed.json());
        let previewed = bench.preview(&command);
        assert!(previewed.status >= 400, "{:#}", previewed.json());
        assert_eq!(place.tree(), before, "it ran");
        Found::Refused(previewed.json()["code"].as_str().unwrap().to_owned())
    };
    let act = "touch ran; echo x >../home/ran";
    let shell = refused(place.within(act));
    let hidden = replay::in_each(|_, hide| refused(hide(&place, act)));
    Row { shell, typed: Found::NoMutation, hidden }
}

/// A policy that agentd cannot read puts nothing out of force, neither at a reload nor at a start.
fn old_policy() -> Row {
    const SHIPPED: &str = include_str!("../../../../packaging/etc/policy.toml");
    let folder = tempfile::tempdir().unwrap();
    let command = command_under(folder.path(), SHIPPED, "");
    let bench = Bench::of(folder, command);
    let place = bench.place("old", "true");
    let policy = bench.folder.path().join("policy.toml");
    std::fs::write(&policy, "[agent]\nold_key_confirm = true\n").unwrap();
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o644)).unwrap();
    bench.daemon.signal(Signal::HUP);
    eventually("it is rejected", || (!bench.daemon.events("policy.rejected").is_empty()).then_some(()));
    let before = place.tree();
    let asked = |answer: crate::common::Answer| {
        assert_eq!(answer.status, 202, "{:#}", answer.json());
        assert_eq!(place.tree(), before, "it ran unasked");
        let made = bench.approve(&answer.json());
        assert_eq!(made.status, 200, "{:#}", made.json());
        assert_ne!(place.tree(), before);
        assert_eq!(bench.undo(&answer.json()).status, 200);
        assert_eq!(place.tree(), before);
        Found::Waits
    };
    let shell = asked(bench.preview(&place.within("touch ran-unasked")));
    let hidden = replay::in_each(|_, hide| asked(bench.preview(&hide(&place, "touch ran-unasked"))));
    let path = place.path().join("w/ran-unasked");
    let typed = asked(bench.mutate("file.write", &json!({ "path": path, "content": "" })));
    let config = bench.folder.path().join("agentd.toml");
    let mut again = Command::new(env!("CARGO_BIN_EXE_agentd"));
    let ended = again.arg("--config").arg(config).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "it started with a policy that it cannot read");
    Row { shell, typed, hidden }
}
