//! The bounded queue in front of the writer: what arrives while one group is being synced becomes the next group.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a job was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What the writer gets when it asks for work.
#[derive(Debug)]
pub(crate) enum Taken<J> {
    Jobs(Vec<J>),
    /// Nothing arrived in time.
    Idle,
    /// Closed, and everything that was taken in has been given out.
    Closed,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<(J, usize)>,
    bytes: usize,
    closed: bool,
    writer_waits: bool,
}

#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    arrived: Condvar,
    capacity: usize,
    max_bytes: usize,
}

impl<J> Queue<J> {
    /// A queue of at most `capacity` jobs that weigh at most `max_bytes` together.
    pub(crate) fn new(capacity: usize, max_bytes: usize) -> Self {
        let state = State { jobs: VecDeque::new(), bytes: 0, closed: false, writer_waits: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), capacity, max_bytes }
    }

    /// Every change under the lock is whole before anything can panic, so a poisoned lock holds good data.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a job of `weight` bytes, or hands it back.
    #[cfg(test)]
    pub(crate) fn push(&self, job: J, weight: usize) -> Result<(), (J, Refusal)> {
        let back = |(mut jobs, refusal): (Vec<(J, usize)>, _)| (jobs.remove(0).0, refusal);
        self.push_all(vec![(job, weight)]).map_err(back)
    }

    /// Takes in several jobs, each with its weight in bytes, one right after the other; or hands all of them back.
    pub(crate) fn push_all(&self, jobs: Vec<(J, usize)>) -> Result<(), (Vec<(J, usize)>, Refusal)> {
        let weight = jobs.iter().fold(0_usize, |sum, (_, weight)| sum.saturating_add(*weight));
        let mut state = self.lock();
        if state.closed {
            return Err((jobs, Refusal::Closed));
        }
        if state.jobs.len().saturating_add(jobs.len()) > self.capacity
            || state.bytes.saturating_add(weight) > self.max_bytes
        {
            return Err((jobs, Refusal::Full));
        }
        state.jobs.extend(jobs);
        state.bytes += weight;
        let wake = std::mem::take(&mut state.writer_waits);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits up to `timeout` for work and gives out at most `max_jobs` of at most `max_bytes`, and at least one.
    pub(crate) fn take(&self, max_jobs: usize, max_bytes: usize, timeout: Duration) -> Taken<J> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Idle;
            }
            state.writer_waits = true;
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.writer_waits = false;
        }
        let mut jobs = Vec::with_capacity(state.jobs.len().min(max_jobs));
        let mut bytes = 0;
        while jobs.len() < max_jobs {
            match state.jobs.front() {
                Some((_, weight)) if jobs.is_empty() || bytes + weight <= max_bytes => bytes += weight,
                _ => break,
            }
            jobs.extend(state.jobs.pop_front().map(|(job, _)| job));
        }
        state.bytes -= bytes;
        Taken::Jobs(jobs)
    }

    /// Takes nothing in from now on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_hands_the_job_back() {
        let queue = Queue::new(2, 100);
        assert!(queue.push(1, 10).is_ok());
        assert_eq!(queue.push(2, 91), Err((2, Refusal::Full)));
        assert!(queue.push(2, 90).is_ok());
        assert_eq!(queue.push(3, 0), Err((3, Refusal::Full)));
    }

    #[test]
    fn several_are_taken_in_together_or_not_at_all() {
        let queue = Queue::new(3, 100);
        queue.push_all(vec![(1, 10), (2, 10)]).unwrap();
        let (back, refusal) = queue.push_all(vec![(3, 1), (4, 1)]).unwrap_err();
        assert_eq!((back.len(), refusal), (2, Refusal::Full));
        let (back, refusal) = queue.push_all(vec![(3, 81)]).unwrap_err();
        assert_eq!((back.len(), refusal), (1, Refusal::Full));
        assert!(matches!(queue.take(8, 500, Duration::ZERO), Taken::Jobs(jobs) if jobs == [1, 2]));
    }

    #[test]
    fn what_was_taken_in_before_closing_is_given_out() {
        let queue = Queue::new(8, 100);
        queue.push(0, 40).unwrap();
        queue.push(1, 40).unwrap();
        queue.close();
        assert_eq!(queue.push(9, 1), Err((9, Refusal::Closed)));
        assert!(matches!(queue.take(8, 50, Duration::ZERO), Taken::Jobs(jobs) if jobs == [0]));
        assert!(matches!(queue.take(8, 500, Duration::ZERO), Taken::Jobs(jobs) if jobs == [1]));
        assert!(matches!(queue.take(8, 500, Duration::ZERO), Taken::Closed));
    }

    #[test]
    fn an_empty_queue_says_so_after_the_timeout() {
        let queue: Queue<u8> = Queue::new(1, 1);
        assert!(matches!(queue.take(1, 1, Duration::from_millis(1)), Taken::Idle));
    }
}
