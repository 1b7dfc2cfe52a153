//! Sets up what the gateway needs: Node.js and OpenClaw, and their configuration.
//!
//! Everything here may be cut off at any point and run again: what was done is found done, what was begun is begun anew.
//! The library prints nothing and reads no environment; the program `agentos-setup` and `cargo xtask` do.

pub mod accounts;
pub mod config;
pub mod digest;
mod download;
mod error;
pub mod folder;
pub mod gateway;
pub mod integrity;
pub mod keys;
pub mod layout;
pub mod lock;
pub mod model;
mod progress;
mod registry;
pub mod runtime;
pub mod service;
mod space;
pub mod system;
pub mod unpack;
pub mod workspace;

pub use error::{Kind, SetupError};
pub use progress::{Event, Observer};
pub use registry::{Registry, Scheme};
