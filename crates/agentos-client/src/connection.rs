//! One connection to the socket and the few that are kept for the next request.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::error::ClientError;

/// The sending half of an HTTP/1.1 connection; its task ends when this is dropped and the last body was read.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    /// Whether it has carried a request before. Only then may the other side have closed it for being idle.
    pub(crate) reused: bool,
}

/// Opens a connection to `socket`, taking at most `limit`.
pub(crate) async fn connect(socket: &Path, limit: Duration) -> Result<Connection, ClientError> {
    let connect_error = |source| ClientError::Connect { socket: socket.to_owned(), source };
    let open = async {
        let stream = UnixStream::connect(socket).await.map_err(connect_error)?;
        http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| connect_error(std::io::Error::other(error)))
    };
    let (sender, driver) = tokio::time::timeout(limit, open).await.map_err(|_| ClientError::TimedOut {
        socket: socket.to_owned(),
        route: "connect".to_owned(),
        after: limit,
    })??;
    // Its errors reach the request in flight; between requests a closed connection only means a new one.
    tokio::spawn(async move { drop(driver.await) });
    Ok(Connection { sender, reused: false })
}

/// Connections that wait for the next request.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    /// The connection used last, unless it was closed meanwhile.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps `connection`, whose last answer was read to its end, unless `limit` of them wait already.
    pub(crate) fn put(&self, connection: Connection, limit: usize) {
        let mut idle = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() < limit && !connection.sender.is_closed() {
            idle.push(Connection { reused: true, ..connection });
        }
    }
}
