//! `agentctl memory`: remember and recall.

use agentos_api::memory::{
    MaxResults, MemoryChunk, MemoryHealth, RecallRequest, StoreRequest, TimeRange, Timeframe,
};
use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style, Table, bytes, count, counted};

/// Recalls and stores what is worth remembering, in the markdown files of the memory.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl memory recall 'nginx port'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Recall(Recall),
    Store(Store),
    /// Shows what the memory holds and which model searches it.
    ///
    /// Exits with 1 when the memory cannot be used.
    #[command(after_help = "Example:\n  agentctl memory health")]
    Health,
}

/// Finds what was remembered, best first. Operators have no meaning: any words will do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl memory recall nginx port\n  \
    agentctl memory recall backup --within 7d\n  \
    agentctl memory recall backup --since 2026-01-01 --until 2026-01-31")]
struct Recall {
    /// What to look for
    #[arg(required = true)]
    words: Vec<String>,
    /// How many passages at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = MaxResults::default().get(),
          value_parser = clap::value_parser!(u64).range(1..=50))]
    limit: u64,
    /// Only what was remembered this long ago or on this day: 24h, 7d, today, yesterday, 2026-01-31
    #[arg(long, value_name = "TIME", conflicts_with_all = ["since", "until"])]
    within: Option<String>,
    /// Not before this day, moment or span: 2026-01-31, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not after this day, moment or span
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Writes down something worth remembering, in today's file.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    agentctl memory store 'nginx listens on 8080' --detail 'Port 80 is taken by caddy.' --category fact --tag nginx")]
struct Store {
    /// One line that says it
    summary: String,
    /// The rest, in markdown
    #[arg(long, default_value = "", hide_default_value = true)]
    detail: String,
    /// What kind of memory it is: note, preference, decision, fact
    #[arg(long, default_value = agentos_api::memory::DEFAULT_CATEGORY)]
    category: String,
    /// A word to find it by; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.command {
        Command::Recall(arguments) => recall(context, arguments).await,
        Command::Store(arguments) => store(context, arguments).await,
        Command::Health => health(context).await,
    }
}

async fn recall(context: &mut Context, arguments: &Recall) -> Result<Exit, CliError> {
    let timeframe = match (&arguments.within, &arguments.since, &arguments.until) {
        (Some(within), ..) => Some(Timeframe::Text(within.clone())),
        (None, None, None) => None,
        (None, since, until) => {
            Some(Timeframe::Range(TimeRange { since: since.clone(), until: until.clone() }))
        }
    };
    let request = RecallRequest {
        query: arguments.words.join(" "),
        max_results: MaxResults::new(arguments.limit).unwrap_or_default(),
        timeframe,
    };
    let response = context.client().memory_recall(&request).await?;
    let output = &mut context.output;
    if output.json {
        output.json(&response)?;
        return Ok(Exit::Well);
    }
    for (place, chunk) in response.chunks.iter().enumerate() {
        if place > 0 {
            output.text("")?;
        }
        show(output, chunk)?;
    }
    if response.chunks.is_empty() {
        output.note("Nothing is remembered about that.");
    }
    if response.skipped_files > 0 {
        let files = counted(response.skipped_files, "file");
        output.note(&format!("{files} could not be searched; `agentctl memory health` says why."));
    }
    Ok(Exit::Well)
}

/// A passage: where it stands, then its text.
fn show(output: &mut Output, chunk: &MemoryChunk) -> Result<(), CliError> {
    let lines = if chunk.line_start == chunk.line_end {
        chunk.line_start.to_string()
    } else {
        format!("{}-{}", chunk.line_start, chunk.line_end)
    };
    let mut about = vec![format!("{}:{lines}", chunk.file)];
    match (chunk.stored_at, chunk.date) {
        (Some(moment), _) => about.push(output.clock.relative(moment)),
        (None, Some(date)) => about.push(date.to_string()),
        (None, None) => {}
    }
    about.extend(chunk.category.clone());
    about.extend(chunk.tags.iter().map(|tag| format!("#{tag}")));
    let about = format!("  {}", about.join("  "));
    let heading = if chunk.heading.is_empty() { "(no heading)" } else { &chunk.heading };
    output.line(&[Cell::styled(heading, Style::Heading), Cell::styled(about, Style::Dim)])?;
    output.block(chunk.text.trim_end(), 2)
}

async fn store(context: &mut Context, arguments: &Store) -> Result<Exit, CliError> {
    let request = StoreRequest {
        summary: arguments.summary.clone(),
        detail: arguments.detail.clone(),
        category: arguments.category.clone(),
        tags: arguments.tags.clone(),
    };
    let stored = context.client().memory_store(&request).await?;
    if context.output.json {
        context.output.json(&stored)?;
    } else {
        context.output.text(format!("Remembered as {} in {}.", stored.id, stored.file))?;
    }
    Ok(Exit::Well)
}

async fn health(context: &mut Context) -> Result<Exit, CliError> {
    let health = context.client().memory_health().await?;
    let exit = if health.problem.is_some() { Exit::NotWell } else { Exit::Well };
    if context.output.json {
        context.output.json(&health)?;
    } else {
        show_health(&mut context.output, &health)?;
    }
    Ok(exit)
}

fn show_health(output: &mut Output, health: &MemoryHealth) -> Result<(), CliError> {
    let mut table = Table::fields();
    if let Some(problem) = &health.problem {
        table.field("problem", Cell::styled(problem, Style::Bad));
    }
    table.field("directory", health.directory.as_str());
    table.field("model", health.model_status.as_str());
    table.field("passages", count(health.collection_size));
    table.field("files", count(health.files));
    table.field("index", bytes(health.index_bytes));
    table
        .field("indexed", health.last_indexed.map_or_else(|| "never".to_owned(), |at| output.clock.full(at)));
    if health.invalid_utf8_files > 0 {
        table.field("not UTF-8", counted(health.invalid_utf8_files, "file"));
    }
    output.table(&table)?;
    if health.skipped_files > 0 {
        output.heading(&format!("Files that are not searched ({})", count(health.skipped_files)))?;
        let mut table = Table::fields();
        for skipped in &health.skipped {
            table.row([skipped.file.as_str().into(), skipped.reason.as_str().into()]);
        }
        output.table(&table)?;
    }
    Ok(())
}
