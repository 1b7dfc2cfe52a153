//! Who says whether a change is made, waits, or is refused: the policy, which this crate does not know.

use agentos_api::change::Step;
use agentos_system::change::Prepared;

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// A person is asked.
    Ask,
    /// It is refused.
    Deny,
}

/// What the policy says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What it says.
    pub verdict: Verdict,
    /// The rule, as people name it.
    pub rule: Option<String>,
    /// Why, in the rule's words.
    pub reason: Option<String>,
    /// What decided: the same for as long as the rule says the same. A yes for a while is a yes to this.
    pub id: String,
    /// A yes may not come through a chat.
    pub operator_only: bool,
}

/// Holds a plan against the policy.
pub trait Judge {
    /// What the policy says of the steps, planned as `prepared`. With several steps, the strictest.
    ///
    /// # Errors
    /// A sentence, where a quota is used up: the change is not taken.
    fn judge(&self, steps: &[Step], prepared: &Prepared) -> Result<Ruling, String>;
}
