//! `timer.*`: programs that run at certain times, as a systemd timer with a service of its own.
//!
//! What root runs later is as good as done by root now, and what a job does is not on agentd's record. So both files are in
//! the plan whole, a job is destructive whoever asks, and four things keep one that the agent asks for from becoming a way
//! round approvals: agentd's programs are not run by it, nobody who says yes is its user, what root runs has to be a program
//! that only an approved change can replace, and agentd's sockets and files are out of its sight. The last is a wall for
//! users, and a fence for root, who can leave what systemd puts around it; the plan says so to whoever approves it.

mod calendar;
mod cron;
mod program;
mod unit_file;

use std::path::Path;

use agentos_api::change::Risk;
use agentos_api::mutation::timer as api;
use agentos_api::problem::near_matches;

use self::calendar::When;
use self::unit_file::{Job, MARK};
use super::accounts::{Database, refuse_who_says_yes};
use super::files;
use super::service::{UNITS, links_to, read_anew, state, unit};
use crate::QueryError;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::transition::Transition;
use crate::change::unit::{Run, UnitRun};
use crate::procfs;
use crate::systemd::control::{self, Look};

const PREFIX: &str = "job-";
const LONGEST_NAME: usize = 48;
/// The links of timers that start with the machine.
const WANTS: &str = "/etc/systemd/system/timers.target.wants";
/// Where systemd keeps when persistent timers last ran (systemd.timer(5), `Persistent=`).
const STAMPS: &str = "/var/lib/systemd/timers";
const MOST_NAMES: usize = 10_000;
const ROOT: &str = "root";

fn check_name(name: &str) -> Result<(), ChangeError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let well = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.starts_with(PREFIX);
    if well {
        return Ok(());
    }
    Err(ChangeError::invalid(
        "name",
        format!(
            "must be 1 to {LONGEST_NAME} lower-case letters, digits and hyphens, without {PREFIX} before it, such as nightly-backup"
        ),
    ))
}

fn unit_of(name: &str, suffix: &str) -> String {
    format!("{PREFIX}{name}.{suffix}")
}

fn path_of(unit: &str) -> String {
    format!("{UNITS}/{unit}")
}

/// The unit as systemd has it; none where it has none.
fn known(planner: &Planner<'_>, unit: &str) -> Result<Option<Look>, ChangeError> {
    match control::look(planner.machine, unit) {
        Ok(look) => Ok(Some(look)),
        Err(QueryError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a unit that will be there after what is planned so far.
fn refuse_existing(planner: &mut Planner<'_>, name: &str, unit: &str) -> Result<Option<Look>, ChangeError> {
    let found = known(planner, unit)?;
    let path = path_of(unit);
    let by_this_change = files::is_planned(planner, &path);
    let there = files::read(planner, &path)?.is_some();
    if !there && (by_this_change || found.is_none()) {
        return Ok(found);
    }
    let file = found.and_then(|look| look.fragment).unwrap_or(path);
    Err(ChangeError::refused(format!(
        "there is a unit {unit} already ({file}); take another name, or remove it first: timer.remove with name {name}, \
         which may be a step of the same change"
    )))
}

impl Plan for api::Create {
    fn check(args: &api::CreateArgs) -> Result<(), ChangeError> {
        check_name(&args.name)?;
        calendar::expressions(&args.on_calendar)?;
        program::check_words(&args.argv)?;
        let description = args.description.as_deref().unwrap_or_default();
        if description.chars().count() > 200
            || description.chars().any(|character| character.is_control() || character == '\\')
        {
            return Err(ChangeError::invalid(
                "description",
                "must be one line of at most 200 characters, without backslashes",
            ));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::CreateArgs) -> Result<(), ChangeError> {
        let (timer, service) = (unit_of(&args.name, "timer"), unit_of(&args.name, "service"));
        let known = refuse_existing(planner, &args.name, &timer)?;
        refuse_existing(planner, &args.name, &service)?;
        let user = args.user.as_deref().unwrap_or(ROOT);
        let database = Database::read(planner)?;
        let account = database.user(user)?;
        let is_root = account.uid == 0;
        let as_good_as_root = refuse_who_says_yes(planner, &database, &account)?;
        program::check(planner, &args.argv, user, as_good_as_root)?;
        for folder in drop_ins(&timer).into_iter().chain(drop_ins(&service)) {
            if Path::new(&folder).is_dir() {
                planner.not_covered(format!("what is in {folder} adds to the files that are made"));
            }
        }
        let when = When::find(&args.on_calendar)?;

        planner.risk(Risk::Destructive);
        let mut summary = format!("Has {} run as {user}: {timer}, at {}", args.argv.join(" "), when.text());
        if let Some(next) = &when.next {
            summary = format!("{summary}, for the first time on {next}");
        } else {
            planner.not_covered("systemd-analyze is not installed: whether systemd understands the time shows when the timer is started");
        }
        planner.summary(summary);
        planner.not_covered("what the program does: its runs are in the journal, not in agentd's record, and are not taken back");
        let confined = !planner.viewer.operator;
        if as_good_as_root && confined {
            planner.not_covered(format!(
                "{user} is root or as good as root, can do whatever the policy keeps from the agent, and come to agentd's files \
                 by other ways: say yes only to a program that you know"
            ));
        }
        if !is_root && confined {
            planner.not_covered("sudo and other setuid or setgid programs have no effect in it");
        }
        let job = Job {
            timer: &timer,
            description: args.description.as_deref(),
            argv: &args.argv,
            user: (!is_root).then_some(user),
            when: &when,
            persistent: args.persistent,
            confined,
        };
        files::text(planner, &path_of(&service), &job.service())?;
        files::text(planner, &path_of(&timer), &job.timer())?;
        if args.persistent {
            fresh_stamp(planner, &timer)?;
        }
        files::folder(planner, WANTS)?;
        files::link(planner, &format!("{WANTS}/{timer}"), &path_of(&timer), |_| false)?;
        read_anew(planner)?;
        planner.add(Transition::UnitRun(UnitRun {
            unit: timer,
            from: "inactive".to_owned(),
            to: Run::Running,
            invocation: known.and_then(|look| look.invocation),
            holds_nothing: true,
        }))
    }
}

/// The administrator's folders whose files add to a unit: its own, and those for all that begin so (systemd.unit(5)).
fn drop_ins(unit: &str) -> Vec<String> {
    let Some((name, suffix)) = unit.rsplit_once('.') else { return Vec::new() };
    let dashes = name.match_indices('-').filter_map(|(at, _)| name.get(..=at));
    dashes.chain([name]).map(|name| format!("{UNITS}/{name}.{suffix}.d")).collect()
}

/// Plans the file by which systemd knows when a persistent timer last ran, as new. systemd would make the same one at the
/// start, and leave it behind; one of an earlier timer would count as a run that was missed.
fn fresh_stamp(planner: &mut Planner<'_>, timer: &str) -> Result<(), ChangeError> {
    let stamp = stamp_of(timer);
    files::folder(planner, STAMPS)?;
    files::absent(planner, &stamp)?;
    files::text(planner, &stamp, "")
}

fn stamp_of(timer: &str) -> String {
    format!("{STAMPS}/stamp-{timer}")
}

/// The names of the timers that are marked as ours.
fn ours() -> Vec<String> {
    let name = |file: &String| Some(file.strip_prefix(PREFIX)?.strip_suffix(".timer")?.to_owned());
    procfs::names(UNITS, MOST_NAMES)
        .iter()
        .filter(|file| procfs::text(&path_of(file)).is_some_and(|text| text.starts_with(MARK)))
        .filter_map(name)
        .collect()
}

/// The name as it was given to `timer.create`.
fn bare(name: &str) -> &str {
    let name = name.strip_suffix(".timer").unwrap_or(name);
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// A unit that this file did not make, or none at all.
fn not_ours(planner: &Planner<'_>, given: &str) -> Result<ChangeError, ChangeError> {
    let suffixed = format!("{}.timer", given.strip_suffix(".timer").unwrap_or(given));
    for unit in [suffixed, unit_of(bare(given), "timer")] {
        if let Some(look) = known(planner, &unit)? {
            let file = look.fragment.unwrap_or_else(|| "no file".to_owned());
            return Ok(ChangeError::refused(format!(
                "{unit} was not made by timer.create ({file}): service.stop and service.disable with unit {unit} keep it from \
                 running, and can be taken back"
            )));
        }
    }
    let names = ours();
    let near = near_matches(bare(given), names.iter().map(String::as_str));
    let what = format!("a timer {} of timer.create's", bare(given));
    Ok(ChangeError::Reading(QueryError::NotFound { what, near }))
}

impl Plan for api::Remove {
    fn check(args: &api::RemoveArgs) -> Result<(), ChangeError> {
        crate::systemd::unit_name::normalise("name", &args.name)?;
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::RemoveArgs) -> Result<(), ChangeError> {
        let name = bare(&args.name);
        let (timer, service) = (unit_of(name, "timer"), unit_of(name, "service"));
        let file = files::read(planner, &path_of(&timer))?;
        if check_name(name).is_err() || !file.is_some_and(|text| text.starts_with(MARK)) {
            return Err(not_ours(planner, &args.name)?);
        }
        let look = unit(planner, &timer)?;
        planner.risk(Risk::Destructive);
        planner.summary(format!("Removes {timer} and its service"));
        planner.not_covered(format!("a run of {service} that is under way goes on to its end"));
        let (running, from) = state(planner, &look)?;
        if running {
            let invocation = look.invocation.clone();
            let unit = timer.clone();
            let run = UnitRun { unit, from, to: Run::Stopped, invocation, holds_nothing: true };
            planner.add(Transition::UnitRun(run))?;
        }
        let mut links = links_to(&look);
        let link = format!("{WANTS}/{timer}");
        if !links.contains(&link) {
            links.push(link);
        }
        for path in links.into_iter().chain([path_of(&timer)]) {
            files::absent(planner, &path)?;
        }
        let stamp = stamp_of(&timer);
        if files::read(planner, &stamp)?.is_some() {
            files::absent(planner, &stamp)?;
        }
        match files::read(planner, &path_of(&service))? {
            Some(text) if text.starts_with(MARK) => files::absent(planner, &path_of(&service))?,
            Some(_) => planner.not_covered(format!("{service} stays: somebody else wrote it anew")),
            None => {}
        }
        if !look.drop_ins.is_empty() {
            planner.not_covered(format!("what adds to it stays: {}", look.drop_ins.join(", ")));
        }
        read_anew(planner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_part_of_a_units_name_and_nothing_else() {
        for name in ["a", "nightly-backup", "7"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(49);
        for name in
            ["", "-a", "a-", "a b", "a\nb", "a/b", "../a", "a.timer", "a@b", "A", "ü", "job-a", "a%n", &long]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn without_systemd_nothing_is_planned() {
        if std::path::Path::new("/run/systemd/system").is_dir() {
            return;
        }
        let bench = crate::change::testing::Bench::new();
        let args = serde_json::json!({"name": "a", "on_calendar": "daily", "argv": ["/usr/bin/true"]});
        match bench.plan("timer.create", args).unwrap_err() {
            ChangeError::Reading(QueryError::Unavailable { code, .. }) => {
                assert_eq!(code, "systemd_unavailable");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_adds_to_a_unit_is_looked_for() {
        let folders = ["job-.timer.d", "job-a-.timer.d", "job-a-b.timer.d"];
        assert_eq!(drop_ins("job-a-b.timer"), folders.map(|name| format!("{UNITS}/{name}")));
    }

    #[test]
    fn a_timer_is_removed_by_any_of_its_names() {
        for name in ["backup", "job-backup", "job-backup.timer", "backup.timer"] {
            assert_eq!(bare(name), "backup");
        }
    }
}
