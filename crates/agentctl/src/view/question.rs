//! Showing a question to the person who decides whether it is answered: all of it, nothing cut to the terminal's width.

use agentos_api::question::{Question, Standing};

use super::change::{ago, field, moment};
use crate::error::CliError;
use crate::output::{Cell, Column, Output, Style, Table};

/// Shows a question: who asks what, which rule asks about it, and where it stands.
pub(crate) fn question(output: &mut Output, question: &Question) -> Result<(), CliError> {
    field(output, "question", question.id.to_string())?;
    field(output, "status", status(question.status))?;
    field(output, "asked by", question.actor.as_str())?;
    field(output, "asked", moment(&output.clock, &question.created))?;
    field(output, "expires", moment(&output.clock, &question.expires))?;
    if let Some(rule) = &question.rule {
        field(output, "rule", rule.as_str())?;
    }
    if let Some(because) = &question.because {
        field(output, "because", because.as_str())?;
    }
    if question.operator_only {
        field(output, "who decides", "only somebody at the operator's socket, not through a chat")?;
    }
    if let Some(code) = &question.chat_code {
        field(output, "in the chat", format!("/agentos approve {} {code}", question.id))?;
    }
    if let Some(decided) = &question.decided {
        let mut text = format!("by {}, {}", decided.by, moment(&output.clock, &decided.at));
        if let Some(reason) = &decided.reason {
            text.push_str("; ");
            text.push_str(reason);
        }
        field(output, "decided", text)?;
    }
    output.text("")?;
    output.line(&[Cell::new("  "), Cell::styled(&question.query, Style::Heading)])?;
    for (name, value) in &question.args {
        // As JSON: white space and quotes in it are seen.
        output.line(&[Cell::styled(format!("    {name} = "), Style::Dim), Cell::new(value.to_string())])?;
    }
    let path = question.args.get("path").and_then(|path| path.as_str());
    for name in question.names.iter().filter(|name| Some(name.as_str()) != path) {
        output.line(&[Cell::styled("  which is  ", Style::Warning), Cell::new(name)])?;
    }
    output.line(&[Cell::styled(
        "  The answer goes to the agent, with secrets masked as the policy says.",
        Style::Dim,
    )])
}

/// A table of questions.
pub(crate) fn list(output: &mut Output, questions: &[Question]) -> Result<(), CliError> {
    let mut table = Table::new([
        Column::right("QUESTION"),
        Column::left("STATUS"),
        Column::left("ASKED"),
        Column::left("BY").flexible(),
        Column::left("QUERY").flexible(),
        Column::left("RULE").flexible(),
    ]);
    for question in questions {
        table.row([
            question.id.to_string().into(),
            status(question.status),
            ago(&output.clock, &question.created).into(),
            question.actor.as_str().into(),
            summary(question).into(),
            question.rule.as_deref().unwrap_or_default().into(),
        ]);
    }
    output.table(&table)
}

/// A question in a line.
pub(crate) fn summary(question: &Question) -> String {
    let args: Vec<String> = question.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} {}", question.query, args.join(" ")).trim_end().to_owned()
}

/// Where a question stands.
pub(crate) fn status(standing: Standing) -> Cell {
    let style = match standing {
        Standing::Approved => Style::Good,
        Standing::Waiting => Style::Warning,
        Standing::Used | Standing::Denied | Standing::Expired => Style::Plain,
    };
    Cell::styled(standing.as_str(), style)
}
