//! From a text to a policy. What is not known is an error, and each error has its line and column.

mod quota;
mod values;

use agentos_api::change::Risk;
use agentos_api::problem::near_matches;
use agentos_api::{mutation, query};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{PolicyError, position};
use crate::glob::{Globs, Kind, check, is_wild};
use crate::quota::QuotaLimits;
use crate::rule::{Matchers, Origin, Patterns, Policy, Risks, Rule, RuleId, RuleName, Table, Then};
use crate::{MAX_NAME_BYTES, MAX_PATTERNS, MAX_RATED_RULES, MAX_REASON, MAX_RULES, MAX_VALUES, builtin};

const KEYS: [&str; 14] = [
    "argument",
    "mask",
    "mutation",
    "name",
    "operator_only",
    "path",
    "principal",
    "query",
    "rate",
    "reason",
    "risk",
    "then",
    "time",
    "unit",
];

type Result<T> = std::result::Result<T, PolicyError>;
type Item<'i> = Spanned<DeValue<'i>>;

impl Policy {
    /// Reads a policy. The built-in rules stand before its own.
    ///
    /// # Errors
    /// [`PolicyError`] for what is not TOML, unknown keys, values that mean nothing, and more than the bounds allow.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lists = Lists::default();
        let (mut rules, _) =
            Reader { text: builtin::RULES, origin: Origin::BuiltIn, lists: &mut lists }.policy()?;
        let (of_file, quotas) = Reader { text, origin: Origin::File, lists: &mut lists }.policy()?;
        rules.extend(of_file);
        let patterns = lists.build().map_err(|message| PolicyError::at(text, 0, message))?;
        Ok(Self { rules, patterns, quotas })
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
    mutations: Vec<String>,
    paths: Vec<String>,
    units: Vec<String>,
    values: Vec<String>,
}

impl Lists {
    fn count(&self) -> usize {
        [&self.principals, &self.queries, &self.mutations, &self.paths, &self.units, &self.values]
            .iter()
            .map(|list| list.len())
            .sum()
    }

    fn build(self) -> std::result::Result<Patterns, String> {
        let table = |kind, texts: Vec<String>| Globs::new(kind, &texts).map(|globs| Table { texts, globs });
        Ok(Patterns {
            principals: table(Kind::Text, self.principals)?,
            queries: table(Kind::Text, self.queries)?,
            mutations: table(Kind::Text, self.mutations)?,
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
    fn policy(&mut self) -> Result<(Vec<Rule>, Vec<QuotaLimits>)> {
        let parsed = DeTable::parse(self.text).map_err(|error| {
            PolicyError::at(self.text, error.span().map_or(0, |span| span.start), error.message())
        })?;
        let (mut rules, mut quotas) = (Vec::new(), Vec::new());
        for (key, value) in parsed.get_ref() {
            match key.get_ref().as_ref() {
                "rule" => rules = self.rules(value)?,
                "quota" => quotas = self.quotas(value)?,
                other => return Err(self.unknown(key.span().start, other, &["rule", "quota"])),
            }
        }
        Ok((rules, quotas))
    }

    fn rules(&mut self, value: &Item<'_>) -> Result<Vec<Rule>> {
        let mut rules: Vec<Rule> = Vec::new();
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
        let (mut name, mut then, mut reason) = (None, None, None);
        let (mut mask, mut rate, mut operator_only) = (None, None, None);
        let (mut read, mut changed) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.short(value, MAX_NAME_BYTES)?),
                "reason" => reason = Some(self.short(value, MAX_REASON)?),
                "then" => then = Some(self.then(value)?),
                "mask" => mask = Some((self.boolean(value)?, value)),
                "operator_only" => operator_only = Some((self.boolean(value)?, value)),
                "principal" => when.principal = Some(self.principals(value)?),
                "query" => {
                    when.query = Some(self.names(value, "query", query::NAMES, |lists| &mut lists.queries)?);
                    read = Some(value);
                }
                "mutation" => {
                    let list: fn(&mut Lists) -> &mut Vec<String> = |lists| &mut lists.mutations;
                    when.mutation = Some(self.names(value, "mutation", mutation::NAMES, list)?);
                    changed = Some(value);
                }
                "risk" => {
                    when.risk = Some(self.risks(value)?);
                    changed = Some(value);
                }
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
        if let (Some(_), Some(value)) = (read, changed) {
            let message =
                "a rule is about reading (query) or about changes (mutation, risk): write one for each";
            return Err(self.wrong(value, message));
        }
        if let (Some((false, value)), Then::Ask | Then::Deny) = (&mask, then) {
            return Err(
                self.wrong(value, "mask = false belongs to a rule that allows: only that is answered")
            );
        }
        if let (Some((false, value)), Some(_)) = (&mask, changed) {
            return Err(self.wrong(value, "mask = false belongs to a rule about reading"));
        }
        if let (Some((true, value)), Then::Allow | Then::Deny) = (&operator_only, then) {
            let message = "operator_only = true belongs to a rule that asks: it says who may say yes";
            return Err(self.wrong(value, message));
        }
        if let (Some((_, value)), Then::Ask | Then::Deny) = (&rate, then) {
            let message = "a rate belongs to a rule that allows: what is over it goes on to the rules below";
            return Err(self.wrong(value, message));
        }
        when.rate = rate.map(|(rate, _)| rate);
        let (line, _) = position(self.text, item.span().start);
        let name = RuleName { origin: self.origin, number, line, name };
        let mask = mask.is_none_or(|(mask, _)| mask);
        let operator_only = operator_only.is_some_and(|(only, _)| only);
        // What it says, without its comments and its place.
        let mut written = String::new();
        values::write(item.get_ref(), &mut written);
        let id = RuleId::of(written.as_bytes());
        Ok(Rule { name, when, then, reason, mask, operator_only, id })
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

    /// Names of queries or mutations, of which those without a wildcard are there.
    fn names(
        &mut self,
        value: &Item<'_>,
        kind: &str,
        known: &[&str],
        list: fn(&mut Lists) -> &mut Vec<String>,
    ) -> Result<Vec<usize>> {
        for (text, item) in self.texts(value)? {
            if !is_wild(&text) && !known.contains(&text.as_str()) {
                let near = near_matches(&text, known.iter().copied());
                let hint = if near.is_empty() {
                    "agentctl tools lists them".to_owned()
                } else {
                    format!("close to it: {}", near.join(", "))
                };
                return Err(self.wrong(item, &format!("there is no {kind} {text:?}; {hint}")));
            }
        }
        self.patterns(value, list)
    }

    fn risks(&self, value: &Item<'_>) -> Result<Risks> {
        let mut risks = Risks::default();
        for (text, item) in self.texts(value)? {
            let Some(risk) = Risks::EACH.into_iter().find(|risk| risk.as_str() == text) else {
                let known = Risks::EACH.map(Risk::as_str);
                let hint = match near_matches(&text, known).first() {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are: {}", known.join(", ")),
                };
                return Err(self.wrong(item, &format!("there is no risk {text:?}; {hint}")));
            };
            risks.add(risk);
        }
        Ok(risks)
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
}
