//! Changes of packages, with the real apt under a real systemd.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::ask::expect;
use super::change_once::{self, AGENTCTL, AGENTD, Check, PROGRAM, make, plan, reason, run as act, undo};
use super::nspawn::Guest;
use super::tally::{Tally, wait_for};

const ON: [(&str, Check); 12] = [
    ("a package is installed with what it needs, and the undo removes just that", installed),
    ("a package's removal names all that it drags along, and the undo brings the same back", removed),
    ("a package that is purged comes back with the configuration that it had", purged),
    ("a package is upgraded with its service, and goes back to the version before", upgraded),
    ("a package whose script fails is taken back, and what the script printed is told", failing),
    ("a package waits for dpkg's lock, and who holds it too long is named", locked),
    ("a package goes on being installed when the program that asked for it is killed", killed),
    (
        "a package goes on being installed when agentd is killed, and the next agentd sees how it ended",
        outlived,
    ),
    ("a package that the agent removes waits for a person, who sees all that goes with it", waiting),
    ("a package that is cut off half way is told with what mends it", cut),
    ("a package that the machine is reached through is removed on probation", reached),
    ("a package of agentd's, and what is essential, is out of the agent's reach", kept),
];

/// The archive that apt knows.
const ARCHIVE: &str = include_str!("changes_packages/archive.sh");
/// The packages of the archive with their states, which of them are automatic, and what they have on the disk.
const SNAPSHOT: &str = "ours='app bad lib plug served sleepy slow'; \
                        dpkg-query --show --showformat='${db:Status-Abbrev} ${Package} ${Version}\\n' $ours 2>/dev/null || true; \
                        apt-mark showauto $ours 2>/dev/null; cd /usr/share; \
                        find /etc/app.d $ours -type f 2>/dev/null | sort | xargs -r sha256sum";
/// Holds dpkg's lock as apt does (fcntl(2)) for some seconds, and says when it has it.
const HOLDER: &str = "perl -e '$| = 1; open(F, \"+>>\", \"/var/lib/dpkg/lock-frontend\") or die; \
                      my $l = pack(\"s s x4 q q i x4\", 1, 0, 0, 0, 0); fcntl(F, 6, $l) or die; \
                      open(G, \">\", \"/run/held\"); print G $$; close(G); sleep shift' ";

/// Boots a machine with the program that makes changes, and checks each statement.
///
/// # Errors
/// When the machine cannot be set up.
pub(super) fn run(image: &Path, tally: &mut Tally) -> Result<()> {
    change_once::check(tally, &ON, |disk| change_once::boot_with_agentd(image, disk), ARCHIVE)
}

fn is(guest: &Guest, folder: &str, expected: &str) -> Result<()> {
    let found = act(guest, "progress", folder)?;
    expect(found.trim() == expected, "progress", &found)
}

fn is_as(guest: &Guest, before: &str) -> Result<()> {
    let after = guest.shell(SNAPSHOT)?;
    expect(after == before, "the packages after the undo", &(before, &after))?;
    guest.shell(
        "! systemctl list-units --all --no-legend | grep agentos-packages && test ! -e /run/agentos-packages",
    )?;
    Ok(())
}

fn diff(plan: &Value) -> &str {
    plan["steps"][0]["effects"][0]["diff"].as_str().unwrap_or_default()
}

fn installed(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let args = json!({"names": ["plug"]});
    let planned = plan(guest, "/run/install", "package.install", &args)?;
    expect(diff(&planned) == "+app 2\n+lib 1\n+plug 1\n", "the diff", &planned)?;
    expect(planned["risk"] == "medium", "the risk", &planned["risk"])?;
    expect(guest.shell(SNAPSHOT)? == before, "after the plan alone", &before)?;
    is(guest, "/run/install", "Nothing")?;
    act(guest, "apply", "/run/install")?;
    is(guest, "/run/install", "All")?;
    guest.shell("dpkg --audit; test \"$(apt-mark showmanual plug app lib)\" = plug")?;
    undo(guest, "/run/install")?;
    is_as(guest, &before)
}

/// The older version with what needs it, and configuration that somebody edited.
fn install_app(guest: &Guest) -> Result<()> {
    guest.shell("apt-get -y -qq install plug app=1 && apt-mark auto app >/dev/null && echo mine >>/etc/app.d/app.conf")?;
    Ok(())
}

fn removed(guest: &Guest) -> Result<()> {
    install_app(guest)?;
    let before = guest.shell(SNAPSHOT)?;
    let planned = make(guest, "/run/remove", "package.remove", &json!({"names": ["lib"]}))?;
    let expected = "-app 1\n+app (configuration alone)\n-lib 1\n-plug 1\n";
    expect(diff(&planned) == expected, "the diff", &planned)?;
    expect(planned["risk"] == "destructive", "the risk", &planned["risk"])?;
    guest.shell("! dpkg -s lib >/dev/null 2>&1 && test -e /etc/app.d/app.conf")?;
    is(guest, "/run/remove", "All")?;
    undo(guest, "/run/remove")?;
    is_as(guest, &before)?;
    guest.shell("apt-get -y -qq purge plug app lib")?;
    Ok(())
}

fn purged(guest: &Guest) -> Result<()> {
    install_app(guest)?;
    let before = guest.shell(SNAPSHOT)?;
    let planned = make(guest, "/run/purge", "package.remove", &json!({"names": ["app"], "purge": true}))?;
    expect(diff(&planned) == "-app 1\n-plug 1\n-/etc/app.d/app.conf\n", "the diff", &planned)?;
    guest.shell("test ! -e /etc/app.d")?;
    // Nobody has that version any more but what was kept.
    guest.shell("mkdir /srv/away && mv /srv/archive/app_1_all.deb /srv/away && apt-get -qq clean")?;
    undo(guest, "/run/purge")?;
    guest.shell("mv /srv/away/* /srv/archive && rmdir /srv/away")?;
    is_as(guest, &before)?;
    guest.shell("apt-get -y -qq purge plug app lib")?;
    Ok(())
}

fn upgraded(guest: &Guest) -> Result<()> {
    guest.shell("apt-get -y -qq install served=1")?;
    let before = guest.shell(SNAPSHOT)?;
    let planned = make(guest, "/run/upgrade", "package.upgrade", &json!({"names": ["served"]}))?;
    expect(diff(&planned) == "-served 1\n+served 2\n", "the diff", &planned)?;
    let said = planned["steps"][0]["not_covered"].to_string();
    expect(said.contains("may be started anew: served.service"), "what is not covered", &said)?;
    guest.shell(
        "systemctl show --property=Description served | grep 'Served 2' && systemctl is-active served",
    )?;
    undo(guest, "/run/upgrade")?;
    guest.shell(
        "systemctl show --property=Description served | grep 'Served 1' && systemctl is-active served",
    )?;
    is_as(guest, &before)?;
    let planned = make(guest, "/run/upgrade2", "package.remove", &json!({"names": ["served"]}))?;
    let said = planned["steps"][0]["not_covered"].to_string();
    expect(said.contains("services of these packages end: served.service"), "what is not covered", &said)?;
    guest.shell("! systemctl is-active served")?;
    undo(guest, "/run/upgrade2")?;
    guest.shell("systemctl is-active served && apt-get -y -qq purge served")?;
    Ok(())
}

fn failing(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let why = reason(make(guest, "/run/bad", "package.install", &json!({"names": ["bad", "app"]})))?;
    for part in ["taken back:", "the cheese is off", "exit status 7", "What had been done was taken back"] {
        expect(why.contains(part), part, &why)?;
    }
    is(guest, "/run/bad", "Nothing")?;
    is_as(guest, &before)
}

fn locked(guest: &Guest) -> Result<()> {
    let hold = |seconds: u32| {
        guest.shell(&format!("rm -f /run/held; ({HOLDER} {seconds} >/dev/null 2>&1 &); for i in $(seq 50); do test -e /run/held && break; sleep 0.1; done; test -e /run/held"))
    };
    let before = guest.shell(SNAPSHOT)?;
    let args = json!({"names": ["lib"]});
    let begun = Instant::now();
    hold(6)?;
    make(guest, "/run/lock", "package.install", &args)?;
    ensure!(begun.elapsed() > Duration::from_secs(5), "it took {:?}", begun.elapsed());
    undo(guest, "/run/lock")?;
    hold(90)?;
    let begun = Instant::now();
    let why = reason(make(guest, "/run/lock", "package.install", &args))?;
    expect(
        why.contains("taken back:") && why.contains("lock") && why.contains("held by process"),
        "the reason",
        &why,
    )?;
    ensure!(begun.elapsed() < Duration::from_mins(1), "it took {:?}", begun.elapsed());
    guest.shell("kill $(cat /run/held)")?;
    is(guest, "/run/lock", "Nothing")?;
    is_as(guest, &before)
}

/// Has the program make what was planned, and kills it while the package's script runs.
fn kill_at_work(guest: &Guest, folder: &str) -> Result<()> {
    guest.shell(&format!(
        "rm -f /run/begun; {PROGRAM} apply {folder} >/dev/null 2>&1 & \
         for i in $(seq 300); do test -e /run/begun && break; sleep 0.1; done; test -e /run/begun && kill -KILL $!"
    ))?;
    Ok(())
}

fn killed(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    plan(guest, "/run/kill", "package.install", &json!({"names": ["slow"]}))?;
    kill_at_work(guest, "/run/kill")?;
    let state = guest.shell("systemctl is-active agentos-packages.service || true")?;
    expect(state.trim() == "activating", "apt", &state)?;
    is(guest, "/run/kill", "UnderWay(\"apt is at work in agentos-packages.service\")")?;
    let why = reason(plan(guest, "/run/kill2", "package.install", &json!({"names": ["lib"]})))?;
    expect(why.contains("at work"), "the reason", &why)?;
    wait_for("the end of it", Duration::from_secs(30), || is(guest, "/run/kill", "All"))?;
    undo(guest, "/run/kill")?;
    is_as(guest, &before)
}

/// What agentd's own unit says of its life, without what the package brings.
const UNIT: &str = "
groupadd --force --system agentos; groupadd --force --system agentos-operators
mkdir -p /run/agentos /etc/agentos
printf '[Service]\\nType=notify\\nNotifyAccess=main\\nExecStart=%s\\nRestart=on-failure\\nRestartSec=500ms\\nWatchdogSec=30s\\nTimeoutStartSec=60s\\nKillMode=mixed\\nStateDirectory=agentos\\nStateDirectoryMode=0700\\nUMask=0077\\n' \
    \"$1\" >/run/systemd/system/agentd.service
systemctl daemon-reload
systemctl start agentd
";

/// A change of agentd's, which stands where it should.
fn stands(guest: &Guest, number: &str, expected: &str) -> Result<Value> {
    let said = guest.run(&[AGENTCTL, "--json", "changes", "show", number])?;
    let change: Value = serde_json::from_str(&said)?;
    expect(change["status"] == expected, "the change", &change)?;
    Ok(change)
}

fn waiting(guest: &Guest) -> Result<()> {
    install_app(guest)?;
    guest.run(&["sh", "-ec", UNIT, "sh", AGENTD])?;
    let args = json!({"names": ["lib"], "purge": true}).to_string();
    let agent = [
        "--socket",
        "/run/agentos/agentd.sock",
        "change",
        "package.remove",
        &args,
        "--reason",
        "test",
        "--yes",
    ];
    let end = guest.command(&[&[AGENTCTL][..], &agent].concat()).output()?;
    expect(end.status.code() == Some(6), "it waits", &end)?;
    let said = guest.run(&[AGENTCTL, "--json", "changes"])?;
    let page: Value = serde_json::from_str(&said)?;
    let number = page["changes"][0]["id"].to_string();
    let change = stands(guest, &number, "waiting")?;
    let expected = "-app 1\n-lib 1\n-plug 1\n-/etc/app.d/app.conf\n";
    expect(diff(&change["plan"]) == expected, "the diff", &change)?;
    // The machine moves: a yes to what was shown is no yes to something else.
    guest.shell("apt-get -y -qq purge plug")?;
    let before = guest.shell(SNAPSHOT)?;
    let approve = [AGENTCTL, "approvals", "approve", &number];
    guest.command(&approve).output()?;
    let change = stands(guest, &number, "waiting")?;
    let expected = "-app 1\n-lib 1\n-/etc/app.d/app.conf\n";
    expect(diff(&change["plan"]) == expected, "the diff after it was planned anew", &change)?;
    expect(guest.shell(SNAPSHOT)? == before, "nothing was done", &before)?;
    guest.run(&approve)?;
    stands(guest, &number, "applied")?;
    guest.shell("! dpkg -s lib >/dev/null 2>&1 && test ! -e /etc/app.d")?;
    guest.run(&[AGENTCTL, "undo", &number, "--reason", "test", "--yes"])?;
    guest.shell("systemctl stop agentd")?;
    is_as(guest, &before)?;
    guest.shell("apt-get -y -qq purge app lib")?;
    Ok(())
}

fn outlived(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    guest.run(&["sh", "-ec", UNIT, "sh", AGENTD])?;
    let status = |expected: &str| stands(guest, "1", expected).map(|_| ());
    guest.shell(&format!(
        "rm -f /run/begun; {AGENTCTL} change package.install '{{\"names\":[\"slow\"]}}' --reason test --yes >/dev/null 2>&1 & \\
         for i in $(seq 300); do test -e /run/begun && break; sleep 0.1; done; test -e /run/begun \\
         && systemctl kill --signal=KILL agentd.service"
    ))?;
    wait_for("agentd", Duration::from_secs(10), || guest.run(&[AGENTCTL, "health"]).map(|_| ()))?;
    // apt is still at work, and agentd answers.
    status("applying")?;
    guest.shell("systemctl is-active agentos-packages.service | grep activating")?;
    wait_for("the end of it", Duration::from_secs(30), || status("applied"))?;
    guest.run(&[AGENTCTL, "undo", "1", "--reason", "test", "--yes"])?;
    status("undone")?;
    guest.run(&[AGENTCTL, "verify-ledger"])?;
    guest.shell("systemctl stop agentd")?;
    is_as(guest, &before)
}

fn cut(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    plan(guest, "/run/cut", "package.install", &json!({"names": ["slow"]}))?;
    kill_at_work(guest, "/run/cut")?;
    guest.shell("systemctl kill --signal=KILL agentos-packages.service")?;
    wait_for("the end of it", Duration::from_secs(10), || {
        let state = guest.shell("systemctl is-active agentos-packages.service || true")?;
        ensure!(state.trim() == "failed", "{state}");
        Ok(())
    })?;
    let found = act(guest, "progress", "/run/cut")?;
    for part in ["Unclear", "slow 1 (unpacked)", "dpkg --configure -a"] {
        expect(found.contains(part), part, &found)?;
    }
    let why = reason(plan(guest, "/run/cut2", "package.install", &json!({"names": ["lib"]})))?;
    expect(why.contains("slow (unpacked)") && why.contains("dpkg --configure -a"), "the reason", &why)?;
    // What it says, a person does.
    guest.shell("dpkg --configure -a >/dev/null")?;
    is(guest, "/run/cut", "All")?;
    undo(guest, "/run/cut")?;
    is_as(guest, &before)?;
    // Killed under a program that lives: that takes back what had been done.
    plan(guest, "/run/cut3", "package.install", &json!({"names": ["sleepy"]}))?;
    guest.shell(
        "rm -f /run/begun; (for i in $(seq 300); do test -e /run/begun && break; sleep 0.1; done; \
         systemctl kill --signal=KILL agentos-packages.service) >/dev/null 2>&1 &",
    )?;
    let why = reason(act(guest, "apply", "/run/cut3"))?;
    expect(why.contains("signal") && why.contains("was taken back"), "the reason", &why)?;
    is_as(guest, &before)
}

fn reached(guest: &Guest) -> Result<()> {
    guest.shell("apt-get -y -qq install reach && systemctl daemon-reload && systemctl start ssh-like")?;
    let planned = plan(guest, "/run/reach", "package.remove", &json!({"names": ["reach"]}))?;
    expect(planned["steps"][0]["can_lock_out"] == true, "it can lock out", &planned)?;
    guest.shell("systemctl stop ssh-like")?;
    let planned = plan(guest, "/run/reach", "package.remove", &json!({"names": ["reach"]}))?;
    expect(planned["steps"][0]["can_lock_out"].is_null(), "nobody is locked out", &planned)?;
    guest.shell("apt-get -y -qq purge reach")?;
    Ok(())
}

fn kept(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let why = reason(plan(guest, "/run/kept", "package.remove", &json!({"names": ["agentos"]})))?;
    expect(why.contains("belongs to agentd itself"), "the reason", &why)?;
    let why = reason(plan(guest, "/run/kept", "package.remove", &json!({"names": ["hostname"]})))?;
    expect(why.contains("does not work") && why.contains("without hostname"), "the reason", &why)?;
    let why = reason(plan(guest, "/run/kept", "package.install", &json!({"names": ["nosuch"]})))?;
    expect(why.contains("NotFound") && why.contains("the package nosuch"), "the reason", &why)?;
    is_as(guest, &before)
}
