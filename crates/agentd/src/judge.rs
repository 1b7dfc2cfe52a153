//! One question before the policy: judged when it is asked, and again when it is known what the file in it is.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use agentos_api::query::QueryRequest;
use agentos_api::query::path::encode;
use agentos_api::{Code, Problem};
use agentos_policy::{Decision, Moment, Request, Subject, Verdict, mask, path_argument};
use agentos_system::{Kept, Rules};
use jiff::Zoned;
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::policy::Loaded;
use crate::principal::Role;

/// The longest command that a person is told to type, in characters.
const LONGEST_COMMAND: usize = 200;

/// A question, and what the policy has said of it so far.
#[derive(Debug)]
pub(crate) struct Judge {
    loaded: Arc<Loaded>,
    role: Role,
    actor: String,
    query: String,
    arguments: Map<String, Value>,
    /// The path it names, as it was asked for.
    asked: Option<Vec<u8>>,
    moment: Moment,
    last: Mutex<Decision>,
    masked: AtomicU64,
}

impl Judge {
    /// Judges a question by what it says.
    pub(crate) fn new(loaded: Arc<Loaded>, caller: &Caller, request: &QueryRequest) -> Arc<Self> {
        let asked = path_argument(&request.args);
        let (role, actor) = (caller.role, caller.actor.as_str().to_owned());
        let (query, arguments) = (request.query.clone(), request.args.clone());
        let moment = now();
        let paths: Vec<Vec<u8>> = asked.iter().cloned().collect();
        let asking = Request {
            role: of(role),
            actor: &actor,
            subject: Subject::Query(&query),
            arguments: &arguments,
            paths: &paths,
            units: &[],
            moment,
        };
        let first = loaded.policy.decide(&asking, &mut loaded.rates(), None);
        let (last, masked) = (Mutex::new(first), AtomicU64::new(0));
        Arc::new(Self { loaded, role, actor, query, arguments, asked, moment, last, masked })
    }

    /// The last decision.
    fn decision(&self) -> Decision {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the caller is told, and what is recorded of it, where it is not answered.
    pub(crate) fn refusal(&self) -> Option<(Problem, Value)> {
        let decision = self.decision();
        let (code, word) = match decision.verdict {
            Verdict::Allow { .. } => return None,
            Verdict::Deny => (Code::POLICY_DENIED, "deny"),
            Verdict::Ask => (Code::APPROVAL_REQUIRED, "ask"),
        };
        let problem = Problem::new(code, self.sentence(&decision)).with_hint(self.hint(&decision));
        let rule = decision.rule.map(|rule| rule.to_string());
        let event = json!({
            "query": self.query,
            "args": self.arguments,
            "decision": word,
            "rule": rule,
            "policy": self.loaded.on_record(),
        });
        Some((problem, event))
    }

    fn sentence(&self, decision: &Decision) -> String {
        let what = match &self.asked {
            Some(path) => format!("the query {} of {}", self.query, encode(path)),
            None => format!("the query {}", self.query),
        };
        let rule = decision.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        let reason = decision
            .reason
            .as_ref()
            .map(|reason| format!(": {}", reason.trim_end_matches('.')))
            .unwrap_or_default();
        let who = self.role.as_str();
        match decision.verdict {
            Verdict::Ask => format!(
                "{what} needs a person's yes when the {who} asks, by {rule} of the policy{reason}. Approvals are not built in this version, so nobody can give it"
            ),
            _ => format!("{what} is kept from the {who} by {rule} of the policy{reason}"),
        }
    }

    fn hint(&self, decision: &Decision) -> String {
        let file = match &self.loaded.file {
            Some(file) => file.display().to_string(),
            None => crate::config::DEFAULT_POLICY.to_owned(),
        };
        let built_in =
            decision.rule.as_ref().is_some_and(|rule| rule.origin == agentos_policy::Origin::BuiltIn);
        let change = if built_in {
            "The rule is part of agentd and cannot be changed.".to_owned()
        } else {
            format!("Who operates the machine can change the rule in {file} (then: systemctl reload agentd).")
        };
        if self.role == Role::Operator {
            return change;
        }
        let read = match self.command() {
            Some(command) => format!("The person can read it: {command} (as a member of agentos-operators)."),
            None => "The person can ask the same on the operator's socket, with agentctl query.".to_owned(),
        };
        format!("{read} {change} Asking again, or in another way, gives the same answer.")
    }

    /// What the person types for the same question; nothing where that would not be plain.
    fn command(&self) -> Option<String> {
        let plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-:@+,".contains(&byte))
        };
        let mut command = format!("agentctl query {}", self.query);
        for (name, value) in &self.arguments {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !plain(name) || !plain(&text) {
                return None;
            }
            command.extend([" ", name, "=", &text]);
        }
        (command.len() <= LONGEST_COMMAND).then_some(command)
    }

    /// The answer as the caller may have it, and how many secrets are masked in it.
    pub(crate) fn shown(&self, answer: Vec<u8>) -> (Vec<u8>, u64) {
        if !self.masks() {
            return (answer, 0);
        }
        let (answer, masked) = mask::json(answer);
        (answer, masked + self.masked.load(Ordering::Relaxed))
    }

    fn masks(&self) -> bool {
        matches!(self.decision().verdict, Verdict::Allow { mask: true })
    }
}

impl Rules for Judge {
    fn judge(&self, names: &[Vec<u8>]) -> Result<(), String> {
        let paths: Vec<Vec<u8>> = self.asked.iter().chain(names).cloned().collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request {
            role: of(self.role),
            actor: &self.actor,
            subject: Subject::Query(&self.query),
            arguments: &self.arguments,
            paths: &paths,
            units: &[],
            moment: self.moment,
        };
        *last = self.loaded.policy.decide(&request, &mut self.loaded.rates(), Some(&last));
        match last.verdict {
            Verdict::Allow { .. } => Ok(()),
            Verdict::Ask | Verdict::Deny => Err(self.sentence(&last)),
        }
    }

    fn kept(&self) -> &Kept {
        self.loaded.kept(self.role)
    }

    fn mask(&self, content: &[u8], part: Range<usize>) -> Option<Vec<u8>> {
        if !self.masks() {
            return None;
        }
        let secrets: Vec<mask::Secret> = mask::find(content)
            .into_iter()
            .filter(|secret| secret.range.start < part.end && part.start < secret.range.end)
            .collect();
        self.masked.fetch_add(secrets.len() as u64, Ordering::Relaxed);
        (!secrets.is_empty()).then(|| mask::replace(content, part, &secrets))
    }
}

pub(crate) const fn of(role: Role) -> agentos_policy::Role {
    match role {
        Role::Agent => agentos_policy::Role::Agent,
        Role::Operator => agentos_policy::Role::Operator,
    }
}

/// Now, as rules ask for it: by the wall clock of the people at this machine, and by one that does not go back.
pub(crate) fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let local = Zoned::now();
    let weekday = u8::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or_default();
    // Two days are before the start: what the record has of them is counted too.
    let seconds = 2 * 86_400 + START.get_or_init(Instant::now).elapsed().as_secs();
    Moment { weekday, minute, seconds }
}
