//! The replay of an incident whose effect is on files, in each of the ways.

use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, Place};
use crate::common::Answer;
use crate::incident::{Files, Found, Incident, Row, Typed};

/// A way to hide shell text: the name that the test's output has for it, and the command.
pub(crate) type Hidden = (&'static str, fn(&Place, &str) -> String);

/// How the names of those ways end that begin an interpreter.
const INTERPRETERS: [&str; 2] = ["perl", "python"];

/// Ways in which no word of the text is in the command: in a script, and as digits for an interpreter.
pub(crate) fn hidden() -> Vec<Hidden> {
    fn script(place: &Place, text: &str) -> String {
        std::fs::write(place.path().join("x.sh"), text).unwrap();
        place.within("sh ../x.sh")
    }
    fn perl(place: &Place, text: &str) -> String {
        place.within(&format!(
            "perl -e 'exit(system(\"sh\", \"-c\", pack(\"H*\", \"{}\")) >> 8)'",
            digits(text)
        ))
    }
    fn python(place: &Place, text: &str) -> String {
        let digits = digits(text);
        place.within(&format!(
            "/usr/bin/python3 -c 'import subprocess; subprocess.run([\"sh\", \"-c\", bytes.fromhex(\"{digits}\")])'"
        ))
    }
    let mut ways: Vec<Hidden> = vec![("in a script", script), ("in perl", perl)];
    // perl is part of every Debian, python is not.
    if std::path::Path::new("/usr/bin/python3").exists() {
        ways.push(("in python", python));
    }
    ways
}

fn digits(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| format!("{all}{byte:02x}"))
}

/// Replays in every way.
pub(crate) fn files(Incident { name, types, .. }: &Incident, incident: &Files) -> Row {
    let bench = Bench::start();
    let shell = through(&bench, &format!("{name} shell"), incident, |place| {
        command(&bench, place, &place.within(incident.act))
    });
    let typed = match incident.typed {
        Typed::No => Found::NoMutation,
        Typed::Changes(changes) => in_parts(&bench, &format!("{name} typed"), incident, |root| {
            changes(root).into_iter().map(|steps| of(types, &steps)).collect()
        }),
        Typed::Booted(mutation, statement) => Found::Elsewhere([mutation, statement]),
        Typed::Steps(steps) => through(&bench, &format!("{name} typed"), incident, |place| {
            bench.ask(&of(types, &steps(place.path())))
        }),
    };
    Row {
        shell,
        typed,
        hidden: in_each(|way, hide| {
            through(&bench, &format!("{name} {way}"), incident, |place| {
                command(&bench, place, &hide(place, incident.act))
            })
        }),
    }
}

/// One change of these steps, which are of the kinds that the page names.
fn of(types: &[&str], steps: &Value) -> Value {
    let kinds: Vec<&str> =
        steps.as_array().unwrap().iter().map(|step| step["mutation"].as_str().unwrap()).collect();
    assert!(kinds.iter().all(|kind| types.contains(kind)), "{kinds:?} are more than {types:?}");
    json!({ "steps": steps })
}

/// What is found in each hidden way, which has to be the same.
pub(crate) fn in_each(mut replay: impl FnMut(&str, fn(&Place, &str) -> String) -> Found) -> Found {
    let mut found: Option<Found> = None;
    for (way, hide) in hidden() {
        let this = replay(way, hide);
        assert_eq!(found.get_or_insert_with(|| this.clone()), &this, "{way}");
    }
    found.unwrap()
}

/// Runs a command as the agent can: it may look, which changes nothing, and then ask for what it does to files.
fn command(bench: &Bench, place: &Place, command: &str) -> Answer {
    let before = place.tree();
    let observed = bench.observe(command);
    assert_eq!(observed.status, 200, "{command}: {:#}", observed.json());
    assert_eq!(place.tree(), before, "observing changed something: {command}");
    bench.preview(command)
}

/// Replays in one way, and answers how it ended.
fn through(bench: &Bench, way: &str, incident: &Files, ask: impl Fn(&Place) -> Answer) -> Found {
    let place = |name: &str| bench.place(&format!("{}-{name}", way.replace(' ', "-")), incident.set_up);
    let holds = |place: &Place| place.sh(incident.holds);
    let exact = place("exact");
    assert!(holds(&exact), "{way}: it does not hold at first");
    let before = exact.tree();
    let answer = ask(&exact);
    assert_eq!(exact.tree(), before, "{way}: it was changed without a yes");
    let change = answer.json();
    match answer.status {
        202 => {}
        403 | 409 | 429 => return Found::Refused(change["code"].as_str().unwrap().to_owned()),
        _ => panic!("{way}: {change:#}"),
    }
    // Interpreters are slow to start, and what they lead to is the same as a script: there the yes is for this one alone.
    if INTERPRETERS.iter().all(|interpreter| !way.ends_with(interpreter)) {
        let other = place("other");
        assert!(holds(&other), "{way}: it does not hold at first");
        let answer = ask(&other);
        assert_eq!(answer.status, 202, "{way}: {:#}", answer.json());
        another_yes_is_none(bench, way, &change, &answer.json());
        assert!(!holds(&other), "{way}: what was approved was made");
        assert_eq!(ask(&exact).status, 202, "{way}: it waits again, whatever was approved elsewhere");
        assert!(holds(&exact) && exact.tree() == before, "{way}: the yes to another one let it through");
    }
    let made = bench.approve(&change);
    assert_eq!(made.status, 200, "{way}: {:#}", made.json());
    assert!(!holds(&exact), "{way}: it was made: {:#}", made.json());
    let undone = bench.undo(&change);
    assert_eq!(undone.status, 200, "{way}: {:#}", undone.json());
    assert_eq!(exact.tree(), before, "{way}: it is not as it was");
    assert!(holds(&exact), "{way}");
    Found::Waits
}

/// Replays as several changes, each of which waits; one undo takes all of them back.
fn in_parts(bench: &Bench, way: &str, incident: &Files, changes: impl Fn(&Path) -> Vec<Value>) -> Found {
    let place = bench.place(&way.replace(' ', "-"), incident.set_up);
    let before = place.tree();
    let mut made: Vec<Value> = Vec::new();
    for change in changes(place.path()) {
        let since = place.tree();
        let answer = bench.ask(&change);
        assert_eq!(answer.status, 202, "{way}: {:#}", answer.json());
        let change = answer.json();
        if let Some(last) = made.last() {
            let wrong = json!({ "decision": "approve", "plan_hash": last["plan"]["hash"] });
            bench.decide(&change, &wrong).problem(409, "plan_changed");
        }
        assert_eq!(place.tree(), since, "{way}: it was changed without a yes");
        let answer = bench.approve(&change);
        assert_eq!(answer.status, 200, "{way}: {:#}", answer.json());
        made.push(change);
    }
    assert!(!place.sh(incident.holds), "{way}: it was made");
    let whole = json!({ "reason": "it was a mistake", "with_dependents": true });
    let undone = bench.operator(&format!("/changes/{}/undo", made[0]["id"]), &whole);
    if undone.status == 200 {
        assert_eq!(place.tree(), before, "{way}: it is not as it was");
        return Found::Waits;
    }
    // What cannot be taken back as a whole is refused as a whole; the last part is taken back by itself, and nothing is lost.
    undone.problem(409, "plan_moved");
    assert!(!place.sh(incident.holds), "{way}: a part was taken back");
    let last = bench.undo(made.last().unwrap());
    assert_eq!(last.status, 200, "{way}: {:#}", last.json());
    assert!(place.sh(incident.holds), "{way}: it is lost");
    Found::Open(
        "the deletion is undone exactly; the moves before it are not: what is brought back is another file than was moved",
    )
}

/// Approves the same thing elsewhere, and tries all that is no yes to a change: it goes on waiting.
fn another_yes_is_none(bench: &Bench, way: &str, change: &Value, elsewhere: &Value) {
    let yes = json!({ "decision": "approve", "plan_hash": change["plan"]["hash"] });
    let own = bench.daemon.post(&format!("/approvals/{}", change["id"]), &yes.to_string());
    own.problem(403, "forbidden");
    let wrong = json!({ "decision": "approve", "plan_hash": elsewhere["plan"]["hash"] });
    bench.decide(change, &wrong).problem(409, "plan_changed");
    bench.decide(change, &json!({ "decision": "approve" })).problem(409, "plan_changed");
    assert_eq!(bench.decide(change, &json!({})).status, 422, "{way}");
    let made = bench.approve(elsewhere);
    assert_eq!(made.status, 200, "{way}: {:#}", made.json());
    assert_eq!(bench.change(change)["status"], "waiting", "{way}");
}
