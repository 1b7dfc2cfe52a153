//! Has people asked about a question that a rule of the policy asks about.

use std::sync::Arc;

use agentos_api::question::Question;
use agentos_api::{Code, Problem};
use agentos_changes::{ChangesError, Consent};

use crate::app::App;
use crate::caller::Caller;
use crate::changes::may_wait;
use crate::chat::Waiting;
use crate::judge::Judge;
use crate::problem::changes_problem;

impl App {
    /// Finds out whether a person agreed to a question, and notes that they did. Where nobody was asked, they are now.
    ///
    /// # Errors
    /// `approval_required` with the number under which it waits, `approval_denied`, `quota_reached`, `busy`, and the ledger's.
    pub(crate) async fn agree(self: &Arc<Self>, caller: &Caller, judge: &Arc<Judge>) -> Result<(), Problem> {
        let (app, judged, who) = (Arc::clone(self), Arc::clone(judge), caller.clone());
        let consent = self
            .change(caller, move |changes| {
                let may_wait = |already| may_wait(&app, judged.policy(), (who.role, &who.actor), already);
                match judged.ask(|asking| changes.consent(asking, &may_wait)) {
                    Err(ChangesError::Invalid { reason, .. }) => Ok(Err(reason)),
                    consent => consent.map(Ok),
                }
            })
            .await?;
        match consent {
            Ok(Consent::Given(yes)) => {
                judge.agreed(yes);
                Ok(())
            }
            Ok(Consent::Waits { question, new }) => {
                if new {
                    self.notifier.something_waits(Waiting::Question(&question), &self.chat);
                }
                Err(waits(judge, &question))
            }
            Ok(Consent::Denied(question)) => Err(denied(&question)),
            // It cannot be shown to a person, so it is refused like what is kept.
            Err(reason) => {
                let Some((mut problem, event)) = judge.refusal() else {
                    return Err(changes_problem(&ChangesError::Busy(reason)));
                };
                self.record(caller, "policy.denied", &event).await?;
                problem.detail = format!("{}; {reason}", problem.detail);
                Err(problem)
            }
        }
    }
}

fn waits(judge: &Judge, question: &Question) -> Problem {
    let id = question.id;
    let asked = judge.refusal().map_or_else(String::new, |(problem, _)| format!("{}; ", problem.detail));
    let detail = format!("{asked}it waits for that yes as number {id}, until {}", question.expires);
    Problem::new(Code::APPROVAL_REQUIRED, detail).with_approval(Some(id)).with_hint(format!(
        "The person looks at it with `agentctl approvals show {id}` and says yes with `agentctl approvals approve {id}` or no \
         with `agentctl approvals deny {id}`. Tell them that, and stop. When they say that they said yes, ask exactly the \
         same again: it is answered once. Asking before that, or in another way, changes nothing."
    ))
}

fn denied(question: &Question) -> Problem {
    let decided = question.decided.as_ref();
    let by = decided.map_or("a person", |decided| decided.by.as_str());
    let reason = decided.and_then(|decided| decided.reason.as_deref()).unwrap_or("they gave no reason");
    let detail =
        format!("{by} said no to this question (number {}): {}", question.id, reason.trim_end_matches('.'));
    Problem::new(Code::APPROVAL_DENIED, detail).with_approval(Some(question.id)).with_hint(format!(
        "Tell the person, and do not ask for it in another way. It is not asked about again before {}.",
        question.expires
    ))
}
