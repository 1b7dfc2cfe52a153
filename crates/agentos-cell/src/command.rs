//! What is sent to the process that becomes a command, and what it says before it does.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::preview::Preview;

/// Longest form in which a command is sent, in bytes: the kernel itself takes arguments of 2 MiB together.
pub const MOST_BYTES: u32 = 4 << 20;

/// What shall run. The environment is that of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, looked for in `PATH` where it has no slash, and its arguments.
    pub words: Vec<String>,
    /// The folder it starts in.
    pub folder: String,
    /// How much it may do.
    pub confinement: Confinement,
}

/// How much a command may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Confinement {
    /// It reads the machine and changes nothing.
    Observe,
    /// It sees the machine's files, and what it writes is kept apart.
    Preview(Preview),
    /// It acts on the machine, and not on agentd.
    Apply(Apply),
}

/// What a command that acts on the machine does not get at. Paths that are not there are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apply {
    /// Files and folders in place of which it finds nothing. The first of them is a folder.
    pub covered: Vec<String>,
    /// Files that it reads and does not alter.
    pub read_only: Vec<String>,
    /// The socket of the system bus, in place of which it finds one that agentd answers.
    pub bus: String,
}

/// A command could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is longer than [`MOST_BYTES`], or not as it should be.
    #[error("the command cannot be sent: {0}")]
    Form(String),
    /// The socket's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Command {
    /// Writes it with its length before it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn send(&self, socket: &mut impl Write) -> Result<(), CommandError> {
        let text = serde_json::to_vec(self).map_err(|error| CommandError::Form(error.to_string()))?;
        let length = u32::try_from(text.len()).ok().filter(|&length| length <= MOST_BYTES);
        let length = length.ok_or_else(|| CommandError::Form(format!("it is {} bytes long", text.len())))?;
        socket.write_all(&length.to_ne_bytes())?;
        Ok(socket.write_all(&text)?)
    }

    /// Reads what [`Command::send`] wrote.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn receive(socket: &mut impl Read) -> Result<Self, CommandError> {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let length = u32::from_ne_bytes(length);
        if length > MOST_BYTES {
            return Err(CommandError::Form(format!("it is {length} bytes long")));
        }
        let mut text = vec![0; length as usize];
        socket.read_exact(&mut text)?;
        serde_json::from_slice(&text).map_err(|error| CommandError::Form(error.to_string()))
    }
}

/// The first byte of what the process says on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// There is a view of the file systems; descriptors and a text came along (`preview`).
    View,
    /// The filter is in force; the descriptor that came along is its [`crate::Listener`].
    Ready,
    /// A step failed, and nothing ran: a sentence follows.
    Failed,
    /// The program could not be started: a sentence follows.
    NotStarted,
    /// A command that was applied has ended: its exit status follows.
    Ended,
    /// Nothing that it left runs any more.
    AllEnded,
}

impl Word {
    /// As it is sent.
    pub const fn byte(self) -> u8 {
        match self {
            Self::View => b'V',
            Self::Ready => b'R',
            Self::Failed => b'F',
            Self::NotStarted => b'N',
            Self::Ended => b'E',
            Self::AllEnded => b'A',
        }
    }

    /// As it was sent.
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'V' => Some(Self::View),
            b'R' => Some(Self::Ready),
            b'F' => Some(Self::Failed),
            b'N' => Some(Self::NotStarted),
            b'E' => Some(Self::Ended),
            b'A' => Some(Self::AllEnded),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received_and_nothing_longer() {
        let command = Command {
            words: vec!["printf".into(), "a\nb".into()],
            folder: "/".into(),
            confinement: Confinement::Observe,
        };
        let mut sent = Vec::new();
        command.send(&mut sent).unwrap();
        assert_eq!(Command::receive(&mut sent.as_slice()).unwrap(), command);
        assert!(Command::receive(&mut &sent[..sent.len() - 1]).is_err());
        let long = Command { words: vec!["x".repeat(MOST_BYTES as usize)], ..command };
        assert!(long.send(&mut Vec::new()).is_err());
        assert!(Command::receive(&mut &u32::MAX.to_ne_bytes()[..]).is_err());
    }
}
