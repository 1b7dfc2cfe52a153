//! `agentctl events`: what was asked and done, by whom and when.

use std::time::Duration;

use agentos_api::event::{Actor, Event, EventFilter, EventPage, Order, TypeFilter};
use agentos_client::{Client, ClientError};
use clap::Args;
use jiff::Timestamp;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::moment;
use crate::output::{Cell, Column, Output, Style, Table};
use crate::view;

/// Shows the latest events of the ledger, the newest last.
///
/// Times may be written as 2h (ago), today, yesterday, 2026-01-31, "2026-01-31 14:00" or 2026-01-31T14:00:00Z.
/// With --json, one line per event.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl events --type 'system.*' --since today\n  \
    agentctl events --actor operator:root/agentctl --limit 200 --json\n  \
    agentctl events --follow")]
pub(crate) struct Arguments {
    /// Only this type, or all types with this beginning: system.query, 'system.*'
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<TypeFilter>,
    /// Only what this actor did
    #[arg(long)]
    actor: Option<Actor>,
    /// Not before this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,
    /// Only events after the one with this id
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// Only events before the one with this id
    #[arg(long, value_name = "ID", conflicts_with = "follow")]
    before: Option<u64>,
    /// How many events at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Show the newest first
    #[arg(long, short, conflicts_with = "follow")]
    reverse: bool,
    /// Then show each new event as it is recorded, until interrupted
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let filter = arguments.filter(&context.output)?;
    let client = context.client();
    // What is recorded while the list is read must neither be lost nor come twice: following begins behind both.
    let head = if arguments.follow { client.newest_event().await? } else { 0 };
    let (mut events, more) = collect(&client, filter.clone(), arguments.limit).await?;
    events.sort_by_key(|event| event.id);
    if arguments.reverse {
        events.reverse();
    }
    let output = &mut context.output;
    if output.json {
        for event in &events {
            output.json_line(event)?;
        }
    } else {
        let mut table = Table::new(columns(output));
        for event in &events {
            table.row(cells(output, event));
        }
        output.table(&table)?;
    }
    if let Some(next) = more.filter(|_| !arguments.follow) {
        let option = if filter.effective_order() == Order::Oldest { "--after" } else { "--before" };
        output.note(&format!("There are more: go on with {option} {next}."));
    } else if events.is_empty() && !arguments.follow {
        output.note("No event matches.");
    }
    if arguments.follow {
        let last = events.last().map_or(head, |event| event.id.max(head));
        follow(&client, output, EventFilter { after: Some(last), since: None, order: None, ..filter })
            .await?;
    }
    Ok(Exit::Well)
}

impl Arguments {
    fn filter(&self, output: &Output) -> Result<EventFilter, CliError> {
        let moment = |option: &str, text: &Option<String>| -> Result<Option<Timestamp>, CliError> {
            let parsed = text.as_deref().map(|text| moment::parse(text, &output.clock)).transpose();
            parsed.map_err(|reason| CliError::with_exit(format!("{option}: {reason}"), Exit::Usage))
        };
        Ok(EventFilter {
            kind: self.kind.clone(),
            actor: self.actor.clone(),
            since: moment("--since", &self.since)?,
            until: moment("--until", &self.until)?,
            after: self.after,
            before: self.before,
            order: None,
            limit: agentos_api::Bounded::default(),
        })
    }
}

fn page_limit(limit: u64) -> agentos_api::event::PageLimit {
    agentos_api::Bounded::new(limit.clamp(1, 1000)).unwrap_or_default()
}

/// Up to `limit` events, over as many pages as they need, and where more would begin.
async fn collect(
    client: &Client,
    mut filter: EventFilter,
    limit: u64,
) -> Result<(Vec<Event>, Option<u64>), CliError> {
    let order = filter.effective_order();
    filter.order = Some(order);
    let mut events = Vec::new();
    let mut wanted = limit;
    loop {
        filter.limit = page_limit(wanted);
        let EventPage { events: page, next } = client.events_page(&filter).await?;
        wanted = wanted.saturating_sub(u64::try_from(page.len()).unwrap_or(u64::MAX));
        events.extend(page);
        let place = match order {
            Order::Oldest => &mut filter.after,
            Order::Newest => &mut filter.before,
        };
        // A page that leads nowhere new would lead there for ever.
        if next.is_none() || wanted == 0 || *place == next {
            return Ok((events, next));
        }
        *place = next;
    }
}

fn columns(output: &Output) -> [Column; 6] {
    [
        Column::right("ID").at_least(6),
        Column::left(format!("TIME ({})", output.clock.zone_name())).at_least(19),
        Column::left("AGO").at_least(8),
        Column::left("TYPE").at_least(14),
        Column::left("ACTOR").at_least(16).flexible(),
        Column::left("WHAT").flexible(),
    ]
}

fn cells(output: &Output, event: &Event) -> [Cell; 6] {
    let moment = event.ts.parse::<Timestamp>().ok();
    [
        event.id.to_string().into(),
        moment.map_or_else(|| event.ts.clone(), |moment| output.clock.absolute(moment)).into(),
        Cell::styled(moment.map(|moment| output.clock.relative(moment)).unwrap_or_default(), Style::Dim),
        event.kind.as_str().into(),
        event.actor.as_str().into(),
        view::happening(event.payload.get()).into(),
    ]
}

/// Shows events as they are recorded. Where agentd goes away, waits for it to come back and misses nothing.
async fn follow(client: &Client, output: &mut Output, mut filter: EventFilter) -> Result<(), CliError> {
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    let mut stream = client.events_stream(&filter).await?;
    loop {
        match stream.next().await {
            Ok(Some(event)) => {
                filter.after = Some(event.id);
                if output.json {
                    output.json_line(&event)?;
                } else {
                    let mut table = Table::new(columns(output)).without_head();
                    table.row(cells(output, &event));
                    output.table(&table)?;
                }
            }
            Ok(None) | Err(ClientError::Interrupted { .. }) => {
                output.note("agentd went away; waiting for it to come back (Ctrl-C ends)");
                let mut pause = Duration::from_millis(250);
                stream = loop {
                    tokio::time::sleep(pause).await;
                    match client.events_stream(&filter).await {
                        Ok(stream) => break stream,
                        Err(error) if error.is_transport() => pause = (pause * 2).min(LONGEST_PAUSE),
                        Err(error) => return Err(error.into()),
                    }
                };
                output.note("agentd is back");
            }
            Err(error) => return Err(error.into()),
        }
    }
}
