//! A conversation with the agent, over the gateway's OpenAI-compatible endpoint (OpenClaw's
//! `docs/gateway/openai-http-api.md`).
//!
//! The token is as good as the person it was given to, so it goes to loopback addresses only. What the gateway sends is
//! not trusted: every time, size and name is bounded, and an answer that ends before its end is an error, never an answer.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use agentos_client::gateway::{Access, Conversation, Session};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let access = Access::read(Path::new("/var/lib/agentos-gateway/operator.json"))?;
//! let mut conversation = Conversation::new(access, Session::new("example")?);
//! let mut answer = conversation.say("what is eating the memory?").await?;
//! while let Some(piece) = answer.next().await? {
//!     print!("{piece}");
//! }
//! # Ok(())
//! # }
//! ```

mod access;
mod answer;
mod conversation;
mod error;
mod limits;
mod session;
mod stream;

pub use access::{Access, AccessError, InvalidAccess};
pub use answer::Answer;
pub use conversation::{Conversation, ready};
pub use error::GatewayError;
pub use limits::Limits;
pub use session::{InvalidSession, Session};
