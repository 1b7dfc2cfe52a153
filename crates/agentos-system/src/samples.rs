//! Counters that only grow, and the earlier values that make a rate of them.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::QueryError;
use crate::machine::lock;

/// Shortest interval a rate is computed over. Ticks are 10 ms, so it is exact to 5 % of a processor.
const SHORTEST: Duration = Duration::from_millis(200);
/// Longest interval: beyond it a rate says nothing of the present.
const LONGEST: Duration = Duration::from_mins(1);

/// Counters read at one moment.
pub(crate) trait Sampled {
    /// When they were read.
    fn taken(&self) -> Instant;
}

/// The two latest samples; the older one serves when the newer is too young to measure against.
#[derive(Debug)]
pub(crate) struct Samples<S> {
    newer: Option<Arc<S>>,
    older: Option<Arc<S>>,
}

impl<S> Default for Samples<S> {
    fn default() -> Self {
        Self { newer: None, older: None }
    }
}

impl<S: Sampled> Samples<S> {
    /// A sample that is neither too young nor too old to measure against.
    fn base(&self) -> Option<Arc<S>> {
        let serves = |sample: &&Arc<S>| (SHORTEST..=LONGEST).contains(&sample.taken().elapsed());
        [&self.newer, &self.older].into_iter().flatten().find(serves).cloned()
    }

    fn keep(&mut self, sample: Arc<S>) {
        if self.newer.as_ref().is_none_or(|newer| newer.taken().elapsed() >= SHORTEST) {
            self.older = self.newer.replace(sample);
        }
    }
}

/// An earlier and a present sample. The earlier one is a kept one where that serves; otherwise, and when `afresh` says over
/// how long, one is taken first and waited after.
///
/// # Errors
/// What `take` answers.
pub(crate) fn measure<S: Sampled>(
    kept: &Mutex<Samples<S>>,
    afresh: Option<Duration>,
    take: impl Fn() -> Result<S, QueryError>,
) -> Result<(Arc<S>, Arc<S>), QueryError> {
    let base = if afresh.is_some() { None } else { lock(kept).base() };
    let base = if let Some(base) = base {
        base
    } else {
        let base = Arc::new(take()?);
        thread::sleep(afresh.unwrap_or(SHORTEST));
        base
    };
    let now = Arc::new(take()?);
    lock(kept).keep(Arc::clone(&now));
    Ok((base, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(Instant);

    impl Sampled for Counter {
        fn taken(&self) -> Instant {
            self.0
        }
    }

    fn interval(kept: &Mutex<Samples<Counter>>, afresh: Option<Duration>) -> Duration {
        let (base, now) = measure(kept, afresh, || Ok(Counter(Instant::now()))).unwrap();
        now.0 - base.0
    }

    #[test]
    fn questions_in_a_row_are_all_measured_over_a_real_interval() {
        let kept = Mutex::default();
        let started = Instant::now();
        for _ in 0..20 {
            assert!(interval(&kept, None) >= SHORTEST);
            thread::sleep(Duration::from_millis(30));
        }
        // Twenty waits of their own would take four seconds.
        assert!(started.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_sample_of_long_ago_is_not_measured_against() {
        let long_ago = Instant::now().checked_sub(LONGEST + Duration::from_secs(1)).unwrap();
        let kept = Mutex::new(Samples { newer: Some(Arc::new(Counter(long_ago))), older: None });
        assert!(interval(&kept, None) < Duration::from_secs(10));
    }

    #[test]
    fn a_measurement_afresh_takes_its_time() {
        let kept = Mutex::new(Samples { newer: Some(Arc::new(Counter(Instant::now()))), older: None });
        assert!(interval(&kept, Some(Duration::from_millis(300))) >= Duration::from_millis(300));
    }
}
