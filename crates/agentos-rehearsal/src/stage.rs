//! Plays the scenarios: from a conversation to what comes next, a call of tools or a sentence.
//!
//! Nothing is kept between requests: how far a scenario is, the conversation itself says.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::conversation::{Message, Turn};
use crate::matcher::Captures;
use crate::outcome::{Failure, Outcome};
use crate::scenario::{Call, Scenario};
use crate::template::{Scope, Template};

/// Stands at the end of everything that is said.
pub const SCRIPTED_NOTE: &str = "\n\n(scripted model)";

/// A set of scenarios and the clock their times come from.
#[derive(Clone, Debug)]
pub struct Stage {
    scenarios: Vec<Scenario>,
    clock: Clock,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// The scenario that is played; `None` when no scenario answers the question.
    pub scenario: Option<String>,
    /// The next line.
    pub line: Line,
}

/// What the model does.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Calls these tools, together.
    Call(Vec<ToolCall>),
    /// Says this, and the turn ends.
    Say(String),
}

/// A call that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
}

impl Stage {
    /// A stage for these scenarios; of several that answer a sentence, the first is played.
    pub fn new(scenarios: Vec<Scenario>, clock: Clock) -> Self {
        Self { scenarios, clock }
    }

    /// The scenarios, in order.
    pub fn scenarios(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// The scenario that answers `sentence`, and what the sentence says.
    pub fn find(&self, sentence: &str) -> Option<(&Scenario, Captures)> {
        self.scenarios.iter().find_map(|scenario| Some((scenario, scenario.find(sentence)?)))
    }

    /// What comes next in the conversation, when the tools in `offered` can be called.
    pub fn next(&self, messages: &[Message], offered: &HashSet<&str>) -> Cue {
        let turn = Turn::of(messages);
        let Some((scenario, captures)) = turn.questions.iter().find_map(|question| self.find(question))
        else {
            return Cue { scenario: None, line: say(&self.what_can_be_asked()) };
        };
        let line = self.play(scenario, &captures, turn.answers, offered);
        Cue { scenario: Some(scenario.name.clone()), line }
    }

    fn play(
        &self,
        scenario: &Scenario,
        captures: &Captures,
        answers: Vec<Option<Outcome>>,
        offered: &HashSet<&str>,
    ) -> Line {
        let mut scope = self.scope(captures);
        let mut errors = Map::new();
        let mut answers = answers.into_iter();
        for step in &scenario.steps {
            for call in step {
                match answers.next() {
                    None => return call_all(step, &scope, offered),
                    Some(Some(Outcome::Result(result))) => scope.set(call.name.as_str(), result),
                    Some(Some(Outcome::Failure(failure))) if call.optional => {
                        errors.insert(call.name.clone(), failure.value(&call.tool));
                        scope.set("errors", Value::Object(errors.clone()));
                    }
                    Some(Some(Outcome::Failure(failure))) => {
                        return tell(&scenario.on_error, scope, call, &failure);
                    }
                    Some(None) => return tell(&scenario.on_error, scope, call, &unanswered()),
                }
            }
        }
        say(&scenario.say.render(&scope))
    }

    /// What every template can read.
    fn scope(&self, captures: &Captures) -> Scope {
        let mut scope = Scope::new();
        let said: Map<String, Value> =
            captures.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
        scope.set("said", said.into());
        scope.set("clock", self.clock.now());
        scope.set("errors", json!({}));
        scope
    }

    fn what_can_be_asked(&self) -> String {
        let mut text = "I play fixed scenes and have none for that. You can ask me:\n".to_owned();
        for sentence in self.scenarios.iter().filter_map(|scenario| scenario.ask.first()) {
            text.push_str("\n- ");
            text.push_str(sentence);
        }
        text
    }
}

fn call_all(step: &[Call], scope: &Scope, offered: &HashSet<&str>) -> Line {
    if let Some(missing) = step.iter().find(|call| !offered.contains(call.tool.as_str())) {
        return say(&format!(
            "I would call the tool `{}` for that, but this conversation does not offer it to me. \
             Check that the plugin which provides it is enabled.",
            missing.tool
        ));
    }
    let call = |call: &Call| ToolCall { tool: call.tool.clone(), arguments: call.arguments.value(scope) };
    Line::Call(step.iter().map(call).collect())
}

fn tell(on_error: &Template, mut scope: Scope, call: &Call, failure: &Failure) -> Line {
    scope.set("error", failure.value(&call.tool));
    say(&on_error.render(&scope))
}

fn unanswered() -> Failure {
    Failure {
        code: "no_answer".to_owned(),
        message: "the conversation went on without an answer to this call".to_owned(),
        hint: None,
        field: None,
        near: Vec::new(),
    }
}

fn say(text: &str) -> Line {
    Line::Say(format!("{}{SCRIPTED_NOTE}", text.trim_end()))
}
