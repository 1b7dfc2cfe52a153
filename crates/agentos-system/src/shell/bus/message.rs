//! Messages as bytes (D-Bus specification, "Message Format").
//!
//! What goes to the bus is written anew from what was understood here: bytes that another reader could take for something
//! else do not get there.

use std::io;

/// Flag: the caller wants no answer.
pub(super) const NO_REPLY_EXPECTED: u8 = 0x1;

/// Flag: a service that does not run is not started for this.
pub(super) const NO_AUTO_START: u8 = 0x2;

/// The fixed part of a header and the length of its fields.
const FIXED: usize = 16;

/// Longest name (specification, "Valid Names").
const MAX_NAME: usize = 255;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    MethodCall,
    MethodReturn,
    Error,
    Signal,
}

/// A message whose header was understood. The body is not looked into.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) big: bool,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) serial: u32,
    pub(super) path: Option<&'a str>,
    pub(super) interface: Option<&'a str>,
    pub(super) member: Option<&'a str>,
    pub(super) destination: Option<&'a str>,
    pub(super) signature: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// How long the message at the start of `bytes` is, from its first 16 bytes; `None` while those are not there.
///
/// # Errors
///
/// `InvalidData` if there is no byte order, or the message is longer than `most`.
pub(super) fn length(bytes: &[u8], most: usize) -> io::Result<Option<usize>> {
    let Some(head) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let mut reader = Reader { bytes: head, at: 0, big: false };
    reader.big = big(reader.byte()?)?;
    reader.at = 4;
    let body = reader.size()?;
    reader.at = 12;
    let fields = reader.size()?;
    let total = fields.checked_next_multiple_of(8).and_then(|f| f.checked_add(FIXED)?.checked_add(body));
    match total {
        Some(total) if total <= most => Ok(Some(total)),
        _ => Err(invalid("a message is too long")),
    }
}

impl<'a> Message<'a> {
    /// Reads a whole message, of the length that [`length`] answers.
    ///
    /// # Errors
    ///
    /// `InvalidData` for whatever the specification does not allow in a header, for unknown fields and fields that come
    /// twice, and for file descriptors.
    pub(super) fn parse(bytes: &'a [u8]) -> io::Result<Self> {
        let mut reader = Reader { bytes, at: 0, big: false };
        reader.big = big(reader.byte()?)?;
        let kind = match reader.byte()? {
            1 => Kind::MethodCall,
            2 => Kind::MethodReturn,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(invalid("a message of no known type")),
        };
        let flags = reader.byte()?;
        if reader.byte()? != 1 {
            return Err(invalid("a message of another version of the protocol"));
        }
        let body = reader.size()?;
        let serial = reader.word()?;
        if serial == 0 {
            return Err(invalid("a message without a serial"));
        }
        let end = reader.size()?.checked_add(FIXED).ok_or_else(|| invalid("a header is too long"))?;
        let mut message = Self {
            big: reader.big,
            kind,
            flags,
            serial,
            path: None,
            interface: None,
            member: None,
            destination: None,
            signature: None,
            body: &[],
        };
        let mut seen = 0u16;
        while reader.at < end {
            reader.pad()?;
            message.field(&mut reader, &mut seen)?;
        }
        if reader.at != end {
            return Err(invalid("a header's fields are longer than it says"));
        }
        reader.pad()?;
        message.body = reader.take(body)?;
        if reader.at != bytes.len() {
            return Err(invalid("a message is not as long as it says"));
        }
        if kind == Kind::MethodCall && (message.path.is_none() || message.member.is_none()) {
            return Err(invalid("a call without a path or a member"));
        }
        if message.signature.is_none_or(str::is_empty) != message.body.is_empty() {
            return Err(invalid("a body without a signature, or the reverse"));
        }
        Ok(message)
    }

    fn field(&mut self, reader: &mut Reader<'a>, seen: &mut u16) -> io::Result<()> {
        let code = reader.byte()?;
        let kind = reader.signature()?;
        let bit = 1u16.checked_shl(code.into()).unwrap_or(0);
        if !(1..=9).contains(&code) || *seen & bit != 0 {
            return Err(invalid("a header field that is unknown or comes twice"));
        }
        *seen |= bit;
        match (code, kind) {
            (1, "o") => self.path = Some(reader.path()?),
            (2, "s") => self.interface = Some(reader.name()?),
            (3, "s") => self.member = Some(reader.name()?),
            (6, "s") => self.destination = Some(reader.name()?),
            (8, "g") => self.signature = Some(reader.signature()?),
            // The name of an error and the sender; the bus says itself who the sender is.
            (4 | 7, "s") => drop(reader.name()?),
            (5, "u") => drop(reader.aligned_word()?),
            (9, "u") => {
                if reader.aligned_word()? != 0 {
                    return Err(invalid("file descriptors are not passed"));
                }
            }
            _ => return Err(invalid("a header field of another type than its own")),
        }
        Ok(())
    }

    /// The texts of its first argument, where that is one text or a list of them; nothing where it is neither, or broken.
    pub(super) fn first_texts(&self) -> Option<Vec<&'a str>> {
        let mut reader = Reader { bytes: self.body, at: 0, big: self.big };
        match self.signature?.as_bytes() {
            [b's', ..] => Some(vec![reader.string().ok()?]),
            [b'a', b's', ..] => {
                let end = reader.size().ok()?.checked_add(reader.at)?;
                let mut texts = Vec::new();
                while reader.at < end {
                    texts.push(reader.string().ok()?);
                }
                (reader.at == end).then_some(texts)
            }
            _ => None,
        }
    }

    /// The second of two texts that it begins with.
    pub(super) fn second_text(&self) -> Option<&'a str> {
        if !self.signature?.starts_with("ss") {
            return None;
        }
        let mut reader = Reader { bytes: self.body, at: 0, big: self.big };
        reader.string().ok()?;
        reader.string().ok()
    }

    /// Writes the call as it goes to the bus: nobody is asked for a password, and no service is started for it unless it
    /// `starts` one.
    pub(super) fn write_call(&self, starts: bool, out: &mut Vec<u8>) {
        let mut fields = Writer { bytes: Vec::new(), big: self.big };
        for (code, kind, value) in [
            (1, b'o', self.path),
            (2, b's', self.interface),
            (3, b's', self.member),
            (6, b's', self.destination),
            (8, b'g', self.signature),
        ] {
            if let Some(value) = value {
                fields.text(code, kind, value);
            }
        }
        let without = if starts { 0 } else { NO_AUTO_START };
        let flags = (self.flags & NO_REPLY_EXPECTED) | without;
        write(out, (1, flags, self.serial), fields, self.body);
    }
}

/// Writes the error that answers a refused call, in the call's byte order, as the bus itself would send it.
pub(super) fn write_denied(call: &Message<'_>, serial: u32, why: &str, out: &mut Vec<u8>) {
    let mut fields = Writer { bytes: Vec::new(), big: call.big };
    fields.head(5, b'u');
    fields.word(call.serial);
    fields.text(4, b's', "org.freedesktop.DBus.Error.AccessDenied");
    fields.text(7, b's', "org.freedesktop.DBus");
    fields.text(8, b'g', "s");
    let mut body = Writer { bytes: Vec::new(), big: call.big };
    body.string(why);
    write(out, (3, NO_REPLY_EXPECTED, serial), fields, &body.bytes);
}

fn write(out: &mut Vec<u8>, (kind, flags, serial): (u8, u8, u32), fields: Writer, body: &[u8]) {
    let order = if fields.big { b'B' } else { b'l' };
    let mut head = Writer { bytes: vec![order, kind, flags, 1], big: fields.big };
    head.length(body.len());
    head.word(serial);
    head.length(fields.bytes.len());
    head.bytes.extend(fields.bytes);
    head.pad(8);
    out.extend(head.bytes);
    out.extend(body);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let part = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or_else(|| invalid("a message is cut off"))?;
        self.at += count;
        Ok(part)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.take(1)?.first().copied().ok_or_else(|| invalid("a message is cut off"))
    }

    fn word(&mut self) -> io::Result<u32> {
        let bytes = *self.take(4)?.first_chunk::<4>().ok_or_else(|| invalid("a message is cut off"))?;
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn size(&mut self) -> io::Result<usize> {
        usize::try_from(self.word()?).map_err(|_| invalid("a message is too long"))
    }

    fn align(&mut self, to: usize) -> io::Result<()> {
        let count = self.at.next_multiple_of(to) - self.at;
        if self.take(count)?.iter().any(|byte| *byte != 0) {
            return Err(invalid("padding that is not zero"));
        }
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        self.align(8)
    }

    fn aligned_word(&mut self) -> io::Result<u32> {
        self.align(4)?;
        self.word()
    }

    fn ended(&mut self, length: usize) -> io::Result<&'a str> {
        let text = self.take(length)?;
        if self.byte()? != 0 || text.contains(&0) {
            return Err(invalid("a text that does not end where it says"));
        }
        std::str::from_utf8(text).map_err(|_| invalid("a text that is not UTF-8"))
    }

    fn signature(&mut self) -> io::Result<&'a str> {
        let length = self.byte()?;
        self.ended(length.into())
    }

    fn string(&mut self) -> io::Result<&'a str> {
        let length = self.aligned_word()?;
        self.ended(usize::try_from(length).map_err(|_| invalid("a text is too long"))?)
    }

    /// A name of an interface, member, error or connection. Their rules differ; what is common to them keeps out
    /// everything that could not be shown in a line.
    fn name(&mut self) -> io::Result<&'a str> {
        let name = self.string()?;
        let common = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(common) {
            return Err(invalid("a name that is none"));
        }
        Ok(name)
    }

    fn path(&mut self) -> io::Result<&'a str> {
        let path = self.string()?;
        let element =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match path.strip_prefix('/') {
            Some(rest) if rest.is_empty() || rest.split('/').all(element) => Ok(path),
            _ => Err(invalid("a path that is none")),
        }
    }
}

/// Writes values where alignment counts from the start of `bytes`, which goes to a multiple of eight.
struct Writer {
    bytes: Vec<u8>,
    big: bool,
}

impl Writer {
    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn word(&mut self, word: u32) {
        self.pad(4);
        self.bytes.extend(if self.big { word.to_be_bytes() } else { word.to_le_bytes() });
    }

    fn length(&mut self, length: usize) {
        // Everything written here is part of a message of at most 1 MiB.
        self.word(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn string(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn head(&mut self, code: u8, kind: u8) {
        self.pad(8);
        self.bytes.extend([code, 1, kind, 0]);
    }

    fn text(&mut self, code: u8, kind: u8, text: &str) {
        self.head(code, kind);
        if kind == b'g' {
            // A signature was read with a length of one byte.
            self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            self.bytes.extend(text.as_bytes());
            self.bytes.push(0);
        } else {
            self.string(text);
        }
    }
}

fn big(order: u8) -> io::Result<bool> {
    match order {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(invalid("a message without a byte order")),
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
