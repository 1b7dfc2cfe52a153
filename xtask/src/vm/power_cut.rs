//! The plug is pulled while agentd records, and then everything that it had acknowledged is looked for.
//!
//! What was acknowledged is known outside: each answer is reported over a serial port the moment it is there. Nothing may
//! be missing: no event, no entry of the memory, no link of the ledger's chain.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use agentos_api::memory::{DEFAULT_CATEGORY, StoreRequest};
use anyhow::{Context, Result, bail, ensure};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::qemu::Machine;
use agentos_setup::digest::hexadecimal;

/// Where the client is in the machine, and how many connections it holds.
pub(super) const CLIENT: &str = "usr/local/bin/agentos-load";
const CONNECTIONS: &str = "6";

/// How long it may take until enough was acknowledged.
const LOAD_TIME: Duration = Duration::from_mins(2);

/// What agentd answered before the power went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// A search for this text was recorded.
    Recalled { mark: String },
    /// A memory of this text was recorded and written, under this name.
    Stored { mark: String, id: String },
}

/// What was found after the power came back.
#[derive(Debug)]
pub(super) struct Survived {
    /// The events on the ledger.
    pub(super) events: usize,
    /// How often agentd was started.
    pub(super) starts: usize,
    /// What was acknowledged, and is not there.
    pub(super) lost: Vec<String>,
}

impl Acknowledged {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["recalled", mark] => Some(Self::Recalled { mark: (*mark).to_owned() }),
            ["stored", mark, id] => Some(Self::Stored { mark: (*mark).to_owned(), id: (*id).to_owned() }),
            _ => None,
        }
    }
}

/// Puts agentd under load and pulls the plug once `enough` was acknowledged.
///
/// # Errors
/// When agentd does not acknowledge that much.
pub(super) fn cut(machine: Machine, round: usize, enough: usize) -> Result<Vec<Acknowledged>> {
    let port = machine.acknowledged()?;
    let (program, round) = (format!("/{CLIENT}"), round.to_string());
    let words = [
        program.as_str(),
        "/run/agentos/operator.sock",
        "/dev/virtio-ports/agentos.acknowledged",
        &round,
        CONNECTIONS,
    ];
    machine.run(&[&["/usr/bin/systemd-run", "--quiet", "--unit=load"], words.as_slice()].concat())?;
    let deadline = Instant::now() + LOAD_TIME;
    while port.count() < enough {
        if Instant::now() > deadline {
            let log = machine.shell("systemctl status load agentd --no-pager --lines=20 || true")?;
            bail!("only {} of {enough} requests were acknowledged:\n{log}", port.count());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    machine.power_cut()?;
    let lines = port.finish()?;
    let parsed =
        |line: &String| Acknowledged::parse(line).with_context(|| format!("not of the client: {line:?}"));
    lines.iter().map(parsed).collect()
}

/// Looks for all that was acknowledged, in a machine that was started again.
///
/// # Errors
/// When agentd does not work, or its ledger is not whole.
pub(super) fn survived(machine: &Machine, acknowledged: &[Acknowledged]) -> Result<Survived> {
    let verdict = machine.run(&["/usr/bin/agentctl", "verify-ledger", "--json"])?;
    let verdict: Value = serde_json::from_str(&verdict)?;
    ensure!(verdict["verdict"] == "whole", "the ledger is not whole: {verdict}");
    let events = machine.run(&["/usr/bin/agentctl", "events", "--json", "--limit=100000"])?;
    let events = events.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let files = machine.shell("find /var/lib/agentos/memory -name '*.md' -exec cat {} +")?;
    Ok(compare(&events, &files, acknowledged))
}

fn compare(events: &[Value], files: &str, acknowledged: &[Acknowledged]) -> Survived {
    let of = |kind: &str, field: &str| -> HashSet<&str> {
        let wanted = events.iter().filter(|event| event["type"] == kind);
        wanted.filter_map(|event| event["payload"]["data"][field].as_str()).collect()
    };
    let searches = of("memory.recall", "query");
    let hashes = of("memory.store", "sha256");
    let words: HashSet<&str> = files.split_whitespace().collect();
    let mut lost = Vec::new();
    for answer in acknowledged {
        match answer {
            Acknowledged::Recalled { mark } => {
                if !searches.contains(mark.as_str()) {
                    lost.push(format!("the event of the search {mark}"));
                }
            }
            Acknowledged::Stored { mark, id } => {
                if !hashes.contains(hash(mark).as_str()) {
                    lost.push(format!("the event of the memory {mark}"));
                }
                if !words.contains(id.as_str()) || !words.contains(mark.as_str()) {
                    lost.push(format!("the memory {mark} ({id})"));
                }
            }
        }
    }
    let starts = events.iter().filter(|event| event["type"] == "agentd.start").count();
    Survived { events: events.len(), starts, lost }
}

/// What the ledger keeps of a memory.
fn hash(mark: &str) -> String {
    let request = StoreRequest {
        summary: mark.to_owned(),
        detail: String::new(),
        category: DEFAULT_CATEGORY.to_owned(),
        tags: Vec::new(),
    };
    let bytes = serde_json::to_vec(&request).unwrap_or_default();
    hexadecimal(digest(&SHA256, &bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn acknowledged() -> Vec<Acknowledged> {
        ["recalled a1", "stored b2 77ff"].map(|line| Acknowledged::parse(line).unwrap()).into()
    }

    fn events() -> Vec<Value> {
        vec![
            json!({ "type": "agentd.start", "payload": { "data": {} } }),
            json!({ "type": "memory.recall", "payload": { "data": { "query": "a1" } } }),
            json!({ "type": "memory.store", "payload": { "data": { "sha256": hash("b2") } } }),
        ]
    }

    #[test]
    fn what_is_there_is_not_lost() {
        let survived = compare(&events(), "## 10:00 b2\n\nid: 77ff\n", &acknowledged());
        assert!(survived.lost.is_empty(), "{survived:?}");
        assert_eq!((survived.events, survived.starts), (3, 1));
    }

    #[test]
    fn each_loss_is_named() {
        let lost = |events: &[Value], files: &str| compare(events, files, &acknowledged()).lost;
        let files = "b2 77ff";
        assert_eq!(lost(&events()[..2], files), ["the event of the memory b2"]);
        assert_eq!(lost(&events()[2..], files), ["the event of the search a1"]);
        assert_eq!(lost(&events(), "b2"), ["the memory b2 (77ff)"]);
        assert_eq!(lost(&events(), "77ff"), ["the memory b2 (77ff)"]);
    }

    #[test]
    fn a_line_of_somebody_else_is_no_acknowledgement() {
        for bad in ["", "recalled", "stored a", "lost a b", "recalled a b"] {
            assert_eq!(Acknowledged::parse(bad), None, "{bad:?}");
        }
    }
}
