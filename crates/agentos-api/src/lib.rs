//! The AgentOS API: every request, response, event and error type, and the one catalogue of queries and tools.
//!
//! Nothing here does input or output. The daemon answers with these types, the client reads them, and what other
//! languages need (the plugin's tool table, the `OpenAPI` document, the tools template) is generated from them.

pub mod bounded;
pub mod catalog;
pub mod change;
pub mod event;
pub mod health;
pub mod ledger;
pub mod memory;
pub mod mutation;
pub mod openapi;
pub mod package;
pub mod parse;
pub mod problem;
pub mod query;
pub mod question;
pub mod schema;
pub mod shell;
pub mod tool;

pub use bounded::Bounded;
pub use mutation::Mutation;
pub use problem::{Code, Problem};
pub use query::Query;

/// Largest request body agentd reads, in bytes. A larger one is refused with 413 before it is parsed.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// The header that may add detail below the caller's principal, and never more than that.
///
/// Its value is 1 to 64 bytes of `[A-Za-z0-9._:-]`; the principal itself is read from the socket (`SO_PEERCRED`, unix(7)).
pub const ACTOR_HEADER: &str = "x-agentos-actor";

/// The header of an answer in which secrets were masked: how many.
pub const MASKED_HEADER: &str = "x-agentos-masked";

/// The media type of an error's body (RFC 9457).
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
