//! The relay against a real bus, and the readers against bytes.

mod bytes;
mod daemon;
