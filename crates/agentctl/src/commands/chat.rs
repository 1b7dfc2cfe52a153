//! `agentctl chat`: talking to the agent, and seeing what that caused on the record.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use agentos_api::event::Event;
use agentos_client::gateway::{Access, AccessError, Conversation, GatewayError, Session};
use agentos_client::{Client, ClientError};
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::input::Lines;
use crate::membership;
use crate::output::{Cell, Output, Style};
use crate::view;

/// What `agentos-setup` writes for those who may talk to the agent.
const GATEWAY: &str = "/var/lib/agentos-gateway/operator.json";
/// A file of this name beside it says that no model answers, but a script.
const SCRIPTED: &str = "scripted";
/// Longest line of an event that is shown, in characters.
const LONGEST_EVENT: usize = 110;
/// Most events of a turn that are shown to a person.
const MOST_SHOWN: usize = 100;

/// Talks to the agent; after each answer shows the events of the ledger that it caused.
///
/// Each run is a session of its own, in which the agent knows what was said before; --session goes on with an older
/// one. /quit, Ctrl-D or Ctrl-C ends it. The agent may think for up to ten minutes, whatever --timeout says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl chat\n  \
    agentctl chat --say 'what is eating the memory?'\n  \
    agentctl chat --say 'is any service failing?' --json\n  \
    agentctl chat --session terminal-1795371560-4242")]
pub(crate) struct Arguments {
    /// Say only this, and end after the answer
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,
    /// The session to begin or to go on with
    #[arg(long, value_name = "NAME")]
    session: Option<Session>,
    /// The file with the address and the token of the agent's gateway
    #[arg(long, value_name = "FILE", default_value = GATEWAY)]
    gateway: PathBuf,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let wrong = |message: &str| Err(CliError::with_exit(message, Exit::Usage));
    match &arguments.say {
        None if context.output.json => return wrong("--json is for one turn: give it with --say TEXT"),
        Some(text) if text.trim().is_empty() => return wrong("--say: there is nothing to say"),
        _ => {}
    }
    let mut chat = Chat {
        conversation: Conversation::new(
            access(&arguments.gateway)?,
            match &arguments.session {
                Some(session) => session.clone(),
                None => session_of_this_run()?,
            },
        ),
        scripted: arguments.gateway.with_file_name(SCRIPTED).exists(),
        client: context.client(),
    };
    let output = &mut context.output;
    let ended = tokio::select! {
        ended = chat.run(output, arguments.say.as_deref()) => Some(ended),
        // The conversation is dropped, and with it the turn that the agent was at.
        Ok(()) = tokio::signal::ctrl_c() => None,
    };
    ended.unwrap_or_else(|| {
        output.end_line_of_terminal();
        Err(CliError::Interrupted)
    })
}

fn access(path: &Path) -> Result<Access, CliError> {
    Access::read(path).map_err(|error| {
        let hint = match &error {
            AccessError::Denied { path } => membership::hint(path),
            _ => None,
        };
        let shown = CliError::new(error.to_string()).hint(hint.unwrap_or_else(|| error.hint()));
        match std::error::Error::source(&error) {
            Some(cause) => shown.because(cause),
            None => shown,
        }
    })
}

/// A name that no other run on this machine has: two processes of one second have different numbers.
fn session_of_this_run() -> Result<Session, CliError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Session::new(format!("terminal-{now}-{}", std::process::id()))
        .map_err(|error| CliError::new("cannot name a session").because(&error))
}

/// The agent, and the ledger that it is recorded in.
struct Chat {
    client: Client,
    conversation: Conversation,
    scripted: bool,
}

/// One turn for programs.
#[derive(Serialize)]
struct Turn<'a> {
    session: &'a str,
    scripted: bool,
    answer: String,
    events: Vec<Event>,
}

impl Chat {
    async fn run(&mut self, output: &mut Output, say: Option<&str>) -> Result<Exit, CliError> {
        if output.json {
            return self.turn_for_programs(output, say.unwrap_or_default()).await;
        }
        if self.scripted {
            output.note(
                "The model is scripted: it plays prepared scenes on real results, and thinks nothing. For a real one put \
                 its key into /etc/agentos/model.env and run `sudo agentos-setup`.",
            );
        }
        match say {
            Some(text) => self.turn(output, text).await.map(|()| Exit::Well),
            None => self.talk(output).await,
        }
    }

    /// Takes lines and has a turn for each, until the input ends or `/quit` is said.
    async fn talk(&mut self, output: &mut Output) -> Result<Exit, CliError> {
        // Whoever types wants to know before that nobody would answer, or that nothing would be recorded.
        self.client.newest_event().await?;
        self.conversation.connect().await?;
        let session = self.conversation.session();
        output.note(&format!(
            "This is session {session}; /quit or Ctrl-D ends it, --session {session} goes on with it."
        ));
        let mut lines = Lines::of_stdin();
        loop {
            if lines.typed {
                output.prompt("you › ")?;
            }
            let Some(line) = lines.next().await? else {
                output.end_line_of_terminal();
                return Ok(Exit::Well);
            };
            match line.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(Exit::Well),
                text => match self.turn(output, text).await {
                    // The person decides whether to go on; what a program says next may rest on this turn.
                    Err(CliError::Failed(failure, _)) if lines.typed => output.failure(&failure),
                    turn => turn?,
                },
            }
        }
    }

    /// One turn: the answer as it arrives, then the events it caused.
    async fn turn(&mut self, output: &mut Output, text: &str) -> Result<(), CliError> {
        let before = self.client.newest_event().await?;
        let answered = self.answer(output, text).await;
        if let Err(error @ (CliError::OutputClosed | CliError::Interrupted)) = answered {
            return Err(error);
        }
        // Also a turn that failed may have done something before.
        let events = self.caused_since(before).await;
        match (answered, events) {
            (Ok(()), events) => record(output, &events?),
            (Err(error), Ok(events)) if !events.is_empty() => record(output, &events).and(Err(error)),
            (Err(error), _) => Err(error),
        }
    }

    async fn answer(&mut self, output: &mut Output, text: &str) -> Result<(), CliError> {
        let begin = async {
            let mut answer = self.conversation.say(text).await?;
            let first = answer.next().await;
            Ok::<_, GatewayError>((answer, first))
        };
        let (mut answer, mut piece) = output.while_waiting("waiting for the agent", begin).await?;
        let mut line_is_open = false;
        let ended = loop {
            match piece {
                Ok(Some(text)) => {
                    output.flowing(&text)?;
                    line_is_open = !text.ends_with('\n');
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(CliError::from(error)),
            }
            piece = answer.next().await;
        };
        if line_is_open {
            output.text("")?;
        }
        output.text("")?;
        ended
    }

    async fn turn_for_programs(&mut self, output: &mut Output, text: &str) -> Result<Exit, CliError> {
        let before = self.client.newest_event().await?;
        let answer = self.conversation.say(text).await?.whole().await?;
        let events = self.caused_since(before).await?;
        let session = self.conversation.session().as_str();
        output.json(&Turn { session, scripted: self.scripted, answer, events })?;
        Ok(Exit::Well)
    }

    /// What this session's agent asked and did after the event `before`. Others may use the machine meanwhile.
    async fn caused_since(&self, before: u64) -> Result<Vec<Event>, ClientError> {
        let detail = self.conversation.session().actor_detail();
        let mut events = self.client.events_after(before).await?;
        events.retain(|event| {
            let actor = event.actor.as_str().split_once('/');
            actor.is_some_and(|(principal, below)| principal.starts_with("agent:") && below == detail)
        });
        Ok(events)
    }
}

/// What was written to the ledger.
fn record(output: &mut Output, events: &[Event]) -> Result<(), CliError> {
    if events.is_empty() {
        return output.line(&[Cell::styled("  ledger: nothing was recorded", Style::Dim)]);
    }
    for event in events.iter().take(MOST_SHOWN) {
        let about = format!("{} {}  by {}", event.kind, view::happening(event.payload.get()), event.actor);
        let mut shown: String = about.chars().take(LONGEST_EVENT).collect();
        if shown.len() < about.len() {
            shown.push('…');
        }
        output
            .line(&[Cell::styled(format!("  ledger {:>5}  {}  {shown}", event.id, event.ts), Style::Dim)])?;
    }
    if let Some(last) = events.get(MOST_SHOWN - 1).filter(|_| events.len() > MOST_SHOWN) {
        let rest = events.len() - MOST_SHOWN;
        output.note(&format!("  and {rest} more: `agentctl events --after {}` shows them", last.id));
    }
    Ok(())
}
