//! `cargo xtask codegen`: what other languages and readers need of the catalogue, written from it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use agentos_api::tool::{Effect, Tool, tools};
use agentos_api::{openapi, query};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::command::root;

/// Options of `cargo xtask codegen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail when a file differs from what would be written.
    #[arg(long)]
    check: bool,
}

const BEGIN: &str = "<!-- tools: written by `cargo xtask codegen` -->";
const END: &str = "<!-- end of tools -->";

/// Fails when a generated file is not what the catalogue says.
pub(crate) fn check() -> Result<()> {
    run(&Arguments { check: true })
}

/// Writes the generated files, or with `--check` compares them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut stale = Vec::new();
    for (path, content) in files()? {
        let absolute = root().join(&path);
        if fs::read_to_string(&absolute).is_ok_and(|present| present == content) {
            continue;
        }
        if arguments.check {
            stale.push(path.display().to_string());
        } else {
            if let Some(parent) = absolute.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&absolute, content).with_context(|| format!("cannot write {}", absolute.display()))?;
            eprintln!("wrote {}", path.display());
        }
    }
    if !stale.is_empty() {
        bail!("not what the catalogue says: {}; run: cargo xtask codegen", stale.join(", "));
    }
    Ok(())
}

fn files() -> Result<Vec<(PathBuf, String)>> {
    let tools = tools();
    Ok(vec![
        ("packages/agentos-bridge/openclaw.plugin.json".into(), pretty(&manifest(&tools))?),
        ("packages/agentos-bridge/src/tools.generated.ts".into(), tool_table(&tools)?),
        ("docs/openapi.json".into(), pretty(&openapi::document())?),
        ("templates/TOOLS.md".into(), tools_template(&tools)?),
    ])
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn manifest(tools: &[Tool]) -> Value {
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let metadata: Map<String, Value> = tools
        .iter()
        .map(|tool| {
            let grade = match tool.effect {
                Effect::Read => json!({ "replaySafe": true }),
                Effect::Write => json!({ "sideEffecting": true }),
            };
            (tool.name.clone(), grade)
        })
        .collect();
    json!({
        "id": "agentos-bridge",
        "name": "AgentOS bridge",
        "description": "Reads and changes this machine through agentd, on the record.",
        "version": env!("CARGO_PKG_VERSION"),
        "categories": ["other"],
        "activation": { "onStartup": true },
        "contracts": { "tools": names },
        "toolMetadata": metadata,
        "configSchema": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "socketPath": {
                    "type": "string",
                    "default": "/run/agentos/agentd.sock",
                    "description": "agentd's socket for the agent."
                },
                "timeoutMs": {
                    "type": "integer",
                    "minimum": 100,
                    "maximum": 600_000,
                    "default": 60_000,
                    "description": "How long a request to agentd may take, in milliseconds."
                }
            }
        }
    })
}

fn tool_table(tools: &[Tool]) -> Result<String> {
    let rows: Vec<Value> = tools
        .iter()
        .map(|tool| {
            Ok(json!({
                "name": tool.name,
                "label": tool.label,
                "description": tool.description,
                "effect": serde_json::to_value(tool.effect)?,
                "request": serde_json::to_value(&tool.request)?,
                "parameters": tool.parameters,
            }))
        })
        .collect::<Result<_>>()?;
    Ok(format!(
        "// Written by `cargo xtask codegen` from the catalogue in crates/agentos-api. Do not edit.\n\
         import type {{ ToolDefinition }} from \"./definition.js\";\n\n\
         export const tools: readonly ToolDefinition[] = {};\n",
        serde_json::to_string_pretty(&rows)?
    ))
}

/// The template with the part between its markers written anew; the prose around it is kept.
fn tools_template(tools: &[Tool]) -> Result<String> {
    let path = root().join("templates/TOOLS.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (before, rest) =
        text.split_once(BEGIN).with_context(|| format!("TOOLS.md lacks the line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("TOOLS.md lacks the line {END}"))?;
    let mut table = String::from("| tool | what it does |\n|---|---|\n");
    for tool in tools {
        let first = tool.description.split_inclusive(". ").next().unwrap_or_default().trim_end();
        writeln!(table, "| `{}` | {first} |", tool.name)?;
    }
    table.push_str("\nThe queries of `system_query`:\n\n| query | what the answer holds |\n|---|---|\n");
    for (name, summary) in query::SUMMARIES {
        writeln!(table, "| `{name}` | {summary} |")?;
    }
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}
