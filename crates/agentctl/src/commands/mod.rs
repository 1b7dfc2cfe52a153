//! The commands, one file each.

mod approvals;
mod arguments;
mod change;
mod changes;
mod chat;
mod checkpoint;
mod completions;
mod events;
mod grants;
mod health;
mod key;
mod making;
mod man;
mod memory;
mod policy;
mod proof;
mod query;
mod tools;
mod undo;
mod verify_ledger;
mod witness;
mod witnessed;

use clap::Subcommand;

use crate::context::Context;
use crate::error::{CliError, Exit};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    // What each does is said where its arguments are.
    Chat(chat::Arguments),
    Health(health::Arguments),
    Query(query::Arguments),
    Events(events::Arguments),
    VerifyLedger(verify_ledger::Arguments),
    Proof(proof::Arguments),
    Checkpoint(checkpoint::Arguments),
    Witness(witness::Arguments),
    Tools(tools::Arguments),
    Memory(memory::Arguments),
    Change(change::Arguments),
    Changes(changes::Arguments),
    Approvals(approvals::Arguments),
    Undo(undo::Arguments),
    Grants(grants::Arguments),
    Policy(policy::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Man(man::Arguments),
}

/// Does `command`.
pub(crate) async fn run(context: &mut Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Chat(arguments) => chat::run(context, &arguments).await,
        Command::Health(arguments) => health::run(context, &arguments).await,
        Command::Query(arguments) => query::run(context, &arguments).await,
        Command::Events(arguments) => events::run(context, &arguments).await,
        Command::VerifyLedger(arguments) => verify_ledger::run(context, &arguments),
        Command::Proof(arguments) => proof::run(context, &arguments).await,
        Command::Checkpoint(arguments) => checkpoint::run(context, &arguments).await,
        Command::Witness(arguments) => witness::run(context, &arguments).await,
        Command::Tools(arguments) => tools::run(context, &arguments).await,
        Command::Memory(arguments) => memory::run(context, &arguments).await,
        Command::Change(arguments) => change::run(context, &arguments).await,
        Command::Changes(arguments) => changes::run(context, &arguments).await,
        Command::Approvals(arguments) => approvals::run(context, &arguments).await,
        Command::Undo(arguments) => undo::run(context, &arguments).await,
        Command::Grants(arguments) => grants::run(context, &arguments).await,
        Command::Policy(arguments) => policy::run(context, &arguments),
        Command::Completions(arguments) => completions::run(context, &arguments),
        Command::Man(arguments) => man::run(context, &arguments),
    }
}
