//! `cargo xtask test`: every check there is, in the order in which they fail fastest.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{self, cargo};
use crate::{codegen, e2e, installer, plugin, runtime, tools, vm};

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only the steps of these names (`cargo xtask test --list` names them).
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// Name the steps and run none.
    #[arg(long)]
    list: bool,
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "format", what: "rustfmt", run: format },
    Step { name: "codegen", what: "generated files are what the catalogue says", run: generated },
    Step { name: "clippy", what: "lints, all warnings are errors", run: clippy },
    Step { name: "deny", what: "licences, duplicate and banned crates", run: deny },
    Step { name: "rust", what: "unit and integration tests", run: rust },
    Step { name: "plugin", what: "the OpenClaw plugin: types and tests", run: plugin },
    Step { name: "e2e", what: "a real gateway, each tool called in an agent's turn", run: end_to_end },
    Step {
        name: "installer",
        what: "scripts/install.sh in a real Debian, with all that goes wrong",
        run: installer,
    },
    Step { name: "vm", what: "agentd against a real systemd, in nspawn", run: vm },
    Step { name: "qemu", what: "a machine with a disk of its own: boot, reboot, power cuts", run: qemu },
    Step { name: "iso", what: "the live medium, started through BIOS and UEFI", run: iso },
    Step { name: "doc", what: "examples in the documentation", run: doc },
];

/// Runs the steps and says how each ended.
///
/// # Errors
/// When a step fails; the steps after it are not run.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for step in STEPS {
            println!("{:10} {}", step.name, step.what);
        }
        return Ok(());
    }
    if let Some(unknown) = arguments.steps.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        bail!("there is no step {unknown}; cargo xtask test --list names them");
    }
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| arguments.steps.is_empty() || arguments.steps.iter().any(|name| name == step.name))
        .collect();
    let mut done: Vec<(&Step, Duration)> = Vec::new();
    for step in &chosen {
        eprintln!("── {}: {}", step.name, step.what);
        let started = Instant::now();
        if let Err(error) = (step.run)() {
            eprintln!("── {} failed after {:.0?}", step.name, started.elapsed());
            println!("steps: {} passed, 1 failed, {} skipped", done.len(), chosen.len() - done.len() - 1);
            return Err(error);
        }
        done.push((step, started.elapsed()));
    }
    for (step, time) in &done {
        eprintln!("{:10} ok {:>6.1} s", step.name, time.as_secs_f64());
    }
    println!("steps: {} passed, 0 failed", done.len());
    Ok(())
}

fn format() -> Result<()> {
    command::run(cargo().args(["fmt", "--all", "--check"]))
}

fn generated() -> Result<()> {
    codegen::check()
}

fn clippy() -> Result<()> {
    command::run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn deny() -> Result<()> {
    let deny = tools::cargo_deny()?;
    // The advisory database is not in a package registry, so advisories are checked where the network reaches it.
    command::run(
        std::process::Command::new(deny)
            .current_dir(command::root())
            .args(["check", "bans", "licenses", "sources"]),
    )
}

fn rust() -> Result<()> {
    command::run(cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    command::run(std::process::Command::new(tools::cargo_nextest()?).current_dir(command::root()).args([
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--no-fail-fast",
    ]))
}

fn plugin() -> Result<()> {
    plugin::test(&runtime::install()?)
}

fn end_to_end() -> Result<()> {
    e2e::run(&e2e::Arguments::default())
}

fn installer() -> Result<()> {
    installer::run(&installer::Arguments::default())
}

fn vm() -> Result<()> {
    as_root("vm", vm::test)
}

fn qemu() -> Result<()> {
    as_root("qemu", vm::test_qemu)
}

fn iso() -> Result<()> {
    as_root("iso", vm::test_iso)
}

fn as_root(step: &str, run: fn() -> Result<()>) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: booting a machine needs root (run it with: sudo -E cargo xtask test {step})");
        return Ok(());
    }
    run()
}

fn doc() -> Result<()> {
    command::run(cargo().args(["test", "--workspace", "--doc", "--locked", "--quiet"]))
}
