//! A person's yes to a question about the machine: to this question alone, once.
//!
//! It is no change: there is no plan, nothing is made, nothing is taken back. What it shares with changes is the book, the
//! numbers, and the yes for a while.

mod record;

use std::collections::BTreeSet;

use agentos_api::change::{DecideRequest, Decision, Status};
use agentos_api::event::{Actor, EventType};
use agentos_api::question::{MAX_ASKED_BYTES, MAX_ASKED_NAMES, MAX_WAITING, Question, Standing};
use agentos_ledger::{DataError, NewEvent};
use serde_json::{Map, Value, json};

use crate::book::Book;
use crate::changes::{Asked, Changes, from_now, is_over};
use crate::error::{ChangesError, Conflict};
use crate::grants::{Giving, principal};
use crate::make::check_reason;
use crate::record::Seen;
use crate::settle::agentd;

use self::record::{Data, Happening, key, of, take_in};
pub(crate) use self::record::{Record, take};

/// The types of events about questions begin so.
pub(crate) const PREFIX: &str = "question.";

/// A question that a rule asks about.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// Who asks.
    pub actor: &'a Actor,
    /// The query.
    pub query: &'a str,
    /// Its arguments.
    pub args: &'a Map<String, Value>,
    /// Each rule that has asked about it so far, by what it says; the last is the one that asks now.
    pub rules: &'a [String],
    /// The rule that asks, as people name it.
    pub rule: Option<String>,
    /// Why, in the rule's words.
    pub because: Option<String>,
    /// A yes may not come through a chat.
    pub operator_only: bool,
    /// The names of the file it is about by which the policy keeps it.
    pub names: &'a [String],
}

/// What people have said to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Consent {
    /// Yes. Where it was a yes to this question alone, it is used up now.
    Given(Yes),
    /// Nothing yet.
    Waits {
        /// What they are asked.
        question: Question,
        /// It began to wait just now.
        new: bool,
    },
    /// No.
    Denied(Question),
}

/// A yes, and what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yes {
    /// The number of the question, or of the grant.
    pub number: u64,
    /// It holds for a while, for whatever the rule asks about.
    pub for_a_while: bool,
    rules: Vec<String>,
    names: Vec<String>,
}

impl Yes {
    /// Whether it is a yes also to what the rule `rule` asks about files that the policy keeps by `names`.
    pub fn covers(&self, rule: &str, names: &[String]) -> bool {
        self.rules.iter().any(|known| known == rule)
            && (self.for_a_while || names.iter().all(|name| self.names.contains(name)))
    }
}

impl Record {
    fn yes(&self) -> Yes {
        Yes {
            number: self.question.id,
            for_a_while: false,
            rules: self.rules.clone(),
            names: self.question.names.clone(),
        }
    }

    /// Whether it asks for all that is wanted now.
    fn asks_for(&self, asking: &Asking<'_>) -> bool {
        asking.rules.iter().all(|rule| self.rules.contains(rule))
            && asking.names.iter().all(|name| self.question.names.contains(name))
    }
}

impl Changes {
    /// What people have said to a question that a rule asks about; where nobody was asked, they are now. `may_wait` says
    /// whether one more may wait beside so many. All of it is on the ledger before this returns.
    ///
    /// # Errors
    /// [`ChangesError::Quota`] and [`ChangesError::Busy`] where too many wait; [`ChangesError::Invalid`] where it is too large
    /// to be read by a person; the ledger's and the database's.
    pub fn consent(
        &self,
        asking: &Asking<'_>,
        may_wait: &dyn Fn(u64) -> Result<(), String>,
    ) -> Result<Consent, ChangesError> {
        check(asking)?;
        let key = key(asking.actor.as_str(), asking.query, asking.args)?;
        let to = principal(asking.actor.as_str());
        let rule = asking.rules.last().map_or("", String::as_str);
        let grants = self.grants()?;
        // One at a time from here on: a yes is used up by one of those who ask at once.
        let book = self.book()?;
        let open = book.open_questions(&key)?;
        let (open, over): (Vec<Record>, Vec<Record>) =
            open.into_iter().partition(|record| !is_over(&record.question.expires));
        // A no is not asked about any more after its time; it stays a no on the record.
        for record in over.iter().filter(|record| record.question.status != Standing::Denied) {
            self.happens(&book, &agentd()?.actor, record.question.id, Happening::Expired)?;
        }
        // Whoever said no to this question meant it, whatever else they said yes to.
        if let Some(record) = open.iter().find(|record| record.question.status == Standing::Denied) {
            return Ok(Consent::Denied(record.question.clone()));
        }
        if let Some(grant) = grants.iter().find(|grant| grant.to == to && grant.rule_id == rule) {
            let rules = vec![grant.rule_id.clone()];
            return Ok(Consent::Given(Yes {
                number: grant.grant,
                for_a_while: true,
                rules,
                names: Vec::new(),
            }));
        }
        let standing = |wanted: Standing| {
            open.iter().find(|record| record.question.status == wanted && record.asks_for(asking))
        };
        if let Some(record) = standing(Standing::Approved) {
            self.happens(&book, asking.actor, record.question.id, Happening::Used)?;
            return Ok(Consent::Given(record.yes()));
        }
        if let Some(record) = standing(Standing::Waiting) {
            return Ok(Consent::Waits { question: record.question.clone(), new: false });
        }
        let waiting = book.count_questions(Standing::Waiting)?;
        if waiting >= MAX_WAITING as u64 {
            return Err(ChangesError::Busy(format!(
                "{MAX_WAITING} questions wait for a yes already; decide some of them first"
            )));
        }
        may_wait(book.count(Status::Waiting)? + waiting).map_err(ChangesError::Quota)?;
        let id = book.highest()? + 1;
        let happening = Happening::Waiting {
            query: asking.query.to_owned(),
            args: asking.args.clone(),
            names: asking.names.to_vec(),
            rules: asking.rules.to_vec(),
            rule: asking.rule.clone(),
            because: asking.because.clone(),
            operator_only: asking.operator_only,
            expires: from_now(self.options.expire_after),
            hash: hash(asking)?,
        };
        let record = self.happens(&book, asking.actor, id, happening)?;
        Ok(Consent::Waits { question: record.question, new: true })
    }

    /// Says yes or no to a question that waits. A yes answers it once, when it is asked again.
    ///
    /// # Errors
    /// [`ChangesError::NotFound`]; [`ChangesError::Conflict`] where it does not wait any more, or is another question.
    pub fn decide_question(
        &self,
        id: u64,
        by: &Asked,
        request: &DecideRequest,
    ) -> Result<Question, ChangesError> {
        if let Some(reason) = &request.reason {
            check_reason(reason)?;
        }
        let book = self.book()?;
        let record = book.question(id)?.ok_or_else(|| not_found(id))?;
        if record.question.status != Standing::Waiting {
            return Err(stands(&record.question));
        }
        if is_over(&record.question.expires) {
            let expired = self.happens(&book, &agentd()?.actor, id, Happening::Expired)?;
            return Err(stands(&expired.question));
        }
        let happening = match request.decision {
            Decision::Deny => Happening::Denied { reason: request.reason.clone() },
            Decision::Approve if request.plan_hash.as_deref() != Some(record.question.hash.as_str()) => {
                return Err(Conflict::PlanChanged { now: record.question.hash }.into());
            }
            Decision::Approve => {
                Happening::Approved { hash: record.question.hash.clone(), reason: request.reason.clone() }
            }
        };
        let decided = self.happens(&book, &by.actor, id, happening)?;
        drop(book);
        if let (Decision::Approve, Some(seconds)) = (request.decision, request.for_seconds) {
            let giving = Giving {
                number: id,
                to: &decided.question.actor,
                rule: decided.question.rule.clone(),
                rule_id: decided.rules.last().cloned(),
            };
            self.give(by, giving, seconds.get())?;
        }
        Ok(decided.question)
    }

    /// One question.
    ///
    /// # Errors
    /// [`ChangesError::NotFound`]; the database's.
    pub fn question(&self, id: u64) -> Result<Question, ChangesError> {
        Ok(self.book()?.question(id)?.ok_or_else(|| not_found(id))?.question)
    }

    /// The questions that wait, the oldest first.
    ///
    /// # Errors
    /// The database's.
    pub fn waiting_questions(&self) -> Result<Vec<Question>, ChangesError> {
        let records = self.book()?.questions(Standing::Waiting)?;
        Ok(records.into_iter().map(|record| record.question).filter(|one| !is_over(&one.expires)).collect())
    }

    /// Ends the questions whose time is over.
    pub(crate) fn settle_questions(&self, by: &Actor) -> Result<(), ChangesError> {
        let book = self.book()?;
        for standing in [Standing::Waiting, Standing::Approved] {
            for record in book.questions(standing)? {
                if is_over(&record.question.expires) {
                    self.happens(&book, by, record.question.id, Happening::Expired)?;
                }
            }
        }
        Ok(())
    }

    /// Records what happens to a question, waits until it is durable, and takes it in.
    fn happens(
        &self,
        book: &Book,
        actor: &Actor,
        question: u64,
        happening: Happening,
    ) -> Result<Record, ChangesError> {
        self.step(happening.kind());
        let kind = EventType::new(happening.kind())
            .map_err(|error| ChangesError::Invalid { field: "type".to_owned(), reason: error.to_string() })?;
        let data = Data { question, happening };
        let event = NewEvent::new(kind, actor.clone(), &data)?;
        self.begin_taking_in();
        let appended = self.ledger.append_blocking(event)?;
        take_in(book, &data, Seen { ts: &appended.ts, actor: actor.as_str() })?;
        book.set_last_event(appended.id)?;
        self.end_taking_in();
        book.question(question)?.ok_or_else(|| not_found(question))
    }
}

fn check(asking: &Asking<'_>) -> Result<(), ChangesError> {
    let size = serde_json::to_vec(asking.args).map_or(usize::MAX, |text| text.len());
    let distinct: BTreeSet<&String> = asking.names.iter().collect();
    if size > MAX_ASKED_BYTES || distinct.len() > MAX_ASKED_NAMES {
        return Err(ChangesError::Invalid {
            field: "args".to_owned(),
            reason: format!(
                "a person is asked about this, and is not shown more than {MAX_ASKED_BYTES} bytes of arguments and \
                 {MAX_ASKED_NAMES} names of a file"
            ),
        });
    }
    Ok(())
}

fn hash(asking: &Asking<'_>) -> Result<String, DataError> {
    of(&json!({
        "args": asking.args,
        "names": asking.names,
        "principal": principal(asking.actor.as_str()),
        "query": asking.query,
        "rules": asking.rules,
    }))
}

fn not_found(id: u64) -> ChangesError {
    ChangesError::NotFound(format!("question {id}"))
}

fn stands(question: &Question) -> ChangesError {
    let by = match &question.decided {
        Some(decided) => format!(" (by {} at {})", decided.by, decided.at),
        None => format!(" (since {})", question.updated),
    };
    Conflict::QuestionStands { question: question.id, stands: format!("{}{by}", question.status.as_str()) }
        .into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arguments() -> impl Strategy<Value = Vec<(String, Value)>> {
        let value = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            proptest::collection::vec(".{0,4}", 0..3).prop_map(Value::from),
        ];
        proptest::collection::btree_map("[a-z]{1,4}", value, 0..5).prop_map(|map| map.into_iter().collect())
    }

    #[test]
    fn a_yes_covers_the_rules_and_names_that_it_was_asked_for() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let yes =
            Yes { number: 1, for_a_while: false, rules: names(&["r", "s"]), names: names(&["/a", "/b"]) };
        assert!(yes.covers("r", &names(&["/a"])) && yes.covers("s", &[]));
        assert!(!yes.covers("t", &names(&["/a"])) && !yes.covers("r", &names(&["/a", "/c"])));
        let for_a_while = Yes { for_a_while: true, ..yes };
        assert!(for_a_while.covers("r", &names(&["/c"])) && !for_a_while.covers("t", &[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_same_question_has_one_key_and_another_has_another(one in arguments(), other in arguments()) {
            let map = |list: &[(String, Value)]| list.iter().cloned().collect::<Map<_, _>>();
            let turned: Vec<_> = one.iter().rev().cloned().collect();
            let key = |actor: &str, query: &str, args: &[(String, Value)]| key(actor, query, &map(args)).unwrap();
            let of_one = key("agent:x/main", "file", &one);
            prop_assert_eq!(&of_one, &key("agent:x/other", "file", &turned));
            prop_assert_eq!(of_one == key("agent:x", "file", &other), map(&one) == map(&other));
            prop_assert_ne!(&of_one, &key("agent:y", "file", &one));
            prop_assert_ne!(&of_one, &key("agent:x", "find", &one));
        }

        #[test]
        fn any_event_is_read_without_panic(text in ".{0,200}") {
            let folder = tempfile::tempdir().unwrap();
            let book = Book::open(&folder.path().join("changes.db")).unwrap();
            let seen = Seen { ts: "2026-01-01T00:00:00.000Z", actor: "agent:x" };
            take(&book, &format!("{{\"data\":{{\"question\":1,\"step\":{text:?}}}}}"), seen).unwrap();
            take(&book, &text, seen).unwrap();
        }
    }
}
