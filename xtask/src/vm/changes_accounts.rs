//! Changes of accounts and of the packet filter, in a machine with its own tools to look at what became of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::ask::expect;
use super::change_once::{self, Check, make, undo};
use super::nspawn::Guest;
use super::tally::{Tally, wait_for};
use crate::command::root;

const ON: [(&str, Check); 3] = [
    ("a change of a user is known to the machine's own tools, and taken back", user),
    ("a change of keys is what sshd takes, and taken back", key),
    ("a change of the firewall that is saved is there after all was flushed and the unit started", firewall),
];

/// Boots a machine with the program that makes changes, and checks each statement.
///
/// # Errors
/// When the machine cannot be set up.
pub(super) fn run(image: &Path, tally: &mut Tally) -> Result<()> {
    change_once::check(tally, &ON, |disk| change_once::boot(image, disk), "true")
}

fn user(guest: &Guest) -> Result<()> {
    let files = "cat /etc/passwd /etc/shadow /etc/group /etc/gshadow | sort";
    let before = guest.shell(files)?;
    let plan = make(
        guest,
        "/run/one",
        "user.create",
        &json!({"name": "carol", "create_home": true, "groups": ["users"]}),
    )?;
    expect(plan["undo"] == "exact", "undo", &plan["undo"])?;
    let known =
        guest.shell("id -nG carol; getent passwd carol; stat -c '%U:%G %a' /home/carol; passwd -S carol")?;
    expect(
        known.contains("carol users") && known.contains("carol:carol") && known.contains("carol L"),
        "id",
        &known,
    )?;
    guest.shell("pwck -rq && grpck -r")?;
    // The machine's own tool changes somebody else meanwhile.
    guest.shell("useradd --no-create-home dave && usermod -aG users dave")?;
    undo(guest, "/run/one")?;
    guest.shell("userdel dave")?;
    let after = guest.shell(files)?;
    expect(after.trim() == before.trim(), "the files", &after)?;
    // One that useradd(8) made, with a password, goes and comes back.
    guest.shell("useradd --create-home erin && echo erin:secret | chpasswd && usermod -aG users erin")?;
    let entries = "grep -h erin /etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/subuid /etc/subgid";
    let before = guest.shell(entries)?;
    let plan = make(guest, "/run/two", "user.delete", &json!({"name": "erin", "delete_home": true}))?;
    ensure!(!plan.to_string().contains("$y$"), "the hash stands in the plan");
    guest.shell("! getent passwd erin && test ! -e /home/erin")?;
    undo(guest, "/run/two")?;
    expect(guest.shell(entries)? == before, "the entries", &before)?;
    guest.shell("test -e /home/erin/.bashrc && userdel --remove erin 2>/dev/null")?;
    Ok(())
}

fn key(guest: &Guest) -> Result<()> {
    let blob = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    guest.shell("useradd --create-home finn")?;
    make(
        guest,
        "/run/three",
        "ssh_key.add",
        &json!({"user": "finn", "key": format!("ssh-ed25519 {blob} finn@home")}),
    )?;
    let found = guest.shell("stat -c '%U:%G %a' /home/finn/.ssh /home/finn/.ssh/authorized_keys; cat /home/finn/.ssh/authorized_keys")?;
    expect(
        found.contains("finn:finn 700") && found.contains("finn:finn 600") && found.contains(blob),
        "the file",
        &found,
    )?;
    undo(guest, "/run/three")?;
    guest.shell("test ! -e /home/finn/.ssh && userdel --remove finn 2>/dev/null")?;
    Ok(())
}

fn firewall(guest: &Guest) -> Result<()> {
    for (from, to) in [
        ("packaging/nftables/firewall.nft", "/usr/share/agentos/firewall.nft"),
        ("packaging/systemd/agentos-firewall.service", "/etc/systemd/system/agentos-firewall.service"),
    ] {
        let to = guest.path(to);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(root().join(from), to)?;
    }
    guest.shell("mkdir -p /etc/agentos && systemctl daemon-reload && systemctl enable agentos-firewall.service 2>/dev/null")?;
    make(guest, "/run/four", "firewall.close", &json!({"ports": "8080", "persist": true}))?;
    expect(guest.shell("nft list ruleset")?.contains("tcp dport 8080 drop"), "the rule", &"missing")?;
    guest.shell("systemd-analyze --man=no verify agentos-firewall.service && nft flush ruleset && systemctl start agentos-firewall.service")?;
    wait_for("the saved rule", Duration::from_secs(5), || {
        let rules = guest.shell("nft list ruleset")?;
        ensure!(rules.contains("tcp dport 8080 drop"), "{rules}");
        Ok(())
    })?;
    undo(guest, "/run/four")?;
    guest.shell("! nft list ruleset | grep agentos && test ! -e /etc/agentos/firewall.rules")?;
    Ok(())
}
