//! Lines of crontab(5) in systemd's words (systemd.time(7), "Calendar Events").
//!
//! The five fields, lists, ranges, steps, names and the words with an at sign. What the two understand differently is taken
//! in cron's meaning: Sunday is 0 and 7; where both the day of the month and that of the week are given, either is enough;
//! `@weekly` is Sunday.

const WEEK: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Cron's words for whole lines.
const WORDS: [(&str, &str); 7] = [
    ("@annually", "*-01-01 00:00:00"),
    ("@yearly", "*-01-01 00:00:00"),
    ("@monthly", "*-*-01 00:00:00"),
    ("@weekly", "Sun *-*-* 00:00:00"),
    ("@daily", "*-*-* 00:00:00"),
    ("@midnight", "*-*-* 00:00:00"),
    ("@hourly", "*-*-* *:00:00"),
];

/// A field of the line: what people call it, and which numbers it takes.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// The width that numbers have in systemd's words.
    width: usize,
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, width: 2 };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, width: 2 };
const DAY: Field = Field { name: "day of the month", least: 1, most: 31, width: 2 };
const MONTH: Field = Field { name: "month", least: 1, most: 12, width: 2 };
const WEEKDAY: Field = Field { name: "day of the week", least: 0, most: 7, width: 1 };

/// A part of a field: `*`, `5`, `1-5`, each with `/2` or without.
#[derive(Clone, Copy)]
struct Part {
    first: u8,
    last: u8,
    step: Option<u8>,
    /// Written with a star.
    all: bool,
}

/// The expressions that together mean the same as a line of crontab(5); none where it is not one.
///
/// # Errors
/// What is wrong with a line that is one.
pub(super) fn converted(given: &str) -> Result<Option<Vec<String>>, String> {
    let fields: Vec<&str> = given.split_whitespace().collect();
    if let [word] = fields.as_slice()
        && let Some(name) = word.strip_prefix('@')
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        return match WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
            Some((_, expression)) => Ok(Some(vec![(*expression).to_owned()])),
            None if word.eq_ignore_ascii_case("@reboot") => {
                Err("@reboot is no time: make a service, and enable it with service.enable".to_owned())
            }
            None => Err(format!("{word} is no word of crontab's")),
        };
    }
    let &[minute, hour, day, month, weekday] = fields.as_slice() else { return Ok(None) };
    let time = format!("{}:{}:00", numbers(&HOUR, hour)?, numbers(&MINUTE, minute)?);
    let (days, months) = (numbers(&DAY, day)?, numbers(&MONTH, month)?);
    let week = week(weekday)?;
    // crontab(5): a field that begins with a star does not restrict.
    let either = !day.starts_with('*') && !weekday.starts_with('*');
    Ok(Some(match week {
        None => vec![format!("*-{months}-{days} {time}")],
        Some(week) if either => {
            vec![format!("*-{months}-{days} {time}"), format!("{week} *-{months}-* {time}")]
        }
        Some(week) => vec![format!("{week} *-{months}-{days} {time}")],
    }))
}

fn parts(field: &Field, text: &str) -> Result<Vec<Part>, String> {
    text.split(',').map(|part| self::part(field, part)).collect()
}

fn part(field: &Field, text: &str) -> Result<Part, String> {
    let wrong = || {
        format!(
            "the {} {text:?} is not understood: numbers from {} to {}, lists, ranges and steps such as */5 or 1-5/2",
            field.name, field.least, field.most
        )
    };
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => {
            let step: u8 = digits(step).filter(|&step| step > 0).ok_or_else(wrong)?;
            (range, Some(step))
        }
        None => (text, None),
    };
    if range == "*" {
        return Ok(Part { first: field.least, last: field.most, step, all: true });
    }
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (first, last),
        // What a step after a single number means differs from one cron to another.
        None if step.is_some() => return Err(wrong()),
        None => (range, range),
    };
    let (first, last) = (number(field, first).ok_or_else(wrong)?, number(field, last).ok_or_else(wrong)?);
    if first > last { Err(wrong()) } else { Ok(Part { first, last, step, all: false }) }
}

fn digits(text: &str) -> Option<u8> {
    let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn number(field: &Field, text: &str) -> Option<u8> {
    let named = |names: &[&str], offset: u8| {
        let at = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
        u8::try_from(at).ok().map(|at| at + offset)
    };
    let number = match field.most {
        12 => digits(text).or_else(|| named(&MONTHS, 1)),
        7 => digits(text).or_else(|| named(&WEEK, 0)),
        _ => digits(text),
    }?;
    (field.least..=field.most).contains(&number).then_some(number)
}

/// A field in systemd's words, for all but the days of the week.
fn numbers(field: &Field, text: &str) -> Result<String, String> {
    let width = field.width;
    let written = parts(field, text)?.into_iter().map(|part| match part {
        Part { all: true, step: None | Some(1), .. } => "*".to_owned(),
        Part { all: true, first, step: Some(step), .. } => format!("{first:0width$}/{step}"),
        Part { first, last, .. } if first == last => format!("{first:0width$}"),
        Part { first, last, step: None, .. } => format!("{first:0width$}..{last:0width$}"),
        Part { first, last, step: Some(step), .. } => format!("{first:0width$}..{last:0width$}/{step}"),
    });
    let written: Vec<String> = written.collect();
    // systemd takes a star for a whole field alone.
    Ok(if written.iter().any(|part| part == "*") { "*".to_owned() } else { written.join(",") })
}

/// The days of the week, Monday first; none where it is every day.
fn week(text: &str) -> Result<Option<String>, String> {
    let mut on = [false; 7];
    for part in parts(&WEEKDAY, text)? {
        let last = if part.all { 6 } else { part.last };
        for day in (part.first..=last).step_by(usize::from(part.step.unwrap_or(1))) {
            if let Some(day) = on.get_mut(usize::from(day) % 7) {
                *day = true;
            }
        }
    }
    if on.iter().all(|&on| on) {
        return Ok(None);
    }
    let from_monday = (1..=7).map(|day| day % 7);
    let names: Vec<&str> = from_monday
        .filter(|&day| on.get(day).copied().unwrap_or_default())
        .filter_map(|day| WEEK.get(day).copied())
        .collect();
    Ok(Some(names.join(",")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> String {
        converted(line).unwrap().unwrap().join(" | ")
    }

    #[test]
    fn lines_of_crontab_are_said_in_systemds_words() {
        for (cron, systemd) in [
            ("* * * * *", "*-*-* *:*:00"),
            ("30 7 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 07:30:00"),
            ("*/15 * * * *", "*-*-* *:00/15:00"),
            ("0 4 1 * *", "*-*-01 04:00:00"),
            ("0 0 * * 0", "Sun *-*-* 00:00:00"),
            ("0 0 * * 7", "Sun *-*-* 00:00:00"),
            ("0 0 * * 5-7", "Fri,Sat,Sun *-*-* 00:00:00"),
            ("0 0 * * 0-6", "*-*-* 00:00:00"),
            ("5-50/10 8-18/2 1,15 jan,JUL *", "*-01,07-01,15 08..18/2:05..50/10:00"),
            ("0 0 */2 */3 *", "*-01/3-01/2 00:00:00"),
            // Either day is enough, except where a field begins with a star.
            ("0 0 13 * 5", "*-*-13 00:00:00 | Fri *-*-* 00:00:00"),
            ("0 0 */2 * 1", "Mon *-*-01/2 00:00:00"),
            ("0 0 1 * */2", "Tue,Thu,Sat,Sun *-*-01 00:00:00"),
            ("@weekly", "Sun *-*-* 00:00:00"),
            ("@Daily", "*-*-* 00:00:00"),
        ] {
            assert_eq!(one(cron), systemd, "{cron}");
        }
    }

    #[test]
    fn what_is_no_line_of_crontab_is_left_alone() {
        for other in ["daily", "Mon..Fri 07:30", "*:0/15", "@1395716396", "Mon *-*-* 00:00:00 UTC", "* * * *"]
        {
            assert_eq!(converted(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (line, field) in [
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of the week"),
            ("*/0 * * * *", "minute"),
            ("5/10 * * * *", "minute"),
            ("1- * * * *", "minute"),
            ("* 7-5 * * *", "hour"),
            ("* * * foo *", "month"),
            ("* * * * mon-", "day of the week"),
            (", * * * *", "minute"),
        ] {
            let error = converted(line).unwrap_err();
            assert!(error.contains(field), "{line}: {error}");
        }
        assert!(converted("@reboot").unwrap_err().contains("service.enable"));
        assert!(converted("@sometimes").is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in "[0-9*/,a-zA-Z@ -]{0,40}|\\PC{0,40}") {
            let _ = converted(&line);
        }

        /// Every minute of the field is one of those that the expression lists, by an own reading of it.
        #[test]
        fn a_step_keeps_its_minutes(first in 0u8..60, length in 0u8..60, step in 1u8..30) {
            let last = first.saturating_add(length).min(59);
            let line = format!("{first}-{last}/{step} * * * *");
            let written = one(&line);
            let minutes = written.rsplit(':').nth(1).unwrap().to_owned();
            let expected = if first == last { format!("{first:02}") } else { format!("{first:02}..{last:02}/{step}") };
            prop_assert_eq!(minutes, expected);
        }
    }
}
