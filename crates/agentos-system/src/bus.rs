//! D-Bus: one connection per machine, made when it is first needed and again when it has died; every question has a
//! time limit.
//!
//! The callers block; the connection needs somebody who reads its socket meanwhile. That is one thread of its own,
//! which sleeps as long as nothing arrives.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, OwnedVariant, Variant};

use crate::QueryError;
use crate::machine::lock;

/// How long one question may take, however many calls it needs.
const TIME: Duration = Duration::from_secs(5);

/// The system bus (D-Bus specification, "System message bus").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// The D-Bus connections of a machine.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    // Dropped before the thread that drives it.
    peer: Option<Peer>,
    reactor: Option<Reactor>,
}

/// The bus, as one question sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    connection: Connection,
}

/// Why a question over D-Bus has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// Nobody listens where the bus should be.
    #[error("the system bus cannot be reached at {SYSTEM_BUS}")]
    Unreachable(#[source] zbus::Error),
    /// The question took longer than its time.
    #[error("no answer over D-Bus within {} s", TIME.as_secs())]
    TimedOut,
    /// The call failed, or the answer is not what its interface says.
    #[error("{0}")]
    Call(#[from] zbus::Error),
    /// The thread that drives the connection cannot be started.
    #[error("the D-Bus thread cannot be started")]
    Thread(#[source] io::Error),
}

impl BusError {
    /// The name of the error the other end answered with, such as `org.freedesktop.systemd1.NoSuchUnit`.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Call(zbus::Error::MethodError(name, _, _)) => Some(name.to_string()),
            Self::Call(zbus::Error::FDO(error)) => {
                use zbus::DBusError as _;
                Some(error.name().to_string())
            }
            _ => None,
        }
    }

    /// The service behind the call does not run.
    pub(crate) fn no_such_service(&self) -> bool {
        let known =
            ["org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"];
        self.name().is_some_and(|name| known.contains(&name.as_str()))
    }

    /// The connection, not the question, is at fault: a new one may help.
    fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Call(zbus::Error::InputOutput(_)))
    }

    /// This error as the answer of a query that needs `who`.
    pub(crate) fn into_query_error(self, who: &str, code: &'static str, hint: &'static str) -> QueryError {
        match self {
            Self::TimedOut => QueryError::TimedOut { what: who.to_owned(), after: TIME },
            Self::Call(zbus::Error::FDO(error)) if matches!(*error, zbus::fdo::Error::AccessDenied(_)) => {
                QueryError::Forbidden { reason: format!("{who} does not let this agentd ask: {error}") }
            }
            other => {
                QueryError::unavailable(code, format!("{who} does not answer: {}", with_source(&other)), hint)
            }
        }
    }
}

fn with_source(error: &BusError) -> String {
    match std::error::Error::source(error) {
        Some(source) if !matches!(error, BusError::Call(_)) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

impl Bus {
    /// Does `work` with the system bus. `work` only reads, so it is done again when the connection turns out to be dead.
    ///
    /// # Errors
    /// [`BusError`]; after twice [`TIME`] at the latest.
    pub(crate) fn ask<T>(&self, work: &impl AsyncFn(&Peer) -> Result<T, BusError>) -> Result<T, BusError> {
        match self.ask_once(work) {
            Err(error) if error.is_connection_lost() => self.ask_once(work),
            other => other,
        }
    }

    /// Does `work`, which changes something, with the system bus: once, because where the connection is lost it may have
    /// been done. A connection that has died since its last use is replaced before.
    ///
    /// # Errors
    /// [`BusError`]; after twice [`TIME`] at the latest.
    pub(crate) fn tell<T>(&self, work: &impl AsyncFn(&Peer) -> Result<T, BusError>) -> Result<T, BusError> {
        self.ask(&async |peer: &Peer| {
            let _: String =
                peer.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId", &()).await?;
            Ok(())
        })?;
        self.ask_once(work)
    }

    fn ask_once<T>(&self, work: &impl AsyncFn(&Peer) -> Result<T, BusError>) -> Result<T, BusError> {
        let (handle, kept) = {
            let mut state = lock(&self.state);
            if state.peer.as_ref().is_some_and(|peer| peer.connection.is_closed()) {
                state.peer = None;
            }
            let reactor = match state.reactor.take() {
                Some(reactor) => reactor,
                None => Reactor::start().map_err(BusError::Thread)?,
            };
            let handle = reactor.handle.clone();
            state.reactor = Some(reactor);
            (handle, state.peer.clone())
        };
        let (peer, answer) = handle.block_on(async {
            let peer = match kept {
                Some(peer) => peer,
                None => timeout(TIME, connect()).await.map_err(|_| BusError::TimedOut)??,
            };
            let answer = timeout(TIME, work(&peer)).await.unwrap_or(Err(BusError::TimedOut));
            Ok::<_, BusError>((peer, answer))
        })?;
        // A connection that let a question run out of time is not trusted with the next one.
        let lost = |error: &BusError| error.is_connection_lost() || matches!(error, BusError::TimedOut);
        let healthy = !answer.as_ref().is_err_and(lost);
        lock(&self.state).peer = healthy.then_some(peer);
        answer
    }
}

async fn connect() -> Result<Peer, BusError> {
    let address = format!("unix:path={SYSTEM_BUS}");
    let connection = Builder::address(address.as_str()).build().await.map_err(BusError::Unreachable)?;
    Ok(Peer { connection })
}

impl Peer {
    /// Calls a method and gives its answer.
    ///
    /// # Errors
    /// [`BusError::Call`]
    pub(crate) async fn call<B, R>(
        &self,
        service: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<R, BusError>
    where
        B: serde::Serialize + DynamicType,
        R: for<'de> serde::Deserialize<'de> + zbus::wire::Type,
    {
        let reply = self.connection.call_method(Some(service), path, Some(interface), method, body).await?;
        Ok(reply.body().deserialize()?)
    }

    /// All properties of an interface.
    ///
    /// # Errors
    /// [`BusError::Call`]
    pub(crate) async fn properties(
        &self,
        service: &str,
        path: &str,
        interface: &str,
    ) -> Result<Properties, BusError> {
        self.call(service, path, "org.freedesktop.DBus.Properties", "GetAll", &(interface,))
            .await
            .map(Properties)
    }

    /// One property of an interface.
    ///
    /// # Errors
    /// [`BusError::Call`]
    pub(crate) async fn property(
        &self,
        service: &str,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<OwnedVariant, BusError> {
        self.call(service, path, "org.freedesktop.DBus.Properties", "Get", &(interface, name)).await
    }
}

/// Properties by name. What is missing, or is not of the type asked for, is none.
#[derive(Debug, Default)]
pub(crate) struct Properties(pub(crate) HashMap<String, OwnedVariant>);

impl Properties {
    fn get(&self, name: &str) -> Option<&Variant<'static>> {
        self.0.get(name).map(|value| &**value)
    }

    /// A text; none where it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Variant::Str(text) if !text.is_empty() => Some(text.to_string()),
            Variant::ObjectPath(path) => Some(path.to_string()),
            _ => None,
        }
    }

    /// A number that is not negative; none where it is the largest there is, which says "not set" or "unlimited".
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        number(self.get(name)?)
    }

    /// A number that does not reach beyond 32 bits.
    pub(crate) fn small(&self, name: &str) -> Option<u32> {
        self.number(name).and_then(|number| u32::try_from(number).ok())
    }

    /// The bytes of an array of them.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let Variant::Array(items) = self.get(name)? else { return None };
        let byte = |item: &Variant<'_>| if let Variant::U8(byte) = item { Some(*byte) } else { None };
        items.inner().iter().map(byte).collect()
    }

    /// A signed number.
    pub(crate) fn signed(&self, name: &str) -> Option<i32> {
        match self.get(name)? {
            Variant::I32(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it is set.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Variant::Bool(true)))
    }

    /// The texts of an array, at most `limit`.
    pub(crate) fn texts(&self, name: &str, limit: usize) -> Vec<String> {
        self.get(name).map(|value| texts(value, limit)).unwrap_or_default()
    }

    /// The rows of an array of structures, at most `limit`.
    pub(crate) fn rows(&self, name: &str, limit: usize) -> impl Iterator<Item = &[Variant<'static>]> {
        let rows = match self.get(name) {
            Some(Variant::Array(rows)) => rows.inner(),
            _ => &[],
        };
        rows.iter().filter_map(fields).take(limit)
    }

    /// The fields of a structure; none where it is something else.
    pub(crate) fn fields(&self, name: &str) -> &[Variant<'static>] {
        self.get(name).and_then(fields).unwrap_or_default()
    }
}

fn fields<'v>(value: &'v Variant<'static>) -> Option<&'v [Variant<'static>]> {
    match value {
        Variant::Structure(structure) => Some(structure.fields()),
        _ => None,
    }
}

/// The text of a value.
pub(crate) fn text(value: &Variant<'_>) -> Option<String> {
    match value {
        Variant::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The number of a value, as [`Properties::number`] takes it.
pub(crate) fn number(value: &Variant<'_>) -> Option<u64> {
    match value {
        Variant::U64(value) if *value != u64::MAX => Some(*value),
        Variant::U32(value) if *value != u32::MAX => Some(u64::from(*value)),
        Variant::U16(value) => Some(u64::from(*value)),
        Variant::U8(value) => Some(u64::from(*value)),
        Variant::I32(value) => u64::try_from(*value).ok(),
        Variant::I64(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

/// The texts of an array, at most `limit`.
pub(crate) fn texts(value: &Variant<'_>, limit: usize) -> Vec<String> {
    match value {
        Variant::Array(items) => items.inner().iter().filter_map(text).take(limit).collect(),
        _ => Vec::new(),
    }
}

/// The thread that drives the connection, ended when this is dropped.
#[derive(Debug)]
struct Reactor {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reactor {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (started, wait) = mpsc::channel();
        let thread = std::thread::Builder::new().name("agentos-dbus".to_owned()).spawn(move || {
            runtime.block_on(async {
                let _ = started.send(());
                let _ = stopped.await;
            });
        })?;
        let _ = wait.recv();
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
