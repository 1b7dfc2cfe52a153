//! `agentctl query`: any question of the catalogue.

use agentos_api::query::{NAMES, descriptions};
use clap::Args;
use clap::builder::{PossibleValue, TypedValueParser};

use super::arguments;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::tree::Tree;
use crate::view;

/// Asks the machine a question by name; `agentctl tools` lists the questions.
///
/// Arguments are written as key=value, or as one JSON object; `agentctl tools NAME` says which there are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl query processes sort=memory limit=5\n  \
    agentctl query journal unit=sshd since=-1h priority=warning\n  \
    agentctl query disks --columns mount_point,usage.used_percent\n  \
    agentctl query directory '{\"path\": \"/etc\", \"limit\": 20}' --json")]
pub(crate) struct Arguments {
    /// The name of the query
    #[arg(value_parser = QueryName, hide_possible_values = true)]
    name: String,
    /// Its arguments: key=value, or a JSON object
    #[arg(value_name = "KEY=VALUE")]
    given: Vec<String>,
    /// The columns of its lists, by their names in the JSON
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
}

/// Takes any name, for agentd may know more than this program; names those that are known, for completion.
#[derive(Clone)]
struct QueryName;

impl TypedValueParser for QueryName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(NAMES.iter().map(|&name| PossibleValue::new(name))))
    }
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let description = descriptions().into_iter().find(|query| query.name == arguments.name);
    let args = arguments::parse(description.as_ref(), &arguments.given)?;
    let answer: Tree = context.client().query_named(&arguments.name, &args).await.map_err(|error| {
        let unexplained = error.hint().is_none();
        let wrong_argument = error.problem().is_some_and(|problem| problem.field.is_some());
        let error = CliError::from(error);
        if unexplained && wrong_argument {
            error.hint(format!("`agentctl tools {}` describes its arguments.", arguments.name))
        } else {
            error
        }
    })?;
    if context.output.json {
        context.output.json(&answer)?;
    } else {
        view::show(&mut context.output, &arguments.name, &answer, &arguments.columns)?;
    }
    Ok(Exit::Well)
}
