//! What the stream of an answer says, whichever way its bytes were cut.

use std::collections::VecDeque;

use serde_json::Value;

use super::limits::Limits;
use crate::sse::SseParser;
use crate::text::quoted;

/// What one event of the stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The answer goes on with this, which is not empty.
    Text(String),
    /// The answer is complete.
    End,
    /// The turn failed, for this reason.
    Failed(String),
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    TooLarge { what: &'static str, limit: usize },
    Strange(String),
}

/// The state between two parts of a stream.
#[derive(Debug)]
pub(super) struct AnswerStream {
    limits: Limits,
    parser: SseParser,
    received: usize,
    answered: usize,
    over: bool,
}

impl AnswerStream {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            parser: SseParser::new(limits.max_event_bytes),
            limits: limits.clone(),
            received: 0,
            answered: 0,
            over: false,
        }
    }

    /// Takes the next bytes and adds what they say to `pieces`. What comes after the end or a failure says nothing.
    pub(super) fn push(&mut self, bytes: &[u8], pieces: &mut VecDeque<Piece>) -> Result<(), Unreadable> {
        if self.over {
            return Ok(());
        }
        self.received = self.received.saturating_add(bytes.len());
        if self.received > self.limits.max_stream_bytes {
            return Err(too_large("its stream has more than", self.limits.max_stream_bytes));
        }
        let mut events = Vec::new();
        self.parser
            .push(bytes, &mut events)
            .map_err(|error| too_large("an event of its stream has more than", error.limit))?;
        for event in events {
            let Some(piece) = piece(&event.data)? else { continue };
            if let Piece::Text(text) = &piece {
                self.answered = self.answered.saturating_add(text.len());
                if self.answered > self.limits.max_answer_bytes {
                    return Err(too_large("it has more than", self.limits.max_answer_bytes));
                }
            } else {
                self.over = true;
            }
            pieces.push_back(piece);
            if self.over {
                break;
            }
        }
        Ok(())
    }
}

fn too_large(what: &'static str, limit: usize) -> Unreadable {
    Unreadable::TooLarge { what, limit }
}

/// What one event's data says; `None` for what is not about the answer's text: the role, tool calls, usage.
fn piece(data: &str) -> Result<Option<Piece>, Unreadable> {
    if data.trim() == "[DONE]" {
        return Ok(Some(Piece::End));
    }
    let value: Value = serde_json::from_str(data)
        .map_err(|error| Unreadable::Strange(quoted(&format!("an event of its stream: {error}"))))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        return Ok(Some(Piece::Failed(reason(error))));
    }
    let text = value.pointer("/choices/0/delta/content").and_then(Value::as_str);
    Ok(text.filter(|text| !text.is_empty()).map(|text| Piece::Text(text.to_owned())))
}

/// What an `error` of the gateway says, in one line.
pub(super) fn reason(error: &Value) -> String {
    let message = error.get("message").or(Some(error)).and_then(Value::as_str);
    quoted(&message.map_or_else(|| error.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(parts: &[&[u8]]) -> Result<Vec<Piece>, Unreadable> {
        read_within(&Limits::default(), parts)
    }

    fn read_within(limits: &Limits, parts: &[&[u8]]) -> Result<Vec<Piece>, Unreadable> {
        let mut stream = AnswerStream::new(limits);
        let mut pieces = VecDeque::new();
        for part in parts {
            stream.push(part, &mut pieces)?;
        }
        Ok(pieces.into())
    }

    /// A stream as the gateway writes it.
    fn written(texts: &[String]) -> Vec<u8> {
        let mut stream = String::from("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n");
        for text in texts {
            let chunk =
                json!({ "object": "chat.completion.chunk", "choices": [{ "delta": { "content": text } }] });
            stream.extend([": alive\ndata: ", &chunk.to_string(), "\n\n"]);
        }
        stream
            .push_str("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        stream.into_bytes()
    }

    #[test]
    fn an_error_in_the_stream_ends_the_turn() {
        let after = "data: {\"error\":{\"message\":\"no credit\\u001b[2J\"}}\n\ndata: [DONE]\n\n";
        assert_eq!(read(&[after.as_bytes()]).unwrap(), [Piece::Failed("no credit\\u{1b}[2J".to_owned())]);
        assert_eq!(read(&[b"data: {\"error\":\"gone\"}\n\n"]).unwrap(), [Piece::Failed("gone".to_owned())]);
        assert_eq!(read(&[b"data: {\"error\":null}\n\n"]).unwrap(), []);
    }

    #[test]
    fn what_is_not_json_is_told() {
        assert!(matches!(read(&[b"data: {\n\n"]), Err(Unreadable::Strange(_))));
    }

    #[test]
    fn what_comes_after_the_end_is_not_of_the_answer() {
        let stream = b"data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"more\"}}]}\n\n";
        assert_eq!(read(&[stream, b"data: {\n\n"]).unwrap(), [Piece::End]);
    }

    #[test]
    fn an_answer_an_event_and_a_stream_are_bounded() {
        let texts = vec!["12345678".to_owned(); 4];
        let all = written(&texts);
        let bounds = [
            Limits { max_answer_bytes: 31, ..Limits::default() },
            Limits { max_event_bytes: 20, ..Limits::default() },
            Limits { max_stream_bytes: all.len() - 1, ..Limits::default() },
        ];
        for limits in bounds {
            assert!(matches!(read_within(&limits, &[&all]), Err(Unreadable::TooLarge { .. })), "{limits:?}");
        }
        let enough = Limits { max_answer_bytes: 32, max_stream_bytes: all.len(), ..Limits::default() };
        assert!(read_within(&enough, &[&all]).is_ok());
    }

    proptest! {
        #[test]
        fn an_answer_is_the_same_wherever_its_stream_is_cut(
            texts in proptest::collection::vec(any::<String>(), 0..8),
            cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let stream = written(&texts);
            let mut parts = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                parts.push(part);
                rest = after;
            }
            let mut expected: Vec<_> =
                texts.into_iter().filter(|text| !text.is_empty()).map(Piece::Text).collect();
            expected.push(Piece::End);
            prop_assert_eq!(read(&parts).unwrap(), expected);
        }

        #[test]
        fn no_bytes_make_it_panic_or_give_more_than_its_bound(
            parts in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                Just(b"\n\n".to_vec()),
                Just(b"data: ".to_vec()),
                Just(b"data: [DONE]\n\n".to_vec()),
                Just(b"data: {\"choices\":[{\"delta\":{\"content\":\"text\"}}]}\n\n".to_vec()),
                Just(b"data: {\"choices\":[{\"delta\":7}],\"error\":[]}\n\n".to_vec()),
            ], 0..40),
        ) {
            let limits =
                Limits { max_answer_bytes: 10, max_event_bytes: 100, max_stream_bytes: 800, ..Limits::default() };
            let mut stream = AnswerStream::new(&limits);
            let mut pieces = VecDeque::new();
            for part in &parts {
                if stream.push(part, &mut pieces).is_err() { break; }
            }
            let length: usize = pieces.iter().map(|piece| match piece { Piece::Text(text) => text.len(), _ => 0 }).sum();
            prop_assert!(length <= limits.max_answer_bytes);
            let last = pieces.iter().position(|piece| !matches!(piece, Piece::Text(_)));
            prop_assert!(last.is_none_or(|last| last + 1 == pieces.len()));
        }
    }
}
