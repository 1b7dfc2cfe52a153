//! How often a rule with a rate has let somebody through: the exact moments, as many as its rate allows, and no more.

use std::collections::{HashMap, VecDeque};

/// At most so many in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) most: u32,
    pub(crate) seconds: u64,
}

/// What the rules with a rate have let through lately. It belongs to one [`crate::Policy`]: begin anew with another.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    passed: HashMap<usize, VecDeque<u64>>,
}

impl Rates {
    /// Whether the rule may let one more through at `now` (seconds of a clock that does not go back), and counts it.
    pub(crate) fn take(&mut self, rule: usize, rate: Rate, now: u64) -> bool {
        let passed = self.passed.entry(rule).or_default();
        while passed.front().is_some_and(|&at| now.saturating_sub(at) >= rate.seconds) {
            passed.pop_front();
        }
        let free = passed.len() < rate.most as usize;
        if free {
            passed.push_back(now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interval_of_its_length_holds_more_than_the_rate() {
        let mut rates = Rates::default();
        let rate = Rate { most: 3, seconds: 60 };
        let mut passed = Vec::new();
        for now in 0..600 {
            if rates.take(7, rate, now) {
                passed.push(now);
            }
        }
        assert!(passed.windows(4).all(|window| window[3] - window[0] >= 60), "{passed:?}");
        assert_eq!(passed.len(), 30);
    }
}
