//! The quotas of callers: a caller that goes round in circles is told to wait, and that is recorded once, not each time.

use agentos_api::{Code, Problem};
use agentos_policy::{QuotaReached, Spend};
use serde_json::json;

use crate::app::App;
use crate::caller::Caller;
use crate::judge::{now, of};

impl App {
    /// Counts what the caller is about to use. Nothing of the machine is looked at before, so refusing costs next to nothing.
    ///
    /// # Errors
    /// `quota_reached`, and `ledger_unavailable` where the first refusal of a window cannot be recorded.
    pub(crate) async fn spend(&self, caller: &Caller, spend: Spend) -> Result<(), Problem> {
        let loaded = self.policy.now();
        let (role, actor) = (of(caller.role), caller.actor.as_str());
        let taken = self.policy.quotas().take(&loaded.policy, role, actor, spend, now().seconds);
        let Err(reached) = taken else { return Ok(()) };
        if reached.first {
            let event = json!({
                "quota": reached.which.as_str(),
                "principal": reached.principal,
                "limit": reached.limit,
                "policy": loaded.on_record(),
            });
            self.record(caller, "quota.reached", &event).await?;
        }
        Err(problem(&reached))
    }
}

fn problem(reached: &QuotaReached) -> Problem {
    let next = match reached.retry_after {
        Some(1) => "There is room again in a second.".to_owned(),
        Some(seconds) => format!("There is room again in {seconds} seconds."),
        None => "Waiting alone makes no room.".to_owned(),
    };
    let hint = format!(
        "{next} Do not repeat what was asked already: look at the answers you have, or tell the person what you are after. Who operates the machine can change the limit in the policy ([quota.\"{}\"]).",
        reached.principal
    );
    Problem::new(Code::QUOTA_REACHED, reached.to_string())
        .with_hint(hint)
        .with_retry_after(reached.retry_after)
}
