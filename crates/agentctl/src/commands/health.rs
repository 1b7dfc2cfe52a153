//! `agentctl health`: the machine at a glance.

use agentos_api::health::{HealthReport, Status};
use agentos_api::ledger::{Damage, Diagnosis, Examination};
use clap::Args;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style, Table, bytes, count, counted, duration, percent};

/// Shows CPU, memory, disk, load and uptime, and whether events can be recorded.
///
/// Exits with 1 when agentd refuses work because the ledger cannot be written; then it also shows what was found and what
/// to do about it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl health --json")]
pub(crate) struct Arguments {}

pub(crate) async fn run(context: &mut Context, _: &Arguments) -> Result<Exit, CliError> {
    let report = context.client().health().await?;
    if context.output.json {
        context.output.json(&report)?;
    } else {
        show(&mut context.output, &report)?;
        if report.status == Status::Degraded {
            let diagnosis = context.client().diagnosis().await?;
            show_diagnosis(&mut context.output, &diagnosis)?;
        }
    }
    Ok(match report.status {
        Status::Ok => Exit::Well,
        Status::Degraded => Exit::NotWell,
    })
}

/// How full something may be before it stands out.
fn fullness(used_percent: f64) -> Style {
    match used_percent {
        95.0.. => Style::Bad,
        85.0.. => Style::Warning,
        _ => Style::Plain,
    }
}

fn used(used_bytes: u64, total_bytes: u64, available_bytes: u64, used_percent: f64) -> Cell {
    let text = format!(
        "{} of {} used ({}), {} available",
        bytes(used_bytes),
        bytes(total_bytes),
        percent(used_percent),
        bytes(available_bytes)
    );
    Cell::styled(text, fullness(used_percent))
}

fn show(output: &mut Output, report: &HealthReport) -> Result<(), CliError> {
    let machine = &report.machine;
    let mut table = Table::fields();
    table.field(
        "status",
        match report.status {
            Status::Ok => Cell::styled("ok", Style::Good),
            Status::Degraded => Cell::styled("degraded: agentd refuses work", Style::Bad),
        },
    );
    table.field("machine", format!("{}, Linux {}", machine.hostname, machine.kernel));
    table.field("up", duration(machine.uptime_seconds));
    let load = &machine.load;
    table.field(
        "cpu",
        format!(
            "{} of {} processors used over {}, load {:.2} {:.2} {:.2}",
            percent(machine.cpu.used_percent),
            machine.cpu.count,
            duration(machine.cpu.interval_seconds),
            load.one_minute,
            load.five_minutes,
            load.fifteen_minutes
        ),
    );
    let ram = &machine.ram;
    table.field("memory", used(ram.used_bytes, ram.total_bytes, ram.available_bytes, ram.used_percent));
    let swap = &machine.swap;
    table.field(
        "swap",
        match swap.total_bytes {
            0 => "none".to_owned(),
            total => format!("{} of {} used", bytes(swap.used_bytes), bytes(total)),
        },
    );
    let disk = &machine.disk;
    let name = format!("disk {}", disk.mount_point);
    table.field(&name, used(disk.used_bytes, disk.total_bytes, disk.available_bytes, disk.used_percent));
    let events = counted(report.ledger.size, "event");
    table.field(
        "ledger",
        if report.ledger.writable {
            Cell::new(format!("writable, {events}"))
        } else {
            let reason = report.ledger.reason.as_deref().unwrap_or("no reason given");
            Cell::styled(format!("cannot be written, {events}: {reason}"), Style::Bad)
        },
    );
    table.field("agentd", report.version.as_str());
    output.table(&table)
}

/// What is wrong with the ledger, as far as it is known, and the way out.
fn show_diagnosis(output: &mut Output, diagnosis: &Diagnosis) -> Result<(), CliError> {
    output.line(&[])?;
    let mut table = Table::fields();
    if let Some(damage) = &diagnosis.damage {
        table.field("damage", Cell::styled(where_and_what(damage), Style::Bad));
    }
    if let Some(examination) = &diagnosis.examination {
        table.field("examined", examined(examination));
        let opened = diagnosis.damage.as_ref().map(where_and_what);
        if let Some(first) = examination.damage.as_ref().filter(|first| opened != Some(where_and_what(first)))
        {
            table.field("first damage", Cell::styled(where_and_what(first), Style::Bad));
        }
        if examination.finished {
            table.field(
                "readable",
                match examination.readable {
                    0 => "no event: none is known to be as it was recorded".to_owned(),
                    last => format!("events 1 to {}, as they were recorded: agentctl events", count(last)),
                },
            );
        }
    }
    output.table(&table)?;
    output.line(&[Cell::styled("What to do", Style::Heading)])?;
    for (number, step) in (1..).zip(&diagnosis.next_steps) {
        output.line(&[Cell::new(format!("  {number}. {step}"))])?;
    }
    Ok(())
}

fn where_and_what(damage: &Damage) -> String {
    match (damage.first, damage.last) {
        (Some(first), Some(last)) if first != last => {
            format!("{}, events {} to {}", damage.kind, count(first), count(last))
        }
        (Some(first), _) => format!("{}, event {}", damage.kind, count(first)),
        _ => damage.kind.clone(),
    }
}

fn examined(examination: &Examination) -> String {
    match (&examination.trouble, examination.finished) {
        (Some(trouble), _) => format!("it cannot be read: {trouble}"),
        (None, true) => "all of it".to_owned(),
        (None, false) => {
            format!("{} of {} so far", count(examination.done), counted(examination.total, "event"))
        }
    }
}
