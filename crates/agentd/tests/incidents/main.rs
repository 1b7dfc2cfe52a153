//! What agents with a shell have really done to machines, replayed so that nothing is lost: as shell text, as a typed change, and
//! as shell text hidden in a script or an interpreter. What is found is a page of the docs, `docs/INCIDENTS.md`, and a test fails
//! where the page says something else. `UPDATE_INCIDENTS=1 cargo nextest run -p agentd --test incidents` writes it.
//!
//! Needs root, as agentd does.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod canary;
mod incident;
mod page;
mod replay;

mod a_files;
mod b_databases;
mod c_services;
mod d_boot;
mod e_lockout;
mod f_secrets;
mod g_history;
mod h_approval;
mod j_gate;
mod k_quota;
mod m_instructions;
mod x_gaps;
