//! Server-sent events, parsed as the HTML standard says (section 9.2.6, "Interpreting an event stream").
//!
//! Bytes go in as they arrive, cut anywhere; events come out. What an event holds does not depend on where the bytes
//! were cut, and no event grows past the given bound.

/// One event of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; `message` when the stream named none.
    pub event: String,
    /// Its data lines, joined by line feeds.
    pub data: String,
    /// The last `id` the stream gave, empty if none yet: where to resume.
    pub id: String,
}

/// An event that grew past the bound. The stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct SseError {
    /// The bound, in bytes.
    pub limit: usize,
}

/// The state between two pieces of a stream.
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    /// The line that is not yet ended.
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed right after it belongs to the same line end.
    after_carriage_return: bool,
    first_line: bool,
    data: String,
    event: String,
    last_id: String,
}

impl SseParser {
    /// A parser whose lines and events may hold at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_carriage_return: false,
            first_line: true,
            data: String::new(),
            event: String::new(),
            last_id: String::new(),
        }
    }

    /// Takes the next piece of the stream and adds the events it completes to `events`.
    ///
    /// # Errors
    /// [`SseError`] when a line or an event is larger than the bound; the parser must not be used after it.
    pub fn push(&mut self, mut piece: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        while !piece.is_empty() {
            if std::mem::take(&mut self.after_carriage_return)
                && let Some(rest) = piece.strip_prefix(b"\n")
            {
                piece = rest;
                continue;
            }
            let end = piece.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (text, rest) = piece.split_at(end.unwrap_or(piece.len()));
            if self.line.len() + text.len() > self.limit {
                return Err(SseError { limit: self.limit });
            }
            self.line.extend_from_slice(text);
            piece = rest;
            if let Some((line_end, rest)) = rest.split_first() {
                self.after_carriage_return = *line_end == b'\r';
                piece = rest;
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, events)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, mut line: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = match line.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (line.as_ref(), ""),
        };
        match field {
            "data" => {
                if self.data.len() + value.len() + 1 > self.limit {
                    return Err(SseError { limit: self.limit });
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_id),
            // A comment (empty field name), `retry` (the caller decides when to come back) or an unknown field.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // The last line feed is the joint to a line that did not come; without a data line there is no event.
        if data.pop().is_some() {
            let event = if event.is_empty() { "message".to_owned() } else { event };
            events.push(SseEvent { event, data, id: self.last_id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(stream: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        SseParser::new(1 << 16).push(stream, &mut events).unwrap();
        events
    }

    fn event(event: &str, data: &str, id: &str) -> SseEvent {
        SseEvent { event: event.to_owned(), data: data.to_owned(), id: id.to_owned() }
    }

    /// The standard's algorithm over a whole stream, written the slow and obvious way.
    fn parse_whole(stream: &[u8]) -> Vec<SseEvent> {
        let text =
            String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)).into_owned();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let Some((complete, _)) = text.rsplit_once('\n') else { return Vec::new() };
        let (mut events, mut name, mut id) = (Vec::new(), String::new(), String::new());
        let mut data: Option<String> = None;
        for line in complete.split('\n') {
            if line.is_empty() {
                if let Some(data) = data.take() {
                    events.push(event(if name.is_empty() { "message" } else { &name }, &data, &id));
                }
                name.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = value.to_owned(),
                "data" => {
                    data = Some(data.map_or(value.to_owned(), |before| format!("{before}\n{value}")));
                }
                "id" if !value.contains('\0') => id = value.to_owned(),
                _ => {}
            }
        }
        events
    }

    #[test]
    fn the_examples_of_the_standard_parse() {
        assert_eq!(
            parse(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
            [event("message", "first event", "1"), event("message", "second event", ""), event("message", " third event", "")]
        );
        assert_eq!(
            parse(b"data\n\ndata\ndata\n\ndata:"),
            [event("message", "", ""), event("message", "\n", "")]
        );
        assert_eq!(parse(b"event: add\rdata: 73857293\r\r"), [event("add", "73857293", "")]);
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_delivered() {
        assert_eq!(parse(b"data: half\n"), []);
    }

    #[test]
    fn the_id_is_kept_until_the_next_one() {
        assert_eq!(
            parse(b"id: 7\ndata: a\n\ndata: b\n\nid: 8\0\ndata: c\n\n"),
            [event("message", "a", "7"), event("message", "b", "7"), event("message", "c", "7")]
        );
    }

    #[test]
    fn a_line_and_an_event_are_bounded() {
        let mut events = Vec::new();
        let mut parser = SseParser::new(16);
        assert_eq!(parser.push(&[b'x'; 17], &mut events), Err(SseError { limit: 16 }));
        let mut parser = SseParser::new(16);
        assert_eq!(
            parser.push(b"data:12345\ndata:67890\ndata:abcde\n", &mut events),
            Err(SseError { limit: 16 })
        );
        assert_eq!(events, []);
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n\n".to_vec()),
            Just(b"data: ".to_vec()),
            Just(b"data".to_vec()),
            Just(b"event:".to_vec()),
            Just(b"id: ".to_vec()),
            Just(b":".to_vec()),
            Just(b"retry: 10".to_vec()),
            Just(b"\xef\xbb\xbf".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..6),
            "[a-zé€ ]{0,8}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_changes_nothing(stream in pieces(), cuts in proptest::collection::vec(1usize..9, 1..20)) {
            let mut events = Vec::new();
            let mut parser = SseParser::new(1 << 16);
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                parser.push(piece, &mut events).unwrap();
                rest = after;
            }
            prop_assert_eq!(&events, &parse(&stream));
            prop_assert_eq!(&events, &parse_whole(&stream));
        }

        #[test]
        fn no_bytes_make_it_hold_more_than_its_bound(stream in proptest::collection::vec(any::<u8>(), 0..4000), limit in 1usize..64) {
            let mut events = Vec::new();
            let mut parser = SseParser::new(limit);
            for piece in stream.chunks(7) {
                if parser.push(piece, &mut events).is_err() { break; }
                prop_assert!(parser.line.len() <= limit && parser.data.len() <= limit);
            }
            // A byte that is not UTF-8 becomes three.
            prop_assert!(events.iter().all(|event| event.data.len() <= limit && event.event.len() <= limit * 3 + 7));
        }
    }
}
