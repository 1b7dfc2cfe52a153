//! Chat completions as OpenAI's API lays them out: the request, the whole answer, the stream of deltas, errors.
//!
//! Source: OpenAI API reference, "Create chat completion" and "Streaming events".

use serde::Deserialize;
use serde_json::{Value, json};

use crate::conversation::Message;
use crate::stage::{Line, ToolCall};

/// The model's name. There is one.
pub const MODEL: &str = "agentos-rehearsal";
/// Sent with each answer, so that nobody takes it for a model's.
pub const FINGERPRINT: &str = "agentos-rehearsal-scripted";
/// Bytes of a call's arguments in one delta.
const ARGUMENT_FRAGMENT_BYTES: usize = 24;
/// Words of a text in one delta.
const WORDS_PER_DELTA: usize = 3;

/// What is read of a chat completion request.
#[derive(Debug, Deserialize)]
pub struct ChatRequest {
    /// The model that is asked.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Whether the answer comes as a stream.
    #[serde(default)]
    pub stream: Option<bool>,
    /// How the stream is to be.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// The tools that can be called.
    #[serde(default)]
    pub tools: Option<Vec<Tool>>,
    /// `"none"` forbids calls.
    #[serde(default)]
    pub tool_choice: Value,
    /// How many answers.
    #[serde(default)]
    pub n: Option<u64>,
}

/// How a stream is to be.
#[derive(Debug, Default, Deserialize)]
pub struct StreamOptions {
    /// Whether a last chunk tells the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// A tool that can be called.
#[derive(Debug, Deserialize)]
pub struct Tool {
    /// What it is; only its name matters here.
    pub function: Function,
}

/// The function of a tool.
#[derive(Debug, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
}

/// What all parts of one answer share.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The number of the answer, unlike any other of this server; `id`s are made of it.
    pub serial: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Bytes of the request's messages.
    pub request_bytes: usize,
}

impl Envelope {
    fn id(&self) -> String {
        format!("chatcmpl-{}", self.serial)
    }

    fn tool_call_id(&self, index: usize) -> String {
        format!("call_{}_{index}", self.serial)
    }

    /// Tokens as they are estimated without a tokenizer: four bytes each.
    fn usage(&self, line: &Line) -> Value {
        let completion_bytes = match line {
            Line::Say(text) => text.len(),
            Line::Call(calls) => {
                calls.iter().map(|call| call.tool.len() + call.arguments.to_string().len()).sum()
            }
        };
        let (prompt, completion) = (self.request_bytes.div_ceil(4), completion_bytes.div_ceil(4));
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }
}

fn finish_reason(line: &Line) -> &'static str {
    match line {
        Line::Say(_) => "stop",
        Line::Call(_) => "tool_calls",
    }
}

/// The answer in one piece.
pub fn completion(envelope: &Envelope, line: &Line) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    match line {
        Line::Say(text) => message["content"] = text.as_str().into(),
        Line::Call(calls) => {
            let call = |(index, call): (usize, &ToolCall)| {
                let function = json!({ "name": call.tool, "arguments": call.arguments.to_string() });
                json!({ "id": envelope.tool_call_id(index), "type": "function", "function": function })
            };
            message["tool_calls"] = calls.iter().enumerate().map(call).collect();
        }
    }
    json!({
        "id": envelope.id(), "object": "chat.completion", "created": envelope.created, "model": MODEL,
        "system_fingerprint": FINGERPRINT, "usage": envelope.usage(line),
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(line) }],
    })
}

/// The answer as server-sent events, `data: [DONE]` last.
pub fn stream(envelope: &Envelope, line: &Line, include_usage: bool) -> Vec<String> {
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": envelope.id(), "object": "chat.completion.chunk", "created": envelope.created, "model": MODEL,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        });
        if include_usage {
            chunk["usage"] = usage.unwrap_or(Value::Null);
        }
        format!("data: {chunk}\n\n")
    };
    let choice = |delta: Value, reason: Option<&str>| {
        chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason }]), None)
    };
    let mut events: Vec<String> =
        deltas(envelope, line).into_iter().map(|delta| choice(delta, None)).collect();
    events.push(choice(json!({}), Some(finish_reason(line))));
    if include_usage {
        events.push(chunk(json!([]), Some(envelope.usage(line))));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn deltas(envelope: &Envelope, line: &Line) -> Vec<Value> {
    match line {
        Line::Say(text) => std::iter::once(json!({ "role": "assistant", "content": "", "refusal": null }))
            .chain(text_fragments(text).into_iter().map(|fragment| json!({ "content": fragment })))
            .collect(),
        Line::Call(calls) => {
            let mut deltas = vec![json!({ "role": "assistant", "content": null, "refusal": null })];
            for (index, call) in calls.iter().enumerate() {
                let function = json!({ "name": call.tool, "arguments": "" });
                let opening = json!({ "index": index, "id": envelope.tool_call_id(index), "type": "function", "function": function });
                deltas.push(json!({ "tool_calls": [opening] }));
                let fragment = |fragment: &str| json!({ "tool_calls": [{ "index": index, "function": { "arguments": fragment } }] });
                deltas.extend(pieces(&call.arguments.to_string()).into_iter().map(fragment));
            }
            deltas
        }
    }
}

/// The text in pieces of a few words, each with the white space behind it.
fn text_fragments(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    words.chunks(WORDS_PER_DELTA).map(<[&str]>::concat).collect()
}

/// The text in pieces of at most [`ARGUMENT_FRAGMENT_BYTES`] bytes, never within a character.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(ARGUMENT_FRAGMENT_BYTES));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// The list of models.
pub fn models() -> Value {
    json!({ "object": "list", "data": [model()] })
}

/// The one model.
pub fn model() -> Value {
    json!({ "id": MODEL, "object": "model", "created": 0, "owned_by": "agentos" })
}

/// An error in OpenAI's shape.
pub fn error(kind: &str, code: Option<&str>, parameter: Option<&str>, message: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": parameter, "code": code } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        Envelope { serial: "t-1".to_owned(), created: 1, request_bytes: 10 }
    }

    fn parsed(events: &[String]) -> Vec<Value> {
        events
            .iter()
            .filter_map(|event| event.strip_prefix("data: ")?.strip_suffix("\n\n"))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    #[test]
    fn usage_comes_last_and_only_when_asked_for() {
        let line = Line::Say("one two three four".to_owned());
        let with = parsed(&stream(&envelope(), &line, true));
        assert_eq!(with.last().unwrap()["usage"]["prompt_tokens"], 3);
        assert_eq!(with.last().unwrap()["choices"], json!([]));
        assert_eq!(with[0]["usage"], Value::Null);
        let without = parsed(&stream(&envelope(), &line, false));
        assert!(without.iter().all(|chunk| chunk.get("usage").is_none()));
        assert_eq!(without.last().unwrap()["choices"][0]["finish_reason"], "stop");
    }

    proptest! {
        #[test]
        fn the_deltas_of_a_text_add_up_to_it(text in "(?s).{0,300}") {
            let chunks = parsed(&stream(&envelope(), &Line::Say(text.clone()), false));
            let said: String =
                chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
            prop_assert_eq!(said, text);
        }

        #[test]
        fn the_fragments_of_arguments_add_up_to_them(texts in prop::collection::vec("(?s).{0,60}", 1..4)) {
            let calls = texts.iter().map(|text| ToolCall { tool: "t".to_owned(), arguments: json!({ "text": text }) });
            let calls: Vec<_> = calls.collect();
            let chunks = parsed(&stream(&envelope(), &Line::Call(calls.clone()), true));
            let mut gathered = vec![String::new(); calls.len()];
            for call in chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0)) {
                let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                gathered[index].push_str(call["function"]["arguments"].as_str().unwrap());
            }
            for (call, text) in calls.iter().zip(gathered) {
                prop_assert_eq!(&call.arguments, &serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
