//! Calls into a file system that may never return, such as a network mount whose server is gone, and yet end in time.
//!
//! The kernel offers no way to interrupt a task in uninterruptible sleep, so the call runs on a helper thread and is
//! abandoned when it takes too long. Abandoned threads are counted, and at [`MOST_STUCK`] new calls are refused rather
//! than piled up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::QueryError;

/// Threads that may hang in the kernel at one time.
pub(crate) const MOST_STUCK: usize = 16;

/// Runs calls that may hang.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    stuck: Arc<AtomicUsize>,
}

impl Guard {
    /// Runs `call` and waits at most `limit` for its result. `what` names the object in the error.
    ///
    /// # Errors
    /// [`QueryError::TimedOut`]; [`QueryError::Unavailable`] when too many earlier calls still hang or no thread could be
    /// started; whatever `call` itself returns.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        what: &str,
        limit: Duration,
        call: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        if self.stuck.load(Ordering::Relaxed) >= MOST_STUCK {
            return Err(QueryError::unavailable(
                "unavailable",
                format!("{MOST_STUCK} earlier readings of files still hang, so {what} is not read"),
                "find the mount that does not answer with the query disks and unmount it (umount -l)",
            ));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let turn = Arc::new(Turn { stuck: Arc::clone(&self.stuck), state: AtomicU8::new(RUNNING) });
        let ends = Ends(Arc::clone(&turn));
        thread::Builder::new()
            .name("agentos-read".to_owned())
            .stack_size(512 << 10)
            .spawn(move || {
                let _ends = ends;
                // Nobody receives any more when the call was abandoned.
                let _ = sender.send(call());
            })
            .map_err(|error| QueryError::io("a thread of its own", error))?;
        match receiver.recv_timeout(limit) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                turn.abandon();
                Err(QueryError::TimedOut { what: what.to_owned(), after: limit })
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(QueryError::Io {
                what: what.to_owned(),
                source: std::io::Error::other("the reading thread ended without an answer"),
            }),
        }
    }
}

const RUNNING: u8 = 0;
const ENDED: u8 = 1;
const ABANDONED: u8 = 2;

/// One call, known to the thread that runs it and to the one that waits. Whoever comes second takes it off the count.
#[derive(Debug)]
struct Turn {
    stuck: Arc<AtomicUsize>,
    state: AtomicU8,
}

impl Turn {
    fn abandon(&self) {
        self.stuck.fetch_add(1, Ordering::Relaxed);
        if self.state.swap(ABANDONED, Ordering::AcqRel) == ENDED {
            self.stuck.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Marks the call as ended when the thread leaves it, also by a panic.
struct Ends(Arc<Turn>);

impl Drop for Ends {
    fn drop(&mut self) {
        if self.0.state.swap(ENDED, Ordering::AcqRel) == ABANDONED {
            self.0.stuck.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_abandoned_in_time_and_counted_until_it_ends() {
        let guard = Guard::default();
        let (release, held) = mpsc::channel::<()>();
        let error = guard
            .call("the mount", Duration::from_millis(20), move || {
                let _ = held.recv();
                Ok(())
            })
            .unwrap_err();
        assert!(matches!(error, QueryError::TimedOut { .. }), "{error}");
        assert_eq!(guard.stuck.load(Ordering::Relaxed), 1);
        drop(release);
        for _ in 0..200 {
            if guard.stuck.load(Ordering::Relaxed) == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the thread is still counted as stuck");
    }

    #[test]
    fn no_more_threads_hang_than_the_limit_allows() {
        let guard = Guard::default();
        guard.stuck.store(MOST_STUCK, Ordering::Relaxed);
        let error = guard.call("the mount", Duration::from_secs(1), || Ok(())).unwrap_err();
        assert!(matches!(error, QueryError::Unavailable { .. }), "{error}");
    }

    #[test]
    fn a_result_comes_back() {
        assert_eq!(Guard::default().call("a sum", Duration::from_secs(5), || Ok(1 + 1)).unwrap(), 2);
    }
}
