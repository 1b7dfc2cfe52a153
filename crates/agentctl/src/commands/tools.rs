//! `agentctl tools`: what can be asked, and how.

use agentos_api::catalog::Catalog;
use agentos_api::problem::near_matches;
use agentos_api::tool::Effect;
use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Column, Output, Style, Table};

/// Lists the queries, the mutations and the tools a model is given; with a name, describes that one and its arguments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentctl tools\n  agentctl tools journal\n  agentctl tools file.write")]
pub(crate) struct Arguments {
    /// A query, a mutation or a tool
    name: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let catalog = context.client().catalog().await?;
    let output = &mut context.output;
    match &arguments.name {
        None if output.json => output.json(&catalog)?,
        None => list(output, &catalog)?,
        Some(name) => describe(output, &catalog, name)?,
    }
    Ok(Exit::Well)
}

fn list(output: &mut Output, catalog: &Catalog) -> Result<(), CliError> {
    output.line(&[Cell::styled("Queries (agentctl query NAME)", Style::Heading)])?;
    let mut table = Table::fields();
    for query in &catalog.queries {
        table.row([query.name.as_str().into(), query.summary.as_str().into()]);
    }
    output.table(&table)?;
    output.heading("Mutations (agentctl change NAME)")?;
    let mut table = Table::fields();
    for mutation in &catalog.mutations {
        table.row([mutation.name.as_str().into(), mutation.summary.as_str().into()]);
    }
    output.table(&table)?;
    output.heading("Tools a model is given")?;
    let mut table = Table::new([
        Column::left("NAME"),
        Column::left("EFFECT"),
        Column::right("RING"),
        Column::left("WHAT IT DOES").flexible(),
    ]);
    for tool in &catalog.tools {
        let effect = match tool.effect {
            Effect::Read => "read",
            Effect::Write => "write",
        };
        let ring = u8::from(tool.ring).to_string();
        let first_sentence = tool.description.split_inclusive(". ").next().unwrap_or_default().trim_end();
        table.row([tool.name.as_str().into(), effect.into(), ring.into(), first_sentence.into()]);
    }
    output.table(&table)
}

fn describe(output: &mut Output, catalog: &Catalog, name: &str) -> Result<(), CliError> {
    if let Some(query) = catalog.queries.iter().find(|query| query.name == name) {
        if output.json {
            return output.json(query);
        }
        output.text(format!("agentctl query {}", query.name))?;
        output.text(&query.summary)?;
        return parameters(output, &query.arguments);
    }
    if let Some(mutation) = catalog.mutations.iter().find(|mutation| mutation.name == name) {
        if output.json {
            return output.json(mutation);
        }
        output.text(format!("agentctl change {}", mutation.name))?;
        output.text(&mutation.summary)?;
        return parameters(output, &mutation.arguments);
    }
    if let Some(tool) = catalog.tools.iter().find(|tool| tool.name == name) {
        if output.json {
            return output.json(tool);
        }
        output.line(&[Cell::new(&tool.name), Cell::styled(format!("  {}", tool.label), Style::Dim)])?;
        output.text(&tool.description)?;
        return parameters(output, &tool.parameters);
    }
    let names = catalog.queries.iter().map(|query| query.name.as_str());
    let names = names.chain(catalog.mutations.iter().map(|mutation| mutation.name.as_str()));
    let near = near_matches(name, names.chain(catalog.tools.iter().map(|tool| tool.name.as_str())));
    let message = format!("there is no query, no mutation and no tool named {name:?}");
    let error = CliError::with_exit(message, Exit::Usage);
    Err(error.near(near).hint("`agentctl tools` lists them all."))
}

fn parameters(output: &mut Output, schema: &Value) -> Result<(), CliError> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty())
    else {
        return output.text("It takes no arguments.");
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    output.heading("Arguments")?;
    let mut table = Table::new([
        Column::left("NAME"),
        Column::left("TAKES").flexible(),
        Column::left("DEFAULT"),
        Column::left("WHAT IT IS").flexible(),
    ]);
    for (name, property) in properties {
        let default = if required.contains(&name.as_str()) {
            "required".to_owned()
        } else {
            property.get("default").filter(|value| !value.is_null()).map(plain).unwrap_or_default()
        };
        let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
        table.row([name.as_str().into(), takes(property).into(), default.into(), description.into()]);
    }
    output.table(&table)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What values a schema admits, in a few words.
fn takes(schema: &Value) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().filter(|value| !value.is_null()).map(plain).collect::<Vec<_>>().join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return plain(value);
    }
    let alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let alternatives: Vec<String> = alternatives.map(takes).filter(|text| text != "null").collect();
    if !alternatives.is_empty() {
        return alternatives.join(" | ");
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.collect::<Vec<_>>().join(" | ")
        }
        _ => "any".to_owned(),
    };
    match (schema.get("minimum"), schema.get("maximum"), schema.get("items")) {
        (Some(minimum), Some(maximum), _) => format!("{minimum} to {maximum}"),
        (_, _, Some(items)) => format!("list of {}", takes(items)),
        _ => kind,
    }
}
