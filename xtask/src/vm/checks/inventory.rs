//! Who is logged in and what is installed.

use agentos_api::query::{Packages, Sessions, sessions};
use anyhow::{Context, Result};
use serde_json::json;

use crate::vm::ask::{Ask, expect};
use crate::vm::nspawn::Guest;

pub(super) fn sessions_of_logind(ask: &Ask, guest: &Guest) -> Result<()> {
    let answer = ask.query::<Sessions>(&json!({}))?;
    expect(answer.source == sessions::Source::Logind, "from logind", &answer)?;
    let session =
        answer.sessions.iter().find(|session| session.user == "nobody").context("no session of nobody")?;
    expect(session.uid == Some(65_534) && session.since.is_some(), "its user", session)?;
    let leader = guest.run(&["loginctl", "show-session", "--property=Leader", "--value", &session.id])?;
    expect(
        session.leader_pid.map(|pid| pid.to_string()).as_deref() == Some(leader.trim()),
        "its leader",
        session,
    )?;
    let nobody_else = ask.query::<Sessions>(&json!({"user": "somebody"}))?;
    expect(nobody_else.total == 0, "by user", &nobody_else)
}

pub(super) fn packages(ask: &Ask, guest: &Guest) -> Result<()> {
    let listed = guest.run(&["dpkg-query", "-W", "-f", "${Package} ${Version}\n"])?;
    let answer = ask.query::<Packages>(&json!({"limit": 1000}))?;
    let mut expected: Vec<&str> = listed.lines().collect();
    expected.sort_unstable();
    let mut given: Vec<String> =
        answer.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    given.sort();
    expect(given == expected, "as dpkg lists", &(given.len(), expected.len()))?;
    let exact = ask.query::<Packages>(&json!({"exact": "systemd"}))?;
    expect(exact.total == 1 && exact.packages[0].size_bytes.is_some(), "one of them", &exact)
}
