//! Sessions as systemd-logind knows them (org.freedesktop.login1(5)).

use agentos_api::query::sessions::Session;
use zbus::OwnedObjectPath;

use crate::bus::{BusError, Peer, Properties, number, text};
use crate::machine::Machine;
use crate::{QueryError, moment};

const SERVICE: &str = "org.freedesktop.login1";
const MANAGER_PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";

/// Sessions looked at.
const MAX_SESSIONS: usize = 2000;

/// The sessions.
///
/// # Errors
/// `unavailable` where logind does not run.
pub(super) fn sessions(machine: &Machine) -> Result<Vec<Session>, QueryError> {
    machine.bus.ask(&async |peer| list(peer).await).map_err(|error| {
        if error.no_such_service() {
            QueryError::unavailable("unavailable", "systemd-logind does not run on this machine", HINT)
        } else {
            error.into_query_error("systemd-logind", "unavailable", HINT)
        }
    })
}

/// A session, as far as it matters when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Began {
    /// `user`, `greeter`, `background` …
    pub(crate) class: String,
    /// When, in milliseconds on the monotonic clock.
    pub(crate) monotonic_ms: u64,
    /// It came over the network.
    pub(crate) remote: bool,
    /// When the process that leads it began, in milliseconds after boot; nothing where that is gone.
    pub(crate) leader_ms: Option<u64>,
    /// What let the user in.
    pub(crate) service: Option<String>,
}

/// What logind says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is there.
    Began(Began),
    /// logind runs, and there is no such session.
    NoSession,
    /// logind does not run on this machine.
    NotRunning,
    /// It runs, and does not answer.
    Silent(String),
}

/// What logind says of the session of that id; without one, whether it runs.
pub(crate) fn known(machine: &Machine, id: Option<&str>) -> Known {
    let asked = machine.bus.ask(&async |peer| {
        let Some(id) = id else {
            let _: Vec<SessionRow> = peer.call(SERVICE, MANAGER_PATH, MANAGER, "ListSessions", &()).await?;
            return Ok(None);
        };
        let path: OwnedObjectPath = peer.call(SERVICE, MANAGER_PATH, MANAGER, "GetSession", &(id,)).await?;
        peer.properties(SERVICE, path.as_str(), SESSION).await.map(Some)
    });
    let properties = match asked {
        Ok(Some(properties)) => properties,
        Ok(None) => return Known::NoSession,
        Err(error) if error.name().is_some_and(|name| name.ends_with(".NoSuchSession")) => {
            return Known::NoSession;
        }
        Err(BusError::Unreachable(_)) => return Known::NotRunning,
        Err(error) if error.no_such_service() => return Known::NotRunning,
        Err(error) => return Known::Silent(error.to_string()),
    };
    let leader = properties.small("Leader").filter(|&pid| pid > 0);
    Known::Began(Began {
        class: properties.text("Class").unwrap_or_default(),
        monotonic_ms: properties.number("TimestampMonotonic").unwrap_or(0) / 1000,
        remote: properties.is("Remote"),
        leader_ms: leader.and_then(|pid| machine.leader_began_ms(pid)),
        service: properties.text("Service"),
    })
}

const HINT: &str = "There is no list of sessions here; ask `processes` for login shells and sshd.";

/// A row of `ListSessions`: id, user's number and name, seat, object.
type SessionRow = (String, u32, String, String, OwnedObjectPath);

async fn list(peer: &Peer) -> Result<Vec<Session>, BusError> {
    let rows: Vec<SessionRow> = peer.call(SERVICE, MANAGER_PATH, MANAGER, "ListSessions", &()).await?;
    let mut sessions = Vec::new();
    for (id, uid, user, seat, path) in rows.into_iter().take(MAX_SESSIONS) {
        // A session that ended meanwhile has no object any more.
        let Ok(properties) = peer.properties(SERVICE, path.as_str(), SESSION).await else { continue };
        sessions.push(session(id, uid, user, seat, &properties));
    }
    Ok(sessions)
}

fn session(id: String, uid: u32, user: String, seat: String, properties: &Properties) -> Session {
    let idle = properties.is("IdleHint").then(|| properties.number("IdleSinceHint")).flatten();
    // `User` is a pair of number and object, which the row has given already.
    let uid = properties
        .fields("User")
        .first()
        .and_then(number)
        .and_then(|uid| u32::try_from(uid).ok())
        .unwrap_or(uid);
    let seat = properties.fields("Seat").first().and_then(text).unwrap_or(seat);
    Session {
        id,
        user,
        uid: Some(uid),
        since: properties.number("Timestamp").and_then(moment::from_micros),
        tty: properties.text("TTY"),
        seat: (!seat.is_empty()).then_some(seat),
        remote: properties.is("Remote"),
        remote_host: properties.text("RemoteHost"),
        service: properties.text("Service"),
        kind: properties.text("Type"),
        class: properties.text("Class"),
        state: properties.text("State"),
        idle_since: idle.and_then(moment::from_micros),
        leader_pid: properties.small("Leader").filter(|&pid| pid > 0),
    }
}
