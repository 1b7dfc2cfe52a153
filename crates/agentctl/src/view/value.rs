//! One value as text: its unit from its name, its moment in local time.

use jiff::Timestamp;

use crate::output::{Cell, Clock, Style, bytes, duration, percent};
use crate::tree::Tree;

/// A name as a person reads it: `usage.used_percent` is `usage used %`. Units that the value shows are left out.
pub(crate) fn label(name: &str) -> String {
    let (name, unit) = match name.strip_suffix("_percent") {
        Some(name) => (name, " %"),
        None => (
            ["_bytes", "_seconds", "_at"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name),
            "",
        ),
    };
    format!("{}{unit}", name.replace(['_', '.'], " "))
}

/// Whether a value says only that nothing is amiss.
pub(super) fn goes_without_saying(name: &str, value: &Tree) -> bool {
    let amiss = ["truncated", "incomplete", "lossy", "unresponsive"];
    value.is_empty() || (matches!(value, Tree::Bool(false)) && amiss.iter().any(|word| name.ends_with(word)))
}

/// Whether these are numbers, to be aligned on the right.
pub(super) fn is_number<'a>(cells: impl Iterator<Item = &'a Tree>) -> bool {
    let mut numbers = cells.filter(|cell| !matches!(cell, Tree::Null)).peekable();
    numbers.peek().is_some() && numbers.all(|cell| matches!(cell, Tree::Number(_)))
}

/// A value of the field `name`, in full: moments with their distance from now.
pub(super) fn cell(clock: &Clock, name: &str, value: &Tree) -> Cell {
    match moment(value) {
        Some(moment) => Cell::new(clock.full(moment)),
        None => brief(clock, name, value),
    }
}

/// A value for a table's cell: moments as local date and time.
pub(super) fn brief(clock: &Clock, name: &str, value: &Tree) -> Cell {
    let text = match value {
        Tree::Null => String::new(),
        Tree::Bool(value) => (if *value { "yes" } else { "no" }).to_owned(),
        Tree::Number(number) => number_text(name, number),
        Tree::String(text) => match moment(value) {
            Some(moment) => clock.absolute(moment),
            None => text.clone(),
        },
        Tree::Array(_) | Tree::Object(_) => inline(value),
    };
    let style = style(name, value);
    Cell::styled(text, style)
}

fn number_text(name: &str, number: &serde_json::Number) -> String {
    let real = number.as_f64().unwrap_or_default();
    if name.ends_with("_bytes") || name == "bytes" {
        number.as_u64().map_or_else(|| number.to_string(), bytes)
    } else if name.ends_with("_seconds") {
        duration(real)
    } else if name.ends_with("percent") {
        percent(real)
    } else if number.is_f64() {
        let text = format!("{real:.2}");
        text.strip_suffix(".00").map_or(text.clone(), str::to_owned)
    } else {
        number.to_string()
    }
}

/// The moment that a string is, if it is one: RFC 3339 with a date and a time.
fn moment(value: &Tree) -> Option<Timestamp> {
    match value {
        Tree::String(text) if (20..=40).contains(&text.len()) && text.as_bytes().get(10) == Some(&b'T') => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// A value in one line: `name=value` for objects, the name alone for a list of named things.
pub(crate) fn inline(value: &Tree) -> String {
    match value {
        Tree::Null => "-".to_owned(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(number) => number.to_string(),
        Tree::String(text) => text.clone(),
        Tree::Array(items) => items.iter().map(named).collect::<Vec<_>>().join(", "),
        Tree::Object(members) => members
            .iter()
            .filter(|(_, member)| !member.is_empty())
            .map(|(name, member)| match member {
                Tree::Array(_) => format!("{name}=[{}]", inline(member)),
                Tree::Object(_) => format!("{name}={{{}}}", inline(member)),
                Tree::String(text) if text.contains(' ') => format!("{name}={text:?}"),
                member => format!("{name}={}", inline(member)),
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// A thing in a list by its name or address, with the number that goes with it: `sshd (812)`, `192.0.2.1/24`.
fn named(item: &Tree) -> String {
    match (item.get("name"), item.get("pid"), item.get("address"), item.get("prefix_length")) {
        (Some(name), Some(pid), ..) => format!("{} ({})", inline(name), inline(pid)),
        (Some(name), ..) => inline(name),
        (.., Some(address), Some(length)) => format!("{}/{}", inline(address), inline(length)),
        _ => inline(item),
    }
}

/// What an event's payload says that happened, in a line: a query's name and arguments, or its data.
pub(crate) fn happening(payload: &str) -> String {
    let Ok(payload) = serde_json::from_str::<Tree>(payload) else { return String::new() };
    let Some(data) = payload.get("data") else { return String::new() };
    match (data.get("query"), data.get("args")) {
        (Some(query), Some(args)) => format!("{} {}", inline(query), inline(args)).trim_end().to_owned(),
        _ => inline(data),
    }
}

/// What is full, failed or wrong stands out.
fn style(name: &str, value: &Tree) -> Style {
    let last = name.rsplit('.').next().unwrap_or(name);
    match value {
        Tree::Number(number) if last == "used_percent" || last == "inodes_used_percent" => {
            match number.as_f64().unwrap_or_default() {
                95.0.. => Style::Bad,
                85.0.. => Style::Warning,
                _ => Style::Plain,
            }
        }
        Tree::String(text) => match (last, text.as_str()) {
            ("active_state", "active") => Style::Good,
            (
                "active_state" | "sub_state" | "load_state" | "system_state",
                "failed" | "error" | "degraded",
            ) => Style::Bad,
            ("priority_name", "emerg" | "emergency" | "alert" | "crit" | "critical" | "err" | "error") => {
                Style::Bad
            }
            ("priority_name", "warning") => Style::Warning,
            _ => Style::Plain,
        },
        _ => Style::Plain,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn clock() -> Clock {
        Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap(), TimeZone::UTC)
    }

    fn text(name: &str, json: &str) -> String {
        cell(&clock(), name, &serde_json::from_str(json).unwrap()).text
    }

    #[test]
    fn the_unit_comes_from_the_name() {
        assert_eq!(text("resident_bytes", "1610612736"), "1.5 GiB");
        assert_eq!(text("uptime_seconds", "7800.3"), "2 h 10 min");
        assert_eq!(text("cpu_percent", "12.345"), "12.3 %");
        assert_eq!(text("threads", "12345"), "12345");
        assert_eq!(text("one_minute", "0.5"), "0.50");
        assert_eq!(text("since", "\"2026-01-02T03:00:05Z\""), "2026-01-02 03:00:05 +00:00 (4 min ago)");
        assert_eq!(text("name", "\"2026-01-02 is no moment\""), "2026-01-02 is no moment");
        assert_eq!(text("up", "true"), "yes");
    }

    #[test]
    fn a_label_has_no_unit_and_no_underscores() {
        assert_eq!(label("usage.used_percent"), "usage used %");
        assert_eq!(label("measured_at"), "measured");
    }

    #[test]
    fn things_within_a_cell_are_named() {
        assert_eq!(text("processes", r#"[{"pid":812,"name":"sshd","unit":null}]"#), "sshd (812)");
        assert_eq!(text("addresses", r#"[{"address":"192.0.2.1","prefix_length":24}]"#), "192.0.2.1/24");
        assert_eq!(text("args", r#"{"a":[1,2],"b":{"c":"x y"},"d":null}"#), r#"a=[1, 2] b={c="x y"}"#);
    }

    proptest! {
        #[test]
        fn any_value_of_any_name_has_a_text(name in "[a-z_.]{0,20}(_bytes|_seconds|_percent|_at)?", number in any::<f64>(), string in ".{0,40}") {
            for json in [serde_json::json!(number), serde_json::json!(string), serde_json::json!([{ name.clone(): string }])] {
                let tree: Tree = serde_json::from_value(json).unwrap();
                drop(cell(&clock(), &name, &tree));
                drop(label(&name));
            }
        }
    }
}
