//! One question before the policy: judged when it is asked, and again when it is known what the file in it is.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use agentos_api::event::Actor;
use agentos_api::query::path::encode;
use agentos_api::query::{Query, QueryRequest, Shell};
use agentos_api::{Code, Problem};
use agentos_changes::{Asking, Yes};
use agentos_policy::{Decision, Moment, Rates, Request, Subject, Verdict, mask, path_argument};
use agentos_system::{Kept, Rules};
use jiff::Zoned;
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::policy::Loaded;
use crate::principal::Role;

/// The longest command that a person is told to type, in characters.
const LONGEST_COMMAND: usize = 200;

/// A question, and what the policy and people have said of it so far.
#[derive(Debug)]
pub(crate) struct Judge {
    loaded: Arc<Loaded>,
    role: Role,
    actor: Actor,
    query: String,
    arguments: Map<String, Value>,
    /// The path it names, as it was asked for.
    asked: Option<Vec<u8>>,
    moment: Moment,
    said: Mutex<Said>,
    masked: AtomicU64,
}

/// What was said of a question so far.
#[derive(Debug)]
struct Said {
    /// By the policy, last.
    decision: Decision,
    /// Each rule that asked about it, by what it says; the last one last.
    rules: Vec<String>,
    /// One of them wants the operator's own socket.
    operator_only: bool,
    /// The names of the file in it by which the policy keeps it.
    names: Vec<String>,
    /// By people.
    agreed: Vec<Yes>,
}

/// How a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It is answered.
    Open,
    /// A person has to say yes first.
    Asked,
    /// It is refused.
    Kept,
}

impl Judge {
    /// Judges a question by what it says.
    pub(crate) fn new(loaded: Arc<Loaded>, caller: &Caller, request: &QueryRequest) -> Arc<Self> {
        Self::of(loaded, (caller.role, caller.actor.clone()), &request.query, request.args.clone())
    }

    fn of(
        loaded: Arc<Loaded>,
        (role, actor): (Role, Actor),
        query: &str,
        arguments: Map<String, Value>,
    ) -> Arc<Self> {
        let asked = path_argument(&arguments);
        let query = query.to_owned();
        let moment = now();
        let paths: Vec<Vec<u8>> = asked.iter().cloned().collect();
        let asking = Request {
            role: of(role),
            actor: actor.as_str(),
            subject: Subject::Query(&query),
            arguments: &arguments,
            paths: &paths,
            units: &[],
            moment,
        };
        let decision = loaded.policy.decide(&asking, &mut loaded.rates(), None);
        let said =
            Said { decision, rules: Vec::new(), operator_only: false, names: Vec::new(), agreed: Vec::new() };
        let (said, masked) = (Mutex::new(said), AtomicU64::new(0));
        let judge = Self { loaded, role, actor, query, arguments, asked, moment, said, masked };
        judge.note(&mut judge.said(), &paths);
        Arc::new(judge)
    }

    /// The rules that hold for the files that are read for the answer: its own, unless it is a command, which may open any.
    pub(crate) fn for_files(self: &Arc<Self>) -> Arc<dyn Rules> {
        if self.query == Shell::NAME { Arc::new(Files { whole: Arc::clone(self) }) } else { self.clone() }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands now.
    pub(crate) fn stand(&self) -> Stand {
        self.said().stand()
    }

    /// A person said yes.
    pub(crate) fn agreed(&self, yes: Yes) {
        self.said().agreed.push(yes);
    }

    /// The numbers of the questions and the grants by which it is answered, as far as people were asked.
    pub(crate) fn by(&self) -> (Option<u64>, Option<u64>) {
        let said = self.said();
        let last = |for_a_while| {
            said.agreed.iter().rfind(|yes| yes.for_a_while == for_a_while).map(|yes| yes.number)
        };
        (last(false), last(true))
    }

    /// Hands what is to be asked to `ask`.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&Asking<'_>) -> T) -> T {
        let (decision, rules, names, operator_only) = {
            let said = self.said();
            (said.decision.clone(), said.rules.clone(), said.names.clone(), said.operator_only)
        };
        ask(&Asking {
            actor: &self.actor,
            query: &self.query,
            args: &self.arguments,
            rules: &rules,
            rule: decision.rule.map(|rule| rule.to_string()),
            because: decision.reason,
            operator_only,
            names: &names,
        })
    }

    /// The policy that judges.
    pub(crate) fn policy(&self) -> &Loaded {
        &self.loaded
    }

    /// Notes who asks about it, and by which names the policy keeps the file in it.
    fn note(&self, said: &mut Said, paths: &[Vec<u8>]) {
        if said.decision.verdict != Verdict::Ask {
            return;
        }
        let rule = said.decision.id.as_str().to_owned();
        said.rules.retain(|known| *known != rule);
        said.rules.push(rule);
        said.operator_only |= said.decision.operator_only;
        let mut names: Vec<String> =
            paths.iter().filter(|path| !self.allows(path)).map(|path| encode(path)).collect();
        names.sort_unstable();
        names.dedup();
        said.names = names;
    }

    /// Whether the policy allows the question of a file that has this name alone.
    fn allows(&self, path: &[u8]) -> bool {
        let request = Request {
            role: of(self.role),
            actor: self.actor.as_str(),
            subject: Subject::Query(&self.query),
            arguments: &self.arguments,
            paths: &[path.to_vec()],
            units: &[],
            moment: self.moment,
        };
        // Nothing is let through by this, so it counts for no rate.
        let decision = self.loaded.policy.decide(&request, &mut Rates::default(), None);
        matches!(decision.verdict, Verdict::Allow { .. })
    }

    /// What the caller is told, and what is recorded of it, where the policy keeps it or asks about it.
    pub(crate) fn refusal(&self) -> Option<(Problem, Value)> {
        let decision = self.said().decision.clone();
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
            Verdict::Ask => {
                format!("{what} needs a person's yes when the {who} asks, by {rule} of the policy{reason}")
            }
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
        match self.said().decision.verdict {
            Verdict::Allow { mask } => mask,
            // A yes is to the question, not to the secrets in its answer.
            Verdict::Ask | Verdict::Deny => true,
        }
    }
}

impl Said {
    fn stand(&self) -> Stand {
        match self.decision.verdict {
            Verdict::Allow { .. } => Stand::Open,
            Verdict::Deny => Stand::Kept,
            Verdict::Ask => {
                let covered =
                    self.agreed.iter().any(|yes| yes.covers(self.decision.id.as_str(), &self.names));
                if covered { Stand::Open } else { Stand::Asked }
            }
        }
    }
}

impl Rules for Judge {
    fn judge(&self, names: &[Vec<u8>]) -> Result<(), String> {
        let paths: Vec<Vec<u8>> = self.asked.iter().chain(names).cloned().collect();
        let mut said = self.said();
        let request = Request {
            role: of(self.role),
            actor: self.actor.as_str(),
            subject: Subject::Query(&self.query),
            arguments: &self.arguments,
            paths: &paths,
            units: &[],
            moment: self.moment,
        };
        said.decision = self.loaded.policy.decide(&request, &mut self.loaded.rates(), Some(&said.decision));
        self.note(&mut said, &paths);
        match said.stand() {
            Stand::Open => Ok(()),
            Stand::Asked | Stand::Kept => Err(self.sentence(&said.decision)),
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

/// The rules for the files that a command opens: each is a question `file` of its own, and what is kept is kept from the
/// command, which goes on.
#[derive(Debug)]
struct Files {
    whole: Arc<Judge>,
}

impl Rules for Files {
    fn judge(&self, names: &[Vec<u8>]) -> Result<(), String> {
        let caller = (self.whole.role, self.whole.actor.clone());
        Judge::of(Arc::clone(&self.whole.loaded), caller, "file", Map::new()).judge(names)
    }

    fn kept(&self) -> &Kept {
        self.whole.kept()
    }

    fn mask(&self, content: &[u8], part: Range<usize>) -> Option<Vec<u8>> {
        self.whole.mask(content, part)
    }
}

/// The rules for the files that a command opens which is run for a plan of somebody's.
pub(crate) fn for_a_plan(loaded: Arc<Loaded>, operator: bool, actor: &Actor) -> Arc<dyn Rules> {
    let role = if operator { Role::Operator } else { Role::Agent };
    Arc::new(Files { whole: Judge::of(loaded, (role, actor.clone()), Shell::NAME, Map::new()) })
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
