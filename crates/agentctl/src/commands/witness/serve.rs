//! `agentctl witness serve`: the witness answers whoever brings it a checkpoint, as c2sp.org/tlog-witness has it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use agentos_ledger::{AddCheckpoint, AddRefusal, Cosigner, MAX_ADD_CHECKPOINT_BYTES};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};

use super::Directory;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style};

/// Connections at once. Whoever comes when there are as many waits.
const CONNECTIONS: usize = 64;
/// How long a request's head, and then its body, may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection is kept at all.
const LONGEST: Duration = Duration::from_mins(10);
/// Requests that were answered and not told of yet; what is more is not told.
const UNTOLD: usize = 256;
const SIZE_TYPE: &str = "text/x.tlog.size";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// Answers the requests of logs for a cosignature: POST /add-checkpoint, as c2sp.org/tlog-witness has it.
///
/// It cosigns for the one ledger whose key was fixed with `witness init`, under the same rules as `witness run`, and shares
/// its memory: both cannot run at once. Everything that matters is signed, so the connection is not encrypted; where others
/// must not see it, put a proxy with TLS before it, or reach it over ssh.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl witness serve --listen 127.0.0.1:7380\n  \
    agentctl witness serve --listen unix:/run/user/1000/witness.sock --json")]
pub(super) struct Serve {
    /// An address and a port, such as `127.0.0.1:7380` or `[::1]:7380`, or `unix:` and a path
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    listen: Listen,
    #[command(flatten)]
    directory: Directory,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        return if path.is_absolute() {
            Ok(Listen::Unix(path))
        } else {
            Err("the path behind unix: must be absolute".to_owned())
        };
    }
    text.parse().map(Listen::Tcp).map_err(|_| {
        format!("{text:?} is neither an address with a port, such as 127.0.0.1:7380, nor unix: and a path")
    })
}

/// A request that was answered.
#[derive(Serialize)]
struct Answered {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

struct Server {
    witness: Mutex<Cosigner>,
    told: mpsc::Sender<Answered>,
}

pub(super) async fn serve(context: &mut Context, arguments: &Serve) -> Result<Exit, CliError> {
    let witness = arguments.directory.open()?;
    let (told, mut answered) = mpsc::channel(UNTOLD);
    let key = witness.key().to_string();
    let server = Arc::new(Server { witness: Mutex::new(witness), told });
    let listener = Listener::open(&arguments.listen).await?;
    context.output.note(&format!("The witness {key} answers at {}.", listener.url()));
    let accepting = tokio::spawn(listener.accept(server));
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| CliError::new("cannot wait for signals").because(&error))?;
    loop {
        tokio::select! {
            Some(answered) = answered.recv() => tell(&mut context.output, &answered)?,
            _ = ended.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    accepting.abort();
    // Its socket goes with it.
    let _ = accepting.await;
    Ok(Exit::Well)
}

fn tell(output: &mut Output, answered: &Answered) -> Result<(), CliError> {
    if output.json {
        return output.json_line(answered);
    }
    let cell = match (&answered.refused, answered.size) {
        (Some(refused), _) => Cell::styled(format!("{}: {refused}", answered.status), Style::Bad),
        (None, size) => Cell::styled(format!("Cosigned: {} events.", size.unwrap_or_default()), Style::Good),
    };
    output.line(&[cell])
}

enum Listener {
    Tcp(TcpListener),
    /// It is removed with this.
    Unix(UnixListener, Remove),
}

/// Removes a socket's file.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    async fn open(listen: &Listen) -> Result<Self, CliError> {
        let failed = |what: String, error: &std::io::Error| {
            CliError::new(format!("cannot listen at {what}")).because(error)
        };
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                listener.map(Self::Tcp).map_err(|error| failed(address.to_string(), &error))
            }
            Listen::Unix(path) => {
                let listener = UnixListener::bind(path).map_err(|error| {
                    let failed = failed(path.display().to_string(), &error);
                    if error.kind() == std::io::ErrorKind::AddrInUse && nobody_listens(path) {
                        return failed.hint(format!("Nobody listens there any more: rm {}", path.display()));
                    }
                    failed
                })?;
                Ok(Self::Unix(listener, Remove(path.clone())))
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "http://?".to_owned(), |address| format!("http://{address}")),
            Self::Unix(_, remove) => format!("unix:{}", remove.0.display()),
        }
    }

    async fn accept(self, server: Arc<Server>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let server = Arc::clone(&server);
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(async move {
                        connection(stream, server).await;
                        drop(place);
                    });
                }),
                Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(async move {
                        connection(stream, server).await;
                        drop(place);
                    });
                }),
            };
            // No descriptor is free: one will be.
            if accepted.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn nobody_listens(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

async fn connection(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, server: Arc<Server>) {
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_headers(64).max_buf_size(64 << 10);
    let answering = builder.serve_connection(TokioIo::new(stream), service);
    // What went wrong with a connection is the caller's business.
    let _ = tokio::time::timeout(LONGEST, answering).await;
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/add-checkpoint" {
            return text(StatusCode::NOT_FOUND, TEXT_TYPE, "there is add-checkpoint only\n".to_owned());
        }
        if request.method() != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "POST it\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let body = Limited::new(request.into_body(), MAX_ADD_CHECKPOINT_BYTES).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                let said = format!("a request is at most {MAX_ADD_CHECKPOINT_BYTES} bytes long\n");
                return text(StatusCode::PAYLOAD_TOO_LARGE, TEXT_TYPE, said);
            }
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, TEXT_TYPE, "it took too long\n".to_owned()),
        };
        let (response, answered) = self.add_checkpoint(&body);
        // Where nobody reads what is told, answering goes on.
        let _ = self.told.try_send(answered);
        response
    }

    fn add_checkpoint(&self, body: &[u8]) -> (Response<Full<Bytes>>, Answered) {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(error) => return refused(StatusCode::BAD_REQUEST, TEXT_TYPE, error.to_string(), None),
        };
        let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else {
            let said = "the witness's clock is before 1970".to_owned();
            return refused(StatusCode::INTERNAL_SERVER_ERROR, TEXT_TYPE, said, None);
        };
        // What is kept is replaced whole, so a panic leaves good data. One request at a time is looked at and kept.
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        match witness.add_checkpoint(&request, now.as_secs()) {
            Ok(line) => {
                let size = witness.seen().ok().flatten().map(|seen| seen.head.size);
                (text(StatusCode::OK, TEXT_TYPE, line), Answered { status: 200, size, refused: None })
            }
            Err(error) => {
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let said = with_causes(&error);
                match error {
                    AddRefusal::OtherSize(size) => {
                        refused(status, SIZE_TYPE, said, Some(format!("{size}\n")))
                    }
                    // Where its files are is nobody else's business.
                    AddRefusal::Witness(_) => {
                        refused(status, TEXT_TYPE, said, Some("the witness cannot do its work\n".to_owned()))
                    }
                    AddRefusal::OtherRoot(_) => {
                        let body = "another root was cosigned at this size\n".to_owned();
                        refused(status, TEXT_TYPE, said, Some(body))
                    }
                    _ => refused(status, TEXT_TYPE, said, None),
                }
            }
        }
    }
}

/// An error and what it came from, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        next = cause.source();
    }
    said
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A refusal: what is told here, and what the caller is told where that is something else.
fn refused(
    status: StatusCode,
    kind: &'static str,
    said: String,
    body: Option<String>,
) -> (Response<Full<Bytes>>, Answered) {
    let response = text(status, kind, body.unwrap_or_else(|| format!("{said}\n")));
    (response, Answered { status: status.as_u16(), size: None, refused: Some(said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen_is_an_address_or_a_path() {
        assert_eq!(listen("unix:/run/w.sock"), Ok(Listen::Unix(PathBuf::from("/run/w.sock"))));
        assert!(matches!(listen("127.0.0.1:80"), Ok(Listen::Tcp(_))));
        assert!(matches!(listen("[::1]:80"), Ok(Listen::Tcp(_))));
        for text in ["", "localhost", "127.0.0.1", "unix:", "unix:w.sock", ":80"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
