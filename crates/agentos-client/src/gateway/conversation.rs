//! Saying something: one connection to the gateway, kept from turn to turn.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::access::Access;
use super::answer::Answer;
use super::error::GatewayError;
use super::limits::Limits;
use super::session::Session;
use super::stream::reason;
use crate::text::quoted;

/// Most bytes of a refusal that are read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// The sending half of a connection to the gateway.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// A conversation: what is said in it is one session of the agent.
///
/// Its methods need a tokio runtime with I/O and time enabled.
#[derive(Debug)]
pub struct Conversation {
    access: Access,
    session: Session,
    limits: Limits,
    /// A connection whose last answer was read to its end.
    kept: Option<Connection>,
}

impl Conversation {
    /// A conversation called `session`, with the default limits. Nothing is opened before it is needed.
    pub fn new(access: Access, session: Session) -> Self {
        Self::with_limits(access, session, Limits::default())
    }

    /// A conversation with limits of the caller's choice.
    pub fn with_limits(access: Access, session: Session, limits: Limits) -> Self {
        Self { access, session, limits, kept: None }
    }

    /// Its session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Opens the connection for the next turn, so that a gateway that is not there is known before anything is said.
    ///
    /// # Errors
    /// [`GatewayError::Connect`] or [`GatewayError::TimedOut`].
    pub async fn connect(&mut self) -> Result<(), GatewayError> {
        self.kept = Some(connect(self.access.address(), self.limits.connect).await?);
        Ok(())
    }

    /// Says `text` and waits until the answer begins.
    ///
    /// The turn is sent once: where it is not known whether the gateway took it, this is an error. Dropping the
    /// future or the answer ends the connection, and with it the turn.
    ///
    /// # Errors
    /// [`GatewayError`]: the gateway cannot be reached, refuses, or is silent for too long.
    pub async fn say(&mut self, text: &str) -> Result<Answer<'_>, GatewayError> {
        let limit = self.limits.max_said_bytes;
        if text.len() > limit {
            return Err(GatewayError::SaidTooMuch { length: text.len(), limit });
        }
        let end = Instant::now() + self.limits.turn;
        let silence = self.limits.silence.min(self.limits.turn);
        let (connection, response) = timeout(silence, self.send(text))
            .await
            .map_err(|_| self.timed_out("it was silent for", silence))??;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.refused(status, response.into_body()).await);
        }
        let media_type = response.headers().get(CONTENT_TYPE);
        if !media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
            return Err(self.protocol(&format!("its media type is {media_type:?}")));
        }
        Ok(Answer::new(self, connection, response.into_body(), end))
    }

    async fn send(&mut self, text: &str) -> Result<(Connection, Response<Incoming>), GatewayError> {
        let mut request = self.request(text)?;
        // The gateway closes a connection that was idle for long. What was never written may be sent again.
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
        {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok((kept, response)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.interrupted(Some(refused.into_error()))),
                },
            }
        }
        let mut connection = connect(self.access.address(), self.limits.connect).await?;
        match connection.send_request(request).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(self.interrupted(Some(error))),
        }
    }

    fn request(&self, text: &str) -> Result<Request<Full<Bytes>>, GatewayError> {
        let body = json!({
            "model": "openclaw/default",
            "stream": true,
            "messages": [{ "role": "user", "content": text }],
        });
        Request::post("/v1/chat/completions")
            .header(HOST, self.access.address().to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.access.token()))
            .header("x-openclaw-session-key", self.session.key())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| self.protocol(&format!("the request cannot be formed: {error}")))
    }

    /// What an answer with another status than 200 means.
    async fn refused(&self, status: StatusCode, body: Incoming) -> GatewayError {
        let body = timeout(self.limits.connect, Limited::new(body, LONGEST_REFUSAL).collect()).await;
        let body =
            body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&body).ok();
        let reason = match said.as_ref().and_then(|said| said.get("error")) {
            Some(error) => reason(error),
            None => quoted(&String::from_utf8_lossy(&body)),
        };
        GatewayError::Refused { address: self.access.address(), status: status.as_u16(), reason }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn keep(&mut self, connection: Connection) {
        self.kept = Some(connection);
    }

    pub(super) fn interrupted(&self, source: Option<hyper::Error>) -> GatewayError {
        GatewayError::Interrupted { address: self.access.address(), source }
    }

    pub(super) fn timed_out(&self, what: &'static str, after: Duration) -> GatewayError {
        GatewayError::TimedOut { address: self.access.address(), what, after }
    }

    pub(super) fn protocol(&self, reason: &str) -> GatewayError {
        GatewayError::Protocol { address: self.access.address(), reason: quoted(reason) }
    }
}

/// Whether the gateway at `address` says it is ready. It has two seconds to say so.
pub async fn ready(address: SocketAddr) -> bool {
    let end = Instant::now() + Duration::from_secs(2);
    let asked = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut connection, driver) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(driver);
        let request =
            Request::get("/readyz").header(HOST, address.to_string()).body(Empty::<Bytes>::new()).ok()?;
        let response = connection.send_request(request).await.ok()?;
        Some(response.status() == StatusCode::OK)
    };
    matches!(timeout_at(end, asked).await, Ok(Some(true)))
}

async fn connect(address: SocketAddr, limit: Duration) -> Result<Connection, GatewayError> {
    let refused = |source| GatewayError::Connect { address, source };
    let open = async {
        let stream = TcpStream::connect(address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        handshake(TokioIo::new(stream)).await.map_err(|error| refused(std::io::Error::other(error)))
    };
    let (connection, driver) = timeout(limit, open).await.map_err(|_| GatewayError::TimedOut {
        address,
        what: "no connection within",
        after: limit,
    })??;
    // Its errors reach the request in flight; between turns a closed connection only means a new one.
    tokio::spawn(async move { drop(driver.await) });
    Ok(connection)
}
