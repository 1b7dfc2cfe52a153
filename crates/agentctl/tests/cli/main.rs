//! The program as a person runs it, against a real agentd with a state directory of its own. One file per command.

mod approvals;
mod change;
mod chat;
mod checkpoint;
mod completions;
mod events;
mod gateway;
mod health;
mod hostile;
mod man;
mod memory;
mod policy;
mod proof;
mod query;
mod reaching;
mod support;
mod terminal;
mod tools;
mod verify_ledger;
mod witness;
