//! When a job runs: systemd's calendar expressions, as they are or made of a line of crontab(5).

use std::time::Duration;

use super::cron;
use crate::change::error::ChangeError;
use crate::run::Program;

const LONGEST: usize = 200;
const TIME: Duration = Duration::from_secs(5);
const LONGEST_OUTPUT: usize = 16 << 10;

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// Values of `OnCalendar=`: the job runs at the times of each.
    pub(super) expressions: Vec<String>,
    /// The line of crontab(5) that they were made of.
    pub(super) cron: Option<String>,
    /// When it runs first, by this machine's clock. None where that cannot be found out.
    pub(super) next: Option<String>,
}

impl When {
    /// Asks systemd-analyze(1) about each expression.
    ///
    /// # Errors
    /// [`ChangeError::Reading`] for `on_calendar`, in systemd's words; for times that are all over.
    pub(super) fn find(given: &str) -> Result<Self, ChangeError> {
        let (expressions, cron) = expressions(given)?;
        let Some(_) = Program::find("systemd-analyze") else {
            return Ok(Self { expressions, cron, next: None });
        };
        let mut found = Vec::new();
        for expression in &expressions {
            found.push(next(expression)?);
        }
        // Two times in the machine's own zone are not in the order of their texts, those in seconds are.
        let next = found.into_iter().flatten().min();
        let Some((_, next)) = next else {
            return Err(ChangeError::invalid(
                "on_calendar",
                format!("{given} names no time that is to come"),
            ));
        };
        Ok(Self { expressions, cron, next: Some(next) })
    }

    /// In words, for the plan's sentence.
    pub(super) fn text(&self) -> String {
        let all = self.expressions.join(" and at ");
        match &self.cron {
            Some(cron) => format!("{all} (that is what \"{cron}\" means in systemd's words)"),
            None => all,
        }
    }
}

/// The values of `OnCalendar=`, and the line of crontab(5) that they were made of. Reads nothing of the machine.
pub(super) fn expressions(given: &str) -> Result<(Vec<String>, Option<String>), ChangeError> {
    let invalid = |reason: String| ChangeError::invalid("on_calendar", reason);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" */.,:-~@_+".contains(&byte);
    if given.trim().is_empty() || given.len() > LONGEST || !given.bytes().all(plain) {
        return Err(invalid(format!(
            "must be one line of at most {LONGEST} letters, digits and */.,:-~@_+, such as daily, Mon..Fri 07:30 or 30 7 * * 1-5"
        )));
    }
    match cron::converted(given).map_err(invalid)? {
        Some(expressions) => Ok((expressions, Some(given.trim().to_owned()))),
        None => Ok((vec![given.trim().to_owned()], None)),
    }
}

/// When an expression is met next: in order, and as people read it. None where never.
fn next(expression: &str) -> Result<Option<(String, String)>, ChangeError> {
    let Some(program) = Program::find("systemd-analyze") else { return Ok(None) };
    let program = program.argument("calendar").argument("--").argument(expression).in_local_time();
    let (ended, output) = program.output(TIME, LONGEST_OUTPUT)?;
    if !ended.status.success() {
        let said = ended.stderr.chars().take(300).collect::<String>();
        return Err(ChangeError::invalid(
            "on_calendar",
            format!(
                "is no calendar expression of systemd's ({said}); examples: daily, Mon..Fri 07:30, *-*-01 04:00, *:0/15, or \
                 crontab's 30 7 * * 1-5"
            ),
        ));
    }
    Ok(read_next(&crate::text::lossy(&output)))
}

/// Out of what systemd-analyze(1) answers: the time in UTC, which it gives only where that is not the machine's own, and
/// the time by the machine's clock.
fn read_next(answer: &str) -> Option<(String, String)> {
    let value = |wanted: &str| {
        answer.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            (key.trim() == wanted).then(|| value.trim().to_owned())
        })
    };
    let local = value("Next elapse").filter(|next| next != "never")?;
    let utc = value("(in UTC)").unwrap_or_else(|| local.clone());
    // "Thu 2026-11-26 00:00:00 UTC": the day of the week is not for the order.
    let ordered = utc.split_once(' ').map_or_else(|| utc.clone(), |(_, rest)| rest.to_owned());
    Some((ordered, local))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_systemd_analyze_says_is_read() {
        let berlin = "  Original form: daily\nNormalized form: *-*-* 00:00:00\n    Next elapse: Thu 2026-11-26 00:00:00 CET\n       \
                      (in UTC): Wed 2026-11-25 23:00:00 UTC\n       From now: 11h left\n";
        let found = read_next(berlin).unwrap();
        assert_eq!(found, ("2026-11-25 23:00:00 UTC".to_owned(), "Thu 2026-11-26 00:00:00 CET".to_owned()));
        let utc = "Normalized form: *-*-* 00:00:00\n    Next elapse: Thu 2026-11-26 00:00:00 UTC\n";
        assert_eq!(read_next(utc).unwrap().0, "2026-11-26 00:00:00 UTC");
        assert_eq!(read_next("Normalized form: 2020-01-01 00:00:00\n    Next elapse: never\n"), None);
    }

    #[test]
    fn systemd_is_asked_where_it_is_installed() {
        if Program::find("systemd-analyze").is_none() {
            return;
        }
        for good in ["daily", "Mon..Fri 07:30", "*-*-01 04:00:00", "*:0/15", "30 7 * * 1-5", "0 0 13 * 5"] {
            let when = When::find(good).unwrap();
            assert!(when.next.is_some(), "{good}");
        }
        for bad in ["never-ever", "2020-01-01", "99:00", "0 0 31 2 *", "-x", "--help"] {
            let error = When::find(bad).unwrap_err().to_string();
            assert!(error.starts_with("on_calendar: "), "{bad}: {error}");
        }
    }

    #[test]
    fn a_line_is_one_line_without_what_a_unit_file_would_expand() {
        for bad in ["", " ", "daily\nOnBootSec=1", "daily %h", "a=b", "[x]", "\\", &"a".repeat(201)] {
            assert!(expressions(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_on_its_line(given in "\\PC{0,40}|[0-9*/,a-zA-Z@ .:\n%-]{0,40}") {
            if let Ok((expressions, _)) = expressions(&given) {
                prop_assert!(!expressions.is_empty());
                for expression in expressions {
                    prop_assert!(!expression.contains(['\n', '%', '\\']), "{}", expression);
                }
            }
        }

        #[test]
        fn any_answer_is_read_without_panic(answer in "(Next elapse: |never|\\n|\\PC){0,20}") {
            let _ = read_next(&answer);
        }
    }
}
