//! The values of a rule's keys, and the words of errors about them.

use std::fmt::Write as _;

use agentos_api::problem::near_matches;
use toml::de::DeValue;

use super::{Item, Reader, Result};
use crate::error::PolicyError;
use crate::rate::Rate;
use crate::rule::{Then, Time};
use crate::{MAX_RATE, MAX_VALUES};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A value in one form for whatever way it is written in: keys sorted, texts quoted, one text as a list of one.
pub(super) fn write(value: &DeValue<'_>, into: &mut String) {
    match value {
        DeValue::Table(table) => {
            let mut keys: Vec<_> = table.iter().collect();
            keys.sort_by(|(a, _), (b, _)| a.get_ref().cmp(b.get_ref()));
            into.push('{');
            for (key, value) in keys {
                let _ = write!(into, "{:?}=", key.get_ref());
                write(value.get_ref(), into);
                into.push(',');
            }
            into.push('}');
        }
        DeValue::Array(list) => {
            for (number, value) in list.iter().enumerate() {
                if number > 0 {
                    into.push(',');
                }
                write(value.get_ref(), into);
            }
        }
        DeValue::String(text) => {
            let _ = write!(into, "{text:?}");
        }
        DeValue::Boolean(truth) => {
            let _ = write!(into, "{truth}");
        }
        // No other kind of value is in a rule that was understood.
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => {}
    }
}

impl Reader<'_, '_> {
    pub(super) fn time(&self, value: &Item<'_>) -> Result<Time> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong(
                value,
                "write it as { from = \"08:00\", to = \"18:00\", days = [\"mon\", \"fri\"] }",
            ));
        };
        let mut time = Time { from: 0, to: 24 * 60, days: 0x7f };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "from" => time.from = self.clock(value)?,
                "to" => time.to = self.clock(value)?,
                "days" => {
                    time.days = 0;
                    for (day, item) in self.texts(value)? {
                        let Some(number) = DAYS.iter().position(|known| *known == day) else {
                            return Err(self.wrong(item, &format!("a day is one of {}", DAYS.join(", "))));
                        };
                        time.days |= 1 << number;
                    }
                }
                other => return Err(self.unknown(key.span().start, other, &["from", "to", "days"])),
            }
        }
        if time.from == time.to {
            return Err(self.wrong(value, "from and to are the same: leave both out for the whole day"));
        }
        Ok(time)
    }

    /// `HH:MM`, to `24:00`.
    pub(super) fn clock(&self, value: &Item<'_>) -> Result<u16> {
        let wrong = || self.wrong(value, "a time of day is written \"08:30\", from \"00:00\" to \"24:00\"");
        let text = value.get_ref().as_str().ok_or_else(wrong)?;
        let number = |text: &str| {
            (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse::<u16>().ok())?
        };
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        match (number(hours), number(minutes)) {
            (Some(24), Some(0)) => Ok(24 * 60),
            (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(hours * 60 + minutes),
            _ => Err(wrong()),
        }
    }

    /// `30/minute` or `500/hour`.
    pub(super) fn rate(&self, value: &Item<'_>) -> Result<Rate> {
        let wrong = || {
            self.wrong(
                value,
                &format!("a rate is written \"30/minute\" or \"500/hour\", from 1 to {MAX_RATE}"),
            )
        };
        let (count, unit) =
            value.get_ref().as_str().and_then(|text| text.split_once('/')).ok_or_else(wrong)?;
        let most = count.trim().parse::<u32>().ok().filter(|most| (1..=MAX_RATE).contains(most));
        let seconds = match unit.trim() {
            "minute" => 60,
            "hour" => 3600,
            _ => return Err(wrong()),
        };
        Ok(Rate { most: most.ok_or_else(wrong)?, seconds })
    }

    pub(super) fn then(&self, value: &Item<'_>) -> Result<Then> {
        match value.get_ref().as_str() {
            Some("allow") => Ok(Then::Allow),
            Some("ask") => Ok(Then::Ask),
            Some("deny") => Ok(Then::Deny),
            _ => Err(self.wrong(value, "then is \"allow\", \"ask\" or \"deny\"")),
        }
    }

    pub(super) fn boolean(&self, value: &Item<'_>) -> Result<bool> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong(value, "it is true or false"))
    }

    /// A text that is shown to people: one line, and not long.
    pub(super) fn short(&self, value: &Item<'_>, most: usize) -> Result<String> {
        let text = value.get_ref().as_str().map(str::trim).unwrap_or_default();
        if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            return Err(self.wrong(value, &format!("it is one line of 1 to {most} characters, in quotes")));
        }
        Ok(text.to_owned())
    }

    /// One text, or a list of them.
    pub(super) fn texts<'v, 'i>(&self, value: &'v Item<'i>) -> Result<Vec<(String, &'v Item<'i>)>> {
        let items: Vec<&Item<'i>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() || items.len() > MAX_VALUES {
            return Err(self.wrong(value, &format!("it is one text, or a list of 1 to {MAX_VALUES}")));
        }
        items
            .into_iter()
            .map(|item| match item.get_ref().as_str() {
                Some(text) => Ok((text.to_owned(), item)),
                None => Err(self.wrong(item, "it is a text, in quotes, or a list of texts")),
            })
            .collect()
    }

    pub(super) fn wrong(&self, item: &Item<'_>, message: &str) -> PolicyError {
        PolicyError::at(self.text, item.span().start, message)
    }

    pub(super) fn wrong_at(&self, offset: usize, message: &str) -> PolicyError {
        PolicyError::at(self.text, offset, message)
    }

    pub(super) fn unknown(&self, offset: usize, key: &str, known: &[&str]) -> PolicyError {
        let near = near_matches(key, known.iter().copied());
        let hint = match near.first() {
            Some(near) => format!("; did you mean {near}?"),
            None => format!("; there are: {}", known.join(", ")),
        };
        let shown: String = key.chars().take(40).collect();
        PolicyError::at(self.text, offset, format!("there is no key {shown:?} here{hint}"))
    }
}
