//! `cargo xtask vm test-qemu`: a machine with a kernel and a disk of its own is started, started anew, and has its power
//! cut while agentd records.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::bootable::Bootable;
use super::bootstrap::Suite;
use super::power_cut::{self, Acknowledged, CLIENT, Survived};
use super::qemu::{Disk, Machine};
use super::replay::{self, Replayed};
use crate::command::{cargo, run as run_command, target_directory};

/// How often the power is cut, and how much has to be acknowledged before each.
const CUTS: [usize; 3] = [150, 400, 250];
/// The same for the disk that keeps only what was flushed.
const FORGETFUL: usize = 200;

/// Options of `cargo xtask vm test-qemu`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// The release of Debian inside; the host's own without it.
    #[arg(long, value_name = "NAME")]
    suite: Option<Suite>,
}

/// Starts of agentd until the machine has started anew: with it, within it for what commands may have, with it again.
const STARTS: usize = 3;

/// Builds the disk and does all of it.
///
/// # Errors
/// What did not hold.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let suite = arguments.suite.clone().unwrap_or_else(Suite::of_host);
    run_command(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "agentos-client",
        "--example",
        "load",
    ]))?;
    let client = std::fs::read(target_directory().join("debug/examples/load"))?;
    let bootable = Bootable::build(&suite, |system| system.add(CLIENT, 0o755, &client))?;
    let disk = bootable.overlay(bootable.disk(), "disk.qcow2")?;
    let disk = Disk { file: &disk, log: None };

    let machine = boot(&bootable, &disk)?;
    held("agentd is up before the machine is", || agentd_is_up_first(&machine))?;
    held("each control group's limit is kept", || limits_are_kept(&machine))?;
    held("a command has no more than its control group allows", || commands_are_limited(&machine))?;
    held("it starts anew when it is told to", || machine.reboot().map(|()| String::new()))?;

    let mut machine = boot(&bootable, &disk)?;
    held("the ledger goes on after a new start", || goes_on(&machine, STARTS))?;
    held("the ledger goes on after the clock was set back", || clock_set_back(&machine))?;
    let mut acknowledged = Vec::new();
    for (round, enough) in (1..).zip(CUTS) {
        acknowledged.extend(power_cut::cut(machine, round, enough)?);
        machine = boot(&bootable, &disk)?;
        let statement = format!("nothing acknowledged is lost in power cut {round} of {}", CUTS.len());
        held(&statement, || nothing_is_lost(&machine, &acknowledged, STARTS + 1 + round))?;
    }
    held("it powers off when it is told to", || machine.power_off().map(|()| String::new()))?;
    held("nothing acknowledged needs what was not flushed", || a_forgetful_disk(&bootable))
}

/// Says that `statement` holds, if it does.
fn held(statement: &str, check: impl FnOnce() -> Result<String>) -> Result<()> {
    let started = Instant::now();
    let detail = check().with_context(|| format!("✗ {statement}"))?;
    println!("✓ {statement}{detail} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

fn boot(bootable: &Bootable, disk: &Disk) -> Result<Machine> {
    let mut machine = bootable.switch_on(disk)?;
    let state = machine.wait_until_up()?;
    let (clock, processor) = (machine.uptime(), machine.processor_time()?);
    if state != "running" {
        let failed = machine.shell("systemctl --failed --no-legend --plain")?;
        bail!("the machine is {state}, not running:\n{failed}{}", machine.console());
    }
    let health = machine.run(&["/usr/bin/agentctl", "health", "--json"])?;
    let health: serde_json::Value = serde_json::from_str(&health)?;
    ensure!(health["status"] == "ok", "agentd is not well: {health}");
    println!(
        "✓ it runs, no unit failed, agentd is well ({:.1} s, {:.1} s of processor time)",
        clock.as_secs_f64(),
        processor.as_secs_f64()
    );
    Ok(machine)
}

fn agentd_is_up_first(machine: &Machine) -> Result<String> {
    let moment = |unit: &str| -> Result<u64> {
        let value = property(machine, unit, "ActiveEnterTimestampMonotonic")?;
        value.parse().with_context(|| format!("{unit} was never active: {value:?}"))
    };
    let (agentd, all) = (moment("agentd.service")?, moment("multi-user.target")?);
    ensure!(
        agentd > 0 && agentd <= all,
        "agentd was ready at {agentd} µs, multi-user.target reached at {all} µs"
    );
    let used: u64 = property(machine, "agentd.service", "CPUUsageNSec")?.parse()?;
    Ok(format!(", {} ms of its own processor time until now", Duration::from_nanos(used).as_millis()))
}

/// What nspawn cannot show on every host: that the kernel enforces what the units ask for.
fn limits_are_kept(machine: &Machine) -> Result<String> {
    let controllers = machine.shell("cat /sys/fs/cgroup/cgroup.controllers")?;
    for controller in ["cpu", "memory", "pids"] {
        ensure!(
            controllers.split_whitespace().any(|name| name == controller),
            "no {controller} in {controllers}"
        );
    }
    let greedy = "systemd-run --quiet --wait --property=MemoryMax=16M --property=MemorySwapMax=0 \
                  sh -c 'head -c 64M /dev/zero | tail -c 48M > /dev/null' && echo unlimited || echo limited";
    ensure!(machine.shell(greedy)?.trim() == "limited", "48 MiB fit into a limit of 16");
    let limit = property(machine, "agentd.service", "MemoryMax")?;
    if limit == "infinity" {
        return Ok("; agentd asks for none".to_owned());
    }
    let group = property(machine, "agentd.service", "ControlGroup")?;
    let kernel = machine.shell(&format!("cat /sys/fs/cgroup{group}/memory.max"))?;
    ensure!(kernel.trim() == limit, "agentd's limit is {limit}, and the kernel's {kernel}");
    Ok(format!("; agentd's is {limit} bytes"))
}

/// With the kernel's own limits, which nspawn has only where its host does not use them itself.
fn commands_are_limited(machine: &Machine) -> Result<String> {
    let observe = |command: &str| -> Result<serde_json::Value> {
        let argument = format!("command={command}");
        let words = ["/usr/bin/agentctl", "query", "shell", &argument, "time_limit_seconds=25", "--json"];
        let said = machine.run(&words)?;
        Ok(serde_json::from_str(&said)?)
    };
    let plain = observe("true")?;
    ensure!(plain["limits"]["kept_by"] == "kernel", "the kernel keeps no limits: {plain}");
    let part = plain["limits"]["memory_bytes"].as_u64().unwrap_or(0) / 2;
    let eaters = format!("for i in 1 2 3; do perl -e '$x = \"a\" x {part}; sleep 20' & done; wait");
    for (command, limit) in [("f() { f | f & f; }; f", "processes"), (eaters.as_str(), "memory_bytes")] {
        let answer = observe(command)?;
        let told = answer["refused"].as_array().is_some_and(|refused| {
            refused.iter().any(|one| one["on"].as_str() == Some(&format!("limits.{limit}")))
        });
        ensure!(told, "{command} was not kept from more: {answer}");
    }
    // Its group is divided now, and systemd starts processes for it all the same.
    machine.shell("systemctl reload agentd.service && systemctl restart agentd.service")?;
    ensure!(
        observe("true")?["limits"]["kept_by"] == "kernel",
        "the kernel keeps no limits after a new start"
    );
    let left = machine.shell("ls -d /sys/fs/cgroup/system.slice/agentd.service/command-* | wc -l")?;
    ensure!(left.trim() == "1", "{left} groups are left, not that of the next command alone");
    Ok(String::new())
}

fn goes_on(machine: &Machine, starts: usize) -> Result<String> {
    let survived = power_cut::survived(machine, &[])?;
    ensure!(
        survived.starts == starts,
        "{} starts of agentd are on the ledger, not {starts}",
        survived.starts
    );
    Ok(format!(", with {starts} starts of agentd among {} events", survived.events))
}

/// A day, and across a start of agentd: what is recorded then stands behind what was recorded "tomorrow".
fn clock_set_back(machine: &Machine) -> Result<String> {
    let verdict = || -> Result<serde_json::Value> {
        let verdict = machine.run(&["/usr/bin/agentctl", "verify-ledger", "--full", "--json"])?;
        Ok(serde_json::from_str(&verdict)?)
    };
    let newest = || -> Result<serde_json::Value> {
        machine.run(&["/usr/bin/agentctl", "memory", "recall", "the clock"])?;
        let events = machine.run(&["/usr/bin/agentctl", "events", "--json", "--limit=100000"])?;
        let newest = events.lines().map(serde_json::from_str::<serde_json::Value>).next_back();
        newest.context("no event is on the ledger")?.map_err(Into::into)
    };
    let (before, last) = (verdict()?, newest()?);
    machine.shell("date --set='-1 day'")?;
    let first = newest()?;
    machine.run(&["/usr/bin/systemctl", "restart", "agentd.service"])?;
    let after = newest()?;
    machine.shell("date --set='+1 day'")?;
    let moments: Vec<_> = [&last, &first, &after].iter().map(|event| event["ts"].as_str()).collect();
    ensure!(moments[1] < moments[0] && moments[2] < moments[0], "the clock was not set back: {moments:?}");
    let ids: Vec<_> = [&last, &first, &after].iter().filter_map(|event| event["id"].as_u64()).collect();
    ensure!(ids.len() == 3 && ids.is_sorted(), "the order was lost: {ids:?}");
    let now = verdict()?;
    ensure!(now["verdict"] == "whole", "the ledger is not whole: {now}");
    let count = |verdict: &serde_json::Value| verdict["clock_set_back"].as_u64();
    ensure!(
        count(&now) == count(&before).map(|times| times + 1),
        "a clock that was set back once is not counted once: {now}"
    );
    Ok(", by a day, and counts it".to_owned())
}

fn nothing_is_lost(machine: &Machine, acknowledged: &[Acknowledged], starts: usize) -> Result<String> {
    let Survived { events, starts: found, lost } = power_cut::survived(machine, acknowledged)?;
    ensure!(
        lost.is_empty(),
        "of {} answers, this is missing ({} in all):\n  {}",
        acknowledged.len(),
        lost.len(),
        lost.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n  ")
    );
    ensure!(found == starts, "{found} starts of agentd are on the ledger, not {starts}");
    Ok(format!(": {} answers, {events} events, the ledger whole", acknowledged.len()))
}

/// The power is cut in a machine whose disk then forgets all that it was not told to flush.
fn a_forgetful_disk(bootable: &Bootable) -> Result<String> {
    let log = bootable.file("writes.log");
    std::fs::File::create(&log)?;
    let disk = bootable.overlay(bootable.disk(), "logged.qcow2")?;
    let machine = boot(bootable, &Disk { file: &disk, log: Some(&log) })?;
    let acknowledged = power_cut::cut(machine, 9, FORGETFUL)?;
    let forgetful = bootable.file("forgetful.img");
    run_command(
        std::process::Command::new("cp").args(["--sparse=always", "--"]).arg(bootable.disk()).arg(&forgetful),
    )?;
    let Replayed { writes, flushes, left_out_bytes } = replay::up_to_last_flush(&log, &forgetful)?;
    let disk = bootable.overlay(&forgetful, "forgetful.qcow2")?;
    let machine = boot(bootable, &Disk { file: &disk, log: None })?;
    let found = nothing_is_lost(&machine, &acknowledged, 2)?;
    machine.power_off()?;
    Ok(format!(
        "{found}; {writes} writes and {flushes} flushes were kept, {} KiB forgotten",
        left_out_bytes >> 10
    ))
}

fn property(machine: &Machine, unit: &str, name: &str) -> Result<String> {
    let value = machine.run(&["/usr/bin/systemctl", "show", "--value", "--property", name, unit])?;
    Ok(value.trim().to_owned())
}
