//! The chat on the terminal, and how a turn and its record are shown there.

use std::io::{BufRead as _, Write as _};

use agentos_api::event::Event;
use anyhow::Result;
use tokio::sync::mpsc;

use super::stack::Stack;

/// Longest line of an event that is shown, in characters.
const WIDTH: usize = 110;

/// Takes lines from the terminal and has a turn for each, until the input ends or `/quit` is said.
///
/// # Errors
/// When a part of the stack ends. A turn that fails is told and the chat goes on.
pub(crate) async fn run(stack: &mut Stack, session: &str) -> Result<()> {
    let mut conversation = stack.conversation(session);
    let mut lines = lines();
    let mut watch = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        print!("\nyou › ");
        std::io::stdout().flush()?;
        let line = loop {
            tokio::select! {
                line = lines.recv() => break line,
                _ = watch.tick() => stack.check()?,
            }
        };
        let Some(line) = line else {
            println!();
            return Ok(());
        };
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => return Ok(()),
            text => match stack.turn(&mut conversation, text, show).await {
                Ok(turn) => {
                    println!();
                    record(&turn.events);
                }
                Err(error) => {
                    stack.check()?;
                    println!("\nthat turn failed: {error:#}");
                }
            },
        }
    }
}

/// One turn: the answer, then the events it caused.
///
/// # Errors
/// When the turn fails.
pub(crate) async fn once(stack: &mut Stack, session: &str, text: &str) -> Result<()> {
    let mut conversation = stack.conversation(session);
    let turn = stack.turn(&mut conversation, text, show).await?;
    println!("\n");
    record(&turn.events);
    Ok(())
}

/// A piece of an answer. A model may say anything; the terminal gets no control characters from it.
fn show(piece: &str) {
    print!("{}", plain(piece));
    let _ = std::io::stdout().flush();
}

/// What was written to the ledger.
fn record(events: &[Event]) {
    if events.is_empty() {
        println!("  ledger: nothing was recorded");
        return;
    }
    for event in events {
        let line = format!("{} {}  by {}", event.kind, detail(event), event.actor);
        let mut shown: String = plain(&line).chars().take(WIDTH).collect();
        if line.chars().count() > WIDTH {
            shown.push('…');
        }
        println!("  ledger {:>5}  {}  {shown}", event.id, event.ts);
    }
}

/// What the event is about: the part of its payload that its other columns do not repeat.
fn detail(event: &Event) -> String {
    let whole = event.payload.to_value().unwrap_or_default();
    let Some(data) = whole.get("data") else { return event.payload.get().to_owned() };
    match (data.get("query").and_then(|query| query.as_str()), data.get("args")) {
        (Some(query), Some(arguments)) => format!("{query} {arguments}"),
        _ => data.to_string(),
    }
}

/// The text without control characters except for line breaks and tabs.
fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

/// The lines of standard input. A thread of its own reads them; it ends with the process.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(plain("a\u{1b}[31mb\r\n\tc\u{9b}"), "a[31mb\n\tc");
    }
}
