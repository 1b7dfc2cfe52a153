//! The caller of one request, as the handlers see it.

use std::sync::Arc;
use std::time::Instant;

use agentos_api::event::Actor;
use agentos_api::{ACTOR_HEADER, Code, Problem};
use agentos_system::{Peer, Rules, Viewer};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::principal::{Principal, Role};
use crate::problem::Refusal;

/// Who calls, and the name the ledger knows them by.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) role: Role,
    pub(crate) actor: Actor,
    /// When the connection was made.
    pub(crate) connected: Instant,
    /// The process that made it; nothing for the agent, and where it cannot be seen from here.
    pub(crate) peer: Option<Arc<Peer>>,
}

impl Caller {
    /// For whom the machine is read, and under which rules.
    pub(crate) fn viewer(&self, rules: Arc<dyn Rules>) -> Viewer {
        Viewer { operator: self.role == Role::Operator, rules: Some(rules) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // Put there by the server for each connection; a request without it never came through a socket.
        let principal = parts
            .extensions
            .get::<Arc<Principal>>()
            .ok_or_else(|| Problem::new(Code::FORBIDDEN, "the caller is not known"))?;
        let actor = principal.actor(parts.headers.get(ACTOR_HEADER))?;
        Ok(Self { role: principal.role, actor, connected: principal.connected, peer: principal.peer.clone() })
    }
}
