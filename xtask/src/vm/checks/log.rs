//! The journal and the boots in it.

use agentos_api::query::{Boots, Journal, journal};
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::vm::ask::{Ask, expect};
use crate::vm::fixtures::LOG_LINES;
use crate::vm::nspawn::Guest;

fn log_of(ask: &Ask, args: Value) -> Result<journal::Output> {
    let mut all = json!({"unit": "fixture-log"});
    if let (Some(all), Value::Object(args)) = (all.as_object_mut(), args) {
        all.extend(args);
    }
    ask.query::<Journal>(&all)
}

fn lines(answer: &journal::Output) -> Vec<&str> {
    answer
        .entries
        .iter()
        .map(|entry| entry.message.as_str())
        .filter(|message| message.starts_with("line number"))
        .collect()
}

pub(super) fn journal_pages(ask: &Ask, _: &Guest) -> Result<()> {
    let expected: Vec<String> = (1..=LOG_LINES).map(|number| format!("line number {number}")).collect();
    // Backwards from the newest, a page at a time.
    let (mut collected, mut before) = (Vec::new(), None);
    loop {
        let page = log_of(
            ask,
            before
                .as_ref()
                .map_or(json!({"limit": 7}), |cursor: &String| json!({"limit": 7, "before_cursor": cursor})),
        )?;
        let mut messages: Vec<String> = lines(&page).into_iter().map(str::to_owned).collect();
        messages.append(&mut collected);
        collected = messages;
        before.clone_from(&page.first_cursor);
        if !page.more {
            break;
        }
    }
    expect(collected == expected, "backwards", &collected)?;
    // Forwards from the oldest.
    let mut page = log_of(ask, json!({"limit": 7, "oldest_first": true}))?;
    let mut collected: Vec<String> = lines(&page).into_iter().map(str::to_owned).collect();
    while page.more {
        page = log_of(ask, json!({"limit": 7, "after_cursor": page.last_cursor.context("no cursor")?}))?;
        collected.extend(lines(&page).into_iter().map(str::to_owned));
    }
    expect(collected == expected, "forwards", &collected)?;
    let nothing_new = log_of(ask, json!({"after_cursor": log_of(ask, json!({}))?.last_cursor}))?;
    expect(nothing_new.entries.is_empty() && !nothing_new.more, "nothing after the last", &nothing_new)
}

pub(super) fn journal_filters(ask: &Ask, _: &Guest) -> Result<()> {
    let grave = log_of(ask, json!({"priority": "err"}))?;
    expect(grave.entries.iter().any(|entry| entry.message == "a grave Error"), "by severity", &grave)?;
    expect(
        grave.entries.iter().all(|entry| entry.priority.is_some_and(|priority| priority <= 3)),
        "only grave",
        &grave,
    )?;
    expect(grave.entries[0].priority_name.as_deref() == Some("err"), "with its name", &grave)?;
    let found = log_of(ask, json!({"grep": "number (7|8)$"}))?;
    expect(lines(&found) == ["line number 7", "line number 8"], "by text", &found)?;
    expect(log_of(ask, json!({"grep": "Grave"}))?.entries.is_empty(), "a capital letter counts", &"Grave")?;
    let middle = &found.entries[0].timestamp;
    let later = log_of(ask, json!({"since": middle, "oldest_first": true, "limit": 1}))?;
    expect(later.entries[0].timestamp >= *middle, "since", &later)?;
    let earlier = log_of(ask, json!({"until": middle, "limit": 1}))?;
    expect(earlier.entries[0].timestamp <= *middle, "until", &earlier)?;
    expect(log_of(ask, json!({"until": "-1d"}))?.entries.is_empty(), "nothing yesterday", &"")?;
    expect(
        lines(&log_of(ask, json!({"since": "-1h", "boot": "0", "limit": 1000}))?).len() == LOG_LINES,
        "this boot",
        &"",
    )?;
    let kernel = ask.query::<Journal>(&json!({"identifier": "systemd", "limit": 1}))?;
    expect(kernel.entries.len() == 1, "by identifier", &kernel)?;
    let pid = found.entries[0].pid.context("no process")?;
    let by_pid = ask.query::<Journal>(&json!({"pid": pid, "limit": 1000}))?;
    expect(
        by_pid.entries.iter().all(|entry| entry.pid == Some(pid)) && !by_pid.entries.is_empty(),
        "by process",
        &pid,
    )
}

pub(super) fn journal_bytes(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = log_of(ask, json!({"limit": 1000, "message_bytes": 100}))?;
    let lossy = answer.entries.iter().find(|entry| entry.message.starts_with("caf")).context("no café")?;
    expect(lossy.lossy && lossy.message == "caf\u{fffd} is latin", "not UTF-8", lossy)?;
    expect(
        answer.entries.iter().any(|entry| entry.message == "red \u{1b}[31m text"),
        "an escape sequence",
        &"",
    )?;
    let long =
        answer.entries.iter().find(|entry| entry.message.starts_with("xxx")).context("no long line")?;
    expect(long.truncated && long.message.len() == 100, "cut", long)?;
    expect(
        answer.entries.iter().all(|entry| entry.timestamp.ends_with('Z') && !entry.cursor.is_empty()),
        "moments",
        &"",
    )
}

pub(super) fn journal_refuses(ask: &Ask, _: &Guest) -> Result<()> {
    for (args, status, field) in [
        (json!({"unit": "--output=verbose"}), 422, Some("unit")),
        (json!({"grep": "("}), 422, Some("grep")),
        (json!({"since": "yesterday"}), 422, Some("since")),
        (json!({"limit": 0}), 422, Some("limit")),
        (json!({"limit": -1}), 422, Some("limit")),
        (json!({"limit": 1_000_000_000}), 422, Some("limit")),
        (json!({"after_cursor": "s=0"}), 422, Some("after_cursor")),
        (json!({"boot": "-5000"}), 404, None),
    ] {
        let problem = ask.problem("journal", &args)?;
        let named =
            field.is_none_or(|field| problem.field.as_deref().is_some_and(|named| named.ends_with(field)));
        expect(problem.status == status && named, &args.to_string(), &problem)?;
    }
    Ok(())
}

pub(super) fn boots(ask: &Ask, guest: &Guest) -> Result<()> {
    let answer = ask.query::<Boots>(&json!({}))?;
    let id = guest.run(&["cat", "/proc/sys/kernel/random/boot_id"])?.trim().replace('-', "");
    let current = answer.boots.iter().find(|boot| boot.current).context("no current boot")?;
    expect(current.boot_id == id && current.last_entry.is_some(), "this boot", current)?;
    expect(answer.history_unavailable.is_none(), "its history", &answer)
}
