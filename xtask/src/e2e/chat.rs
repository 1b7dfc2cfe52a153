//! A yes through the chat of the real gateway: only as a command, only from an owner, only with the code, and never because
//! the model wants it.

use std::process::Command;

use agentos_api::change::Status;
use agentos_client::gateway::Conversation;
use anyhow::{Context, Result, ensure};

use super::machine::Machine;
use super::passed;
use crate::command::output;
use crate::runtime::Runtime;
use crate::up::stack::Stack;

const SCRIPT: &str = include_str!("typed.mjs");
/// The scopes of a client that may talk, and of one that may also say yes.
const TALKS: &str = "operator.read,operator.write";
const OWNS: &str = "operator.read,operator.write,operator.approvals";

/// The person says yes to a change in the chat, after everything else that looks like it was refused.
///
/// # Errors
/// With the first thing that is not as it should be.
pub(super) async fn a_yes_comes_through_it(
    stack: &mut Stack,
    runtime: &Runtime,
    machine: &Machine,
    conversation: &mut Conversation,
) -> Result<()> {
    let note = machine.chat_note();
    let asked = stack.turn(conversation, &format!("Write {} to {}", machine.word, note.display())).await?;
    ensure!(asked.answer.contains("waits for your yes"), "the agent was answered:\n{}", asked.answer);
    let waiting = stack.client().approvals().await?.changes;
    let id = waiting.first().context("nothing waits")?.id;
    let code = stack.client().change(id).await?.chat_code.context("the person sees no code")?;
    ensure!(!asked.answer.contains(&code), "the agent was told the code");

    // Said to the agent it is a sentence like any other: no tool leads there.
    let yes = format!("/agentos approve {id} {code}");
    let turn = stack.turn(conversation, &yes).await?;
    still_waits(stack, id, &turn.answer).await?;
    ensure!(
        turn.events.iter().all(|event| !event.kind.as_str().starts_with("approval.")),
        "the agent tried: {:?}",
        turn.events
    );
    passed("the code said to the agent is no yes");

    let answer = typed(stack, runtime, TALKS, &yes)?;
    ensure!(answer.contains("requires gateway scope"), "a client that owns nothing was answered: {answer}");
    still_waits(stack, id, &answer).await?;
    passed("the command from somebody who is no owner is refused by the gateway");

    let answer = typed(stack, runtime, OWNS, &format!("/agentos approve {id} 0000-0000"))?;
    ensure!(answer.contains("not the code"), "a wrong code was answered: {answer}");
    still_waits(stack, id, &answer).await?;
    let answer = typed(stack, runtime, OWNS, &yes)?;
    ensure!(answer.contains(&format!("Change {id} is applied")), "the yes was answered: {answer}");
    ensure!(std::fs::read_to_string(&note)?.contains(&machine.word), "{} is not written", note.display());
    let decided = stack.client().change(id).await?.decided.context("nobody decided")?;
    ensure!(decided.by.starts_with("chat:"), "the record says it was {}", decided.by);
    passed(&format!("an owner says yes in the chat with the code, and the record says so ({})", decided.by));
    Ok(())
}

async fn still_waits(stack: &Stack, id: u64, answer: &str) -> Result<()> {
    let change = stack.client().change(id).await?;
    ensure!(change.status == Status::Waiting, "change {id} is {}, after:\n{answer}", change.status.as_str());
    Ok(())
}

/// What the chat answers to a message of a client with these scopes.
fn typed(stack: &Stack, runtime: &Runtime, scopes: &str, message: &str) -> Result<String> {
    let gateway = stack.gateway();
    let mut command = Command::new(runtime.node());
    command
        .args(["--input-type=module", "--eval", SCRIPT, "--"])
        .args([&format!("ws://{}", gateway.address), scopes, "agent:main:chat", message])
        .current_dir("/")
        .env_clear()
        .env("OPENCLAW_GATEWAY_TOKEN", &gateway.token);
    output(&mut command)
}
