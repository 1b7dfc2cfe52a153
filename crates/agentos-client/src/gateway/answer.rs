//! The answer to what was said, piece by piece as it arrives.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};

use super::conversation::{Connection, Conversation};
use super::error::GatewayError;
use super::stream::{AnswerStream, Piece, Unreadable};

/// How long the end of the body is waited for after the end of the answer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An answer that is being given. Dropping it before its end ends the turn.
#[derive(Debug)]
pub struct Answer<'a> {
    conversation: &'a mut Conversation,
    /// Taken when the answer is over.
    connection: Option<Connection>,
    body: Incoming,
    stream: AnswerStream,
    pieces: VecDeque<Piece>,
    end: Instant,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        conversation: &'a mut Conversation,
        connection: Connection,
        body: Incoming,
        end: Instant,
    ) -> Self {
        let stream = AnswerStream::new(conversation.limits());
        Self { conversation, connection: Some(connection), body, stream, pieces: VecDeque::new(), end }
    }

    /// Waits for the next piece, which is not empty. `None`: the answer is complete; nothing else ends it in good order.
    ///
    /// Dropping the future loses nothing; the next call goes on from there. After an error there is nothing more.
    ///
    /// # Errors
    /// [`GatewayError`]: the gateway broke off, was silent for too long or sent too much, or the turn failed.
    pub async fn next(&mut self) -> Result<Option<String>, GatewayError> {
        let next = self.piece().await;
        if !matches!(next, Ok(Some(_))) {
            self.connection = None;
        }
        next
    }

    /// The rest of the answer in one.
    ///
    /// # Errors
    /// Those of [`Answer::next`].
    pub async fn whole(mut self) -> Result<String, GatewayError> {
        let mut whole = String::new();
        while let Some(piece) = self.next().await? {
            whole.push_str(&piece);
        }
        Ok(whole)
    }

    async fn piece(&mut self) -> Result<Option<String>, GatewayError> {
        if self.connection.is_none() {
            return Ok(None);
        }
        loop {
            match self.pieces.pop_front() {
                Some(Piece::Text(text)) => return Ok(Some(text)),
                Some(Piece::End) => {
                    self.keep_connection().await;
                    return Ok(None);
                }
                Some(Piece::Failed(reason)) => return Err(GatewayError::Failed { reason }),
                None => self.read().await?,
            }
        }
    }

    /// Takes in what arrives next.
    async fn read(&mut self) -> Result<(), GatewayError> {
        let limits = self.conversation.limits();
        let silence = Instant::now() + limits.silence;
        let frame = timeout_at(silence.min(self.end), self.body.frame()).await.map_err(|_| {
            if silence < self.end {
                self.conversation.timed_out("it was silent for", limits.silence)
            } else {
                self.conversation.timed_out("it took more than", limits.turn)
            }
        })?;
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(self.conversation.interrupted(Some(error))),
            None => return Err(self.conversation.interrupted(None)),
        };
        let Ok(data) = frame.into_data() else { return Ok(()) };
        self.stream.push(&data, &mut self.pieces).map_err(|unreadable| match unreadable {
            Unreadable::TooLarge { what, limit } => GatewayError::TooLarge { what, limit },
            Unreadable::Strange(reason) => self.conversation.protocol(&reason),
        })
    }

    /// Reads the end of the body, after which the connection can carry the next turn.
    async fn keep_connection(&mut self) {
        let ended = timeout(LAST_WORDS, async {
            while let Some(frame) = self.body.frame().await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        });
        if let (Ok(true), Some(connection)) = (ended.await, self.connection.take()) {
            self.conversation.keep(connection);
        }
    }
}
