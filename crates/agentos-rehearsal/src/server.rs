//! The HTTP side: `GET /v1/models`, `POST /v1/chat/completions`. Loopback only unless told; bodies, connections and
//! waiting are bounded; every refusal is an error in OpenAI's shape.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::body::Paced;
use crate::log::{Entry, RequestLog};
use crate::stage::{Line, Stage};
use crate::wire::{self, ChatRequest, Envelope, MODEL};

/// Largest request body that is read, in bytes: a long conversation with all its tools.
pub const MAX_BODY_BYTES: usize = 16 << 20;
/// Connections served at the same time; others wait.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, also on a connection that is kept open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long is waited after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the server is to behave.
#[derive(Debug, Default)]
pub struct ServerOptions {
    /// Accept an address other machines can reach.
    pub any_address: bool,
    /// Pause before each piece of a stream, as if somebody typed.
    pub delay: Duration,
    /// Where each request is noted.
    pub log: Option<RequestLog>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not this machine's own.
    #[error(
        "{0} can be reached from other machines, and this server asks nobody who they are: use 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: choose another port, or port 0 for a free one")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A server that listens and has not been run yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stage: Stage,
    delay: Duration,
    log: Option<RequestLog>,
    /// Tells the answers of this process from those of an earlier one.
    epoch: i64,
    count: AtomicU64,
}

impl Server {
    /// Listens on `address`; connections wait from now on.
    ///
    /// # Errors
    /// [`ServeError`]: the address is not loopback and that was not asked for, or it cannot be had.
    pub async fn bind(address: SocketAddr, stage: Stage, options: ServerOptions) -> Result<Self, ServeError> {
        if !address.ip().is_loopback() && !options.any_address {
            return Err(ServeError::NotLoopback(address));
        }
        let failed = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            stage,
            delay: options.delay,
            log: options.log,
            epoch: Timestamp::now().as_millisecond(),
            count: AtomicU64::new(0),
        };
        Ok(Self { listener, address, shared: Arc::new(shared) })
    }

    /// Where it listens, with the port it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready; open connections are then closed.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next() => {}
                (accepted, slot) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&self.shared);
                        connections.spawn(async move {
                            let _slot = slot;
                            let service = service_fn(move |request| {
                                let shared = Arc::clone(&shared);
                                async move { Ok::<_, Infallible>(shared.answer(request).await) }
                            });
                            // A client that goes away in the middle is no news to anybody.
                            let _ = http1::Builder::new()
                                .timer(TokioTimer::new())
                                .header_read_timeout(HEAD_TIMEOUT)
                                .serve_connection(TokioIo::new(stream), service)
                                .await;
                        });
                    }
                    // Out of descriptors, most likely: trying at once again would only burn the processor.
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }
}

/// A request that is refused: status and error body.
struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    fn new(status: StatusCode, code: Option<&str>, parameter: Option<&str>, message: &str) -> Self {
        Self { status, body: wire::error("invalid_request_error", code, parameter, message) }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Paced> {
        let (parts, body) = request.into_parts();
        let mut entry = Entry::new(parts.method.as_str(), parts.uri.path());
        let response = match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/v1/models") => json_response(StatusCode::OK, &wire::models()),
            (&Method::GET, path) if path.strip_prefix("/v1/models/") == Some(MODEL) => {
                json_response(StatusCode::OK, &wire::model())
            }
            (&Method::POST, "/v1/chat/completions") => match self.complete(body, &mut entry).await {
                Ok(response) => response,
                Err(refusal) => json_response(refusal.status, &refusal.body),
            },
            (method, path @ ("/v1/models" | "/v1/chat/completions")) => {
                let allowed = if path == "/v1/models" { "GET" } else { "POST" };
                let message = format!("{path} takes {allowed}, not {method}");
                let body = wire::error("invalid_request_error", Some("method_not_allowed"), None, &message);
                let mut response = json_response(StatusCode::METHOD_NOT_ALLOWED, &body);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                response
            }
            (_, path) => {
                let path: String = path.chars().take(120).collect();
                let message = format!(
                    "There is nothing at {path}. This server has GET /v1/models and POST /v1/chat/completions."
                );
                let body = wire::error("invalid_request_error", Some("unknown_url"), None, &message);
                json_response(StatusCode::NOT_FOUND, &body)
            }
        };
        if let Some(log) = &self.log {
            log.write(&entry, response.status().as_u16());
        }
        response
    }

    async fn complete(&self, body: Incoming, entry: &mut Entry) -> Result<Response<Paced>, Refusal> {
        let bytes = read_body(body).await?;
        let request: ChatRequest = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("The body is not a chat completion request: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, None, None, &message)
        })?;
        entry.request = serde_json::from_slice(&bytes).ok();
        if request.model != MODEL {
            let asked: String = request.model.chars().take(80).collect();
            let message = format!("There is no model `{asked}` here; the only one is `{MODEL}`.");
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                Some("model_not_found"),
                Some("model"),
                &message,
            ));
        }
        if request.messages.is_empty() {
            let message = "`messages` is empty: there is nothing to answer.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, None, Some("messages"), message));
        }
        if request.n.is_some_and(|n| n != 1) {
            let message = "`n` must be 1: a scripted model has one answer.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, None, Some("n"), message));
        }
        let offered: HashSet<&str> = match request.tool_choice.as_str() {
            Some("none") => HashSet::new(),
            _ => request.tools.iter().flatten().map(|tool| tool.function.name.as_str()).collect(),
        };
        let cue = self.stage.next(&request.messages, &offered);
        let envelope = Envelope {
            serial: format!("{:x}-{}", self.epoch, self.count.fetch_add(1, Ordering::Relaxed)),
            created: Timestamp::now().as_second(),
            request_bytes: bytes.len(),
        };
        entry.scenario = cue.scenario;
        entry.calls = match &cue.line {
            Line::Call(calls) => calls.iter().map(|call| call.tool.clone()).collect(),
            Line::Say(_) => Vec::new(),
        };
        if request.stream != Some(true) {
            return Ok(json_response(StatusCode::OK, &wire::completion(&envelope, &cue.line)));
        }
        let include_usage = request.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        let pieces = wire::stream(&envelope, &cue.line, include_usage);
        let mut response = Response::new(Paced::new(pieces.into_iter().map(Bytes::from), self.delay));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(response)
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    let too_large = || {
        let message = format!("The body is larger than {MAX_BODY_BYTES} bytes.");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"), None, &message)
    };
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, None, None, "The body ended before it was complete."))
        }
        Err(_) => {
            let message = format!("The body did not arrive within {} seconds.", BODY_TIMEOUT.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, Some("request_timeout"), None, &message))
        }
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response<Paced> {
    let mut response = Response::new(Paced::new([Bytes::from(body.to_string())], Duration::ZERO));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
