//! Blocking work, off the async threads: at most so much at once, and nobody waits for it for ever.

use std::sync::Arc;
use std::time::Duration;

use agentos_api::{Code, Problem};
use bytes::Bytes;
use serde::Serialize;

use crate::limits::LiveLimits;

/// How long a caller waits for its turn before it is told that agentd is busy.
const TURN: Duration = Duration::from_secs(10);

/// Runs `work`, and gives up waiting when it takes too long.
///
/// The work itself cannot be cut off from outside: it holds its place until it ends by its own limits.
///
/// # Errors
/// `busy`, `timed_out`, `internal` if it panicked; otherwise what the work answers.
pub(crate) async fn blocking<T: Send + 'static>(
    limits: &Arc<LiveLimits>,
    what: &str,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let turn = tokio::time::timeout(TURN, limits.running.enter()).await;
    let Ok(Some(place)) = turn else {
        return Err(Problem::new(
            Code::BUSY,
            format!("{} other requests are under way", limits.now().running_queries),
        )
        .with_hint("ask again in a moment"));
    };
    let task = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    let limit = limits.now().query_time();
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            tracing::error!(what, %error, "a request panicked");
            Err(Problem::new(Code::INTERNAL, format!("{what} failed inside agentd; nothing was changed"))
                .with_hint("the journal has the reason: journalctl -u agentd"))
        }
        Err(_) => {
            Err(Problem::new(Code::TIMED_OUT, format!("{what} took longer than {} s", limit.as_secs()))
                .with_hint("ask for less: a smaller limit, a narrower filter"))
        }
    }
}

/// Runs `work` whose answer becomes JSON.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn blocking_json<T: Serialize + Send + 'static>(
    limits: &Arc<LiveLimits>,
    what: &str,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<Bytes, Problem> {
    blocking(limits, what, move || {
        let answer = work()?;
        serde_json::to_vec(&answer).map(Bytes::from).map_err(|error| {
            Problem::new(Code::INTERNAL, format!("the answer cannot be written as JSON: {error}"))
        })
    })
    .await
}
