//! The lines that come before the messages (D-Bus specification, "Authentication Protocol"): as a client of the bus, and
//! as a server for the command.

use std::io;

/// Longest line, in bytes, its end included (the specification's own limit).
const MAX_LINE: usize = 16 << 10;

/// Most lines that a client may need.
const MAX_LINES: usize = 64;

/// Ends the lines; messages follow.
pub(super) const BEGIN: &[u8] = b"BEGIN\r\n";

/// What a client of the bus says first: a NUL, and its user ID as hexadecimal of its decimal digits.
pub(super) fn hello(uid: u32) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut text = "\0AUTH EXTERNAL ".to_owned();
    for digit in uid.to_string().bytes() {
        // Writing to a String does not fail.
        let _ = write!(text, "{digit:02x}");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// The bus's GUID and how many bytes its answer took; `None` while the line is not whole.
pub(super) fn accepted(bytes: &[u8]) -> io::Result<Option<(String, usize)>> {
    let Some((line, used)) = line(bytes)? else { return Ok(None) };
    match line.strip_prefix("OK ") {
        Some(guid) if guid.len() == 32 && guid.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(Some((guid.to_owned(), used)))
        }
        _ => Err(invalid("the bus does not accept this user")),
    }
}

/// The server's side, line by line.
///
/// What the client says of its user is not looked at: whoever holds the other end of the socket may do the same.
#[derive(Debug)]
pub(super) struct Server {
    guid: String,
    state: State,
    lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Nul,
    Auth,
    Data,
    Begin,
    Begun,
}

impl Server {
    pub(super) fn new(guid: String) -> Self {
        Self { guid, state: State::Nul, lines: 0 }
    }

    /// Whether messages follow.
    pub(super) fn begun(&self) -> bool {
        self.state == State::Begun
    }

    /// Works off the whole lines at the start of `bytes`, up to `BEGIN`; answers how many bytes they took.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a first byte that is not NUL, a line that is too long or no ASCII, too many lines, and `BEGIN`
    /// before `OK`.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut used = 0;
        if self.state == State::Nul {
            match bytes.first() {
                None => return Ok(0),
                Some(0) => used = 1,
                Some(_) => return Err(invalid("the client does not begin with a NUL")),
            }
            self.state = State::Auth;
        }
        while self.state != State::Begun {
            let Some((line, length)) = line(bytes.get(used..).unwrap_or_default())? else { break };
            used += length;
            self.lines += 1;
            if self.lines > MAX_LINES {
                return Err(invalid("the client does not come to an end with its authentication"));
            }
            self.answer(line, out)?;
        }
        Ok(used)
    }

    fn answer(&mut self, line: &str, out: &mut Vec<u8>) -> io::Result<()> {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        let ok = format!("OK {}\r\n", self.guid);
        let (state, answer) = match (self.state, command) {
            (State::Auth, "AUTH") => match argument.split_once(' ').unwrap_or((argument, "")) {
                ("EXTERNAL", "") => (State::Data, "DATA\r\n"),
                ("EXTERNAL", _) => (State::Begin, ok.as_str()),
                _ => (State::Auth, "REJECTED EXTERNAL\r\n"),
            },
            (State::Data, "DATA") => (State::Begin, ok.as_str()),
            (State::Begin, "BEGIN") => (State::Begun, ""),
            (_, "BEGIN") => return Err(invalid("the client begins before it is accepted")),
            (_, "CANCEL" | "ERROR") => (State::Auth, "REJECTED EXTERNAL\r\n"),
            (state, "NEGOTIATE_UNIX_FD") => (state, "ERROR \"no file descriptors\"\r\n"),
            (state, _) => (state, "ERROR\r\n"),
        };
        self.state = state;
        out.extend(answer.as_bytes());
        Ok(())
    }
}

/// The first line without its end, and its length with it.
fn line(bytes: &[u8]) -> io::Result<Option<(&str, usize)>> {
    let head = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = head.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < MAX_LINE {
            Ok(None)
        } else {
            Err(invalid("a line of the authentication is too long"))
        };
    };
    let line = head.get(..end).unwrap_or_default();
    match std::str::from_utf8(line) {
        Ok(text) if text.is_ascii() => Ok(Some((text, end + 2))),
        _ => Err(invalid("a line of the authentication is not ASCII")),
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
