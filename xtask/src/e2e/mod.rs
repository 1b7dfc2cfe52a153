//! `cargo xtask e2e`: the real gateway with the plugin, the real agentd, the scripted model. Every tool is called in a
//! turn of the agent, its answer is held against the machine, and its event against the ledger.

mod cases;
mod chat;
mod ledger;
mod machine;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::cases::{Case, cases};
use self::ledger::Evidence;
use self::machine::Machine;
use crate::command::{output, root};
use crate::progress::Step;
use crate::runtime::Runtime;
use crate::up::binaries::Binaries;
use crate::up::identity::Identity;
use crate::up::stack::{Options, Stack, Turn};
use crate::up::{self, gateway};
use crate::{plugin, project, runtime};

/// Options of `cargo xtask e2e`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the end-to-end test on quickly built programs.
///
/// # Errors
/// With the first thing that is not as it should be.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let binaries = Binaries::build(true)?;
    let runtime = runtime::install()?;
    plugin::build(&runtime)?;
    let state = project::base().join("e2e");
    match fs::remove_dir_all(&state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let machine = Machine::look(&state.join("facts"))?;
    // The thread that starts the parts has to live as long as they do.
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let options = Options { state: state.clone(), port: None, model: None, chat: true };
        let mut stack = Stack::start(options, &binaries, &runtime).await?;
        let tested = test(&mut stack, &binaries, &runtime, &machine).await;
        let evidence = Evidence::of(stack.places(), &binaries, &runtime);
        stack.stop().await;
        tested?;
        evidence.is_whole()?;
        evidence.tampering_is_found(&state.join("copies"), &machine.word)?;
        passed("the ledger is whole; an edit, a deletion and a cut in copies of it are found");
        Ok(())
    })
}

async fn test(stack: &mut Stack, binaries: &Binaries, runtime: &Runtime, machine: &Machine) -> Result<()> {
    the_gateway_is_confined(stack, runtime)?;
    let newest = stack.client().newest_event().await?;
    let cases = cases(machine, newest);
    every_registered_tool_is_called(&cases)?;
    let mut conversation = stack.conversation("e2e")?;
    for case in &cases {
        the_person_does(stack, binaries, case.person)?;
        let turn = stack.turn(&mut conversation, &case.say).await?;
        check(stack, case, &turn)
            .with_context(|| format!("«{}» was answered:\n{}", case.say, turn.answer))?;
        passed(&format!("{} ({} events)", case.say, turn.events.len()));
    }
    what_was_denied_or_taken_back_is_not_there(machine)?;
    self::chat::a_yes_comes_through_it(stack, runtime, machine, &mut conversation).await?;
    what_is_remembered_is_a_file(stack, machine)?;
    a_person_talks_through_agentctl(stack, binaries)?;
    // Signed now, and appended to the file of checkpoints: agentd does it by itself only every minute.
    stack.client().checkpoint().await?;
    Evidence::of(stack.places(), binaries, runtime).is_whole()?;
    openclaw_finds_nothing_wrong(stack, runtime)?;

    stack.stop_agentd().await;
    let answer = conversation.say("What is eating the memory?").await?.whole().await?;
    ensure!(
        answer.contains("agentd_unreachable") && answer.contains("systemctl status agentd"),
        "agentd was stopped, and the agent said:\n{answer}"
    );
    passed("without agentd the agent says so, and how to find out why");
    Ok(())
}

fn passed(what: &str) {
    eprintln!("  ✓ {what}");
}

/// The cases and the plugin's manifest name the same tools.
fn every_registered_tool_is_called(cases: &[Case]) -> Result<()> {
    let manifest = fs::read_to_string(root().join("packages").join(plugin::ID).join("openclaw.plugin.json"))?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let registered: BTreeSet<&str> =
        manifest["contracts"]["tools"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let called: BTreeSet<&str> = cases.iter().flat_map(|case| case.tools.iter().copied()).collect();
    ensure!(registered == called, "registered are {registered:?}, called are {called:?}");
    Ok(())
}

/// The answer holds the facts; the ledger holds the calls, by the agent's principal.
fn check(stack: &Stack, case: &Case, turn: &Turn) -> Result<()> {
    for fact in &case.holds {
        ensure!(turn.answer.contains(fact), "the answer does not hold «{fact}»");
    }
    let user = stack.identity().uid();
    let name = nix::unistd::User::from_uid(user.into())?.map_or_else(|| user.to_string(), |user| user.name);
    let principal = format!("agent:{name}/main:e2e");
    ensure!(
        turn.events.len() == case.records.len(),
        "{} events were recorded, {} calls were expected",
        turn.events.len(),
        case.records.len()
    );
    // Calls of one step are made at the same time; their order on the ledger is agentd's.
    for (kind, piece) in &case.records {
        let Some(event) = turn
            .events
            .iter()
            .find(|event| event.kind.as_str() == *kind && event.payload.get().contains(piece.as_str()))
        else {
            bail!("no {kind} event with {piece} was recorded");
        };
        ensure!(
            event.actor.as_str() == principal,
            "event {} is by {}, not by {principal}",
            event.id,
            event.actor
        );
    }
    Ok(())
}

/// The gateway runs as the user it should, and that user reaches the agent's socket and not the operator's.
fn the_gateway_is_confined(stack: &Stack, runtime: &Runtime) -> Result<()> {
    let process = stack.gateway().part.process();
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Vec<&str> {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
            .split_whitespace()
            .collect()
    };
    let user = stack.identity().uid().to_string();
    ensure!(field("Uid:").iter().all(|number| *number == user), "the gateway runs as {:?}", field("Uid:"));
    let Identity::Separate(number) = stack.identity() else {
        passed("the gateway runs as the user who started it");
        return Ok(());
    };
    ensure!(field("Groups:").is_empty(), "the gateway is in the groups {:?}", field("Groups:"));
    ensure!(field("NoNewPrivs:") == ["1"], "the gateway may gain privileges");
    let connects = |socket: &Path| -> Result<String> {
        let script = "require('node:net').connect(process.argv[1]).on('connect', () => { console.log('connected'); \
                      process.exit() }).on('error', (error) => console.log(error.code))";
        let mut command = Command::new(runtime.node());
        command.args(["-e", script]).arg(socket).current_dir("/").env_clear().uid(number).gid(number);
        Ok(output(&mut command)?.trim().to_owned())
    };
    let agent = connects(&stack.places().agent_socket())?;
    ensure!(agent == "connected", "the gateway's user cannot reach the agent's socket: {agent}");
    let operator = connects(&stack.places().operator_socket())?;
    ensure!(operator == "EACCES", "the gateway's user at the operator's socket: {operator}");
    passed("the gateway runs as a user of its own, which reaches the agent's socket and not the operator's");
    Ok(())
}

/// Runs agentctl on the operator's socket, as whoever started the stack.
fn the_person_does(stack: &Stack, binaries: &Binaries, arguments: &[&str]) -> Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(binaries.agentctl());
    command.arg("--socket").arg(stack.places().operator_socket()).args(arguments);
    output(&mut command)?;
    passed(&format!("the person: agentctl {}", arguments.join(" ")));
    Ok(())
}

fn what_was_denied_or_taken_back_is_not_there(machine: &Machine) -> Result<()> {
    for path in [machine.note(), machine.refused_folder(), machine.previewed_folder()] {
        ensure!(!path.exists(), "{} is there", path.display());
    }
    passed("what was denied was not made, and what was taken back is gone");
    Ok(())
}

/// What the agent was asked to remember stands in a markdown file.
fn what_is_remembered_is_a_file(stack: &Stack, machine: &Machine) -> Result<()> {
    let mut folders = vec![stack.places().memory()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md")
                && fs::read_to_string(&path)?.contains(&machine.word)
            {
                passed("what is remembered stands in a markdown file");
                return Ok(());
            }
        }
    }
    bail!("no markdown file of {} holds {}", stack.places().memory().display(), machine.word)
}

/// The chat of an installed machine has a turn with this gateway, and shows what the turn recorded.
fn a_person_talks_through_agentctl(stack: &Stack, binaries: &Binaries) -> Result<()> {
    let mut command = up::chat::command(stack, binaries)?;
    command.args(["--json", "--session", "person", "--say", "What is eating the memory?"]);
    let turn: Value = serde_json::from_str(&output(&mut command)?)?;
    let answer = turn["answer"].as_str().unwrap_or_default();
    ensure!(answer.contains("memory are in use"), "agentctl's chat was answered:\n{answer}");
    let events = turn["events"].as_array().context("agentctl's chat shows no list of events")?;
    let by_session =
        |event: &Value| event["actor"].as_str().is_some_and(|actor| actor.ends_with("/main:person"));
    ensure!(
        !events.is_empty() && events.iter().all(by_session),
        "agentctl's chat shows as its events {events:?}"
    );
    passed(&format!("a person talks through agentctl chat ({} events)", events.len()));
    Ok(())
}

/// OpenClaw's own checks of the plugin and the skill.
fn openclaw_finds_nothing_wrong(stack: &Stack, runtime: &Runtime) -> Result<()> {
    let step = Step::begin("asking OpenClaw about the plugin and the skill");
    let ask = |arguments: &[&str]| -> Result<String> {
        let mut command = gateway::command(runtime, stack.places());
        command.args(arguments);
        if let Identity::Separate(number) = stack.identity() {
            command.uid(number).gid(number);
        }
        output(&mut command)
    };
    let inspected: Value =
        serde_json::from_str(&ask(&["plugins", "inspect", plugin::ID, "--runtime", "--json"])?)
            .context("`plugins inspect` does not answer JSON")?;
    ensure!(inspected["plugin"]["status"] == "loaded", "the plugin is {}", inspected["plugin"]["status"]);
    let problems = inspected["diagnostics"].as_array().is_none_or(Vec::is_empty);
    ensure!(problems, "the plugin has diagnostics: {}", inspected["diagnostics"]);
    let doctor = ask(&["plugins", "doctor"])?;
    ensure!(doctor.contains("checks passed"), "`plugins doctor` says:\n{doctor}");
    let skills: Value = serde_json::from_str(&ask(&["skills", "list", "--json"])?)
        .context("`skills list` does not answer JSON")?;
    let skill = skills["skills"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|skill| skill["name"] == "system-monitor")
        .context("OpenClaw does not list the skill system-monitor")?;
    ensure!(skill["eligible"] == true, "the skill is not ready: {skill}");
    step.done();
    Ok(())
}
