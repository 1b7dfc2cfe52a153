//! What a tool's answer says: a result, or an error that has to be told.
//!
//! Tool answers arrive as text. A result is JSON. An error is an RFC 9457 problem as agentd sends it, the shape in which
//! the gateway reports a tool that failed, or a sentence; none of them is ever taken for a result.

use serde_json::{Value, json};

/// Longest error message that is repeated, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 600;

/// A tool's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// What it found.
    Result(Value),
    /// Why it found nothing.
    Failure(Failure),
}

/// An error of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable code, or `tool_error` when the answer has none.
    pub code: String,
    /// What happened, in the tool's words.
    pub message: String,
    /// What to do next, if the tool says it.
    pub hint: Option<String>,
    /// The argument at fault, if the tool names it.
    pub field: Option<String>,
    /// Names close to the one that was not found.
    pub near: Vec<String>,
}

impl Outcome {
    /// Reads the text of a tool's answer.
    pub fn read(text: &str) -> Self {
        // The gateway holds arguments against the tool's schema, and repeats them as JSON when it refuses them.
        if text.starts_with("Validation failed for tool ") {
            let refusal = text.split("Received arguments").next().unwrap_or(text);
            return Self::Failure(Failure::from_sentence(refusal));
        }
        let Some(value) = json_in(text) else {
            return Self::Failure(Failure::from_sentence(text));
        };
        match Failure::from_value(&value) {
            Some(failure) => Self::Failure(failure),
            None => Self::Result(value),
        }
    }
}

impl Failure {
    fn from_sentence(text: &str) -> Self {
        let text = text.trim();
        let message = if text.is_empty() { "the tool answered with an empty text" } else { text };
        Self::new(code_in(message), message)
    }

    fn new(code: Option<&str>, message: &str) -> Self {
        Self {
            code: code.unwrap_or("tool_error").to_owned(),
            message: message.chars().take(MAX_MESSAGE_CHARACTERS).collect(),
            hint: None,
            field: None,
            near: Vec::new(),
        }
    }

    /// The error that `value` is; `None` when it is a result.
    fn from_value(value: &Value) -> Option<Self> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let is_problem = text(value, "type").is_some_and(|kind| kind.starts_with("urn:agentos:problem:"));
        let body = if is_problem {
            value
        } else {
            match value.get("error") {
                // `{"error": {…}}`, as HTTP APIs do.
                Some(inner @ Value::Object(_)) if inner.get("code").or(inner.get("message")).is_some() => {
                    inner
                }
                // `{"status": "error", "error": "…"}`, as the gateway reports a tool that threw.
                Some(Value::String(message))
                    if text(value, "status").is_some_and(|status| status == "error") =>
                {
                    let mut failure = Self::new(code_in(message), message);
                    failure.hint = text(value, "hint");
                    return Some(failure);
                }
                _ => return None,
            }
        };
        let code = text(body, "code");
        let message = text(body, "detail").or(text(body, "message")).or(text(body, "title"));
        let mut failure =
            Self::new(code.as_deref(), message.as_deref().unwrap_or("no message came with the error"));
        failure.hint = text(body, "hint");
        failure.field = text(body, "field");
        failure.near = body
            .get("near")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .take(5)
            .collect();
        Some(failure)
    }

    /// The error as templates read it.
    pub fn value(&self, tool: &str) -> Value {
        json!({
            "tool": tool, "code": self.code, "message": self.message, "hint": self.hint, "field": self.field,
            "near": self.near,
        })
    }
}

/// The JSON object or array in a tool's text. Some gateways put a line around it.
fn json_in(text: &str) -> Option<Value> {
    let structured = |value: &Value| value.is_object() || value.is_array();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return Some(value).filter(structured);
    }
    let start = text.lines().scan(0, |offset, line| {
        let begins = *offset;
        *offset += line.len() + 1;
        Some((begins, line))
    });
    let (begins, _) = start.into_iter().find(|(_, line)| line.starts_with(['{', '[']))?;
    let mut values = serde_json::Deserializer::from_str(text.get(begins..)?).into_iter::<Value>();
    values.next()?.ok().filter(structured)
}

/// A code such as `systemd_unavailable` that stands in brackets in a sentence.
fn code_in(text: &str) -> Option<&str> {
    let is_code = |word: &&str| {
        (3..=64).contains(&word.len())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
            && word.starts_with(|c: char| c.is_ascii_lowercase())
    };
    let bracketed = text.split(['(', '[']).skip(1).filter_map(|rest| rest.split([')', ']']).next());
    bracketed
        .map(|inner| {
            inner.trim().trim_start_matches("code").trim_start_matches([':', '=', ' ']).trim_matches('`')
        })
        .find(|word| {
            is_code(word) && (word.contains('_') || ["forbidden", "internal", "busy"].contains(word))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failure(text: &str) -> Failure {
        match Outcome::read(text) {
            Outcome::Failure(failure) => failure,
            Outcome::Result(value) => panic!("taken for a result: {value}"),
        }
    }

    #[test]
    fn a_problem_is_an_error_with_its_code_and_hint() {
        let found = failure(
            r#"{"type":"urn:agentos:problem:systemd_unavailable","title":"systemd is not available","status":503,
                "detail":"PID 1 is not systemd","code":"systemd_unavailable","hint":"Ask for processes instead."}"#,
        );
        assert_eq!(found.code, "systemd_unavailable");
        assert_eq!(found.message, "PID 1 is not systemd");
        assert_eq!(found.hint.as_deref(), Some("Ask for processes instead."));
    }

    #[test]
    fn a_tool_that_threw_is_an_error() {
        let found =
            failure(r#"{"status":"error","tool":"system_query","error":"no query `x` (unknown_query)"}"#);
        assert_eq!(found.code, "unknown_query");
        assert_eq!(found.message, "no query `x` (unknown_query)");
        assert_eq!(failure(r#"{"error":{"message":"no","code":"forbidden"}}"#).code, "forbidden");
    }

    #[test]
    fn arguments_that_the_gateway_refused_are_an_error_though_they_are_repeated() {
        let refusal = failure(
            "Validation failed for tool \"system_query\":\n  - query: must be equal to one of the allowed values\n\n\
             Received arguments:\n{\n  \"query\": \"procceses\"\n}",
        );
        assert_eq!(refusal.code, "tool_error");
        assert!(refusal.message.ends_with("one of the allowed values"), "{}", refusal.message);
    }

    #[test]
    fn a_sentence_is_an_error_and_never_a_result() {
        assert_eq!(failure("agentd does not answer on /run/agentos/agentd.sock").code, "tool_error");
        assert_eq!(failure("").message, "the tool answered with an empty text");
        assert_eq!(failure("\"just a text\"").code, "tool_error");
        assert_eq!(failure("{\"cut\": [1, 2").code, "tool_error");
    }

    #[test]
    fn a_result_that_mentions_errors_stays_a_result() {
        for text in [
            r#"{"error":null,"processes":[]}"#,
            r#"{"links":[{"name":"lo","errors":0}],"status":"ok","code":"x"}"#,
            r#"{"error":{"count":3}}"#,
        ] {
            assert!(matches!(Outcome::read(text), Outcome::Result(_)), "{text}");
        }
    }

    #[test]
    fn json_behind_a_heading_is_found() {
        assert_eq!(Outcome::read("Result:\n{\"a\":1}\n(end)"), Outcome::Result(json!({ "a": 1 })));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_messages_are_bounded(text in "(?s).{0,2000}") {
            if let Outcome::Failure(failure) = Outcome::read(&text) {
                prop_assert!(failure.message.chars().count() <= MAX_MESSAGE_CHARACTERS);
            }
        }
    }
}
