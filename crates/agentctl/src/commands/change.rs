//! `agentctl change`: a change of this machine, planned, looked at, and made.

use std::fs::File;
use std::io::Read as _;

use agentos_api::change::{MAX_STEPS, MutateRequest, Step};
use agentos_api::mutation::descriptions;
use agentos_api::mutation::file::MAX_CONTENT_BYTES;
use agentos_api::query::QueryDescription;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value};

use super::arguments;
use super::making::{Agreement, refused, shows_something, tell};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Most bytes of a file of steps.
const MAX_STEPS_BYTES: u64 = 2 << 20;

/// Changes this machine: shows what would be done, and does exactly that when you agree.
///
/// `agentctl tools` lists the mutations, and `agentctl tools NAME` describes the arguments of one. content=@FILE takes the
/// content of FILE; content=@@TEXT is a content that begins with @. Exits with 0 when the change was made, with 6 when it
/// waits for a person's yes, and with 1 when it was not made.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl change file.write path=/etc/motd content='Hello' --reason 'greet people'\n  \
    agentctl change file.write path=/etc/hosts content=@hosts --reason 'add the printer' --dry-run\n  \
    agentctl change file.delete path=/srv/old recursive=true --reason 'not used any more' --yes\n  \
    agentctl change --steps move.json --reason 'new place of the site'")]
pub(crate) struct Arguments {
    /// The name of the mutation
    #[arg(required_unless_present = "steps", conflicts_with = "steps")]
    mutation: Option<String>,
    /// Its arguments: key=value, or a JSON object
    #[arg(value_name = "KEY=VALUE", conflicts_with = "steps")]
    given: Vec<String>,
    /// Why: one sentence that stays on the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Several mutations that are made, and taken back, as one: a JSON list of {"mutation": …, "args": …}
    #[arg(long, value_name = "FILE")]
    steps: Option<String>,
    /// Only show what would be done
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut request = request(arguments)?;
    let agreement = if arguments.dry_run { None } else { Some(Agreement::of(context, arguments.yes)?) };
    let client = context.client();
    let planned = client.mutate(&request).await.map_err(|error| {
        let unexplained = error.hint().is_none();
        let wrong_argument = error.problem().is_some_and(|problem| problem.field.is_some());
        let error = refused(error);
        match &arguments.mutation {
            Some(name) if unexplained && wrong_argument => {
                error.hint(format!("`agentctl tools {name}` describes its arguments."))
            }
            _ => error,
        }
    })?;
    let output = &mut context.output;
    if !output.json && !shows_something(output, &planned)? {
        return Ok(Exit::Well);
    }
    let Some(agreement) = agreement else {
        if output.json {
            output.json(&planned)?;
        }
        return Ok(Exit::Well);
    };
    if !agreement.to(output, "Make this change?").await? {
        output.note("Nothing was changed.");
        return Ok(Exit::NotWell);
    }
    request.dry_run = false;
    request.plan_hash = Some(planned.plan.hash);
    let made = output.while_waiting("making the change", client.mutate(&request)).await.map_err(refused)?;
    if !output.json {
        output.text("")?;
    }
    tell(output, &made)
}

/// What is asked for first: the plan alone.
fn request(arguments: &Arguments) -> Result<MutateRequest, CliError> {
    let mut request =
        MutateRequest { reason: arguments.reason.clone(), dry_run: true, ..MutateRequest::default() };
    if let Some(file) = &arguments.steps {
        request.steps = steps(file)?;
    } else if let Some(name) = &arguments.mutation {
        request.args = args(name, &arguments.given)?;
        request.mutation = Some(name.clone());
    }
    Ok(request)
}

fn steps(file: &str) -> Result<Vec<Step>, CliError> {
    let bytes = read(file, MAX_STEPS_BYTES)?;
    let steps: Vec<Step> = serde_json::from_slice(&bytes).map_err(|error| {
        CliError::with_exit(format!("{file} is no list of steps"), Exit::Usage)
            .because(&error)
            .hint(r#"Write it as [{"mutation": "file.mkdir", "args": {"path": "/srv/x"}}, …]."#)
    })?;
    if steps.is_empty() || steps.len() > MAX_STEPS {
        let message = format!("{file} has {} steps; a change has 1 to {MAX_STEPS}", steps.len());
        return Err(CliError::with_exit(message, Exit::Usage));
    }
    Ok(steps)
}

fn args(name: &str, given: &[String]) -> Result<Map<String, Value>, CliError> {
    let description =
        descriptions().into_iter().find(|mutation| mutation.name == name).map(|mutation| QueryDescription {
            name: mutation.name,
            summary: mutation.summary,
            arguments: mutation.arguments,
            result: Value::Null,
        });
    let (contents, typed): (Vec<String>, Vec<String>) =
        given.iter().cloned().partition(|text| text.starts_with("content=@"));
    let mut args = arguments::parse(description.as_ref(), &typed)?;
    for text in contents {
        let file = text.strip_prefix("content=@").unwrap_or_default();
        if file.starts_with('@') {
            args.insert("content".to_owned(), file.into());
            continue;
        }
        let bytes = read(file, MAX_CONTENT_BYTES as u64)?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                args.insert("content".to_owned(), text.into());
            }
            Err(error) => {
                args.insert("content".to_owned(), STANDARD.encode(error.as_bytes()).into());
                args.insert("encoding".to_owned(), "base64".into());
            }
        }
    }
    Ok(args)
}

/// A file of at most `limit` bytes.
fn read(file: &str, limit: u64) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::new(format!("cannot read {file}")).because(&error);
    let mut bytes = Vec::new();
    File::open(file).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(CliError::new(format!(
            "{file} is larger than {limit} bytes, which is the most that is sent"
        )));
    }
    Ok(bytes)
}
