//! The journal export format (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>), read as it arrives.
//!
//! It is chosen over JSON because a field of any size and any bytes can be passed over without being held: text fields
//! are lines, others carry their length. Memory is bounded by what is kept of one entry, however large the entry.

use std::collections::VecDeque;

/// The fields that are kept, and how much of each.
const KEPT: [(&[u8], Field); 11] = [
    (b"MESSAGE", Field::Message),
    (b"PRIORITY", Field::Priority),
    (b"SYSLOG_IDENTIFIER", Field::Identifier),
    (b"_COMM", Field::Command),
    (b"_PID", Field::Pid),
    (b"SYSLOG_PID", Field::SyslogPid),
    (b"_SYSTEMD_UNIT", Field::Unit),
    (b"UNIT", Field::About),
    (b"_BOOT_ID", Field::BootId),
    (b"__CURSOR", Field::Cursor),
    (b"__REALTIME_TIMESTAMP", Field::Realtime),
];

/// The names of the fields to ask journalctl for; it adds the address fields (`__CURSOR` …) by itself.
pub(super) const FIELDS: &str =
    "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID,SYSLOG_PID,_SYSTEMD_UNIT,UNIT,_BOOT_ID";

/// Bytes kept of a field other than the message: names and cursors are shorter.
const MAX_FIELD_BYTES: usize = 512;

/// Longest field name (`DATA_FIELD_NAME_MAX` is 64 in systemd); a longer one is passed over with its value.
const MAX_NAME_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Message,
    Priority,
    Identifier,
    Command,
    Pid,
    SyslogPid,
    Unit,
    About,
    BootId,
    Cursor,
    Realtime,
    Other,
}

/// One entry's fields as bytes; what is missing is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) message: Option<Vec<u8>>,
    /// The message was longer than what is kept of it.
    pub(super) truncated: bool,
    pub(super) priority: Vec<u8>,
    pub(super) identifier: Vec<u8>,
    pub(super) command: Vec<u8>,
    pub(super) pid: Vec<u8>,
    pub(super) syslog_pid: Vec<u8>,
    /// The unit that wrote it.
    pub(super) unit: Vec<u8>,
    /// The unit that the service manager wrote it about.
    pub(super) about: Vec<u8>,
    pub(super) boot_id: Vec<u8>,
    pub(super) cursor: Vec<u8>,
    pub(super) realtime: Vec<u8>,
}

/// Where in an entry the reader stands.
#[derive(Debug)]
enum State {
    /// In a field's name, or before it.
    Name,
    /// In the value of a text field, up to the end of the line.
    Text(Field),
    /// In the eight bytes of a binary field's length.
    Length(Field, [u8; 8], usize),
    /// In the value of a binary field, with so many bytes to go.
    Binary(Field, u64),
    /// At the newline after a binary value.
    AfterBinary,
}

/// Takes bytes in pieces of any size and gives entries.
#[derive(Debug)]
pub(super) struct Reader {
    message_bytes: usize,
    state: State,
    name: Vec<u8>,
    /// The current field of this entry was there before; journald allows that, the first one counts.
    repeated: bool,
    entry: Raw,
    ready: VecDeque<Raw>,
}

impl Reader {
    /// A reader that keeps `message_bytes` of each message.
    pub(super) fn new(message_bytes: usize) -> Self {
        Self {
            message_bytes,
            state: State::Name,
            name: Vec::with_capacity(MAX_NAME_BYTES),
            repeated: false,
            entry: Raw::default(),
            ready: VecDeque::new(),
        }
    }

    /// The next whole entry among the bytes given so far.
    pub(super) fn next_entry(&mut self) -> Option<Raw> {
        self.ready.pop_front()
    }

    /// Takes the end of the output: an entry may end there instead of with an empty line.
    pub(super) fn finish(&mut self) {
        if matches!(self.state, State::Name) && self.name.is_empty() {
            self.end_entry();
        }
    }

    /// Takes more bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            match &mut self.state {
                State::Name => {
                    bytes = &bytes[1..];
                    self.name_byte(first);
                }
                State::Text(field) => {
                    let field = *field;
                    let end = bytes.iter().position(|&byte| byte == b'\n');
                    self.keep(field, &bytes[..end.unwrap_or(bytes.len())]);
                    bytes = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
                    if end.is_some() {
                        self.state = State::Name;
                    }
                }
                State::Length(field, length, filled) => {
                    bytes = &bytes[1..];
                    if let Some(place) = length.get_mut(*filled) {
                        *place = first;
                    }
                    *filled += 1;
                    if *filled == length.len() {
                        let (field, length) = (*field, u64::from_le_bytes(*length));
                        self.state =
                            if length == 0 { State::AfterBinary } else { State::Binary(field, length) };
                    }
                }
                State::Binary(field, left) => {
                    let (field, taken) =
                        (*field, usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()));
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::AfterBinary;
                    }
                    self.keep(field, &bytes[..taken]);
                    bytes = &bytes[taken..];
                }
                State::AfterBinary => {
                    bytes = &bytes[1..];
                    self.state = State::Name;
                }
            }
        }
    }

    fn name_byte(&mut self, byte: u8) {
        match byte {
            b'=' => {
                let field = self.begin_field();
                self.state = State::Text(field);
            }
            b'\n' if self.name.is_empty() => self.end_entry(),
            b'\n' => {
                let field = self.begin_field();
                self.state = State::Length(field, [0; 8], 0);
            }
            // One byte more than the limit, so that a cut name matches nothing.
            _ if self.name.len() <= MAX_NAME_BYTES => self.name.push(byte),
            _ => {}
        }
    }

    fn begin_field(&mut self) -> Field {
        let field =
            KEPT.iter().find(|(name, _)| *name == self.name).map_or(Field::Other, |&(_, field)| field);
        self.name.clear();
        self.repeated = match field {
            Field::Message => self.entry.message.is_some(),
            _ => self.slot(field).is_some_and(|slot| !slot.is_empty()),
        };
        if field == Field::Message && !self.repeated {
            self.entry.message = Some(Vec::new());
        }
        field
    }

    fn keep(&mut self, field: Field, bytes: &[u8]) {
        if self.repeated {
            return;
        }
        let limit = if field == Field::Message { self.message_bytes } else { MAX_FIELD_BYTES };
        let Some(slot) = self.slot(field) else { return };
        let room = limit.saturating_sub(slot.len()).min(bytes.len());
        slot.extend_from_slice(&bytes[..room]);
        if field == Field::Message && room < bytes.len() {
            self.entry.truncated = true;
        }
    }

    fn slot(&mut self, field: Field) -> Option<&mut Vec<u8>> {
        let entry = &mut self.entry;
        Some(match field {
            Field::Message => entry.message.get_or_insert_default(),
            Field::Priority => &mut entry.priority,
            Field::Identifier => &mut entry.identifier,
            Field::Command => &mut entry.command,
            Field::Pid => &mut entry.pid,
            Field::SyslogPid => &mut entry.syslog_pid,
            Field::Unit => &mut entry.unit,
            Field::About => &mut entry.about,
            Field::BootId => &mut entry.boot_id,
            Field::Cursor => &mut entry.cursor,
            Field::Realtime => &mut entry.realtime,
            Field::Other => return None,
        })
    }

    fn end_entry(&mut self) {
        let entry = std::mem::take(&mut self.entry);
        // Without a cursor it is not an entry: the empty lines around the output.
        if !entry.cursor.is_empty() {
            self.ready.push_back(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]], message_bytes: usize) -> Vec<Raw> {
        let mut reader = Reader::new(message_bytes);
        for piece in pieces {
            reader.push(piece);
        }
        reader.finish();
        std::iter::from_fn(|| reader.next_entry()).collect()
    }

    /// An entry as journalctl writes it: a value with control bytes or a newline goes by its length.
    fn export(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in fields {
            bytes.extend_from_slice(name.as_bytes());
            if std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(char::is_control)) {
                bytes.push(b'=');
            } else {
                bytes.push(b'\n');
                bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            }
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn text_and_binary_fields_are_read() {
        let mut bytes =
            export(&[("__CURSOR", b"s=1"), ("MESSAGE", b"two\nlines"), ("_PID", b"7"), ("X", b"\0\xff\n\n")]);
        bytes.extend(export(&[("__CURSOR", b"s=2"), ("MESSAGE", b"a=b=c"), ("MESSAGE", b"again")]));
        let entries = all(&[&bytes], 100);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].message.as_deref(), Some(b"two\nlines".as_slice()));
        assert_eq!(entries[0].pid, b"7");
        assert_eq!(entries[1].message.as_deref(), Some(b"a=b=c".as_slice()));
    }

    #[test]
    fn a_long_message_is_cut_and_its_entry_goes_on() {
        let long = vec![b'x'; 1 << 20];
        let bytes = export(&[("__CURSOR", b"s=1"), ("MESSAGE", &long), ("PRIORITY", b"3")]);
        let entries = all(&bytes.chunks(4096).collect::<Vec<_>>(), 100);
        assert!(entries[0].truncated);
        assert_eq!(entries[0].message.as_ref().map(Vec::len), Some(100));
        assert_eq!(entries[0].priority, b"3");
    }

    #[test]
    fn an_entry_that_breaks_off_is_not_given() {
        let bytes = export(&[("__CURSOR", b"s=1"), ("MESSAGE", b"hello")]);
        for end in 0..bytes.len() - 2 {
            let given = all(&[&bytes[..end]], 100);
            // Only a field boundary can pass for the end of an entry.
            assert!(given.is_empty() || bytes[end - 1] == b'\n', "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn entries_survive_any_cutting_into_pieces(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1usize..17,
        ) {
            let mut bytes = Vec::new();
            for (index, message) in messages.iter().enumerate() {
                bytes.extend(export(&[("__CURSOR", format!("s={index}").as_bytes()), ("MESSAGE", message)]));
            }
            let entries = all(&bytes.chunks(cut).collect::<Vec<_>>(), 1000);
            let read: Vec<_> = entries.into_iter().map(|entry| entry.message.unwrap()).collect();
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_read_without_panic_and_memory_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            for entry in all(&bytes.chunks(7).collect::<Vec<_>>(), 64) {
                prop_assert!(entry.message.is_none_or(|message| message.len() <= 64));
                prop_assert!(entry.cursor.len() <= MAX_FIELD_BYTES);
            }
        }
    }
}
