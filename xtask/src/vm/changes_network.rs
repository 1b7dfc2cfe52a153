//! Changes of where names and the time come from, under a real systemd with its services for them.

use anyhow::{Result, ensure};
use serde_json::json;

use super::ask::expect;
use super::change_once::{self, make, plan, reason, run as act, undo};
use super::image;
use super::nspawn::{Disk, Guest};
use super::tally::Tally;

type Check = fn(&Guest) -> Result<()>;

const ON: [(&str, Check); 2] = [
    ("the clock is kept right over the network or not, by the same links as timedatectl makes", clock),
    ("the servers of the time are those that were named, and the old ones after the undo", time_servers),
];

/// All that could change: what systemd starts, and the configuration of the clock.
const SNAPSHOT: &str = "for pause in $(seq 100); do systemctl list-jobs --no-legend | grep --quiet . || break; sleep 0.1; done; \
                        cd /etc/systemd; find . -printf '%p %y %l %m %U:%G\\n' | sort; \
                        find . -type f | sort | xargs sha256sum; \
                        systemctl is-active systemd-timesyncd other-time || true; timedatectl show --property=NTP";

/// Boots a machine with the program that makes changes, and checks each statement.
///
/// # Errors
/// When the machine cannot be set up.
pub(super) fn run(tally: &mut Tally) -> Result<()> {
    if !ON.iter().any(|(statement, _)| tally.takes(statement)) {
        return Ok(());
    }
    let image = image::networked()?;
    let disk = Disk::new()?;
    let guest = change_once::boot(&image, &disk)?;
    for (statement, check) in ON {
        tally.test(statement, || check(&guest));
    }
    guest.power_off()
}

fn same(guest: &Guest, before: &str) -> Result<()> {
    let after = guest.shell(SNAPSHOT)?;
    expect(after == before, &format!("what is there, where this was: {before}"), &after)
}

fn progress(guest: &Guest, folder: &str, expected: &str) -> Result<()> {
    let found = act(guest, "progress", folder)?;
    expect(found.trim() == expected, "progress", &found)
}

fn clock(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    ensure!(before.contains("NTP=yes"), "the clock is not kept right at first: {before}");
    make(guest, "/run/c1", "ntp.set", &json!({"enabled": false}))?;
    progress(guest, "/run/c1", "All")?;
    let ours = guest.shell(SNAPSHOT)?;
    expect(ours.contains("NTP=no"), "timedatectl", &ours)?;
    undo(guest, "/run/c1")?;
    same(guest, &before)?;
    guest.shell("timedatectl set-ntp false")?;
    same(guest, &ours)?;
    // The other way round.
    make(guest, "/run/c2", "ntp.set", &json!({"enabled": true}))?;
    same(guest, &before)?;
    let again = plan(guest, "/run/c3", "ntp.set", &json!({"enabled": true}))?;
    expect(again["risk"] == "read", "a plan of what is so already", &again)?;
    undo(guest, "/run/c2")?;
    same(guest, &ours)?;
    guest.shell("timedatectl set-ntp true")?;
    same(guest, &before)?;
    // Another program that comes first, as chrony's package puts it.
    guest.shell(
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \
         >/etc/systemd/system/other-time.service; mkdir -p /etc/systemd/ntp-units.d; \
         echo other-time.service >/etc/systemd/ntp-units.d/50-other.list; systemctl daemon-reload; systemctl restart systemd-timedated",
    )?;
    let with_other = guest.shell(SNAPSHOT)?;
    let made = make(guest, "/run/c4", "ntp.set", &json!({"enabled": true}))?;
    expect(made.to_string().contains("other-time.service"), "who keeps the clock", &made)?;
    let ours = guest.shell(SNAPSHOT)?;
    undo(guest, "/run/c4")?;
    same(guest, &with_other)?;
    guest.shell("timedatectl set-ntp true")?;
    same(guest, &ours)?;
    let why = reason(plan(guest, "/run/c5", "ntp.set", &json!({"enabled": true, "servers": ["a.example"]})))?;
    expect(why.contains("other-time.service") && why.contains("configuration"), "the reason", &why)?;
    guest.shell(
        "timedatectl set-ntp false; rm -r /etc/systemd/system/other-time.service /etc/systemd/ntp-units.d; \
         systemctl daemon-reload; systemctl restart systemd-timedated; timedatectl set-ntp true",
    )?;
    same(guest, &before)
}

fn time_servers(guest: &Guest) -> Result<()> {
    let servers = "timedatectl show-timesync --property=SystemNTPServers --value";
    let before = guest.shell(SNAPSHOT)?;
    let at_first = guest.shell(servers)?;
    let args = json!({"enabled": true, "servers": ["time.example.org", "192.0.2.7", "2001:db8::7"]});
    let made = make(guest, "/run/c6", "ntp.set", &args)?;
    expect(made.to_string().contains("+NTP=time.example.org 192.0.2.7 2001:db8::7"), "the file", &made)?;
    progress(guest, "/run/c6", "All")?;
    let said = guest.shell(servers)?;
    expect(said.trim() == "time.example.org 192.0.2.7 2001:db8::7", "timesyncd", &said)?;
    // Other servers stand in place of these, not beside them; none are those of the distribution.
    make(guest, "/run/c7", "ntp.set", &json!({"enabled": true, "servers": ["b.example"]}))?;
    expect(guest.shell(servers)?.trim() == "b.example", "timesyncd", &guest.shell(servers)?)?;
    make(guest, "/run/c8", "ntp.set", &json!({"enabled": true, "servers": []}))?;
    expect(guest.shell(servers)? == at_first, "timesyncd", &guest.shell(servers)?)?;
    for folder in ["/run/c8", "/run/c7", "/run/c6"] {
        // That many starts in a row are more than systemd lets pass.
        guest.shell("systemctl reset-failed")?;
        undo(guest, folder)?;
    }
    expect(guest.shell(servers)? == at_first, "timesyncd", &guest.shell(servers)?)?;
    same(guest, &before)?;
    for (servers, field) in [
        (json!(["a b"]), "servers.0"),
        (json!(["ok.example", "a\nNTP=x"]), "servers.1"),
        (json!(["%h"]), "servers.0"),
        (json!(["-x"]), "servers.0"),
        (json!([""]), "servers.0"),
    ] {
        let why = reason(plan(guest, "/run/c9", "ntp.set", &json!({"enabled": true, "servers": servers})))?;
        expect(why.contains(field), field, &why)?;
    }
    same(guest, &before)
}
