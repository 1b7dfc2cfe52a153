//! Typed client of the AgentOS API over a Unix socket, and in [`gateway`] of the agent's gateway.
//!
//! ```no_run
//! use agentos_api::query::health;
//! use agentos_client::{Client, ClientError};
//!
//! # async fn example() -> Result<(), ClientError> {
//! let client = Client::new("/run/agentos/operator.sock");
//! let machine = client.query::<health::Health>(&health::Args {}).await?;
//! println!("{} has been up for {} s", machine.hostname, machine.uptime_seconds);
//! # Ok(())
//! # }
//! ```
//!
//! What the other side sends is not trusted: bodies and stream events are bounded, times are limited, and whatever
//! does not parse is a [`ClientError`], never a panic. A connection carries one request at a time and is kept for the
//! next one; requests made at the same time open connections of their own.

mod client;
mod connection;
mod error;
pub mod gateway;
mod options;
mod record;
mod routes;
mod sse;
mod stream;
mod text;

pub use client::Client;
pub use error::ClientError;
pub use options::{ActorDetail, ClientOptions, InvalidActorDetail};
pub use sse::{SseError, SseEvent, SseParser};
pub use stream::EventStream;
