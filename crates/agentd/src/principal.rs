//! Who is calling: read from the socket and the kernel, never from what the caller says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentos_api::event::Actor;
use agentos_api::{Code, Problem};
use agentos_system::Peer;
use axum::http::HeaderValue;

/// Which of the two sockets the caller came through. File permissions decide who can reach which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The agent's socket: reads, and asks for changes.
    Agent,
    /// The person's socket: approves, changes policy, sees what is hidden from the agent.
    Operator,
}

/// The caller of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) role: Role,
    /// The user's name, or its number where there is no name that can stand in an actor.
    user: String,
    /// When the connection was made.
    pub(crate) connected: Instant,
    /// The process that made it, where it matters from which login that comes.
    pub(crate) peer: Option<Arc<Peer>>,
}

/// Longest detail that the actor header may add, in bytes.
const MAX_DETAIL_BYTES: usize = 64;

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

impl Principal {
    /// The principal of `role` whose peer runs as `uid` (`SO_PEERCRED`).
    pub(crate) fn new(role: Role, uid: u32, names: &UserNames) -> Self {
        Self { role, user: names.get(uid), connected: Instant::now(), peer: None }
    }

    /// With the process that made the connection.
    pub(crate) fn with_peer(mut self, peer: Option<Peer>) -> Self {
        self.peer = peer.map(Arc::new);
        self
    }

    /// The actor written to the ledger: `role:user`, and below it the detail of the header if there is one.
    ///
    /// # Errors
    /// 400 if the header is not 1 to 64 bytes of `[A-Za-z0-9._:-]`.
    pub(crate) fn actor(&self, detail: Option<&HeaderValue>) -> Result<Actor, Problem> {
        let mut actor = format!("{}:{}", self.role.as_str(), self.user);
        if let Some(detail) = detail {
            actor.push('/');
            actor.push_str(checked_detail(detail.as_bytes()).ok_or_else(|| {
                Problem::new(Code::MALFORMED_REQUEST, "the X-AgentOS-Actor header is not a plain name")
                    .with_hint("use 1 to 64 of the characters A-Z a-z 0-9 . _ : -, or leave it out")
            })?);
        }
        Actor::try_from(actor).map_err(|error| {
            Problem::new(Code::INTERNAL, format!("the caller has no name for the ledger: {error}"))
        })
    }
}

fn checked_detail(bytes: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    ((1..=MAX_DETAIL_BYTES).contains(&bytes.len()) && bytes.iter().all(plain))
        .then(|| std::str::from_utf8(bytes).ok())
        .flatten()
}

/// User names, remembered for a minute: a lookup may go to the network (nsswitch.conf(5)).
#[derive(Debug, Default)]
pub(crate) struct UserNames {
    known: Mutex<HashMap<u32, (String, Instant)>>,
}

impl UserNames {
    const REMEMBERED: Duration = Duration::from_mins(1);
    const MOST: usize = 1024;

    /// The name if it is remembered; does not block.
    pub(crate) fn remembered(&self, uid: u32) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(&uid).filter(|(_, at)| at.elapsed() < Self::REMEMBERED).map(|(name, _)| name.clone())
    }

    /// The name of `uid`, or the number in its place. May block: call it off the async threads unless remembered.
    pub(crate) fn get(&self, uid: u32) -> String {
        if let Some(name) = self.remembered(uid) {
            return name;
        }
        let name = nix::unistd::User::from_uid(uid.into())
            .ok()
            .flatten()
            .map(|user| user.name)
            .filter(|name| name.len() <= 32 && checked_detail(name.as_bytes()).is_some())
            .unwrap_or_else(|| uid.to_string());
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(uid, (name.clone(), Instant::now()));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal() -> Principal {
        Principal::new(Role::Agent, 0, &UserNames::default())
    }

    #[test]
    fn the_principal_is_the_socket_and_the_user() {
        assert_eq!(principal().actor(None).unwrap().as_str(), "agent:root");
        let nameless = Principal::new(Role::Operator, 4_000_000_001, &UserNames::default());
        assert_eq!(nameless.actor(None).unwrap().as_str(), "operator:4000000001");
    }

    #[test]
    fn a_header_that_claims_to_be_somebody_else_only_adds_detail() {
        let claim = HeaderValue::from_static("operator:root");
        assert_eq!(principal().actor(Some(&claim)).unwrap().as_str(), "agent:root/operator:root");
    }

    #[test]
    fn a_header_that_is_not_a_plain_name_is_refused() {
        for bad in ["", "a b", "a/b", "a{b", "a\tb", &"x".repeat(65)] {
            let header = HeaderValue::from_str(bad).unwrap();
            assert_eq!(principal().actor(Some(&header)).unwrap_err().status, 400, "{bad:?}");
        }
        let binary = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
        assert_eq!(principal().actor(Some(&binary)).unwrap_err().status, 400);
    }

    proptest::proptest! {
        #[test]
        fn any_header_keeps_the_principal_in_front(bytes in proptest::collection::vec(0x20u8..=0xff, 0..80)) {
            if let Ok(header) = HeaderValue::from_bytes(&bytes)
                && let Ok(actor) = principal().actor(Some(&header))
            {
                proptest::prop_assert!(actor.as_str().starts_with("agent:root/"));
            }
        }
    }
}
