//! A content-addressed store with a quota: what a change replaces is kept here, so that it can be taken back.
//!
//! Contents are named by their SHA-256. Small ones are rows of one SQLite file, so that a change with ten thousand of them
//! costs one commit; large ones are files beside it. Each belongs to the changes that hold it, and goes with the last of
//! them. What [`Batch::commit`] answered is durable.
//!
//! ```
//! use agentos_objects::{Objects, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let objects = Objects::open(&Options::new(directory.path()))?;
//! let mut batch = objects.batch();
//! let hash = batch.put(b"127.0.0.1 localhost\n")?;
//! batch.commit(1)?;
//! assert_eq!(objects.get(&hash, 1 << 20)?, b"127.0.0.1 localhost\n");
//! objects.release(&[1])?;
//! assert!(objects.get(&hash, 1 << 20).is_err());
//! # Ok(())
//! # }
//! ```

mod batch;
mod error;
mod files;
mod hash;
mod store;

pub use batch::{Batch, Evicted};
pub use error::ObjectError;
pub use hash::{Hash, Hashing};
pub use store::{Objects, Options, Usage};

/// Contents up to this many bytes are rows of the database. A row of SQLite is faster than a file up to about here.
pub const INLINE_BYTES: usize = 64 << 10;
