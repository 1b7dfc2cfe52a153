//! Builds, runs and tests the project: `cargo xtask COMMAND`.

mod bench;
mod codegen;
mod command;
mod e2e;
mod installer;
mod plugin;
mod progress;
mod project;
mod runtime;
mod test;
mod tools;
mod up;
mod vm;

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
    /// Build, install and start everything, then talk with the machine.
    Up(up::Arguments),
    /// Test the whole: real gateway, real agentd, scripted model, every tool.
    E2e(e2e::Arguments),
    /// Install Node.js and OpenClaw as the lock file pins them, and print where.
    Runtime(runtime::Arguments),
    /// Check all that can be checked: format, lints, licences, unit, integration and end-to-end tests.
    Test(test::Arguments),
    /// Test `scripts/install.sh` in a real Debian: refusals, faults, secrets, removal.
    Installer(installer::Arguments),
    /// Measure every hot path, as ratios within one run.
    Bench(bench::Arguments),
    /// Write what is generated from the catalogue: plugin, `OpenAPI` document, templates.
    Codegen(codegen::Arguments),
    /// Boot a throw-away machine with systemd, and test against it.
    Vm(vm::Arguments),
}

fn main() -> anyhow::Result<()> {
    match CommandLine::parse().task {
        Task::Up(arguments) => up::run(arguments),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Runtime(arguments) => runtime::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Installer(arguments) => installer::run(&arguments),
        Task::Bench(arguments) => bench::bench(&arguments),
        Task::Codegen(arguments) => codegen::run(&arguments),
        Task::Vm(arguments) => vm::run(arguments),
    }
}
