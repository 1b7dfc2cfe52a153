//! A conversation with the agent over one connection to the gateway: its OpenAI-compatible endpoint, streamed
//! (OpenClaw's `docs/gateway/openai-http-api.md`).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How long the gateway may be silent within a turn. A model that thinks says nothing meanwhile.
const SILENCE: Duration = Duration::from_mins(10);

/// Longest answer that is taken, and longest single line of the stream, in bytes.
const MOST: usize = 4 << 20;

/// A conversation: what is said in it is one session of the agent.
#[derive(Debug)]
pub(crate) struct Conversation {
    address: SocketAddr,
    token: String,
    session: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Conversation {
    /// A conversation called `session` with the gateway at `address`. It connects when something is said.
    pub(crate) fn new(address: SocketAddr, token: &str, session: &str) -> Self {
        Self { address, token: token.to_owned(), session: format!("agent:main:{session}"), connection: None }
    }

    /// Says `text` and answers what the agent answered; `heard` gets each piece as it arrives.
    ///
    /// # Errors
    /// When the gateway cannot be reached, refuses, breaks off or is silent for too long.
    pub(crate) async fn say(&mut self, text: &str, mut heard: impl FnMut(&str)) -> Result<String> {
        let response = self.send(text).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = bounded(response).await?;
            bail!("the gateway refused the turn with {status}: {}", reason(&body));
        }
        let mut body = response.into_body();
        let mut lines = Lines::default();
        let mut answer = String::new();
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame())
                .await
                .map_err(|_| anyhow!("the gateway said nothing for {} s", SILENCE.as_secs()))?;
            let Some(frame) = frame else { bail!("the gateway broke the answer off") };
            let frame = frame.context("the gateway broke the answer off")?;
            let Some(data) = frame.data_ref() else { continue };
            for line in lines.push(data)? {
                match Piece::of(&line)? {
                    Piece::Text(text) => {
                        if answer.len() + text.len() > MOST {
                            bail!("the answer is longer than {MOST} bytes");
                        }
                        heard(&text);
                        answer.push_str(&text);
                    }
                    Piece::End => {
                        // What follows is the end of the body: reading it keeps the connection for the next turn.
                        while let Ok(Some(Ok(_))) =
                            tokio::time::timeout(Duration::from_secs(1), body.frame()).await
                        {
                        }
                        return Ok(answer);
                    }
                    Piece::Nothing => {}
                }
            }
        }
    }

    async fn send(&mut self, text: &str) -> Result<Response<Incoming>> {
        let body = json!({
            "model": "openclaw/default",
            "stream": true,
            "messages": [{ "role": "user", "content": text }],
        });
        let body = Bytes::from(serde_json::to_vec(&body)?);
        let mut connection = match self.connection.take() {
            // The gateway closes a connection that was idle for long; it is opened again then.
            Some(kept) if !kept.is_closed() => kept,
            _ => connect(self.address).await?,
        };
        connection.ready().await.context("the connection to the gateway broke")?;
        let request = Request::post("/v1/chat/completions")
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.token))
            .header("x-openclaw-session-key", &self.session)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = tokio::time::timeout(SILENCE, connection.send_request(request))
            .await
            .map_err(|_| anyhow!("the gateway said nothing for {} s", SILENCE.as_secs()))?
            .context("the connection to the gateway broke")?;
        self.connection = Some(connection);
        Ok(response)
    }
}

/// Whether the gateway at `address` says it is ready.
pub(crate) async fn ready(address: SocketAddr) -> bool {
    let asked = async {
        let (mut connection, driver) =
            handshake(TokioIo::new(TcpStream::connect(address).await.ok()?)).await.ok()?;
        tokio::spawn(driver);
        let request =
            Request::get("/readyz").header("host", address.to_string()).body(Empty::<Bytes>::new()).ok()?;
        let response = connection.send_request(request).await.ok()?;
        Some(response.status() == StatusCode::OK)
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), asked).await, Ok(Some(true)))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot reach the gateway at {address}"))?;
    stream.set_nodelay(true)?;
    let (connection, driver) = handshake(TokioIo::new(stream)).await.context("cannot talk to the gateway")?;
    tokio::spawn(driver);
    Ok(connection)
}

async fn bounded(response: Response<Incoming>) -> Result<Vec<u8>> {
    let body = http_body_util::Limited::new(response.into_body(), 64 << 10);
    let collected =
        body.collect().await.map_err(|error| anyhow!("cannot read the gateway's refusal: {error}"))?;
    Ok(collected.to_bytes().to_vec())
}

fn reason(body: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| value.pointer("/error/message").and_then(Value::as_str).map(str::to_owned));
    message.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned())
}

/// The lines of a stream that arrives in pieces.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that `piece` completes.
    fn push(&mut self, piece: &[u8]) -> Result<Vec<String>> {
        self.rest.extend_from_slice(piece);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if self.rest.len() > MOST {
            bail!("the gateway sent a line longer than {MOST} bytes");
        }
        Ok(lines)
    }
}

/// What one line of the stream says.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    End,
    Nothing,
}

impl Piece {
    fn of(line: &str) -> Result<Self> {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else { return Ok(Self::Nothing) };
        if data == "[DONE]" {
            return Ok(Self::End);
        }
        let value: Value = serde_json::from_str(data).context("the gateway streamed what is not JSON")?;
        if let Some(error) = value.get("error") {
            let message =
                error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
            bail!("the turn failed: {message}");
        }
        match value.pointer("/choices/0/delta/content").and_then(Value::as_str) {
            Some(text) => Ok(Self::Text(text.to_owned())),
            None => Ok(Self::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_anywhere_is_one_line() {
        let whole = "data: {\"choices\":[{\"delta\":{\"content\":\"grüße\"}}]}\n\n".as_bytes();
        for cut in 0..whole.len() {
            let mut lines = Lines::default();
            let mut found = lines.push(&whole[..cut]).unwrap();
            found.extend(lines.push(&whole[cut..]).unwrap());
            assert_eq!(found.len(), 2);
            assert_eq!(Piece::of(&found[0]).unwrap(), Piece::Text("grüße".to_owned()));
            assert_eq!(Piece::of(&found[1]).unwrap(), Piece::Nothing);
        }
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        let error = Piece::of("data: {\"error\":{\"message\":\"no credit\"}}").unwrap_err().to_string();
        assert!(error.contains("no credit"), "{error}");
        assert_eq!(Piece::of("data: [DONE]").unwrap(), Piece::End);
        assert!(Piece::of("data: {").is_err());
    }

    #[test]
    fn a_line_without_end_is_refused() {
        assert!(Lines::default().push(&vec![b'x'; MOST + 1]).is_err());
    }
}
