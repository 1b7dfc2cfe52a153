//! What of a conversation counts: the person's last question, and the answers tools gave since.
//!
//! A gateway adds user messages of its own (reminders, also behind tool results) and wraps what the person wrote in
//! notes. So the question is looked for in the current turn only, before its first tool call, and without the notes.

use serde::Deserialize;
use serde_json::Value;

use crate::outcome::Outcome;

/// One message of a chat completion request. What is not needed here is not read.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// A text, or a list of parts.
    #[serde(default)]
    pub content: Value,
    /// The calls an assistant message makes.
    #[serde(default)]
    pub tool_calls: Option<Vec<MadeCall>>,
    /// The call a tool message answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
}

/// A call as an earlier assistant message made it.
#[derive(Clone, Debug, Deserialize)]
pub struct MadeCall {
    /// The name by which its answer refers to it.
    #[serde(default)]
    pub id: String,
}

impl Message {
    /// The text of all parts.
    pub fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str).or_else(|| part.as_str()))
                .collect::<Vec<_>>()
                .join("\n"),
            _ => String::new(),
        }
    }

    fn makes_calls(&self) -> bool {
        self.role == "assistant" && self.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())
    }
}

/// The turn that waits for an answer.
#[derive(Debug, Default)]
pub struct Turn {
    /// What the person may have asked, without notes; the last one first.
    pub questions: Vec<String>,
    /// For each call made so far, in order, its answer if there is one.
    pub answers: Vec<Option<Outcome>>,
}

impl Turn {
    /// The turn that the messages end with.
    pub fn of(messages: &[Message]) -> Self {
        let finished = |message: &Message| {
            message.role == "assistant" && !message.makes_calls() && !message.text().trim().is_empty()
        };
        let start = messages.iter().rposition(finished).map_or(0, |last| last + 1);
        let turn = messages.get(start..).unwrap_or_default();
        let first_call = turn.iter().position(Message::makes_calls).unwrap_or(turn.len());
        let (asked, worked) = turn.split_at(first_call);
        let questions = asked
            .iter()
            .rev()
            .filter(|message| message.role == "user")
            .map(|message| without_notes(&message.text()))
            .filter(|text| !text.is_empty())
            .collect();
        Self { questions, answers: answers(worked) }
    }
}

fn answers(messages: &[Message]) -> Vec<Option<Outcome>> {
    let mut slots: Vec<(String, Option<Outcome>)> = Vec::new();
    for message in messages {
        if message.makes_calls() {
            slots.extend(message.tool_calls.iter().flatten().map(|call| (call.id.clone(), None)));
        } else if message.role == "tool" {
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            let named = slots.iter().position(|(slot, answer)| slot == id && answer.is_none());
            // Some gateways rewrite identifiers; answers still come in the order of the calls.
            let slot = named.or_else(|| slots.iter().position(|(_, answer)| answer.is_none()));
            if let Some((_, answer)) = slot.and_then(|index| slots.get_mut(index)) {
                *answer = Some(Outcome::read(&message.text()));
            }
        }
    }
    slots.into_iter().map(|(_, answer)| answer).collect()
}

/// Line that begins what the gateway tells the model about its own state, and line that ends it.
const INTERNAL_CONTEXT: (&str, &str) =
    ("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>", "<<<END_OPENCLAW_INTERNAL_CONTEXT>>>");
/// Stands at the end of the heading of each block that the gateway puts beside what a person wrote.
const CONTEXT_MARKER: &str = "⟦openclaw:ctx⟧";
/// The heading of the block behind which nothing of the person follows.
const LAST_CONTEXT_HEADING: &str = "Context: ⟦openclaw:ctx⟧";

/// The text without what the gateway put around it: its internal context, blocks about the conversation, a time in
/// front, the message's identifier behind. As OpenClaw 2026.9 itself takes them off before it shows a message.
pub fn without_notes(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed == INTERNAL_CONTEXT.0 {
            skip_internal_context(&mut lines);
        } else if trimmed == LAST_CONTEXT_HEADING {
            break;
        } else if trimmed.len() > CONTEXT_MARKER.len() && trimmed.ends_with(CONTEXT_MARKER) {
            let fenced = lines.next_if(|next| next.trim() == "```json").is_some();
            let _ = lines.by_ref().find(|inside| inside.trim() == if fenced { "```" } else { "" });
        } else if !(trimmed.starts_with("[message_id:") && trimmed.ends_with(']')) {
            kept.push(line);
        }
    }
    without_leading_brackets(kept.join("\n").trim()).to_owned()
}

/// Skips to the end of an internal context whose first line was read; they can be nested.
fn skip_internal_context<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut depth = 1_usize;
    for line in lines {
        if line.trim() == INTERNAL_CONTEXT.0 {
            depth += 1;
        } else if line.trim() == INTERNAL_CONTEXT.1 {
            depth -= 1;
        }
        if depth == 0 {
            return;
        }
    }
}

/// Without `[Sun 2026-11-22 16:14 UTC]` and the like in front.
fn without_leading_brackets(mut text: &str) -> &str {
    while let Some(end) = text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        let inside = text.get(1..=end).unwrap_or_default();
        let rest = text.get(end + 2..).unwrap_or_default().trim_start();
        if inside.contains('\n') || inside.len() > 120 || rest.is_empty() {
            break;
        }
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn turn(messages: Value) -> Turn {
        Turn::of(&serde_json::from_value::<Vec<Message>>(messages).unwrap())
    }

    #[test]
    fn the_question_is_found_behind_notes() {
        let wrapped = "Conversation info: ⟦openclaw:ctx⟧\n```json\n{\"sender\": \"memory cpu\"}\n```\n\n\
                       Chat history since last reply: ⟦openclaw:ctx⟧\nBob: is nginx running?\n\n\
                       [Sun 2026-11-22 16:14 UTC] What is eating the memory?\n[message_id: 42]\n\n\
                       Context: ⟦openclaw:ctx⟧\nmore of it\n\nand more";
        assert_eq!(without_notes(wrapped), "What is eating the memory?");
    }

    #[test]
    fn a_message_of_the_gateway_alone_is_no_question() {
        let internal = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nRemember that the memory is full.\n\
                        <<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nx\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>\ny\n\
                        <<<END_OPENCLAW_INTERNAL_CONTEXT>>>";
        assert_eq!(without_notes(internal), "");
        assert_eq!(without_notes(&format!("{internal}\nuptime?")), "uptime?");
        let found = turn(json!([
            { "role": "user", "content": "How full is the disk?" },
            { "role": "user", "content": internal },
        ]));
        assert_eq!(found.questions, ["How full is the disk?"]);
    }

    #[test]
    fn a_question_without_notes_stays_as_it_is() {
        for text in ["What is eating the memory?", "a\n\nb [c]", "[only this]", "show\n```json\n{}\n```"] {
            assert_eq!(without_notes(text), text);
        }
    }

    #[test]
    fn an_internal_message_behind_tool_results_is_not_the_question() {
        let found = turn(json!([
            { "role": "user", "content": "old question" },
            { "role": "assistant", "content": "old answer" },
            { "role": "user", "content": [{ "type": "text", "text": "new question" }] },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "a" }, { "id": "b" }] },
            { "role": "tool", "tool_call_id": "b", "content": "{\"n\":2}" },
            { "role": "tool", "tool_call_id": "a", "content": [{ "type": "text", "text": "{\"n\":1}" }] },
            { "role": "user", "content": "Continue with the task." },
        ]));
        assert_eq!(found.questions, ["new question"]);
        let expected = [1, 2].map(|n| Some(Outcome::Result(json!({ "n": n }))));
        assert_eq!(found.answers, expected);
    }

    #[test]
    fn answers_with_rewritten_identifiers_are_taken_in_order() {
        let found = turn(json!([
            { "role": "user", "content": "q" },
            { "role": "assistant", "tool_calls": [{ "id": "call_1" }, { "id": "call_2" }] },
            { "role": "tool", "tool_call_id": "call1", "content": "{\"n\":1}" },
        ]));
        assert_eq!(found.answers, [Some(Outcome::Result(json!({ "n": 1 }))), None]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_grows(text in "(?s)[\\[\\]`a-z:\\n ()]{0,200}|(?s).{0,200}") {
            prop_assert!(without_notes(&text).len() <= text.len());
        }
    }
}
