//! Sending one request and reading its answer, within the limits of the options.

use std::path::PathBuf;
use std::sync::Arc;

use agentos_api::{ACTOR_HEADER, Problem};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{Connection, Idle, connect};
use crate::error::ClientError;
use crate::options::ClientOptions;
use crate::text::quoted;

/// A client of agentd. Clones share the connections that are kept open.
///
/// Its methods need a tokio runtime with I/O and time enabled.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: ClientOptions,
    idle: Idle,
}

/// A request that can be sent a second time.
#[derive(Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Bytes::new() }
    }

    fn post(path: &str, body: Vec<u8>) -> Self {
        Self { method: Method::POST, path: path.to_owned(), body: body.into() }
    }

    /// Method and path without the query string, as errors show it.
    pub(crate) fn route(&self) -> String {
        let path = self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path);
        format!("{} {path}", self.method)
    }
}

impl Client {
    /// A client of the agentd on `socket`, with the default limits. Nothing is opened before the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::with_options(ClientOptions::new(socket))
    }

    /// A client with limits of the caller's choice.
    pub fn with_options(options: ClientOptions) -> Self {
        Self { shared: Arc::new(Shared { options, idle: Idle::default() }) }
    }

    /// The options it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T, ClientError> {
        self.json(Call::get(path)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            self.protocol(&format!("POST {path}"), format!("the request cannot be written as JSON: {error}"))
        })?;
        self.json(Call::post(path, body)).await
    }

    /// Sends `call` and parses what comes back, all within the request's time.
    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let route = call.route();
        let exchange = async {
            let (connection, response) = self.send(&call).await?;
            let status = response.status();
            let body = self.read_body(response.into_body(), &route).await?;
            self.shared.idle.put(connection, self.options().max_idle_connections);
            if !status.is_success() {
                return Err(self.refusal(&route, status, &body));
            }
            serde_json::from_slice(&body).map_err(|error| self.protocol(&route, error.to_string()))
        };
        self.in_time(&route, exchange).await
    }

    pub(crate) async fn in_time<T>(
        &self,
        route: &str,
        exchange: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let after = self.options().request_timeout;
        tokio::time::timeout(after, exchange).await.unwrap_or_else(|_| {
            Err(ClientError::TimedOut {
                socket: self.options().socket.clone(),
                route: route.to_owned(),
                after,
            })
        })
    }

    /// Sends `call` on a kept connection or a new one, and waits for the head of the answer.
    ///
    /// agentd closes connections that idle for long. A request that met such a close is sent once more on a new
    /// connection if it was never written, or if it is a GET and carrying it out twice changes nothing.
    pub(crate) async fn send(&self, call: &Call) -> Result<(Connection, Response<Incoming>), ClientError> {
        if let Some(mut connection) = self.shared.idle.take()
            && connection.sender.ready().await.is_ok()
        {
            match connection.sender.try_send_request(self.request(call)?).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut refused) => {
                    let never_written = refused.take_message().is_some();
                    let harmless_twice = connection.reused && call.method == Method::GET;
                    if !(never_written || harmless_twice) {
                        return Err(self.interrupted(call, refused.into_error()));
                    }
                }
            }
        }
        let mut connection = connect(&self.options().socket, self.options().connect_timeout).await?;
        match connection.sender.send_request(self.request(call)?).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(self.interrupted(call, error)),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            // HTTP/1.1 requires it; a Unix socket has no host name.
            .header(HOST, "localhost")
            .header(ACCEPT, "application/json");
        if call.method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(actor) = &self.options().actor {
            request = request.header(ACTOR_HEADER, actor.as_str());
        }
        request
            .body(Full::new(call.body.clone()))
            .map_err(|error| self.protocol(&call.route(), format!("the request cannot be formed: {error}")))
    }

    /// Reads a body that may not be longer than the options allow, whether or not it says its length.
    pub(crate) async fn read_body(&self, mut body: Incoming, route: &str) -> Result<Vec<u8>, ClientError> {
        let limit = self.options().max_response_bytes;
        let too_large = || ClientError::TooLarge { route: route.to_owned(), limit };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > limit {
            return Err(too_large());
        }
        // A length is only a claim: what is reserved before the first byte stays small.
        let mut read = Vec::with_capacity(announced.min(1 << 20));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| self.interrupted_route(route, source))?;
            if let Ok(data) = frame.into_data() {
                if read.len() + data.len() > limit {
                    return Err(too_large());
                }
                read.extend_from_slice(&data);
            }
        }
        Ok(read)
    }

    /// What an answer with an error status means.
    pub(crate) fn refusal(&self, route: &str, status: StatusCode, body: &[u8]) -> ClientError {
        if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            return ClientError::Problem(Box::new(problem));
        }
        let start = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
        self.protocol(route, format!("status {status} with the body {start:?}"))
    }

    /// An answer that is not of this API. `reason` may quote it: it is cut short, and its control characters go.
    pub(crate) fn protocol(&self, route: &str, reason: impl AsRef<str>) -> ClientError {
        ClientError::Protocol {
            socket: self.options().socket.clone(),
            route: route.to_owned(),
            reason: quoted(reason.as_ref()),
        }
    }

    pub(crate) fn interrupted_route(&self, route: &str, source: hyper::Error) -> ClientError {
        ClientError::Interrupted { socket: self.options().socket.clone(), route: route.to_owned(), source }
    }

    fn interrupted(&self, call: &Call, source: hyper::Error) -> ClientError {
        self.interrupted_route(&call.route(), source)
    }
}
