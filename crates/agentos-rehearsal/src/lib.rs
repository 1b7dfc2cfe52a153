//! A scripted model behind OpenAI's chat completions API: for tests, and for the tour without a key.
//!
//! It plays [scenarios](scenario): on a sentence, call these tools with these arguments, then say this with values from
//! their results. It invents nothing: every figure in an answer was in a tool's result, an error is told with its code,
//! and each answer ends by saying that it is scripted. Nothing is kept between requests.

mod body;
pub mod check;
mod clock;
pub mod conversation;
mod error;
pub mod library;
mod log;
pub mod matcher;
pub mod outcome;
pub mod scenario;
mod server;
mod stage;
pub mod template;
pub mod wire;

pub use clock::Clock;
pub use error::ScenarioError;
pub use log::{MAX_LOG_BYTES, RequestLog};
pub use scenario::Scenario;
pub use server::{MAX_BODY_BYTES, ServeError, Server, ServerOptions};
pub use stage::{Cue, Line, SCRIPTED_NOTE, Stage, ToolCall};
