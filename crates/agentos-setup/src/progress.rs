//! What a set-up tells while it works. The library prints nothing: whoever calls it shows this, or not.

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another set-up is at work in the same folder; this one waits for it.
    Waiting,
    /// Files that were fetched before are checked.
    Checking {
        /// So many are checked.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// Files are fetched.
    Fetching {
        /// So many are here and checked.
        done: usize,
        /// Of so many.
        total: usize,
        /// Bytes received by this run.
        bytes: u64,
    },
    /// Packages are unpacked.
    Unpacking {
        /// So many are.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// What was unpacked is written to the disk.
    Syncing,
    /// A runtime that nothing uses is removed.
    Removing {
        /// The name of its folder.
        name: &'a str,
    },
}

/// Who is told.
pub trait Observer {
    /// Tells of `event`. It should return soon: the work waits for it.
    fn tell(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Observer for F {
    fn tell(&mut self, event: Event<'_>) {
        self(event);
    }
}
