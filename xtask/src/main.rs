//! Builds, runs and tests the project: `cargo xtask COMMAND`.

mod codegen;
mod command;
mod test;
mod tools;

use clap::{Parser, Subcommand};

/// Builds, runs and tests the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check all that can be checked: format, lints, licences, unit, integration and end-to-end tests.
    Test(test::Arguments),
    /// Write what is generated from the catalogue: plugin, `OpenAPI` document, templates.
    Codegen(codegen::Arguments),
}

fn main() -> anyhow::Result<()> {
    match CommandLine::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Codegen(arguments) => codegen::run(&arguments),
    }
}
