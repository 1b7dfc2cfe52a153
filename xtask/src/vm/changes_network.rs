//! Changes of where names and the time come from, under a real systemd with its services for them.

use anyhow::{Result, ensure};
use serde_json::json;

use super::ask::expect;
use super::change_once::{self, make, plan, reason, run as act, undo};
use super::image;
use super::nspawn::{Disk, Guest};
use super::tally::Tally;

type Check = fn(&Guest) -> Result<()>;

const ON: [(&str, Check); 4] = [
    ("the clock is kept right over the network or not, by the same links as timedatectl makes", clock),
    ("the servers of the time are those that were named, and the old ones after the undo", time_servers),
    (
        "the name servers of an interface are those that were named, with all that they had before after the undo",
        names,
    ),
    (
        "the name servers of an interface that systemd-networkd manages hold, and go back to its own",
        managed_names,
    ),
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
    let made = make(guest, "/run/c1", "ntp.set", &json!({"enabled": false}))?;
    expect(made["risk"] == "destructive" && made["undo"] == "partial", "risk and undo", &made)?;
    progress(guest, "/run/c1", "All")?;
    let ours = guest.shell(SNAPSHOT)?;
    expect(ours.contains("NTP=no"), "timedatectl", &ours)?;
    undo(guest, "/run/c1")?;
    same(guest, &before)?;
    guest.shell("timedatectl set-ntp false")?;
    same(guest, &ours)?;
    // The other way round.
    let made = make(guest, "/run/c2", "ntp.set", &json!({"enabled": true}))?;
    expect(made["undo"] == "exact", "undo", &made)?;
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

/// What systemd-resolved and systemd-networkd have for an interface.
fn names_of(guest: &Guest, interface: &str) -> Result<String> {
    guest.shell(&format!(
        "resolvectl dns {interface}; resolvectl domain {interface}; find /etc/systemd/network | sort; ls -l /etc/resolv.conf"
    ))
}

fn servers_of(guest: &Guest, interface: &str) -> Result<String> {
    let said = guest.shell(&format!("resolvectl dns {interface}"))?;
    Ok(said.split_once(": ").map(|(_, servers)| servers.trim().to_owned()).unwrap_or_default())
}

fn names(guest: &Guest) -> Result<()> {
    guest.shell(
        "ip link add test0 type veth peer name peer0 && ip link set test0 up && ip link set peer0 up && ip address add 192.0.2.9/24 dev test0",
    )?;
    guest.shell("resolvectl dns test0 192.0.2.1:5353#dns.example 2001:db8::1 && resolvectl domain test0 a.example '~b.example'")?;
    let before = names_of(guest, "test0")?;
    expect(
        before.contains("192.0.2.1:5353#dns.example") && before.contains("~b.example"),
        "at first",
        &before,
    )?;
    let args = json!({"servers": ["192.0.2.53", "2001:db8::53"], "interface": "test0"});
    let made = make(guest, "/run/n1", "network.dns", &args)?;
    expect(made["undo"] == "exact" && made["risk"] == "destructive", "undo and risk", &made)?;
    expect(made["steps"][0]["can_lock_out"] == true, "the plan may lock out", &made)?;
    expect(
        servers_of(guest, "test0")? == "192.0.2.53 2001:db8::53",
        "systemd-resolved",
        &names_of(guest, "test0")?,
    )?;
    expect(
        names_of(guest, "test0")?.contains("a.example ~b.example"),
        "the domains",
        &names_of(guest, "test0")?,
    )?;
    progress(guest, "/run/n1", "All")?;
    let again = plan(guest, "/run/n2", "network.dns", &args)?;
    expect(again["risk"] == "read", "a plan of what is so already", &again)?;
    // What somebody else set meanwhile is not lost.
    guest.shell("resolvectl dns test0 192.0.2.77")?;
    let why = reason(undo(guest, "/run/n1"))?;
    expect(why.contains("192.0.2.77"), "the reason", &why)?;
    guest.shell("resolvectl dns test0 192.0.2.53 2001:db8::53")?;
    undo(guest, "/run/n1")?;
    let after = names_of(guest, "test0")?;
    expect(after == before, &before, &after)?;
    progress(guest, "/run/n1", "Nothing")?;
    let args = json!({"servers": ["192.0.2.53"], "search": ["c.example"], "interface": "test0"});
    make(guest, "/run/n1", "network.dns", &args)?;
    expect(
        names_of(guest, "test0")?.contains("(test0): c.example\n"),
        "the domains",
        &names_of(guest, "test0")?,
    )?;
    undo(guest, "/run/n1")?;
    let after = names_of(guest, "test0")?;
    expect(after == before, &before, &after)?;
    for (args, expected) in [
        (json!({"servers": ["192.0.2.53"]}), "interface"),
        (json!({"servers": ["192.0.2.53"], "interface": "test9"}), "the interface test9"),
        (json!({"servers": ["192.0.2.53"], "interface": "lo"}), "loopback"),
        (json!({"servers": ["192.0.2.53"], "interface": "a\nb"}), "the interface a"),
        (json!({"servers": [], "interface": "test0"}), "servers"),
        (json!({"servers": ["example.org"], "interface": "test0"}), "servers.0"),
        (
            json!({"servers": ["192.0.2.53"], "interface": "test0", "persist": true}),
            "systemd-networkd has no file",
        ),
    ] {
        let why = reason(plan(guest, "/run/n3", "network.dns", &args))?;
        expect(why.contains(expected), &args.to_string(), &why)?;
    }
    guest.shell("systemctl mask --runtime --quiet systemd-resolved && systemctl stop systemd-resolved")?;
    let args = json!({"servers": ["192.0.2.53"], "interface": "test0"});
    let why = reason(plan(guest, "/run/n3", "network.dns", &args))?;
    expect(why.contains("systemd-resolved does not run"), "the reason without systemd-resolved", &why)?;
    guest.shell("systemctl unmask --runtime --quiet systemd-resolved && systemctl start systemd-resolved && ip link delete test0")?;
    Ok(())
}

fn managed_names(guest: &Guest) -> Result<()> {
    guest.shell(
        "printf '[Match]\nName=test1\n[Network]\nAddress=192.0.2.9/24\nDNS=192.0.2.1\nDomains=own.example\n' \
         >/etc/systemd/network/50-test1.network && ip link add test1 type veth peer name peer1 && ip link set test1 up && ip link set peer1 up && \
         systemctl start systemd-networkd && for pause in $(seq 100); do \
         resolvectl dns test1 | grep --quiet 192.0.2.1 && break; sleep 0.1; done; networkctl status test1 --no-pager | head -n 5",
    )?;
    let before = names_of(guest, "test1")?;
    expect(before.contains("192.0.2.1") && before.contains("own.example"), "at first", &before)?;
    let args = json!({"servers": ["192.0.2.53"], "interface": "test1"});
    make(guest, "/run/m1", "network.dns", &args)?;
    expect(servers_of(guest, "test1")? == "192.0.2.53", "for now", &names_of(guest, "test1")?)?;
    progress(guest, "/run/m1", "All")?;
    undo(guest, "/run/m1")?;
    let after = names_of(guest, "test1")?;
    expect(after == before, &before, &after)?;
    // It is systemd-networkd's own again, which it can change.
    guest.shell("sed --in-place s/DNS=192.0.2.1/DNS=192.0.2.2/ /etc/systemd/network/50-test1.network && networkctl reload && sleep 1")?;
    expect(servers_of(guest, "test1")? == "192.0.2.2", "its own", &names_of(guest, "test1")?)?;
    let before = names_of(guest, "test1")?;
    let args =
        json!({"servers": ["192.0.2.53"], "search": ["new.example"], "interface": "test1", "persist": true});
    let made = make(guest, "/run/m2", "network.dns", &args)?;
    expect(made.to_string().contains("+DNS=192.0.2.53"), "the file", &made)?;
    progress(guest, "/run/m2", "All")?;
    let now = names_of(guest, "test1")?;
    expect(
        now.contains("192.0.2.53") && now.contains("new.example") && !now.contains("own.example"),
        "for now",
        &now,
    )?;
    // As after the next start.
    guest.shell("systemctl restart systemd-networkd systemd-resolved && sleep 1")?;
    let then = names_of(guest, "test1")?;
    expect(then == now, &now, &then)?;
    undo(guest, "/run/m2")?;
    let after = names_of(guest, "test1")?;
    expect(after == before, &before, &after)?;
    guest.shell("networkctl reload && sleep 1")?;
    let after = names_of(guest, "test1")?;
    expect(after == before, &before, &after)?;
    guest.shell("systemctl stop systemd-networkd.socket systemd-networkd; ip link delete test1; rm -r /etc/systemd/network/50-test1.network")?;
    Ok(())
}
