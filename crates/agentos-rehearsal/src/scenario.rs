//! Scenario files: what is asked, which tools are called with what, and what is said afterwards.
//!
//! A file is read whole and refused at the first thing that is not right, with its line: an unknown key, a pattern that
//! is no regular expression, a template that reads a name nothing gives.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::error::ScenarioError;
use crate::matcher::{Captures, Matcher};
use crate::template::{Scope, Template};

/// Largest scenario file, in bytes.
pub const MAX_FILE_BYTES: usize = 64 * 1024;
/// Most calls in one scenario.
pub const MAX_CALLS: usize = 16;

/// Names that every template can read, whatever its calls are named.
///
/// `said`: what the sentence's pattern captured. `clock`: times in UTC, RFC 3339. `errors`: by the name of an optional
/// call, its error. `error`: in `on_error`, the error that ended the scenario.
pub const BUILT_IN_NAMES: [&str; 4] = ["said", "clock", "errors", "error"];

/// What is said when a tool failed and the scenario has no `on_error` of its own.
const DEFAULT_ON_ERROR: &str = "I could not find out: `{{ error/tool }}` answered with an error.\n\
    {{ error/message }} (code `{{ error/code }}`)\
    {% if error/hint %}\n{{ error/hint }}{% end %}";

/// A scenario, ready to be played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// Sentences that it answers, shown to those who ask something else. Each is matched by this scenario.
    pub ask: Vec<String>,
    /// The ways of asking; one that matches is enough.
    pub matchers: Vec<Matcher>,
    /// The calls, step by step; those of one step are made together.
    pub steps: Vec<Vec<Call>>,
    /// What is said when all calls were answered.
    pub say: Template,
    /// What is said when a call that is not optional failed.
    pub on_error: Template,
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// The name under which templates read the result.
    pub name: String,
    /// The tool.
    pub tool: String,
    /// Its arguments; the texts in it are templates.
    pub arguments: Argument,
    /// Whether the scenario goes on when this call fails.
    pub optional: bool,
    /// The arguments are wrong on purpose: the scenario shows how a refusal is told.
    pub refused: bool,
}

/// A value in a call's arguments.
#[derive(Clone, Debug)]
pub enum Argument {
    /// Passed on as it stands.
    Plain(Value),
    /// Rendered first.
    Template(Template),
    /// A list.
    List(Vec<Argument>),
    /// An object.
    Object(Vec<(String, Argument)>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ask: Vec<String>,
    say: Spanned<String>,
    on_error: Option<Spanned<String>>,
    r#match: Vec<MatchTable>,
    #[serde(default)]
    step: Vec<StepTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchTable {
    pattern: Option<Spanned<String>>,
    #[serde(default)]
    words: Vec<Vec<String>>,
    #[serde(default)]
    without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    call: Vec<CallTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallTable {
    name: Spanned<String>,
    tool: String,
    #[serde(default)]
    arguments: toml::Table,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    refused: bool,
}

impl Scenario {
    /// Reads the scenario in `text`; `file` is its name in errors, and without `.toml` the scenario's.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`] with the line at the first thing that is not right; [`ScenarioError::TooLarge`].
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(ScenarioError::TooLarge {
                file: file.to_owned(),
                limit: format!("{MAX_FILE_BYTES} bytes"),
            });
        }
        let reader = Reader { file, text };
        let parsed: File = toml::from_str(text)
            .map_err(|error| reader.error(error.span().unwrap_or(0..0), error.message()))?;
        let name = file.rsplit('/').next().unwrap_or(file);
        let matchers = reader.matchers(parsed.r#match)?;
        let (steps, names) = reader.steps(parsed.step)?;
        let mut in_error = names.clone();
        in_error.insert("error".to_owned());
        let on_error = match &parsed.on_error {
            Some(text) => reader.template(text, &in_error)?,
            None => Template::parse(DEFAULT_ON_ERROR).map_err(|error| reader.error(0..0, &error.reason))?,
        };
        let scenario = Self {
            name: name.strip_suffix(".toml").unwrap_or(name).to_owned(),
            ask: parsed.ask,
            matchers,
            steps,
            say: reader.template(&parsed.say, &names)?,
            on_error,
        };
        if scenario.ask.is_empty() {
            return Err(
                reader.error(0..0, "`ask` is empty: give at least one sentence that the scenario answers")
            );
        }
        match scenario.ask.iter().find(|sentence| scenario.find(sentence).is_none()) {
            Some(sentence) => {
                Err(reader.error(0..0, &format!("no `match` finds the sentence \"{sentence}\" of `ask`")))
            }
            None => Ok(scenario),
        }
    }

    /// What the sentence says when this scenario answers it.
    pub fn find(&self, sentence: &str) -> Option<Captures> {
        self.matchers.iter().find_map(|matcher| matcher.find(sentence))
    }

    /// Every call, in the order in which they are made.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().flatten()
    }
}

impl Argument {
    /// The value, with what the templates in it read from `scope`. An argument whose value is `null` is left out of
    /// its object: the tool's default holds.
    pub fn value(&self, scope: &Scope) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Template(template) => template.value(scope),
            Self::List(items) => items.iter().map(|item| item.value(scope)).collect(),
            Self::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), member.value(scope)))
                .filter(|(_, value)| !value.is_null())
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// The templates in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Template(template) => vec![template],
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, member)| member.templates()).collect(),
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, span: Range<usize>, reason: &str) -> ScenarioError {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        ScenarioError::Invalid { file: self.file.to_owned(), line, reason: reason.to_owned() }
    }

    fn matchers(&self, tables: Vec<MatchTable>) -> Result<Vec<Matcher>, ScenarioError> {
        tables
            .into_iter()
            .map(|table| {
                let span = table.pattern.as_ref().map_or(0..0, Spanned::span);
                let pattern = table.pattern.map(Spanned::into_inner);
                Matcher::new(pattern.as_deref(), table.words, table.without)
                    .map_err(|reason| self.error(span, &reason))
            })
            .collect()
    }

    /// The steps, and the names that a template behind all of them can read.
    fn steps(&self, tables: Vec<StepTable>) -> Result<(Vec<Vec<Call>>, BTreeSet<String>), ScenarioError> {
        let mut known: BTreeSet<String> = ["said", "clock", "errors"].map(str::to_owned).into();
        let mut steps = Vec::new();
        let mut total = 0;
        for table in tables {
            // A call can read the results of the steps before its own, not of its neighbours.
            let readable = known.clone();
            let mut calls = Vec::new();
            for call in table.call {
                let span = call.name.span();
                let name = call.name.into_inner();
                if !crate::template::is_name(&name) || BUILT_IN_NAMES.contains(&name.as_str()) {
                    let reason = format!("`{name}` cannot name a call: use lower-case letters, digits and _");
                    return Err(self.error(span, &reason));
                }
                let arguments = self.argument(toml::Value::Table(call.arguments), &span, &readable)?;
                if !known.insert(name.clone()) {
                    return Err(self.error(span, &format!("a call named `{name}` is already there")));
                }
                total += 1;
                if total > MAX_CALLS {
                    return Err(self.error(span, &format!("more than {MAX_CALLS} calls")));
                }
                let CallTable { tool, optional, refused, .. } = call;
                calls.push(Call { name, tool, arguments, optional, refused });
            }
            if calls.is_empty() {
                return Err(self.error(0..0, "a step without a call"));
            }
            steps.push(calls);
        }
        Ok((steps, known))
    }

    fn argument(
        &self,
        value: toml::Value,
        span: &Range<usize>,
        known: &BTreeSet<String>,
    ) -> Result<Argument, ScenarioError> {
        Ok(match value {
            toml::Value::String(text) if text.contains("{{") || text.contains("{%") => {
                let template =
                    Template::parse(&text).map_err(|error| self.error(span.clone(), &error.reason))?;
                self.check_names(&template, span, known)?;
                Argument::Template(template)
            }
            toml::Value::String(text) => Argument::Plain(text.into()),
            toml::Value::Integer(number) => Argument::Plain(number.into()),
            toml::Value::Float(number) => Argument::Plain(number.into()),
            toml::Value::Boolean(value) => Argument::Plain(value.into()),
            toml::Value::Datetime(time) => Argument::Plain(time.to_string().into()),
            toml::Value::Array(items) => Argument::List(
                items.into_iter().map(|item| self.argument(item, span, known)).collect::<Result<_, _>>()?,
            ),
            toml::Value::Table(members) => Argument::Object(
                members
                    .into_iter()
                    .map(|(name, member)| Ok((name, self.argument(member, span, known)?)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    fn template(&self, text: &Spanned<String>, known: &BTreeSet<String>) -> Result<Template, ScenarioError> {
        let span = text.span();
        let template = Template::parse(text.get_ref()).map_err(|error| {
            // The offset counts from the opening quotes; escapes before it can make the line a little early.
            self.error(span.start + error.offset + 3..span.end, &error.reason)
        })?;
        self.check_names(&template, &span, known)?;
        Ok(template)
    }

    fn check_names(
        &self,
        template: &Template,
        span: &Range<usize>,
        known: &BTreeSet<String>,
    ) -> Result<(), ScenarioError> {
        match template.roots().into_iter().find(|root| !known.contains(*root)) {
            Some(root) => {
                Err(self.error(span.clone(), &format!("nothing before this point is named `{root}`")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
