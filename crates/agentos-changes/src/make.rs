//! Asking for a change, and making it.

use agentos_api::change::{
    Change, MAX_REASON_BYTES, MAX_STEPS, MutateRequest, Plan, Ran, Risk, Status, Step,
};
use agentos_objects::Batch;
use agentos_system::Moment;
use agentos_system::change::{Ahead, ChangeError, Context, Made, Prepared, Replaced, chain};
use serde_json::json;

use crate::changes::{Asked, Changes, Outcome, from_now};
use crate::error::{ChangesError, Conflict};
use crate::judge::{Judge, Ruling, Verdict};
use crate::kept::Kept;
use crate::record::{Happening, Record};
use crate::show::with_plan;

/// A change that is planned, before it has a number.
pub(crate) struct Draft<'b> {
    pub(crate) prepared: Prepared,
    pub(crate) batch: Batch<'b>,
    pub(crate) steps: Vec<Step>,
    pub(crate) undoes: Vec<u64>,
}

/// How a request is to be carried out.
pub(crate) struct Request<'r> {
    pub(crate) asked: &'r Asked,
    pub(crate) reason: &'r str,
    pub(crate) dry_run: bool,
    pub(crate) plan_hash: Option<&'r str>,
}

impl Changes {
    /// Says whether [`Changes::mutate`] would take this request, without reading anything of the machine.
    ///
    /// # Errors
    /// The field at fault.
    pub fn check(&self, request: &MutateRequest) -> Result<Vec<Step>, ChangesError> {
        let invalid = |field: &str, reason: &str| ChangesError::Invalid {
            field: field.to_owned(),
            reason: reason.to_owned(),
        };
        check_reason(&request.reason)?;
        let steps = match (&request.mutation, request.steps.as_slice()) {
            (Some(mutation), []) => vec![Step { mutation: mutation.clone(), args: request.args.clone() }],
            (Some(_), _) => return Err(invalid("steps", "not together with mutation")),
            (None, []) => return Err(invalid("mutation", "is missing: name one, or give steps")),
            (None, _) if !request.args.is_empty() => {
                return Err(invalid("args", "belongs to mutation; each of the steps has its own"));
            }
            (None, several) if several.len() > MAX_STEPS => {
                return Err(invalid("steps", &format!("must be at most {MAX_STEPS}")));
            }
            (None, several) => several.to_vec(),
        };
        let several = request.mutation.is_none();
        for (number, step) in steps.iter().enumerate() {
            self.machine.check_mutation(step).map_err(|error| in_step(error, several.then_some(number)))?;
        }
        Ok(steps)
    }

    /// Plans a change and, unless it is a dry run, makes it or has it wait, as the policy says.
    ///
    /// # Errors
    /// [`ChangesError`]. Nothing was changed, except where [`ChangesError::Failed`] says what is left.
    pub fn mutate(
        &self,
        asked: &Asked,
        request: &MutateRequest,
        judge: &dyn Judge,
    ) -> Result<Outcome, ChangesError> {
        let steps = self.check(request)?;
        let several = request.mutation.is_none();
        // Planning reads the machine, so that it was asked for is on the record before.
        let shown: Vec<_> =
            steps.iter().map(|step| json!({"mutation": step.mutation, "args": short(step)})).collect();
        let data = json!({
            "steps": shown,
            "reason": request.reason,
            "dry_run": request.dry_run,
            "bytes": content_bytes(&steps),
        });
        self.note(&asked.actor, "change.requested", &data)?;
        let viewer = self.viewer(asked.operator, &asked.actor);
        let (prepared, batch) = self
            .machine
            .plan(&steps, &viewer, self.objects.batch())
            .map_err(|error| if several { ChangesError::Planning(error) } else { in_step(error, None) })?;
        let draft = Draft { prepared, batch, steps, undoes: Vec::new() };
        let request = Request {
            asked,
            reason: &request.reason,
            dry_run: request.dry_run,
            plan_hash: request.plan_hash.as_deref(),
        };
        self.go_on(draft, &request, judge)
    }

    /// From a plan to what becomes of it.
    pub(crate) fn go_on(
        &self,
        draft: Draft<'_>,
        request: &Request<'_>,
        judge: &dyn Judge,
    ) -> Result<Outcome, ChangesError> {
        let plan = &draft.prepared.plan;
        if request.plan_hash.is_some_and(|hash| hash != plan.hash) {
            return Err(Conflict::PlanChanged { now: plan.hash.clone() }.into());
        }
        if request.dry_run || draft.prepared.script.is_empty() {
            return Ok(Outcome::Done(only_planned(request, plan.clone())));
        }
        let ruling = judge.judge(&draft.steps, &draft.prepared).map_err(ChangesError::Quota)?;
        match ruling.verdict {
            Verdict::Deny => {
                let data = json!({
                    "decision": "deny",
                    "rule": ruling.rule,
                    "mutations": draft.steps.iter().map(|step| &step.mutation).collect::<Vec<_>>(),
                    "plan_hash": plan.hash,
                });
                self.note(&request.asked.actor, "policy.denied", &data)?;
                Err(ChangesError::Denied(denied(&ruling)))
            }
            Verdict::Ask => match self.grant_for(&request.asked.actor, &ruling)? {
                Some(grant) => self.make_now(draft, request, &ruling, Some(grant)),
                None => self.wait(draft, request, &ruling),
            },
            Verdict::Allow => self.make_now(draft, request, &ruling, None),
        }
    }

    fn make_now(
        &self,
        draft: Draft<'_>,
        request: &Request<'_>,
        ruling: &Ruling,
        grant: Option<u64>,
    ) -> Result<Outcome, ChangesError> {
        let turn = self.my_turn()?;
        let plan_hash = draft.prepared.plan.hash.clone();
        let (change, kept, ahead) = self.number(draft, request, true, |change| {
            let approved = Happening::Approved {
                plan_hash: plan_hash.clone(),
                rule: ruling.rule.clone(),
                reason: ruling.reason.clone(),
                grant,
            };
            vec![(change, approved), (change, Happening::Applying { plan_hash: plan_hash.clone() })]
        })?;
        self.carry_out(change, &kept, ahead, request.asked)?;
        drop(turn);
        Ok(Outcome::Done(with_plan(&self.record_of(change)?, kept.plan)))
    }

    fn wait(
        &self,
        draft: Draft<'_>,
        request: &Request<'_>,
        ruling: &Ruling,
    ) -> Result<Outcome, ChangesError> {
        let most = self.options.most_waiting;
        if self.book()?.count(Status::Waiting)? >= most {
            return Err(ChangesError::Busy(format!(
                "{most} changes wait for a yes already; decide some of them first"
            )));
        }
        let (change, kept, _) = self.number(draft, request, false, |change| {
            let waiting = Happening::Waiting {
                rule: ruling.rule.clone(),
                because: ruling.reason.clone(),
                rule_id: ruling.id.clone(),
                operator_only: ruling.operator_only,
                expires: from_now(self.options.expire_after),
            };
            vec![(change, waiting)]
        })?;
        Ok(Outcome::Waits(with_plan(&self.record_of(change)?, kept.plan)))
    }

    /// Gives a draft its number: its plan and contents are durable, then that it is planned, with what follows in the
    /// same go. What is made at once has its new contents written ahead, while that is being recorded.
    fn number(
        &self,
        draft: Draft<'_>,
        request: &Request<'_>,
        at_once: bool,
        then: impl FnOnce(u64) -> Vec<(u64, Happening)>,
    ) -> Result<(u64, Kept, Ahead), ChangesError> {
        let Draft { prepared, mut batch, steps, undoes } = draft;
        let bytes = prepared.bytes;
        let mutations = if undoes.is_empty() {
            steps.iter().map(|step| step.mutation.clone()).collect()
        } else {
            vec!["change.undo".to_owned()]
        };
        let kept = Kept { plan: prepared.plan, script: prepared.script, steps };
        let plan = batch.put(&written(&kept)?)?;
        let things = kept.script.things();
        let book = self.book()?;
        let change = book.highest()? + 1;
        self.step("store");
        // Held until it is decided: what a waiting change needs makes no room for others.
        batch.pinned();
        batch.commit(change)?;
        let planned = Happening::Planned {
            reason: request.reason.to_owned(),
            summary: cut(&kept.plan.summary, MAX_REASON_BYTES),
            mutations,
            risk: kept.plan.risk,
            plan_hash: kept.plan.hash.clone(),
            plan,
            things: things.len() as u64,
            can_lock_out: kept.plan.steps.iter().any(|step| step.can_lock_out),
            undoes,
            bytes,
            operator: request.asked.operator,
        };
        let mut happenings = vec![(change, planned)];
        happenings.extend(then(change));
        let underway = self.begin_happening(&request.asked.actor, happenings)?;
        let ahead = if at_once { self.write_ahead(&kept) } else { Ahead::default() };
        underway.finish(self, &book, |book| book.note_things(change, &things))?;
        Ok((change, kept, ahead))
    }

    /// Writes new contents to files without names: nothing that anybody sees, and nothing that a cut leaves.
    pub(crate) fn write_ahead(&self, kept: &Kept) -> Ahead {
        self.step("write ahead");
        kept.script.write_ahead(&self.context())
    }

    /// Makes a change whose intent is on the record, and records what became of it.
    pub(crate) fn carry_out(
        &self,
        change: u64,
        kept: &Kept,
        ahead: Ahead,
        by: &Asked,
    ) -> Result<(), ChangesError> {
        let record = self.record_of(change)?;
        let mut replaced = Replaced::default();
        let making = self.making(change);
        let context = Context { making: Some(&making), ..self.context() };
        let made = kept.script.make_after(ahead, &mut replaced, &context, |_| self.step("transition"));
        let ran = making.ran();
        self.step("made");
        match made {
            Made::All => self.made(&record, by, ran, replaced),
            Made::TakenBack { error } => {
                let reason = format!("{}; what had been made of it was taken back", chain(&error));
                self.end(change, by, Happening::Failed { reason: cut(&reason, 4000) })?;
                Err(match error {
                    ChangeError::Moved { .. } => ChangesError::Planning(error),
                    _ => ChangesError::Failed { change, reason },
                })
            }
            Made::Stuck { error, left } => {
                let reason =
                    format!("{}; and this could not be taken back: {}", chain(&error), left.join("; "));
                self.end(change, by, Happening::Unknown { reason: cut(&reason, 4000), ran })?;
                Err(ChangesError::Failed { change, reason })
            }
        }
    }

    /// A change was made: what that means for it, and for those that it takes back.
    /// The files that it replaced are freed while that is recorded.
    pub(crate) fn made(
        &self,
        record: &Record,
        by: &Asked,
        ran: Vec<Ran>,
        replaced: Replaced,
    ) -> Result<(), ChangesError> {
        let change = record.id;
        if record.can_lock_out && !self.options.confirm_within.is_zero() {
            let until = from_now(self.options.confirm_within);
            let alone = self.arm(change).err().map(|reason| cut(&reason, 500));
            let made = Some(Moment::now());
            self.happen(&by.actor, vec![(change, Happening::Unconfirmed { until, alone, made, ran })])?;
            self.note_unconfirmed(change);
            return Ok(());
        }
        let happenings = self.consequences(record, Happening::Applied { found: false, ran })?;
        let book = self.book()?;
        let underway = self.begin_happening(&by.actor, happenings)?;
        drop(replaced);
        underway.finish(self, &book, |_| Ok(()))?;
        self.objects.unpin(&[change]);
        Ok(())
    }

    /// What is recorded when a change is made: it is, and those that it takes back are undone, those that they had taken
    /// back are there again.
    pub(crate) fn consequences(
        &self,
        record: &Record,
        made: Happening,
    ) -> Result<Vec<(u64, Happening)>, ChangesError> {
        let mut happenings = vec![(record.id, made)];
        for undone in &record.undoes {
            happenings.push((*undone, Happening::Undone { by: Some(record.id), reason: None }));
            let again = self.book()?.record(*undone)?.map(|undone| undone.undoes).unwrap_or_default();
            happenings.extend(again.into_iter().map(|again| (again, Happening::Redone { by: record.id })));
        }
        Ok(happenings)
    }

    /// Ends a change otherwise.
    pub(crate) fn end(&self, change: u64, by: &Asked, happening: Happening) -> Result<(), ChangesError> {
        self.happen(&by.actor, vec![(change, happening)])?;
        self.objects.unpin(&[change]);
        Ok(())
    }
}

/// A reason that a person can read.
pub(crate) fn check_reason(reason: &str) -> Result<(), ChangesError> {
    let length = reason.trim().len();
    if length == 0 || reason.len() > MAX_REASON_BYTES {
        return Err(ChangesError::Invalid {
            field: "reason".to_owned(),
            reason: format!(
                "must be a sentence of 1 to {MAX_REASON_BYTES} bytes: a person reads it before saying yes"
            ),
        });
    }
    Ok(())
}

pub(crate) fn written(kept: &Kept) -> Result<Vec<u8>, ChangesError> {
    serde_json::to_vec(kept).map_err(|error| ChangesError::Kept { change: 0, reason: error.to_string() })
}

/// The first so many bytes of a text.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(3));
    format!("{}…", text.get(..end).unwrap_or_default())
}

fn only_planned(request: &Request<'_>, plan: Plan) -> Change {
    let now = from_now(std::time::Duration::ZERO);
    let outcome = (plan.risk == Risk::Read).then(|| "it is so already; nothing was changed".to_owned());
    Change {
        id: 0,
        status: Status::Planned,
        actor: request.asked.actor.as_str().to_owned(),
        reason: request.reason.to_owned(),
        created: now.clone(),
        updated: now,
        plan,
        expires: None,
        operator_only: false,
        chat_code: None,
        decided: None,
        outcome,
        ran: Vec::new(),
        undoes: None,
        undone_by: None,
        next_step: None,
    }
}

fn denied(ruling: &Ruling) -> String {
    let rule = ruling.rule.as_deref().unwrap_or("the default");
    match &ruling.reason {
        Some(reason) => {
            format!("this change is kept from you by {rule} of the policy: {}", reason.trim_end_matches('.'))
        }
        None => format!("this change is kept from you by {rule} of the policy"),
    }
}

/// A step's arguments as they are recorded: what is long by its size and hash.
fn short(step: &Step) -> serde_json::Map<String, serde_json::Value> {
    const LONGEST: usize = 1000;
    step.args
        .iter()
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if name == "content" || text.len() > LONGEST {
                let hash = agentos_objects::Hash::of(text.as_bytes());
                (name.clone(), json!(format!("{} bytes, sha256 {hash}", text.len())))
            } else {
                (name.clone(), value.clone())
            }
        })
        .collect()
}

/// Bytes of content that steps bring.
pub fn content_bytes(steps: &[Step]) -> u64 {
    let contents = steps.iter().filter_map(|step| step.args.get("content")?.as_str());
    contents.fold(0, |sum, text| sum.saturating_add(text.len() as u64))
}

/// Says in which of several steps an argument is wrong.
fn in_step(error: ChangeError, step: Option<usize>) -> ChangesError {
    let ChangeError::Reading(agentos_system::QueryError::InvalidArgument { field, reason }) = error else {
        return ChangesError::Planning(error);
    };
    let field = if field == "args" { field } else { format!("args.{field}") };
    let field = step.map_or_else(|| field.clone(), |number| format!("steps.{number}.{field}"));
    ChangesError::Invalid { field, reason }
}
