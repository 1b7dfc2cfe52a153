//! Connections: who may have one, how long it may take, and how all of them end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use agentos_system::Peer;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::limits::LiveLimits;
use crate::principal::{Principal, Role, UserNames};
use crate::sockets::Listener;

/// How long requests under way may take to end once agentd stops.
const GRACE: Duration = Duration::from_secs(5);
/// A request's head, and the most that is buffered of its body at a time.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// Most header lines of a request.
const MAX_HEADERS: usize = 32;

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct Server {
    /// The routes as they are now: others while the ledger cannot be used.
    pub(crate) router: watch::Receiver<Router>,
    pub(crate) limits: Arc<LiveLimits>,
    pub(crate) names: Arc<UserNames>,
}

impl Server {
    /// Serves all listeners until `stopping` turns true, then lets requests under way end for a few seconds.
    ///
    /// # Errors
    /// When a listener cannot be given to the runtime.
    pub(crate) async fn run(
        self,
        listeners: Vec<Listener>,
        stopping: watch::Receiver<bool>,
    ) -> std::io::Result<()> {
        let graceful = Arc::new(GracefulShutdown::new());
        let mut accepting = tokio::task::JoinSet::new();
        for listener in listeners {
            let socket = UnixListener::from_std(listener.socket)?;
            let server = self.clone();
            let mut stopping = stopping.clone();
            let graceful = Arc::clone(&graceful);
            accepting.spawn(async move {
                tokio::select! {
                    () = server.accept(&socket, listener.role, &graceful) => {}
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            });
        }
        while accepting.join_next().await.is_some() {}
        // Nobody accepts any more, so this is the last owner.
        if let Some(graceful) = Arc::into_inner(graceful)
            && tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err()
        {
            tracing::warn!("requests that did not end in time are cut off");
        }
        Ok(())
    }

    async fn accept(&self, socket: &UnixListener, role: Role, graceful: &GracefulShutdown) {
        let places = self.limits.connections(role);
        loop {
            let Some(place) = places.enter().await else { return };
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors or memory: others end, and then it goes on.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let server = self.clone();
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _place = place;
                server.serve(stream, role, watcher).await;
            });
        }
    }

    async fn serve(self, stream: UnixStream, role: Role, watcher: Watcher) {
        let Some(principal) = self.principal(&stream, role).await else { return };
        let router = self.router;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (mut parts, body) = request.into_parts();
            parts.extensions.insert(Arc::clone(&principal));
            let request = Request::from_parts(parts, Body::new(body));
            let router = router.borrow().clone();
            async move {
                let response =
                    router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
                Ok::<_, Infallible>(response)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.now().request_time())
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(role = role.as_str(), %error, "a connection ended early");
        }
    }

    async fn principal(&self, stream: &UnixStream, role: Role) -> Option<Arc<Principal>> {
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => {
                tracing::warn!(%error, "a peer without credentials is not served");
                return None;
            }
        };
        // The agent confirms nothing. Held from here on: its number may be another process's later.
        let peer = match role {
            Role::Operator => Peer::of(stream).ok(),
            Role::Agent => None,
        };
        let names = Arc::clone(&self.names);
        let principal = move || Arc::new(Principal::new(role, uid, &names).with_peer(peer));
        if self.names.remembered(uid).is_some() {
            return Some(principal());
        }
        tokio::task::spawn_blocking(principal).await.ok()
    }
}
