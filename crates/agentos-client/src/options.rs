//! Which socket, how long to wait, how much to read.

use std::path::PathBuf;
use std::time::Duration;

/// How a [`Client`](crate::Client) talks to agentd.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The Unix socket agentd listens on.
    pub socket: PathBuf,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take, from its first byte sent to the last byte of the answer. An event stream is
    /// held to it only until its first byte.
    pub request_timeout: Duration,
    /// Largest answer that is read, in bytes.
    pub max_response_bytes: usize,
    /// Largest single event of an event stream, in bytes.
    pub max_stream_event_bytes: usize,
    /// Connections kept open for the next request. More than that are closed after use.
    pub max_idle_connections: usize,
    /// Detail below the caller's principal, recorded with each event: which part of the caller asks.
    pub actor: Option<ActorDetail>,
}

impl ClientOptions {
    /// The defaults: 5 s to connect, 60 s a request, 64 MiB an answer, 1 MiB a stream event, 8 idle connections.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_mins(1),
            max_response_bytes: 64 << 20,
            max_stream_event_bytes: 1 << 20,
            max_idle_connections: 8,
            actor: None,
        }
    }
}

/// The value of the header [`ACTOR_HEADER`](agentos_api::ACTOR_HEADER): 1 to 64 bytes of `[A-Za-z0-9._:-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorDetail(String);

/// The text that cannot be an [`ActorDetail`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a part of the caller: use 1 to 64 characters of A-Z a-z 0-9 . _ : -")]
pub struct InvalidActorDetail(pub String);

impl ActorDetail {
    /// Takes `detail` if agentd would.
    ///
    /// # Errors
    /// [`InvalidActorDetail`] when it is empty, longer than 64 bytes or holds another character.
    pub fn new(detail: impl Into<String>) -> Result<Self, InvalidActorDetail> {
        let detail = detail.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=64).contains(&detail.len()) && detail.bytes().all(allowed) {
            Ok(Self(detail))
        } else {
            Err(InvalidActorDetail(detail))
        }
    }

    /// The detail as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_detail_cannot_smuggle_a_header() {
        assert!(ActorDetail::new("agentctl:query").is_ok());
        for bad in ["", "a b", "a\r\nX: y", "root@host", "é", &"a".repeat(65)] {
            assert!(ActorDetail::new(bad).is_err(), "{bad:?}");
        }
    }
}
