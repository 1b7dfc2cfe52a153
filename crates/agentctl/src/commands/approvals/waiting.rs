//! What waits under a number: a change or a question. Both are counted together, so that a number means one of them.

use agentos_api::Code;
use agentos_api::change::{Change, DecideRequest, Status};
use agentos_api::question::{Question, Standing};
use agentos_client::{Client, ClientError};

use crate::commands::making::{refused, tell};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::view;

/// What waits, whole.
pub(super) enum Waiting {
    Change(Change),
    Question(Question),
}

impl Waiting {
    /// What has that number.
    pub(super) async fn of(client: &Client, number: u64) -> Result<Self, ClientError> {
        let missing = match client.change(number).await {
            Ok(change) => return Ok(Self::Change(change)),
            Err(error) if is_missing(&error) => error,
            Err(error) => return Err(error),
        };
        match client.question(number).await {
            Ok(question) => Ok(Self::Question(question)),
            Err(error) if is_missing(&error) => Err(missing),
            Err(error) => Err(error),
        }
    }

    /// The hash that a yes is for.
    pub(super) fn hash(&self) -> &str {
        match self {
            Self::Change(change) => &change.plan.hash,
            Self::Question(question) => &question.hash,
        }
    }

    /// How it stands, where it does not wait any more.
    pub(super) fn stands(&self) -> Option<String> {
        match self {
            Self::Change(change) if change.status == Status::Waiting => None,
            Self::Question(question) if question.status == Standing::Waiting => None,
            Self::Change(change) => {
                Some(format!("Change {} is {} meanwhile.", change.id, change.status.as_str()))
            }
            Self::Question(question) => {
                Some(format!("Question {} is {} meanwhile.", question.id, question.status.as_str()))
            }
        }
    }

    /// Shows all of it.
    pub(super) fn show(&self, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Change(change) => view::change::change(output, change),
            Self::Question(question) => view::question::question(output, question),
        }
    }

    /// Sends a yes or no, and answers what became of it.
    pub(super) async fn decide(
        &self,
        client: &Client,
        output: &Output,
        request: &DecideRequest,
    ) -> Result<Self, ClientError> {
        match self {
            Self::Change(change) => {
                let decided = client.decide(change.id, request);
                output.while_waiting("making the change", decided).await.map(Self::Change)
            }
            Self::Question(question) => {
                client.decide_question(question.id, request).await.map(Self::Question)
            }
        }
    }

    /// Says what became of a decision, and the exit code for it.
    pub(super) fn tell(&self, output: &mut Output) -> Result<Exit, CliError> {
        let question = match self {
            Self::Change(change) => return tell(output, change),
            Self::Question(question) => question,
        };
        if output.json {
            output.json(question)?;
            return Ok(Exit::Well);
        }
        let mut status = view::question::status(question.status);
        status.text = format!("Question {} is {}", question.id, question.status.as_str());
        output.line(&[status])?;
        if question.status == Standing::Approved {
            output.text("Tell the agent to ask again: it is answered once.")?;
        }
        Ok(Exit::Well)
    }
}

fn is_missing(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.code == Code::NOT_FOUND)
}

/// What became of a decision that a person made among others: that one does not work out does not end the rest.
pub(super) fn say(output: &mut Output, decided: Result<Waiting, ClientError>) -> Result<(), CliError> {
    match decided {
        Ok(waiting) => waiting.tell(output).map(drop),
        Err(error) if error.is_transport() => Err(error.into()),
        Err(error) => {
            if let CliError::Failed(failure, _) = refused(error) {
                output.failure(&failure);
            }
            Ok(())
        }
    }
}
