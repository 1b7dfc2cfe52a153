//! Showing a plan and a change to the person who decides on it.
//!
//! Nothing here is cut to the terminal's width: what is not seen cannot be agreed to. All texts may come from the agent or
//! from files; `output` makes them harmless.

use agentos_api::change::{Change, ChangeSummary, Effect, Plan, PlannedStep, Risk, Status, Undo};
use agentos_api::query::file::ContentEncoding;
use agentos_api::query::shell;
use jiff::Timestamp;

use crate::error::CliError;
use crate::output::{Cell, Clock, Column, Output, Style, Table, count};

/// Shows a change: whose it is, where it stands, its plan, and what comes next.
pub(crate) fn change(output: &mut Output, change: &Change) -> Result<(), CliError> {
    field(output, "change", number(change.id))?;
    field(output, "status", status(change.status))?;
    field(output, "asked by", change.actor.as_str())?;
    field(output, "reason", change.reason.as_str())?;
    field(output, "asked", moment(&output.clock, &change.created))?;
    if let Some(expires) = &change.expires {
        let name = if change.status == Status::Unconfirmed { "taken back" } else { "expires" };
        field(output, name, moment(&output.clock, expires))?;
    }
    if change.operator_only {
        field(output, "who decides", "only somebody at the operator's socket, not through a chat")?;
    }
    if let Some(code) = &change.chat_code {
        field(output, "in the chat", format!("/agentos approve {} {code}", change.id))?;
    }
    if let Some(decided) = &change.decided {
        let mut text = format!("by {}, {}", decided.by, moment(&output.clock, &decided.at));
        for more in [&decided.rule, &decided.reason].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        field(output, "decided", text)?;
    }
    if let Some(undoes) = change.undoes {
        field(output, "takes back", format!("change {undoes}"))?;
    }
    if let Some(by) = change.undone_by {
        field(output, "undone by", format!("change {by}"))?;
    }
    plan(output, &change.plan)?;
    if let Some(outcome) = &change.outcome {
        output.text("")?;
        field(output, "outcome", outcome.as_str())?;
    }
    Ok(())
}

/// Shows what would be done, all of it.
pub(crate) fn plan(output: &mut Output, plan: &Plan) -> Result<(), CliError> {
    field(output, "plan", plan.summary.as_str())?;
    field(output, "risk", risk(plan.risk))?;
    field(output, "undo", undo(&plan.undo))?;
    let several = plan.steps.len() > 1;
    for (number, planned) in plan.steps.iter().enumerate() {
        if several {
            let heading = format!("Step {} of {}: {}", number + 1, plan.steps.len(), planned.summary);
            output.heading(&heading)?;
            field(output, "risk", risk(planned.risk))?;
            field(output, "undo", undo(&planned.undo))?;
        } else {
            output.text("")?;
        }
        step(output, planned)?;
    }
    Ok(())
}

fn step(output: &mut Output, step: &PlannedStep) -> Result<(), CliError> {
    for each in &step.effects {
        effect(output, each)?;
    }
    let hidden = step.effects_total.saturating_sub(step.effects.len() as u64);
    if hidden > 0 {
        let text = format!("  and {} more that are not shown", count(hidden));
        output.line(&[Cell::styled(text, Style::Warning)])?;
    }
    if step.can_lock_out {
        let text = "  This may lock you out: once made, it is taken back by itself unless it is confirmed from a new login.";
        output.line(&[Cell::styled(text, Style::Warning)])?;
    }
    for what in &step.not_covered {
        output.line(&[Cell::styled("  not foreseen: ", Style::Warning), Cell::new(what)])?;
    }
    step.said.as_ref().map_or(Ok(()), |command| said(output, command))
}

/// What a command said that was run for the plan.
fn said(output: &mut Output, said: &shell::Output) -> Result<(), CliError> {
    for (name, said) in [("standard output", &said.stdout), ("standard error", &said.stderr)] {
        if said.bytes == 0 {
            continue;
        }
        let (bytes, cut) =
            (count(said.bytes), if said.cut { ", of which this is the beginning" } else { "" });
        let binary = if said.encoding == ContentEncoding::Base64 { ", as base64" } else { "" };
        output.line(&[Cell::styled(format!("  its {name}, {bytes} bytes{cut}{binary}:"), Style::Dim)])?;
        for line in said.content.strip_suffix('\n').unwrap_or(&said.content).split('\n') {
            output.source_line("    ", line, Style::Plain)?;
        }
    }
    for refused in &said.refused {
        let text = format!("{} {}: {}", refused.what, refused.on, refused.because);
        output.line(&[Cell::styled("  it was kept from: ", Style::Warning), Cell::new(text)])?;
    }
    if let Some(advice) = &said.advice {
        output.line(&[Cell::styled("  advice: ", Style::Dim), Cell::new(advice)])?;
    }
    Ok(())
}

fn effect(output: &mut Output, effect: &Effect) -> Result<(), CliError> {
    output.line(&[
        Cell::new("  "),
        Cell::styled(&effect.on, Style::Heading),
        Cell::new(format!(": {} → {}", effect.before, effect.after)),
    ])?;
    // Only line feeds divide it: a carriage return is a difference that has to be seen.
    let diff = effect.diff.as_deref().unwrap_or_default();
    for line in diff.strip_suffix('\n').unwrap_or(diff).split('\n').filter(|_| !diff.is_empty()) {
        output.source_line("    ", line, of_diff(line))?;
    }
    if let Some(why) = &effect.diff_omitted {
        output.line(&[Cell::styled("    not shown: ", Style::Warning), Cell::new(why)])?;
    }
    Ok(())
}

/// How a line of a diff looks. agentd's diffs have no lines of file names: what begins with `---` is a line that goes.
fn of_diff(line: &str) -> Style {
    match line.as_bytes() {
        [b'+', ..] => Style::Good,
        [b'-', ..] => Style::Bad,
        [b'@' | b'\\', ..] => Style::Dim,
        _ => Style::Plain,
    }
}

/// A table of changes.
pub(crate) fn list(output: &mut Output, changes: &[ChangeSummary]) -> Result<(), CliError> {
    let mut table = Table::new([
        Column::right("CHANGE"),
        Column::left("STATUS"),
        Column::left("RISK"),
        Column::left("ASKED"),
        Column::left("BY").flexible(),
        Column::left("WHAT IT DOES").flexible(),
        Column::left("REASON").flexible(),
    ]);
    for change in changes {
        table.row([
            change.id.to_string().into(),
            status(change.status),
            risk(change.risk),
            ago(&output.clock, &change.created).into(),
            change.actor.as_str().into(),
            change.summary.as_str().into(),
            change.reason.as_str().into(),
        ]);
    }
    output.table(&table)
}

/// One name and its value; names of one list stand under each other.
pub(crate) fn field(output: &mut Output, name: &str, value: impl Into<Cell>) -> Result<(), CliError> {
    output.line(&[Cell::styled(format!("{name:<12}"), Style::Dim), value.into()])
}

fn number(id: u64) -> String {
    if id == 0 { "none: only planned".to_owned() } else { id.to_string() }
}

/// Where a change stands.
pub(crate) fn status(status: Status) -> Cell {
    let style = match status {
        Status::Applied => Style::Good,
        Status::Waiting | Status::Applying | Status::Unconfirmed => Style::Warning,
        Status::Failed | Status::Unknown => Style::Bad,
        Status::Planned | Status::Denied | Status::Expired | Status::Undone => Style::Plain,
    };
    Cell::styled(status.as_str(), style)
}

fn risk(risk: Risk) -> Cell {
    let style = match risk {
        Risk::Read | Risk::Low => Style::Plain,
        Risk::Medium => Style::Warning,
        Risk::Destructive => Style::Bad,
    };
    Cell::styled(risk.as_str(), style)
}

fn undo(undo: &Undo) -> Cell {
    match undo {
        Undo::Exact => Cell::new("exactly"),
        Undo::Partial { because } => Cell::styled(format!("partly: {because}"), Style::Warning),
        Undo::Impossible { because } => Cell::styled(format!("not possible: {because}"), Style::Bad),
    }
}

/// A moment from agentd in local time; as it came where it is none.
pub(crate) fn moment(clock: &Clock, text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |moment| clock.full(moment))
}

pub(crate) fn ago(clock: &Clock, text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |moment| clock.relative(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_told_apart_by_its_first_character_alone() {
        for (line, style) in [
            ("+x", Style::Good),
            ("+++ x", Style::Good),
            ("-x", Style::Bad),
            ("--- a comment", Style::Bad),
            ("@@ -1 +1 @@", Style::Dim),
            ("\\ No newline at end of file", Style::Dim),
            (" +x", Style::Plain),
            ("", Style::Plain),
        ] {
            assert_eq!(of_diff(line), style, "{line}");
        }
    }
}
