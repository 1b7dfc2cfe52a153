//! What time and ends leave behind: changes that were cut off, that nobody said yes to, that nobody confirmed.

use agentos_api::change::Status;
use agentos_api::event::Actor;
use agentos_system::Wake;
use agentos_system::change::{Context, Progress, Replaced, chain};

use crate::changes::{Asked, Changes, is_over};
use crate::error::ChangesError;
use crate::kept::Kept;
use crate::make::cut;
use crate::record::{Happening, Record};

impl Changes {
    /// Settles what can be settled: called when agentd starts, and every now and then.
    ///
    /// # Errors
    /// The ledger's and the database's. What cannot be settled is tried again the next time.
    pub fn settle(&self) -> Result<(), ChangesError> {
        let Some(_turn) = self.turn.take(std::time::Duration::ZERO) else {
            // A change is being made; it settles itself.
            return Ok(());
        };
        let by = agentd()?;
        let planned = self.book()?.standing(Status::Planned)?;
        for record in planned {
            let reason = "agentd ended before it began".to_owned();
            self.end(record.id, &by, Happening::Failed { reason })?;
        }
        let applying = self.book()?.standing(Status::Applying)?;
        for record in applying {
            self.settle_cut_off(&record, &by)?;
        }
        let waiting = self.book()?.standing(Status::Waiting)?;
        for record in waiting {
            if record.expires.as_deref().is_some_and(is_over) {
                self.end(record.id, &by, Happening::Expired)?;
            }
        }
        self.settle_questions(&by.actor)?;
        let unconfirmed = self.book()?.standing(Status::Unconfirmed)?;
        for record in unconfirmed {
            if record.expires.as_deref().is_none_or(is_over) {
                self.take_back(&record, &by)?;
            }
        }
        Ok(())
    }

    /// A change that was being made when agentd ended: what is there says how far it was.
    fn settle_cut_off(&self, record: &Record, by: &Asked) -> Result<(), ChangesError> {
        let change = record.id;
        let kept = match self.kept(record) {
            Ok(kept) => kept,
            Err(error) => {
                let reason = format!(
                    "agentd was cut off while it was made, and what it was is lost: {}",
                    chain(&error)
                );
                return self.end(
                    change,
                    by,
                    Happening::Unknown { reason: cut(&reason, 4000), ran: Vec::new() },
                );
            }
        };
        let making = self.making(change);
        let context = Context { making: Some(&making), ..self.context() };
        let ran = kept.script.ran(&making);
        match kept.script.progress(&context) {
            Ok(Progress::All) if record.can_lock_out => self.made(record, by, ran, Replaced::default()),
            Ok(Progress::All) => {
                self.happen(&by.actor, self.consequences(record, Happening::Applied { found: true, ran })?)?;
                self.objects.unpin(&[change]);
                Ok(())
            }
            Ok(Progress::Nothing) => {
                let reason = "agentd was cut off before anything of it was made".to_owned();
                self.end(change, by, Happening::Failed { reason })
            }
            // It is looked at again a little later.
            Ok(Progress::UnderWay(_)) => Ok(()),
            Ok(Progress::Part(done)) => {
                self.step("take back");
                let left = kept.script.take_back(done, &context);
                self.took_back(record, by, done, &kept, &left)
            }
            Ok(Progress::Scattered(done)) => {
                self.step("take back");
                let left = kept.script.take_back_these(&done, &context);
                self.took_back(record, by, done.len(), &kept, &left)
            }
            Ok(Progress::Unclear(found)) => {
                let reason =
                    format!("agentd was cut off while it was made; what is there now: {}", found.join("; "));
                self.end(change, by, Happening::Unknown { reason: cut(&reason, 4000), ran })
            }
            Err(error) => {
                let reason = format!(
                    "agentd was cut off while it was made, and cannot see how far: {}",
                    chain(&error)
                );
                self.end(change, by, Happening::Unknown { reason: cut(&reason, 4000), ran })
            }
        }
    }

    /// A change of which some parts had been made is at its end: they were taken back, or could not be.
    fn took_back(
        &self,
        record: &Record,
        by: &Asked,
        done: usize,
        kept: &Kept,
        left: &[String],
    ) -> Result<(), ChangesError> {
        if left.is_empty() {
            let reason = format!(
                "agentd was cut off when {done} of {} parts were made; they were taken back",
                kept.script.len()
            );
            return self.end(record.id, by, Happening::Failed { reason });
        }
        let reason = format!("agentd was cut off, and this could not be taken back: {}", left.join("; "));
        self.end(
            record.id,
            by,
            Happening::Unknown { reason: cut(&reason, 4000), ran: kept.script.ran(&self.making(record.id)) },
        )
    }

    /// Takes back a change that nobody confirmed in time.
    fn take_back(&self, record: &Record, by: &Asked) -> Result<(), ChangesError> {
        let reason = match self.kept(record) {
            Ok(kept) => {
                let context = self.context();
                let progress = kept.script.progress(&context);
                self.step("take back");
                let left = match progress {
                    Ok(Progress::Nothing) => Vec::new(),
                    Ok(Progress::Part(done)) => kept.script.take_back(done, &context),
                    Ok(Progress::Scattered(done)) => kept.script.take_back_these(&done, &context),
                    // What cannot be told is taken back as far as it goes.
                    _ => kept.script.take_back(kept.script.len(), &context),
                };
                if left.is_empty() {
                    "nobody confirmed it in time".to_owned()
                } else {
                    format!(
                        "nobody confirmed it in time, and this could not be taken back: {}",
                        left.join("; ")
                    )
                }
            }
            Err(error) => {
                format!("nobody confirmed it in time, and it cannot be taken back: {}", chain(&error))
            }
        };
        let undone = Happening::Undone { by: None, reason: Some(cut(&reason, 4000)) };
        self.end(record.id, by, undone)?;
        self.disarm(record.id);
        Ok(())
    }

    /// Has systemd take a change back, should this process not be able to.
    ///
    /// # Errors
    /// Why it does not: without systemd this process does it alone.
    pub(crate) fn arm(&self, change: u64) -> Result<(), String> {
        let number = change.to_string();
        let mut command: Vec<&str> = self.options.take_back.iter().map(String::as_str).collect();
        if command.is_empty() {
            return Err("no command is set for it".to_owned());
        }
        command.push(&number);
        let wake = Wake {
            name: &wake_name(change),
            description: "Takes back a change of AgentOS that nobody confirmed",
            after: self.options.confirm_within,
            command: &command,
        };
        self.machine.wake(&wake).map_err(|error| chain(&error))
    }

    pub(crate) fn disarm(&self, change: u64) {
        if !self.options.take_back.is_empty() {
            let _ = self.machine.cancel_wake(&wake_name(change));
        }
    }
}

fn wake_name(change: u64) -> String {
    format!("agentos-take-back-{change}")
}

/// agentd itself, as the ledger names it.
pub(crate) fn agentd() -> Result<Asked, ChangesError> {
    let actor = Actor::new("agentd")
        .map_err(|error| ChangesError::Invalid { field: "actor".to_owned(), reason: error.to_string() })?;
    Ok(Asked { actor, operator: true })
}

/// Takes a change back that nobody confirmed, where agentd itself cannot: without a ledger, from what is kept beside it. What
/// the ledger says already is that this happens unless somebody confirms; the rest is recorded when agentd runs again.
/// Answers what could not be taken back; nothing is done with a change that is not unconfirmed, or whose time is not over.
///
/// # Errors
/// The database's and the store's. agentd must not run meanwhile.
pub fn take_back_alone(
    options: &crate::Options,
    machine: &agentos_system::Machine,
    objects: &agentos_objects::Objects,
    change: u64,
) -> Result<Vec<String>, ChangesError> {
    let book = crate::book::Book::open(&options.directory.join("changes.db"))?;
    let record = book.record(change)?.ok_or_else(|| ChangesError::NotFound(format!("change {change}")))?;
    if record.status != Status::Unconfirmed || !record.expires.as_deref().is_none_or(is_over) {
        return Ok(Vec::new());
    }
    let kept = crate::kept::read(objects, &record)?;
    let context = agentos_system::change::Context { machine, objects, making: None };
    Ok(kept.script.take_back(kept.script.len(), &context))
}
