//! Changes of timers and of the journal's files, under a real systemd.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::ask::expect;
use super::change_once::{self, Check, PROGRAM, make, plan, reason, run as act, undo};
use super::changes_journal::vacuumed;
use super::nspawn::Guest;
use super::tally::{Tally, wait_for};

const ON: [(&str, Check); 8] = [
    ("a timer is made, runs its program as it was given, and is gone after the undo", made),
    ("a timer of a line of crontab runs at systemd's times for it", cron),
    ("a timer that is persistent leaves nothing behind, and its past stays with it", persistent),
    ("a timer that was removed is back after the undo, and foreign ones are left alone", removed),
    ("a timer that nobody could start is refused, with the reason", refused),
    ("a timer of the agent's sees nothing of agentd's", confined),
    ("a timer that is made or removed with a cut at any step knows how far it was", killed),
    ("the archived files of the journal go, and what is told of them is what was in them", vacuumed),
];

const SETUP: &str = "
useradd --create-home pat
groupadd agentos-operators
useradd --groups agentos-operators ops
groupadd docker
useradd --groups docker whale
mkdir -p /etc/agentos /run/agentos /var/lib/agentos
echo secret >/etc/agentos/policy.toml
echo secret >/run/agentos/operator.sock
cat >/usr/local/bin/job <<'SCRIPT'
#!/bin/sh
{ id -un; for word; do printf '<%s>' \"$word\"; done; echo; cat /etc/agentos/policy.toml /run/agentos/operator.sock; } >>/tmp/job 2>&1
exit 0
SCRIPT
chmod 755 /usr/local/bin/job
cp /usr/local/bin/job /srv/job
printf '[Timer]\\nOnCalendar=daily\\n[Install]\\nWantedBy=timers.target\\n' >/etc/systemd/system/job-foreign.timer
printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/job-foreign.service
systemctl daemon-reload
systemctl enable --quiet --now job-foreign.timer
";

/// All that a timer could leave: files and links with their contents and times, and what systemd has.
const SNAPSHOT: &str = "
for folder in /etc/systemd /var/lib/systemd/timers; do
  cd $folder && find . -printf '%p %y %l %m %U:%G\\n' | sort && find . -type f | sort | xargs --no-run-if-empty sha256sum
done
systemctl list-timers --all --no-legend | grep --only-matching 'job-[a-z]*\\.timer' | sort
systemctl list-units --all --no-legend --plain 'job-*' | awk '{print $1, $2, $3}' | sort";

/// Boots a machine with the program that makes changes, and checks each statement.
///
/// # Errors
/// When the machine cannot be set up.
pub(super) fn run(image: &Path, tally: &mut Tally) -> Result<()> {
    change_once::check(tally, &ON, |disk| change_once::boot(image, disk), SETUP)
}

pub(super) fn progress(guest: &Guest, folder: &str, expected: &str) -> Result<()> {
    let found = act(guest, "progress", folder)?;
    expect(found.trim() == expected, "progress", &found)
}

fn property(guest: &Guest, unit: &str, name: &str) -> Result<String> {
    Ok(guest.shell(&format!("systemctl show --property={name} --value {unit}"))?.trim().to_owned())
}

fn same(guest: &Guest, before: &str) -> Result<()> {
    let after = guest.shell(SNAPSHOT)?;
    expect(after == before, &format!("what is there, where this was: {before}"), &after)
}

fn made(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let odd = ["a b", "", "$HOME %n %%", "\"quoted\\\"", ";", "ü*", "-x"];
    let words: Vec<&str> = ["/usr/local/bin/job"].into_iter().chain(odd).collect();
    let args = json!({"name": "odd", "on_calendar": "2099-01-01 12:00", "argv": words, "user": "pat",
                      "description": "100% odd"});
    let plan = make(guest, "/run/t1", "timer.create", &args)?;
    let text = plan.to_string();
    expect(plan["risk"] == "destructive" && plan["undo"] == "exact", "risk and undo", &plan)?;
    expect(text.contains("Thu 2099-01-01 12:00:00 UTC"), "the plan says when", &plan)?;
    for line in ["+OnCalendar=2099-01-01 12:00", "+User=pat", "+Type=oneshot", "+WantedBy=timers.target"] {
        expect(text.contains(line), line, &plan)?;
    }
    progress(guest, "/run/t1", "All")?;
    guest.shell("systemctl is-active job-odd.timer && systemctl is-enabled job-odd.timer")?;
    expect(property(guest, "job-odd.timer", "Description")? == "100% odd", "the description", &text)?;
    expect(
        property(guest, "job-odd.timer", "NextElapseUSecRealtime")? == "Thu 2099-01-01 12:00:00 UTC",
        "when",
        &text,
    )?;
    // systemd finds nothing to complain about in the files, and the words arrive as they are.
    let said = guest.shell(
        "systemd-analyze verify /etc/systemd/system/job-odd.timer /etc/systemd/system/job-odd.service 2>&1",
    )?;
    expect(!said.contains("job-odd"), "systemd-analyze verify", &said)?;
    guest.shell("rm -f /tmp/job && systemctl start job-odd.service")?;
    let ran = guest.shell("cat /tmp/job")?;
    let expected: String = odd.iter().flat_map(|word| ["<", word, ">"]).collect();
    expect(ran.lines().next() == Some("pat") && ran.lines().nth(1) == Some(&expected), "the words", &ran)?;
    undo(guest, "/run/t1")?;
    same(guest, &before)
}

fn cron(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let args =
        json!({"name": "cron", "on_calendar": "30 4 1 * 5", "argv": ["/usr/local/bin/job"], "user": "pat"});
    let text = make(guest, "/run/t2", "timer.create", &args)?.to_string();
    for part in ["*-*-01 04:30:00", "Fri *-*-* 04:30:00", "30 4 1 * 5", "for the first time on"] {
        expect(text.contains(part), part, &text)?;
    }
    // The plan's time is the one that systemd has.
    let next = property(guest, "job-cron.timer", "NextElapseUSecRealtime")?;
    expect(text.contains(&next) && next.contains("04:30:00"), "when", &(next, &text))?;
    undo(guest, "/run/t2")?;
    same(guest, &before)?;
    // It is systemd that runs it.
    let args = json!({"name": "cron", "on_calendar": "*:*:0/2", "argv": ["/usr/local/bin/job", "tick"], "user": "pat"});
    guest.shell("rm -f /tmp/job")?;
    make(guest, "/run/t3", "timer.create", &args)?;
    wait_for("a run of the job", Duration::from_secs(10), || {
        let ran = guest.shell("cat /tmp/job 2>/dev/null || true")?;
        ensure!(ran.contains("<tick>"), "{ran}");
        Ok(())
    })?;
    undo(guest, "/run/t3")?;
    guest.shell("systemctl reset-failed 'job-cron*' 2>/dev/null || true")?;
    same(guest, &before)
}

fn persistent(guest: &Guest) -> Result<()> {
    const STAMP: &str = "/var/lib/systemd/timers/stamp-job-kept.timer";
    let before = guest.shell(SNAPSHOT)?;
    let args = json!({"name": "kept", "on_calendar": "daily", "argv": ["/usr/local/bin/job"], "user": "pat", "persistent": true});
    guest.shell("rm -f /tmp/job")?;
    make(guest, "/run/t4", "timer.create", &args)?;
    guest.shell(&format!("test -e {STAMP}"))?;
    // It was not made to run at once.
    guest.shell("sleep 1; test ! -e /tmp/job")?;
    undo(guest, "/run/t4")?;
    same(guest, &before)?;
    // What an earlier timer of that name left is no run that was missed, and is back after the undo.
    guest.shell(&format!("mkdir -p /var/lib/systemd/timers; touch --date=2020-01-01 {STAMP}"))?;
    let before = guest.shell(&format!("mv {STAMP} /run/stamp; {SNAPSHOT}; mv /run/stamp {STAMP}"))?;
    let dated = format!("stat --format='%Y %a %U' {STAMP}");
    let (old, with_stamp) = (guest.shell(&dated)?, guest.shell(SNAPSHOT)?);
    make(guest, "/run/t5", "timer.create", &args)?;
    guest.shell("sleep 1; test ! -e /tmp/job")?;
    expect(guest.shell(&dated)? != old, "a new stamp", &old)?;
    undo(guest, "/run/t5")?;
    same(guest, &with_stamp)?;
    expect(guest.shell(&dated)? == old, "the old stamp", &guest.shell(&dated)?)?;
    guest.shell(&format!("rm {STAMP}"))?;
    // Removed and taken back, the timer knows when it last ran.
    make(guest, "/run/t6", "timer.create", &args)?;
    let stamp = guest.shell(&dated)?;
    make(guest, "/run/t7", "timer.remove", &json!({"name": "kept"}))?;
    same(guest, &before)?;
    undo(guest, "/run/t7")?;
    expect(guest.shell(&dated)? == stamp, "the stamp", &stamp)?;
    undo(guest, "/run/t6")?;
    same(guest, &before)
}

fn removed(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let args = json!({"name": "gone", "on_calendar": "daily", "argv": ["/usr/bin/true"]});
    make(guest, "/run/t8", "timer.create", &args)?;
    let there = guest.shell(SNAPSHOT)?;
    let next = property(guest, "job-gone.timer", "NextElapseUSecRealtime")?;
    // A timer that exists already.
    let why = reason(plan(guest, "/run/t9", "timer.create", &args))?;
    expect(why.contains("already") && why.contains("timer.remove"), "the reason", &why)?;
    let plan_of_removal = make(guest, "/run/t9", "timer.remove", &json!({"name": "job-gone.timer"}))?;
    expect(plan_of_removal["undo"] == "exact", "undo", &plan_of_removal)?;
    expect(plan_of_removal.to_string().contains("-OnCalendar=daily"), "the whole file", &plan_of_removal)?;
    progress(guest, "/run/t9", "All")?;
    same(guest, &before)?;
    undo(guest, "/run/t9")?;
    same(guest, &there)?;
    expect(property(guest, "job-gone.timer", "NextElapseUSecRealtime")? == next, "when", &next)?;
    // Another one in its place, in one change.
    guest.shell("mkdir -p /run/t10")?;
    let other = json!({"name": "gone", "on_calendar": "weekly", "argv": ["/usr/bin/true"]}).to_string();
    let name = json!({"name": "gone"}).to_string();
    guest.run(&[PROGRAM, "make", "/run/t10", "timer.remove", &name, "timer.create", &other])?;
    guest.shell(
        "grep --quiet weekly /etc/systemd/system/job-gone.timer && systemctl is-active job-gone.timer",
    )?;
    expect(property(guest, "job-gone.timer", "NextElapseUSecRealtime")? != next, "when", &next)?;
    undo(guest, "/run/t10")?;
    same(guest, &there)?;
    make(guest, "/run/t9", "timer.remove", &json!({"name": "gone"}))?;
    // What systemd or an administrator made is left to service.disable.
    for foreign in ["foreign", "job-foreign.timer", "systemd-tmpfiles-clean.timer"] {
        let why = reason(plan(guest, "/run/t11", "timer.remove", &json!({"name": foreign})))?;
        expect(why.contains("service.disable") && why.contains("not made by timer.create"), foreign, &why)?;
    }
    let why = reason(plan(
        guest,
        "/run/t11",
        "timer.create",
        &json!({"name": "foreign", "on_calendar": "daily", "argv": ["/usr/bin/true"]}),
    ))?;
    expect(why.contains("already"), "the reason", &why)?;
    let why = reason(plan(guest, "/run/t11", "timer.remove", &json!({"name": "nowhere"})))?;
    expect(why.contains("nowhere"), "the reason", &why)?;
    same(guest, &before)
}

fn refused(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    let with = |changes: Value| {
        let mut args = json!({"name": "bad", "on_calendar": "daily", "argv": ["/usr/local/bin/job"]});
        for (name, value) in changes.as_object().into_iter().flatten() {
            args[name] = value.clone();
        }
        reason(plan(guest, "/run/t12", "timer.create", &args))
    };
    guest.shell(
        "printf '#!/bin/sh\\n' >/usr/local/bin/plain; install -o pat -m 755 /srv/job /usr/local/bin/pats",
    )?;
    for (changes, expected) in [
        (json!({"on_calendar": "whenever"}), "is no calendar expression"),
        (json!({"on_calendar": "2020-01-01"}), "no time that is to come"),
        (json!({"on_calendar": "61 * * * *"}), "the minute"),
        (json!({"on_calendar": "daily\nOnBootSec=1"}), "must be one line of at most 200 letters"),
        (json!({"name": "a\nb"}), "lower-case letters"),
        (json!({"name": "../../etc/passwd"}), "lower-case letters"),
        (json!({"argv": []}), "must name a program"),
        (json!({"argv": ["job"]}), "must be the absolute path"),
        (json!({"argv": ["/usr/bin/echo", "a\nb"]}), "argv.1"),
        (json!({"argv": ["/usr/bin/nowhere"]}), "the program /usr/bin/nowhere"),
        (json!({"argv": ["/usr/local/bin/plain"]}), "may not be executed"),
        (json!({"argv": ["/usr/bin"]}), "is no program"),
        (json!({"user": "nobody-here"}), "the user nobody-here"),
        (json!({"user": "ops"}), "may say yes"),
        (json!({"argv": ["/srv/job"], "user": "whale"}), "whale would run /srv/job"),
        (json!({"argv": ["/bin/sh", "-c", "agentctl approvals approve 1"]}), "agentctl"),
        (json!({"argv": ["/srv/job"]}), "root would run /srv/job"),
        (json!({"argv": ["/usr/local/bin/pats"]}), "others than root may change"),
        (json!({"argv": ["/bin/sh", "/srv/job"]}), "root would run /srv/job"),
        (json!({"description": "a\nb"}), "without backslashes"),
    ] {
        let why = with(changes.clone())?;
        expect(why.contains(expected), &changes.to_string(), &why)?;
    }
    // With an ordinary user it may run, and what adds to the files is told.
    guest.shell("mkdir /etc/systemd/system/job-.service.d")?;
    let args = json!({"name": "bad", "on_calendar": "daily", "argv": ["/srv/job"], "user": "pat"});
    let shown = plan(guest, "/run/t12", "timer.create", &args)?.to_string();
    expect(shown.contains("who may change /srv/job decides"), "what the plan says of the program", &shown)?;
    expect(shown.contains("what is in /etc/systemd/system/job-.service.d adds"), "what adds to it", &shown)?;
    guest.shell("rmdir /etc/systemd/system/job-.service.d")?;
    same(guest, &before)
}

fn confined(guest: &Guest) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    for user in ["root", "pat"] {
        guest.shell("rm -f /tmp/job")?;
        let args =
            json!({"name": "blind", "on_calendar": "yearly", "argv": ["/usr/local/bin/job"], "user": user});
        let plan = make(guest, "/run/t13", "timer.create", &args)?;
        expect(
            (user == "root") == plan.to_string().contains("say yes only"),
            "what the plan says of root",
            &plan,
        )?;
        guest.shell("systemctl start job-blind.service")?;
        let ran = guest.shell("cat /tmp/job")?;
        expect(ran.starts_with(user) && !ran.contains("secret"), "what it sees", &ran)?;
        expect(
            ran.matches("ermission denied").count() + ran.matches("o such file").count() == 2,
            "what it is told",
            &ran,
        )?;
        undo(guest, "/run/t13")?;
    }
    same(guest, &before)
}

fn killed(guest: &Guest) -> Result<()> {
    let create =
        json!({"name": "cut", "on_calendar": "daily", "argv": ["/usr/bin/true"], "persistent": true});
    // Two files, the stamp, the link, systemd reads its units anew, and the start.
    at_each_step(guest, 6, "timer.create", &create)?;
    make(guest, "/run/t14", "timer.create", &create)?;
    // The stop, the link, two files and the stamp, and systemd reads its units anew.
    at_each_step(guest, 6, "timer.remove", &json!({"name": "cut"}))?;
    undo(guest, "/run/t14")?;
    Ok(())
}

fn at_each_step(guest: &Guest, steps: usize, mutation: &str, args: &Value) -> Result<()> {
    let before = guest.shell(SNAPSHOT)?;
    for number in 0..=steps {
        // That many starts in a row are more than systemd lets pass.
        guest.shell("rm -rf /run/cut; systemctl reset-failed")?;
        plan(guest, "/run/cut", mutation, args)?;
        if number == steps {
            act(guest, "apply", "/run/cut")?;
        } else {
            let end = guest.command(&[PROGRAM, "apply", "/run/cut", &number.to_string()]).output()?;
            expect(!end.status.success() && end.stderr.is_empty(), "the kill", &end)?;
        }
        let expected = match number {
            0 => "Nothing".to_owned(),
            all if all == steps => "All".to_owned(),
            part => format!("Part({part})"),
        };
        let found = act(guest, "recover", "/run/cut")?;
        expect(found.trim() == expected, "progress", &(mutation, number, found))?;
        same(guest, &before)?;
    }
    Ok(())
}
