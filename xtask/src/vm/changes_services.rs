//! Changes of units, of the machine's name, its settings and its power, under a real systemd.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::ask::expect;
use super::change_once::{self, Check, PROGRAM, make, plan, reason, run as act, undo};
use super::nspawn::Guest;
use super::tally::{Tally, wait_for};

const ON: [(&str, Check); 18] = [
    ("a service that is stopped is started by the undo, with those that were stopped with it", stopped),
    ("a service that is started is stopped by the undo", started),
    ("a service that fails at its start is told as such", failing),
    ("a service that runs once has run, and how far is not guessed", once),
    ("a service that is enabled is enabled as systemctl says, and disabled by the undo", enabled),
    ("a service that is disabled is enabled by the undo, by the same links", disabled),
    ("a masked service cannot be started, and can after the undo", masked),
    ("a restart is a restart", restarted),
    ("a reload reaches the service, and leaves it running", reloaded),
    ("a restart that fails is told with what is left", broken),
    ("a reload that fails is told, and leaves the service running", unread),
    ("a service that hangs when it is stopped is told as such, in time", hanging),
    ("a plan made before somebody else stopped the service is refused", stale),
    ("a host name is the machine's, and goes back", hostname),
    ("a setting of the kernel's holds, is read at the start, and goes back", sysctl),
    ("a time zone is the machine's, and goes back", timezone),
    ("a shutdown that is scheduled is known to logind, and cancelled by the undo", shutdown),
    ("a program that is killed between two steps knows how far it was", killed),
];

/// The units that are changed. The one that hangs takes longer to stop than anybody waits for it.
const UNITS: &str = "
cd /etc/systemd/system
unit() { printf '%b' \"$2\" >\"$1\"; }
run='[Service]\\nExecStart=/bin/sleep infinity\\n'
unit one.service \"[Unit]\\nDescription=One\\n$run[Install]\\nWantedBy=multi-user.target\\nAlias=uno.service\\n\"
unit both.service \"$run[Install]\\nWantedBy=fresh.target\\nAlso=one.service\\n\"
unit each@.service \"$run[Install]\\nWantedBy=multi-user.target\\nDefaultInstance=x\\n\"
unit two.service \"[Unit]\\nRequires=one.service\\nAfter=one.service\\n$run\"
unit reads.service \"${run}ExecReload=/bin/sh -c 'echo read >>/run/reads'\\n\"
unit hangs.service \"${run}ExecStop=/bin/sleep 55\\nTimeoutStopSec=120\\n\"
unit slow.service \"${run}ExecStop=/bin/sleep 4\\n\"
unit once.service '[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo ran >>/run/ran\"\\n'
unit loops.service '[Service]\\nExecStart=/bin/false\\nRestart=always\\nRestartSec=20\\n'
unit breaks.service \"${run}ExecStartPre=/usr/bin/test ! -e /run/broken\\nExecReload=/bin/false\\n\"
unit fails.service '[Service]\\nExecStart=/bin/false\\n'
mkdir -p /usr/local/lib/systemd/system
unit /usr/local/lib/systemd/system/vendor.service \"$run[Install]\\nWantedBy=multi-user.target\\n\"
systemctl daemon-reload
";
/// All that enabling and masking could touch: each name, what a link leads to, and what a file holds.
const SNAPSHOT: &str = "cd /etc/systemd; find . -printf '%p %y %l %m %U:%G\\n' | sort; \
                        find . -type f | sort | xargs sha256sum";

/// Boots a machine with the program that makes changes, and checks each statement.
///
/// # Errors
/// When the machine cannot be set up.
pub(super) fn run(image: &Path, tally: &mut Tally) -> Result<()> {
    change_once::check(tally, &ON, |disk| change_once::boot(image, disk), UNITS)
}

/// How the units are, one word each.
fn states(guest: &Guest, units: &str) -> Result<String> {
    let said = guest.shell(&format!("systemctl is-active {units} || true"))?;
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn are(guest: &Guest, units: &str, expected: &str) -> Result<()> {
    let found = states(guest, units)?;
    expect(found == expected, units, &found)
}

fn progress(guest: &Guest, folder: &str, expected: &str) -> Result<()> {
    let found = act(guest, "progress", folder)?;
    expect(found.trim() == expected, "progress", &found)
}

fn stopped(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start one.service two.service")?;
    let plan = make(guest, "/run/stop", "service.stop", &json!({"unit": "one"}))?;
    expect(plan.to_string().contains("two.service"), "the plan names what stops with it", &plan)?;
    are(guest, "one two", "inactive inactive")?;
    progress(guest, "/run/stop", "All")?;
    undo(guest, "/run/stop")?;
    are(guest, "one two", "active active")?;
    progress(
        guest,
        "/run/stop",
        "Unclear([\"unit one.service is active (running), started anew since\", \"unit two.service is active (running), started anew since\"])",
    )?;
    guest.shell("systemctl stop one two")?;
    Ok(())
}

fn started(guest: &Guest) -> Result<()> {
    are(guest, "one", "inactive")?;
    make(guest, "/run/start", "service.start", &json!({"unit": "one"}))?;
    are(guest, "one", "active")?;
    progress(guest, "/run/start", "All")?;
    undo(guest, "/run/start")?;
    are(guest, "one", "inactive")?;
    progress(guest, "/run/start", "Nothing")
}

fn failing(guest: &Guest) -> Result<()> {
    let why = reason(make(guest, "/run/fails", "service.start", &json!({"unit": "fails"})))?;
    expect(why.contains("taken back") && why.contains("exit-code (1)"), "the reason", &why)?;
    // One that systemd would start again and again is not left at that.
    let why = reason(make(guest, "/run/fails", "service.start", &json!({"unit": "loops"})))?;
    expect(why.contains("taken back") && why.contains("auto-restart"), "the reason", &why)?;
    expect(states(guest, "loops")? != "activating", "what is left", &states(guest, "loops")?)?;
    guest.shell("systemctl reset-failed")?;
    Ok(())
}

fn once(guest: &Guest) -> Result<()> {
    let plan = plan(guest, "/run/once", "service.start", &json!({"unit": "once"}))?;
    expect(plan["undo"].to_string().contains("impossible"), "undo", &plan["undo"])?;
    act(guest, "apply", "/run/once")?;
    guest.shell("test \"$(cat /run/ran)\" = ran")?;
    // systemd may have forgotten the unit since.
    let found = act(guest, "progress", "/run/once")?;
    expect(found.trim() == "All" || found.contains("cannot be told"), "progress", &found)
}

fn enabled(guest: &Guest) -> Result<()> {
    // One with an alias; one whose folder of links is not there yet, with another; an instance of a template.
    for unit in ["one", "both", "each@7"] {
        let before = guest.shell(SNAPSHOT)?;
        let says = format!("systemctl is-enabled {unit} || true");
        expect(guest.shell(&says)?.trim() == "disabled", "at first", &guest.shell(&says)?)?;
        let plan = make(guest, "/run/enable", "service.enable", &json!({"unit": unit}))?;
        expect(plan["undo"] == "exact" && plan["risk"] == "destructive", "undo and risk", &plan)?;
        expect(guest.shell(&says)?.trim() == "enabled", "enabled", &guest.shell(&says)?)?;
        progress(guest, "/run/enable", "All")?;
        // What systemctl would have made, byte for byte.
        let ours = guest.shell(SNAPSHOT)?;
        guest.shell(&format!("systemctl disable {unit} 2>/dev/null"))?;
        let without = guest.shell(SNAPSHOT)?;
        expect(without == before, "the folder after systemctl disable", &without)?;
        guest.shell(&format!("systemctl enable {unit} 2>/dev/null"))?;
        expect(guest.shell(SNAPSHOT)? == ours, "systemctl's links", &ours)?;
        undo(guest, "/run/enable")?;
        expect(guest.shell(&says)?.trim() == "disabled", "after the undo", &guest.shell(&says)?)?;
        let after = guest.shell(SNAPSHOT)?;
        expect(after == before, "the folder after the undo", &after)?;
    }
    Ok(())
}

fn disabled(guest: &Guest) -> Result<()> {
    guest.shell("systemctl enable one 2>/dev/null")?;
    let before = guest.shell(SNAPSHOT)?;
    let plan = make(guest, "/run/disable", "service.disable", &json!({"unit": "one"}))?;
    expect(plan["risk"] == "destructive", "risk", &plan["risk"])?;
    let says = guest.shell("systemctl is-enabled one || true")?;
    expect(says.trim() == "disabled", "disabled", &says)?;
    progress(guest, "/run/disable", "All")?;
    undo(guest, "/run/disable")?;
    let after = guest.shell(SNAPSHOT)?;
    expect(after == before, "the folder after the undo", &after)?;
    guest.shell("systemctl is-enabled one && systemctl disable one 2>/dev/null")?;
    Ok(())
}

fn masked(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let made = make(guest, "/run/mask", "service.mask", &json!({"unit": "vendor"}))?;
    expect(made["risk"] == "destructive", "risk", &made["risk"])?;
    guest
        .shell("! systemctl start vendor 2>/dev/null && test \"$(systemctl is-enabled vendor)\" = masked")?;
    let why = reason(plan(guest, "/run/mask2", "service.start", &json!({"unit": "vendor"})))?;
    expect(why.contains("is masked"), "the reason", &why)?;
    undo(guest, "/run/mask")?;
    expect(guest.shell(SNAPSHOT)? == before, "the folder after the undo", &before)?;
    guest.shell("systemctl start vendor && systemctl stop vendor")?;
    // One that systemctl masked is unmasked, and masked again by the undo.
    guest.shell("systemctl mask vendor 2>/dev/null")?;
    let before = guest.shell(SNAPSHOT)?;
    let made = make(guest, "/run/unmask", "service.unmask", &json!({"unit": "vendor"}))?;
    expect(made["risk"] == "destructive", "risk", &made["risk"])?;
    guest.shell("systemctl start vendor && systemctl stop vendor")?;
    undo(guest, "/run/unmask")?;
    expect(guest.shell(SNAPSHOT)? == before, "the folder with the mask", &before)?;
    guest.shell("! systemctl start vendor 2>/dev/null && systemctl unmask vendor 2>/dev/null")?;
    // An administrator's own unit is where the mask would be.
    let why = reason(plan(guest, "/run/mask3", "service.mask", &json!({"unit": "one"})))?;
    expect(why.contains("/etc/systemd/system/one.service"), "the reason", &why)
}

fn invocation(guest: &Guest, unit: &str) -> Result<String> {
    guest.shell(&format!("systemctl show --property=InvocationID --property=MainPID {unit}"))
}

fn restarted(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start one two")?;
    let before = invocation(guest, "one")?;
    plan(guest, "/run/restart", "service.restart", &json!({"unit": "one"}))?;
    progress(guest, "/run/restart", "Nothing")?;
    act(guest, "apply", "/run/restart")?;
    let after = invocation(guest, "one")?;
    expect(before != after, "the run", &after)?;
    are(guest, "one two", "active active")?;
    progress(guest, "/run/restart", "All")?;
    guest.shell("systemctl stop one two")?;
    Ok(())
}

fn reloaded(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start reads")?;
    let before = invocation(guest, "reads")?;
    plan(guest, "/run/reload", "service.reload", &json!({"unit": "reads"}))?;
    progress(guest, "/run/reload", "Nothing")?;
    act(guest, "apply", "/run/reload")?;
    expect(invocation(guest, "reads")? == before, "the run", &before)?;
    guest.shell("test \"$(cat /run/reads)\" = read")?;
    progress(guest, "/run/reload", "All")?;
    guest.shell("systemctl start one")?;
    let why = reason(plan(guest, "/run/reload2", "service.reload", &json!({"unit": "one"})))?;
    expect(why.contains("service.restart"), "the reason", &why)?;
    guest.shell("systemctl stop reads one")?;
    Ok(())
}

fn broken(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start breaks")?;
    plan(guest, "/run/broken1", "service.restart", &json!({"unit": "breaks"}))?;
    guest.shell("touch /run/broken")?;
    let why = reason(act(guest, "apply", "/run/broken1"))?;
    expect(why.contains("stuck") && why.contains("because of exit-code"), "the reason", &why)?;
    let left =
        why.split_once("left: ").is_some_and(|(_, left)| left.contains("unit breaks.service is failed"));
    expect(left, "what is left", &why)?;
    guest.shell("rm /run/broken")?;
    // It is started by a restart, as systemctl does.
    make(guest, "/run/broken1", "service.restart", &json!({"unit": "breaks"}))?;
    are(guest, "breaks", "active")?;
    guest.shell("systemctl stop breaks")?;
    Ok(())
}

fn unread(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start breaks")?;
    let why = reason(make(guest, "/run/unread", "service.reload", &json!({"unit": "breaks"})))?;
    expect(why.contains("taken back") && why.contains("did not read its configuration"), "the reason", &why)?;
    are(guest, "breaks", "active")?;
    guest.shell("systemctl stop breaks")?;
    Ok(())
}

fn hanging(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start hangs")?;
    let begun = Instant::now();
    let why = reason(make(guest, "/run/hang", "service.stop", &json!({"unit": "hangs"})))?;
    let took = begun.elapsed();
    ensure!((Duration::from_secs(25)..Duration::from_secs(40)).contains(&took), "it took {took:?}");
    expect(
        why.contains("stuck") && why.contains("still stopping") && why.contains("deactivating"),
        "the reason",
        &why,
    )?;
    guest.shell("systemctl kill --signal=KILL hangs")?;
    wait_for("the end of it", Duration::from_secs(10), || {
        let state = states(guest, "hangs")?;
        ensure!(state != "deactivating", "{state}");
        Ok(())
    })?;
    progress(guest, "/run/hang", "All")?;
    undo(guest, "/run/hang")?;
    are(guest, "hangs", "active")?;
    guest.shell("systemctl kill --signal=KILL hangs && systemctl reset-failed hangs || true")?;
    Ok(())
}

fn stale(guest: &Guest) -> Result<()> {
    guest.shell("systemctl start one")?;
    plan(guest, "/run/stale", "service.stop", &json!({"unit": "one"}))?;
    guest.shell("systemctl stop one")?;
    let why = reason(act(guest, "apply", "/run/stale"))?;
    expect(why.contains("unit one.service") && why.contains("inactive"), "the reason", &why)?;
    // It runs again, but that is another run.
    guest.shell("systemctl start one")?;
    let why = reason(act(guest, "apply", "/run/stale"))?;
    expect(why.contains("started anew"), "the reason", &why)?;
    plan(guest, "/run/stale", "service.restart", &json!({"unit": "one"}))?;
    guest.shell("systemctl stop one")?;
    let why = reason(act(guest, "apply", "/run/stale"))?;
    expect(why.contains("inactive"), "the reason", &why)
}

fn hostname(guest: &Guest) -> Result<()> {
    guest.shell("printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' \"$(hostname)\" >/etc/hosts")?;
    let files = "hostname; cat /etc/hostname /etc/hosts";
    let before = guest.shell(files)?;
    make(guest, "/run/name", "hostname.set", &json!({"name": "changed-1"}))?;
    let after = guest.shell("hostname; cat /etc/hostname; getent hosts changed-1; hostnamectl hostname")?;
    let words: Vec<&str> = after.split_whitespace().collect();
    expect(words == ["changed-1", "changed-1", "127.0.1.1", "changed-1", "changed-1"], "the name", &words)?;
    progress(guest, "/run/name", "All")?;
    undo(guest, "/run/name")?;
    let back = guest.shell(files)?;
    expect(back == before, "the name after the undo", &back)?;
    progress(guest, "/run/name", "Nothing")
}

fn sysctl(guest: &Guest) -> Result<()> {
    let read = "cat /proc/sys/net/ipv4/ip_default_ttl";
    let before = guest.shell(read)?;
    let args = json!({"name": "net.ipv4.ip_default_ttl", "value": "77", "persist": true});
    make(guest, "/run/sysctl", "sysctl.set", &args)?;
    expect(guest.shell(read)?.trim() == "77", "the setting", &guest.shell(read)?)?;
    progress(guest, "/run/sysctl", "All")?;
    // What the start of the machine does with the file. Somebody else's change is not taken back.
    guest.shell("echo 78 >/proc/sys/net/ipv4/ip_default_ttl")?;
    let why = reason(undo(guest, "/run/sysctl"))?;
    expect(why.contains("78"), "the reason", &why)?;
    guest.shell("/usr/lib/systemd/systemd-sysctl --prefix=net/ipv4/ip_default_ttl")?;
    expect(guest.shell(read)?.trim() == "77", "the setting after the start", &guest.shell(read)?)?;
    undo(guest, "/run/sysctl")?;
    expect(guest.shell(read)? == before, "the setting after the undo", &guest.shell(read)?)?;
    guest.shell("! grep -rs ip_default_ttl /etc/sysctl.d")?;
    Ok(())
}

fn timezone(guest: &Guest) -> Result<()> {
    let files = "readlink /etc/localtime; cat /etc/timezone 2>/dev/null || true";
    let before = guest.shell(files)?;
    make(guest, "/run/zone", "timezone.set", &json!({"zone": "Asia/Kathmandu"}))?;
    let after = guest.shell("date +%z; timedatectl show --property=Timezone --value")?;
    let words: Vec<&str> = after.split_whitespace().collect();
    expect(words == ["+0545", "Asia/Kathmandu"], "the zone", &words)?;
    progress(guest, "/run/zone", "All")?;
    undo(guest, "/run/zone")?;
    expect(guest.shell(files)? == before, "the zone after the undo", &guest.shell(files)?)?;
    expect(guest.shell("date +%z")?.trim() == "+0000", "the time", &guest.shell("date +%z")?)
}

fn shutdown(guest: &Guest) -> Result<()> {
    let scheduled = "busctl get-property org.freedesktop.login1 /org/freedesktop/login1 \
                     org.freedesktop.login1.Manager ScheduledShutdown";
    for (mutation, kind) in [("power.shutdown", "poweroff"), ("power.reboot", "reboot")] {
        // Far off, so that it does not happen whatever this finds.
        make(guest, "/run/power", mutation, &json!({"delay_minutes": 600}))?;
        let said = guest.shell(scheduled)?;
        expect(said.contains(&format!("\"{kind}\"")), "logind", &said)?;
        let at: u64 = said.split_whitespace().last().and_then(|at| at.parse().ok()).unwrap_or(0) / 1_000_000;
        let now: u64 = guest.shell("date +%s")?.trim().parse()?;
        expect((now + 599 * 60..=now + 601 * 60).contains(&at), "when", &(now, at))?;
        progress(guest, "/run/power", "All")?;
        let why = reason(plan(guest, "/run/power2", "power.reboot", &json!({})))?;
        expect(why.contains("about to end already"), "the reason", &why)?;
        undo(guest, "/run/power")?;
        let said = guest.shell(scheduled)?;
        expect(said.starts_with("(st) \"\" "), "logind after the undo", &said)?;
        progress(guest, "/run/power", "Nothing")?;
        guest.shell("test ! -e /run/nologin && test ! -e /run/systemd/shutdown/scheduled")?;
    }
    Ok(())
}

fn killed(guest: &Guest) -> Result<()> {
    const STEPS: usize = 4;
    are(guest, "one", "inactive")?;
    let unit = json!({"unit": "one"}).to_string();
    let before = guest.shell(SNAPSHOT)?;
    // Two links, systemd reads its units anew, and the start.
    for number in 0..=STEPS {
        guest.shell("rm -rf /run/cut && mkdir /run/cut")?;
        guest.run(&[PROGRAM, "plan", "/run/cut", "service.enable", &unit, "service.start", &unit])?;
        if number == STEPS {
            act(guest, "apply", "/run/cut")?;
        } else {
            let end = guest.command(&[PROGRAM, "apply", "/run/cut", &number.to_string()]).output()?;
            expect(!end.status.success() && end.stderr.is_empty(), "the kill", &end)?;
        }
        let expected = match number {
            0 => "Nothing".to_owned(),
            STEPS => "All".to_owned(),
            part => format!("Part({part})"),
        };
        let found = act(guest, "recover", "/run/cut")?;
        expect(found.trim() == expected, "progress", &(number, found))?;
        are(guest, "one", "inactive")?;
        let after = guest.shell(SNAPSHOT)?;
        expect(after == before, "the folder", &(number, after))?;
    }
    // Killed while systemd stops the service: that goes on, and is waited for.
    guest.shell("systemctl start slow")?;
    let stop = json!({"unit": "slow"});
    plan(guest, "/run/cut2", "service.stop", &stop)?;
    guest.shell("! timeout --signal=KILL 1 /change_once apply /run/cut2 2>/dev/null")?;
    are(guest, "slow", "deactivating")?;
    progress(guest, "/run/cut2", "All")?;
    undo(guest, "/run/cut2")?;
    are(guest, "slow", "active")
}
