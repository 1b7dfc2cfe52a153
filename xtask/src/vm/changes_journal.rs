//! The journal's archived files go, under a real journald.

use anyhow::{Result, ensure};
use serde_json::json;

use super::ask::expect;
use super::change_once::{plan, reason, run as act, undo};
use super::changes_jobs::progress;
use super::nspawn::Guest;

/// Makes three archived files, has two of them go, and looks at what journald and journalctl make of it.
///
/// # Errors
/// What is not as it was said.
pub(super) fn vacuumed(guest: &Guest) -> Result<()> {
    const ARCHIVED: &str = "find /var/log/journal -name '*@*' | sort";
    // Three archived files, with a line in each.
    let mut files = guest.shell(ARCHIVED)?;
    for number in 1..=3 {
        guest.shell(&format!("echo vacuumed-line-{number} | systemd-cat --identifier=vacuumed; journalctl --sync; journalctl --rotate"))?;
        let now = guest.shell(ARCHIVED)?;
        ensure!(now.lines().count() > files.lines().count(), "{now}");
        files = now;
    }
    let lines = "journalctl --quiet --identifier=vacuumed --output=cat";
    expect(guest.shell(lines)?.lines().count() == 3, "the lines", &guest.shell(lines)?)?;
    // Nothing is older than a day.
    let none = plan(guest, "/run/j1", "journal.vacuum", &json!({"keep_days": 1}))?;
    expect(none["risk"] == "read", "a plan of nothing", &none)?;
    // The youngest stays.
    let of_last =
        "find /var/log/journal -name 'system@*' -printf '%T@ %b\n' | sort --numeric-sort | tail -n 1";
    let blocks: u64 = guest.shell(of_last)?.split_whitespace().last().unwrap_or_default().parse()?;
    let shown = plan(guest, "/run/j2", "journal.vacuum", &json!({"keep_bytes": blocks * 512}))?;
    expect(shown["risk"] == "destructive" && shown["undo"] == "impossible", "risk and undo", &shown)?;
    let effect = &shown["steps"][0]["effects"][0];
    let listed = effect["diff"].as_str().unwrap_or_default().to_owned();
    // As journalctl counts them.
    let mut entries = 0_u64;
    for line in listed.lines() {
        let file = line.trim_start_matches('-').split(' ').next().unwrap_or_default();
        let said = guest.shell(&format!("journalctl --quiet --output=cat --file={file} --output-fields=PRIORITY --no-pager | wc -l; journalctl --header --file={file} | grep '^Entry objects'"))?;
        let count = said.lines().last().and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        entries += count.parse::<u64>()?;
    }
    expect(
        effect["before"].to_string().contains(&format!(", {entries} entries from ")),
        "the entries",
        &(entries, effect),
    )?;
    act(guest, "apply", "/run/j2")?;
    progress(guest, "/run/j2", "All")?;
    let left = guest.shell(ARCHIVED)?;
    expect(left.lines().filter(|file| listed.contains(*file)).count() == 0, "what is left", &left)?;
    expect(
        left.lines().count() + listed.lines().count() == files.lines().count(),
        "what is left",
        &(&left, &listed),
    )?;
    // journald and journalctl go on as if nothing had been.
    guest.shell("echo vacuumed-line-4 | systemd-cat --identifier=vacuumed; journalctl --sync; journalctl --verify --quiet")?;
    let said = guest.shell(lines)?;
    expect(
        said.contains("line-3") && said.contains("line-4") && !said.contains("line-1"),
        "the lines that stay",
        &said,
    )?;
    let why = reason(undo(guest, "/run/j2"))?;
    expect(why.contains("do not come back"), "the reason", &why)
}
