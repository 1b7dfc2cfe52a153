//! From a text to a policy. What is not known is an error, and each error has its line and column.

use agentos_api::problem::near_matches;
use agentos_api::query::NAMES;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{PolicyError, position};
use crate::glob::{Globs, Kind, check, is_wild};
use crate::rate::Rate;
use crate::rule::{Matchers, Origin, Patterns, Policy, Rule, RuleName, Table, Then, Time};
use crate::{
    MAX_NAME_BYTES, MAX_PATTERNS, MAX_RATE, MAX_RATED_RULES, MAX_REASON, MAX_RULES, MAX_VALUES, builtin,
};

const KEYS: [&str; 11] =
    ["argument", "mask", "name", "path", "principal", "query", "rate", "reason", "then", "time", "unit"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

type Result<T> = std::result::Result<T, PolicyError>;
type Item<'i> = Spanned<DeValue<'i>>;

impl Policy {
    /// Reads a policy. The built-in rules stand before its own.
    ///
    /// # Errors
    /// [`PolicyError`] for what is not TOML, unknown keys, values that mean nothing, and more than the bounds allow.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lists = Lists::default();
        let mut rules =
            Reader { text: builtin::RULES, origin: Origin::BuiltIn, lists: &mut lists }.rules()?;
        rules.extend(Reader { text, origin: Origin::File, lists: &mut lists }.rules()?);
        let patterns = lists.build().map_err(|message| PolicyError::at(text, 0, message))?;
        Ok(Self { rules, patterns })
    }

    /// The policy that holds where no file is.
    ///
    /// # Errors
    /// Never, for the text was tested; the type says what a caller would otherwise have to unwrap.
    pub fn built_in_default() -> Result<Self> {
        Self::parse(crate::DEFAULT)
    }
}

/// All patterns so far, by what they are compared with.
#[derive(Default)]
struct Lists {
    principals: Vec<String>,
    queries: Vec<String>,
    paths: Vec<String>,
    units: Vec<String>,
    values: Vec<String>,
}

impl Lists {
    fn count(&self) -> usize {
        [&self.principals, &self.queries, &self.paths, &self.units, &self.values]
            .iter()
            .map(|list| list.len())
            .sum()
    }

    fn build(self) -> std::result::Result<Patterns, String> {
        let table = |kind, texts: Vec<String>| Globs::new(kind, &texts).map(|globs| Table { texts, globs });
        Ok(Patterns {
            principals: table(Kind::Text, self.principals)?,
            queries: table(Kind::Text, self.queries)?,
            paths: table(Kind::Path, self.paths)?,
            units: table(Kind::Text, self.units)?,
            values: table(Kind::Text, self.values)?,
        })
    }
}

struct Reader<'a, 'l> {
    text: &'a str,
    origin: Origin,
    lists: &'l mut Lists,
}

impl Reader<'_, '_> {
    fn rules(&mut self) -> Result<Vec<Rule>> {
        let parsed = DeTable::parse(self.text).map_err(|error| {
            PolicyError::at(self.text, error.span().map_or(0, |span| span.start), error.message())
        })?;
        let mut rules: Vec<Rule> = Vec::new();
        for (key, value) in parsed.get_ref() {
            if key.get_ref() != "rule" {
                return Err(self.unknown(key.span().start, key.get_ref(), &["rule"]));
            }
            let DeValue::Array(list) = value.get_ref() else {
                return Err(self.wrong(value, "rules are written as [[rule]], one after the other"));
            };
            for item in list {
                if rules.len() >= MAX_RULES {
                    return Err(self.wrong(item, &format!("a policy has at most {MAX_RULES} rules")));
                }
                let rule = self.rule(item, rules.len() + 1)?;
                if let Some(name) = &rule.name.name
                    && let Some(other) = rules.iter().find(|other| other.name.name.as_ref() == Some(name))
                {
                    let message = format!("the rule on line {} has this name, too", other.name.line);
                    return Err(self.wrong(item, &message));
                }
                rules.push(rule);
            }
        }
        let rated: Vec<&Rule> = rules.iter().filter(|rule| rule.when.rate.is_some()).collect();
        if let Some(rule) = rated.get(MAX_RATED_RULES) {
            let message = format!("at most {MAX_RATED_RULES} rules have a rate");
            return Err(PolicyError { line: rule.name.line, column: 1, message });
        }
        Ok(rules)
    }

    fn rule(&mut self, item: &Item<'_>, number: usize) -> Result<Rule> {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(self.wrong(item, "rules are written as [[rule]], one after the other"));
        };
        let mut when = Matchers::default();
        let (mut name, mut then, mut reason, mut mask, mut rate) = (None, None, None, None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.short(value, MAX_NAME_BYTES)?),
                "reason" => reason = Some(self.short(value, MAX_REASON)?),
                "then" => then = Some(self.then(value)?),
                "mask" => mask = Some((self.boolean(value)?, value)),
                "principal" => when.principal = Some(self.principals(value)?),
                "query" => when.query = Some(self.queries(value)?),
                "path" => when.path = Some(self.paths(value)?),
                "unit" => when.unit = Some(self.patterns(value, |lists| &mut lists.units)?),
                "argument" => self.arguments(value, &mut when)?,
                "time" => when.time = Some(self.time(value)?),
                "rate" => rate = Some((self.rate(value)?, value)),
                other => return Err(self.unknown(key.span().start, other, &KEYS)),
            }
        }
        let Some(then) = then else {
            let message = "a rule says what is to be done: then = \"allow\", \"ask\" or \"deny\"";
            return Err(self.wrong(item, message));
        };
        if let (Some((false, value)), Then::Ask | Then::Deny) = (&mask, then) {
            return Err(
                self.wrong(value, "mask = false belongs to a rule that allows: only that is answered")
            );
        }
        if let (Some((_, value)), Then::Ask | Then::Deny) = (&rate, then) {
            let message = "a rate belongs to a rule that allows: what is over it goes on to the rules below";
            return Err(self.wrong(value, message));
        }
        when.rate = rate.map(|(rate, _)| rate);
        let (line, _) = position(self.text, item.span().start);
        let name = RuleName { origin: self.origin, number, line, name };
        Ok(Rule { name, when, then, reason, mask: mask.is_none_or(|(mask, _)| mask) })
    }

    fn principals(&mut self, value: &Item<'_>) -> Result<Vec<usize>> {
        for (text, item) in self.texts(value)? {
            let role = text.split(':').next().unwrap_or_default();
            if !matches!(role, "agent" | "operator" | "*") {
                let message = format!(
                    "{text:?} is no principal: write \"agent\", \"operator\", or one with a user below it, \"agent:openclaw\""
                );
                return Err(self.wrong(item, &message));
            }
        }
        self.patterns(value, |lists| &mut lists.principals)
    }

    fn queries(&mut self, value: &Item<'_>) -> Result<Vec<usize>> {
        for (text, item) in self.texts(value)? {
            if !is_wild(&text) && !NAMES.contains(&text.as_str()) {
                let near = near_matches(&text, NAMES.iter().copied());
                let hint = if near.is_empty() {
                    "agentctl tools lists them".to_owned()
                } else {
                    format!("close to it: {}", near.join(", "))
                };
                return Err(self.wrong(item, &format!("there is no query {text:?}; {hint}")));
            }
        }
        self.patterns(value, |lists| &mut lists.queries)
    }

    fn paths(&mut self, value: &Item<'_>) -> Result<Vec<usize>> {
        let mut numbers = Vec::new();
        for (text, item) in self.texts(value)? {
            let whole = match text.strip_prefix("~/") {
                Some(below) => vec![format!("/root/{below}"), format!("/home/*/{below}")],
                None => vec![text],
            };
            for pattern in whole {
                check(Kind::Path, &pattern).map_err(|message| self.wrong(item, &message))?;
                numbers.push(self.lists.paths.len());
                self.lists.paths.push(pattern);
            }
            self.bounded(item)?;
        }
        Ok(numbers)
    }

    fn patterns(&mut self, value: &Item<'_>, list: fn(&mut Lists) -> &mut Vec<String>) -> Result<Vec<usize>> {
        let mut numbers = Vec::new();
        for (text, item) in self.texts(value)? {
            check(Kind::Text, &text).map_err(|message| self.wrong(item, &message))?;
            let list = list(self.lists);
            numbers.push(list.len());
            list.push(text);
            self.bounded(item)?;
        }
        Ok(numbers)
    }

    fn bounded(&self, item: &Item<'_>) -> Result<()> {
        if self.lists.count() > MAX_PATTERNS {
            return Err(self.wrong(item, &format!("a policy has at most {MAX_PATTERNS} patterns in all")));
        }
        Ok(())
    }

    fn arguments(&mut self, value: &Item<'_>, when: &mut Matchers) -> Result<()> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong(value, "write it as { name = \"pattern\" }"));
        };
        if table.len() > MAX_VALUES {
            return Err(self.wrong(value, &format!("at most {MAX_VALUES} arguments")));
        }
        for (name, value) in table {
            let patterns = self.patterns(value, |lists| &mut lists.values)?;
            when.argument.insert(name.get_ref().to_string(), patterns);
        }
        Ok(())
    }

    fn time(&self, value: &Item<'_>) -> Result<Time> {
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
    fn clock(&self, value: &Item<'_>) -> Result<u16> {
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
    fn rate(&self, value: &Item<'_>) -> Result<Rate> {
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

    fn then(&self, value: &Item<'_>) -> Result<Then> {
        match value.get_ref().as_str() {
            Some("allow") => Ok(Then::Allow),
            Some("ask") => Ok(Then::Ask),
            Some("deny") => Ok(Then::Deny),
            _ => Err(self.wrong(value, "then is \"allow\", \"ask\" or \"deny\"")),
        }
    }

    fn boolean(&self, value: &Item<'_>) -> Result<bool> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong(value, "it is true or false"))
    }

    /// A text that is shown to people: one line, and not long.
    fn short(&self, value: &Item<'_>, most: usize) -> Result<String> {
        let text = value.get_ref().as_str().map(str::trim).unwrap_or_default();
        if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            return Err(self.wrong(value, &format!("it is one line of 1 to {most} characters, in quotes")));
        }
        Ok(text.to_owned())
    }

    /// One text, or a list of them.
    fn texts<'v, 'i>(&self, value: &'v Item<'i>) -> Result<Vec<(String, &'v Item<'i>)>> {
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

    fn wrong(&self, item: &Item<'_>, message: &str) -> PolicyError {
        PolicyError::at(self.text, item.span().start, message)
    }

    fn unknown(&self, offset: usize, key: &str, known: &[&str]) -> PolicyError {
        let near = near_matches(key, known.iter().copied());
        let hint = match near.first() {
            Some(near) => format!("; did you mean {near}?"),
            None => format!("; there are: {}", known.join(", ")),
        };
        let shown: String = key.chars().take(40).collect();
        PolicyError::at(self.text, offset, format!("there is no key {shown:?} here{hint}"))
    }
}
