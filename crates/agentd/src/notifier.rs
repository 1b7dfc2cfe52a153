//! Tells the person that something waits: a line in the log, one on their terminals, and a command of their choosing.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use agentos_api::question::Question;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::chat::{Chat, Waiting};
use crate::terminals::Terminals;

/// How long the command may take.
const TIME: Duration = Duration::from_secs(10);
/// Commands that run at once.
const AT_ONCE: usize = 2;
/// Commands that run or wait to; what begins to wait beside so many others is one more of a list that the person knows of.
const MOST: usize = 64;

/// The environment in which the command runs. The agent's words are in it: control characters are no part of them.
fn environment(waiting: Waiting<'_>, code: Option<String>) -> Vec<(&'static str, String)> {
    let mut environment = match waiting {
        Waiting::Change(change) => vec![
            ("AGENTOS_CHANGE", change.id.to_string()),
            ("AGENTOS_RISK", change.plan.risk.as_str().to_owned()),
            ("AGENTOS_SUMMARY", plain(&change.plan.summary)),
            ("AGENTOS_REASON", plain(&change.reason)),
        ],
        Waiting::Question(question) => vec![
            ("AGENTOS_QUESTION", question.id.to_string()),
            ("AGENTOS_RISK", "read".to_owned()),
            ("AGENTOS_SUMMARY", plain(&summary(question))),
            ("AGENTOS_REASON", plain(question.because.as_deref().unwrap_or_default())),
        ],
    };
    environment.extend(code.map(|code| ("AGENTOS_CODE", code)));
    environment
}

/// What a terminal shows: what a person types stands before the agent's words, and is never cut.
fn announcement(waiting: Waiting<'_>) -> String {
    let id = waiting.id();
    match waiting {
        Waiting::Change(change) => format!(
            "change {id} ({} risk) waits for your yes, agentctl approvals show {id}: {}",
            change.plan.risk.as_str(),
            change.plan.summary
        ),
        Waiting::Question(question) => {
            format!("question {id} waits for your yes, agentctl approvals show {id}: {}", summary(question))
        }
    }
}

/// A question in a line: the query and its arguments.
fn summary(question: &Question) -> String {
    let args = serde_json::Value::Object(question.args.clone());
    format!("asks {} {args}", question.query)
}

/// Who is told, and how.
#[derive(Debug)]
pub(crate) struct Notifier {
    command: Vec<PathBuf>,
    /// Terminals that get a line; nothing where none shall.
    terminals: Option<Arc<Terminals>>,
    running: Arc<Semaphore>,
    begun: Arc<Semaphore>,
}

impl Notifier {
    /// With a program by its absolute path and its arguments, or none.
    pub(crate) fn new(command: Vec<PathBuf>, terminals: Option<Arc<Terminals>>) -> Self {
        Self {
            command,
            terminals,
            running: Arc::new(Semaphore::new(AT_ONCE)),
            begun: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// Something waits for a yes. Returns at once.
    pub(crate) fn something_waits(&self, waiting: Waiting<'_>, chat: &Chat) {
        match waiting {
            Waiting::Change(change) => tracing::info!(
                change = change.id,
                risk = change.plan.risk.as_str(),
                "a change waits for a yes: agentctl approvals show {}",
                change.id
            ),
            Waiting::Question(question) => tracing::info!(
                question = question.id,
                "a question waits for a yes: agentctl approvals show {}",
                question.id
            ),
        }
        if let Some(terminals) = &self.terminals {
            terminals.tell(&announcement(waiting));
        }
        self.tell(&environment(waiting, chat.code(waiting)));
    }

    /// A quota is reached: the agent pauses unless the person lifts it, with that command. Returns at once.
    pub(crate) fn quota_reached(&self, which: &str, lift: &str) {
        tracing::info!("{which}; to lift it for a while: {lift}");
        self.tell(&[("AGENTOS_QUOTA", plain(which)), ("AGENTOS_LIFT", plain(lift))]);
    }

    fn tell(&self, variables: &[(&str, String)]) {
        let Some((program, arguments)) = self.command.split_first() else { return };
        let Ok(place) = Arc::clone(&self.begun).try_acquire_owned() else { return };
        let running = Arc::clone(&self.running);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        tokio::spawn(async move {
            let _place = place;
            let Ok(_running) = running.acquire().await else { return };
            let ended = match command.spawn() {
                Ok(mut child) => tokio::time::timeout(TIME, child.wait()).await,
                Err(error) => {
                    tracing::warn!("approvals.notify cannot be started: {error}");
                    return;
                }
            };
            match ended {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => tracing::warn!("approvals.notify failed: {status}"),
                Ok(Err(error)) => tracing::warn!("approvals.notify failed: {error}"),
                Err(_) => {
                    tracing::warn!("approvals.notify took longer than {} s, and was ended", TIME.as_secs());
                }
            }
        });
    }
}

fn plain(text: &str) -> String {
    text.chars().take(500).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_agents_are_one_plain_line() {
        assert_eq!(plain("a\n\u{1b}[31mb\0"), "a  [31mb ");
        assert_eq!(plain(&"x".repeat(900)).len(), 500);
    }
}
