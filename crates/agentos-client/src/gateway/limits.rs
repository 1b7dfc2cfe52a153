//! How long a turn may take and how much it may bring.

use std::time::Duration;

/// The bounds of a [`Conversation`](crate::gateway::Conversation).
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long opening a connection may take.
    pub connect: Duration,
    /// How long the gateway may be silent within a turn. A model that thinks says nothing meanwhile.
    pub silence: Duration,
    /// How long one turn may take as a whole.
    pub turn: Duration,
    /// Longest text that is said, in bytes.
    pub max_said_bytes: usize,
    /// Longest answer that is taken, in bytes.
    pub max_answer_bytes: usize,
    /// Largest single event of the stream, in bytes.
    pub max_event_bytes: usize,
    /// Most bytes that are read for one answer, whatever they hold.
    pub max_stream_bytes: usize,
}

impl Default for Limits {
    /// 5 s to connect, 10 min of silence, 1 h a turn, 1 MiB said, 4 MiB answered in events of 1 MiB and 256 MiB in all.
    ///
    /// The stream wraps each piece of the answer, which may be one letter, into some 200 bytes.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_mins(10),
            turn: Duration::from_hours(1),
            max_said_bytes: 1 << 20,
            max_answer_bytes: 4 << 20,
            max_event_bytes: 1 << 20,
            max_stream_bytes: 256 << 20,
        }
    }
}
