//! A recall: the request checked, the rankings made and merged, the best passages fetched.

use std::collections::HashMap;

use agentos_api::memory::{MAX_QUERY_CHARS, MemoryChunk, RecallRequest};
use jiff::Zoned;

use crate::error::MemoryError;
use crate::index::Index;
use crate::merge::{RankedList, weighted_reciprocal_rank_fusion};
use crate::timeframe::{self, Span};
use crate::words;

/// Passages taken from each ranking for every passage asked for: merging needs more than it gives back.
const CANDIDATES_PER_RESULT: usize = 4;
/// Weight of the BM25 ranking.
const KEYWORD_WEIGHT: f64 = 1.0;

/// A request that has been checked.
#[derive(Debug)]
pub(crate) struct Search {
    expression: String,
    span: Option<Span>,
    limit: usize,
}

impl Search {
    pub(crate) fn new(request: &RecallRequest, now: &Zoned) -> Result<Self, MemoryError> {
        let characters = request.query.chars().count();
        if characters > MAX_QUERY_CHARS {
            let problem =
                format!("has {characters} characters, more than {MAX_QUERY_CHARS}: keep the telling words");
            return Err(MemoryError::invalid("query", problem));
        }
        let Some(expression) = words::match_expression(&request.query) else {
            return Err(MemoryError::invalid("query", "has no word in it: say what to look for"));
        };
        let span =
            request.timeframe.as_ref().map(|timeframe| timeframe::resolve(timeframe, now)).transpose()?;
        Ok(Self { expression, span, limit: request.max_results.as_usize() })
    }

    /// The best passages of `index`, best first.
    pub(crate) fn run(&self, index: &Index) -> rusqlite::Result<Vec<MemoryChunk>> {
        let keyword_hits =
            index.search(&self.expression, self.span, self.limit.saturating_mul(CANDIDATES_PER_RESULT))?;
        let bm25: HashMap<i64, f64> = keyword_hits.iter().copied().collect();
        let keywords: Vec<i64> = keyword_hits.iter().map(|&(passage, _)| passage).collect();
        let rankings = [RankedList { passages: &keywords, weight: KEYWORD_WEIGHT }];
        let mut chunks = Vec::with_capacity(self.limit);
        for (id, score) in weighted_reciprocal_rank_fusion(&rankings).into_iter().take(self.limit) {
            let Some(passage) = index.passage(id)? else { continue };
            chunks.push(MemoryChunk {
                id: passage.name,
                file: passage.file,
                line_start: passage.line_start.cast_unsigned(),
                line_end: passage.line_end.cast_unsigned(),
                heading: passage.heading,
                date: passage.day,
                stored_at: passage.stored_at,
                entry_id: passage.entry,
                category: passage.category,
                tags: passage.tags,
                text: passage.text,
                score,
                bm25: bm25.get(&id).copied(),
            });
        }
        Ok(chunks)
    }
}
