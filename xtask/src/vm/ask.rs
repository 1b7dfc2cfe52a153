//! Questions to the agentd inside, and what is expected of the answers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentos_api::change::{Change, ChangeOutput, MutateRequest, OutputFilter};
use agentos_api::event::{Event, EventFilter, Order};
use agentos_api::{Problem, Query};
use agentos_client::{Client, ClientError};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

/// A client of one of agentd's sockets that waits for its answers.
pub(super) struct Ask {
    client: Client,
    runtime: Runtime,
}

impl Ask {
    /// A client of that socket.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn new(socket: PathBuf) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client: Client::new(socket), runtime })
    }

    /// Whether agentd answers there.
    pub(super) fn is_up(&self) -> bool {
        self.runtime.block_on(self.client.health()).is_ok()
    }

    /// The answer to a query.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn query<Q: Query>(&self, args: &Value) -> Result<Q::Output> {
        let args = serde_json::from_value(args.clone())
            .with_context(|| format!("{} does not take {args}", Q::NAME))?;
        self.runtime
            .block_on(self.client.query::<Q>(&args))
            .with_context(|| format!("{} did not answer", Q::NAME))
    }

    /// Makes a change of one step.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn mutate(&self, mutation: &str, args: &Value) -> Result<Change> {
        let request = MutateRequest {
            mutation: Some(mutation.to_owned()),
            args: args.as_object().cloned().unwrap_or_default(),
            reason: "a test".to_owned(),
            ..MutateRequest::default()
        };
        self.runtime.block_on(self.client.mutate(&request)).with_context(|| format!("{mutation} {args}"))
    }

    /// What the first command of a change wrote.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn output(&self, change: u64) -> Result<ChangeOutput> {
        self.runtime
            .block_on(self.client.change_output(change, &OutputFilter::default()))
            .with_context(|| format!("the output of change {change}"))
    }

    /// The events of one type, oldest first.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn events(&self, kind: &str) -> Result<Vec<Event>> {
        let mut filter =
            EventFilter { kind: Some(kind.parse()?), order: Some(Order::Oldest), ..EventFilter::default() };
        let mut events = Vec::new();
        loop {
            let page = self.runtime.block_on(self.client.events_page(&filter)).map_err(anyhow_error)?;
            events.extend(page.events);
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(events),
            }
        }
    }

    /// The problem that a query ends in.
    ///
    /// # Errors
    /// When it has an answer.
    pub(super) fn problem(&self, name: &str, args: &Value) -> Result<Problem> {
        let args: Map<String, Value> = args.as_object().cloned().unwrap_or_default();
        match self.runtime.block_on(self.client.query_value(name, &args)) {
            Ok(answer) => bail!("{name} took {args:?} and answered {answer}"),
            Err(error) => error.problem().cloned().map_or_else(|| Err(anyhow_error(error)), Ok),
        }
    }

    /// The code with which a change is refused.
    ///
    /// # Errors
    /// When it is not refused.
    pub(super) fn refusal(&self, mutation: &str, args: &Value) -> Result<String> {
        let body = json!({ "mutation": mutation, "args": args, "reason": "a test" });
        match self.runtime.block_on(self.client.mutate(&serde_json::from_value(body)?)) {
            Ok(change) => bail!("{mutation} took {args} and answered {change:?}"),
            Err(error) => match error.problem() {
                Some(problem) => Ok(problem.code.to_string()),
                None => Err(anyhow_error(error)),
            },
        }
    }

    /// A word about a change that waits: `approve`, with the hash of its plan, or `deny`.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn decide(&self, change: &Change, decision: &str) -> Result<Change> {
        let word = json!({ "decision": decision, "plan_hash": change.plan.hash });
        let word = serde_json::from_value(word)?;
        self.runtime.block_on(self.client.decide(change.id, &word)).map_err(anyhow_error)
    }

    /// Takes a change back.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn undo(&self, change: &Change) -> Result<Change> {
        let why = serde_json::from_value(json!({ "reason": "a test" }))?;
        self.runtime.block_on(self.client.undo(change.id, &why)).map_err(anyhow_error)
    }

    /// How long a query takes, as the median of several times.
    ///
    /// # Errors
    /// What agentd answered instead.
    pub(super) fn duration(&self, name: &str) -> Result<Duration> {
        const TIMES: usize = 5;
        let mut durations = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let started = Instant::now();
            self.runtime.block_on(self.client.query_value(name, &Map::new())).map_err(anyhow_error)?;
            durations.push(started.elapsed());
        }
        durations.sort();
        Ok(durations[TIMES / 2])
    }
}

fn anyhow_error(error: ClientError) -> anyhow::Error {
    anyhow::Error::new(error)
}

/// Fails with `what` and the value unless `holds`.
///
/// # Errors
/// Unless `holds`.
pub(super) fn expect(holds: bool, what: &str, value: &impl std::fmt::Debug) -> Result<()> {
    if holds { Ok(()) } else { bail!("{what}: {value:?}") }
}
