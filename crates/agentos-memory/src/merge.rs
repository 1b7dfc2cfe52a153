//! Weighted reciprocal rank fusion: several rankings of the same passages become one.
//!
//! Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
//! SIGIR 2009; the weights are for lists of unequal worth. Only places count, so lists whose scores mean different
//! things can be merged. The result does not depend on the order of equal passages in memory or of the lists.

use std::collections::HashMap;

/// The constant of the formula: how little the very first places stand out. 60 is the paper's.
pub const RANK_CONSTANT: f64 = 60.0;

/// A ranking to merge.
#[derive(Clone, Debug)]
pub struct RankedList<'a> {
    /// Passages, best first, each once.
    pub passages: &'a [i64],
    /// What the list is worth beside the others; not negative.
    pub weight: f64,
}

/// Merges `lists` and returns each passage once with its score, best first, equal scores by passage.
///
/// A score is `Σ weight / (60 + rank)` divided by its largest possible value, so it is above 0 and at most 1, and 1
/// means first in every list.
pub fn weighted_reciprocal_rank_fusion(lists: &[RankedList<'_>]) -> Vec<(i64, f64)> {
    let best: f64 = lists.iter().map(|list| list.weight / (RANK_CONSTANT + 1.0)).sum();
    let mut scores: HashMap<i64, f64> = HashMap::new();
    for list in lists {
        let mut rank = RANK_CONSTANT;
        for &passage in list.passages {
            rank += 1.0;
            *scores.entry(passage).or_insert(0.0) += list.weight / rank;
        }
    }
    let mut merged: Vec<(i64, f64)> = scores
        .into_iter()
        .filter(|&(_, score)| score > 0.0)
        .map(|(passage, score)| (passage, (score / best).min(1.0)))
        .collect();
    merged.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(lists: &[(&[i64], f64)]) -> Vec<i64> {
        let lists: Vec<_> = lists.iter().map(|&(passages, weight)| RankedList { passages, weight }).collect();
        weighted_reciprocal_rank_fusion(&lists).into_iter().map(|(passage, _)| passage).collect()
    }

    #[test]
    fn one_list_keeps_its_order() {
        assert_eq!(merge(&[(&[3, 1, 2], 1.0)]), [3, 1, 2]);
    }

    #[test]
    fn a_passage_in_both_lists_comes_before_one_at_the_same_place_in_one() {
        assert_eq!(merge(&[(&[1, 2], 1.0), (&[2, 3], 1.0)]), [2, 1, 3]);
    }

    #[test]
    fn a_heavier_list_wins() {
        assert_eq!(merge(&[(&[1, 2], 1.0), (&[2, 1], 0.25)]), [1, 2]);
        assert_eq!(merge(&[(&[1, 2], 0.25), (&[2, 1], 1.0)]), [2, 1]);
    }

    #[test]
    fn first_in_every_list_scores_one() {
        let list = |passages| RankedList { passages, weight: 0.7 };
        let merged = weighted_reciprocal_rank_fusion(&[list(&[5, 6]), list(&[5])]);
        assert!((merged[0].1 - 1.0).abs() < 1e-12);
        assert!(merged[1].1 > 0.0 && merged[1].1 < 1.0);
    }

    #[test]
    fn equal_scores_are_ordered_by_passage() {
        assert_eq!(merge(&[(&[9, 1], 1.0), (&[1, 9], 1.0)]), [1, 9]);
        assert!(merge(&[]).is_empty());
    }
}
