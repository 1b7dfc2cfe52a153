//! Codes by which a person says yes through the chat.
//!
//! The gateway, in which the model runs, carries what the person types. So all that agentd could know of it alone is that the
//! gateway says so. What makes a yes of it is a code that only the person has: it goes to the operator's socket and to the
//! program that tells the person, never to the agent's socket, and nowhere on the ledger. It is for one plan or question as
//! it was shown, by its hash. Codes are not kept: another start of agentd has others.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use agentos_api::change::{Change, Risk, Status};
use agentos_api::question::{Question, Standing};
use anyhow::{Result, anyhow};
use ring::hmac;
use ring::rand::SystemRandom;

/// Letters and digits that are not taken for one another (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code: 40 bits.
const LENGTH: usize = 8;
/// Wrong codes for one thing, until only the operator's socket takes a yes to it.
const MOST_WRONG: u32 = 3;
/// Things whose wrong codes are counted; more than can wait.
const MOST_COUNTED: usize = 4096;

/// Whether a yes may come through the chat, and by which codes.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// Nothing: it may not.
    key: Option<hmac::Key>,
    wrong: Mutex<BTreeMap<u64, u32>>,
}

/// Why a code is no yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is another one; so many tries are left.
    Code { left: u32 },
    /// Too many were wrong.
    Locked,
}

/// Something that waits, as far as a yes through the chat goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting<'a> {
    Change(&'a Change),
    Question(&'a Question),
}

impl Waiting<'_> {
    pub(crate) const fn id(&self) -> u64 {
        match self {
            Self::Change(change) => change.id,
            Self::Question(question) => question.id,
        }
    }

    /// What a yes is for.
    pub(crate) fn hash(&self) -> &str {
        match self {
            Self::Change(change) => &change.plan.hash,
            Self::Question(question) => &question.hash,
        }
    }

    pub(crate) fn waits(&self) -> bool {
        match self {
            Self::Change(change) => change.status == Status::Waiting,
            Self::Question(question) => question.status == Standing::Waiting,
        }
    }

    /// Why no chat decides on it, whoever types there.
    pub(crate) fn kept_from_chats(&self) -> Option<&'static str> {
        match self {
            Self::Change(change) if change.operator_only => {
                Some("the rule that asks wants the operator's socket")
            }
            Self::Question(question) if question.operator_only => {
                Some("the rule that asks wants the operator's socket")
            }
            Self::Change(change) if change.plan.risk == Risk::Destructive => {
                Some("the change is destructive")
            }
            Self::Change(change) if change.plan.steps.iter().any(|step| step.can_lock_out) => {
                Some("the change may lock somebody out")
            }
            Self::Change(_) | Self::Question(_) => None,
        }
    }
}

impl Chat {
    /// # Errors
    /// When the kernel has no random numbers.
    pub(crate) fn new(on: bool) -> Result<Self> {
        if !on {
            return Ok(Self::default());
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| anyhow!("the kernel gives no random numbers for the codes of approvals.chat"))?;
        Ok(Self { key: Some(key), wrong: Mutex::default() })
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.key.is_some()
    }

    /// The code of what waits, as a person types it; nothing where no chat may decide on it.
    pub(crate) fn code(&self, waiting: Waiting<'_>) -> Option<String> {
        let key = self.key.as_ref()?;
        if !waiting.waits() || waiting.kept_from_chats().is_some() {
            return None;
        }
        let code = derive(key, waiting);
        let (first, second) = code.split_at_checked(LENGTH / 2)?;
        Some(format!("{first}-{second}"))
    }

    /// Compares what a person typed.
    ///
    /// # Errors
    /// [`Wrong`]; each one counts.
    pub(crate) fn check(&self, waiting: Waiting<'_>, typed: &str) -> Result<(), Wrong> {
        let Some(key) = &self.key else { return Err(Wrong::Locked) };
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wrong.get(&waiting.id()).copied().unwrap_or(0);
        if before >= MOST_WRONG {
            return Err(Wrong::Locked);
        }
        let expected = derive(key, waiting);
        if same(plain(typed).as_bytes(), expected.as_bytes()) {
            wrong.remove(&waiting.id());
            return Ok(());
        }
        if wrong.len() >= MOST_COUNTED {
            // The oldest are decided or expired by now.
            wrong.pop_first();
        }
        wrong.insert(waiting.id(), before + 1);
        Err(Wrong::Code { left: MOST_WRONG.saturating_sub(before + 1) })
    }
}

fn derive(key: &hmac::Key, waiting: Waiting<'_>) -> String {
    let tag = hmac::sign(key, format!("{}:{}", waiting.id(), waiting.hash()).as_bytes());
    // The first 40 bits, five at a time.
    let bits = tag.as_ref().iter().take(5).fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    (0..LENGTH)
        .rev()
        .filter_map(|place| {
            let digit = usize::try_from(bits >> (5 * place) & 31).ok()?;
            ALPHABET.get(digit).copied().map(char::from)
        })
        .collect()
}

/// What was typed, without what people add, and with what they mistake set right. At most so much that it is seen to be too long.
fn plain(typed: &str) -> String {
    typed
        .chars()
        .filter(|character| !character.is_whitespace() && *character != '-')
        .take(LENGTH + 1)
        .map(|character| match character.to_ascii_uppercase() {
            'I' | 'L' => '1',
            'O' => '0',
            other => other,
        })
        .collect()
}

/// In a time that does not say where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    fn question(id: u64, hash: &str) -> Question {
        Question {
            id,
            status: Standing::Waiting,
            actor: "agent:x".to_owned(),
            query: "file".to_owned(),
            args: Map::new(),
            names: Vec::new(),
            rule: None,
            because: None,
            operator_only: false,
            chat_code: None,
            created: String::new(),
            updated: String::new(),
            expires: String::new(),
            hash: hash.to_owned(),
            decided: None,
        }
    }

    #[test]
    fn a_code_is_for_one_thing_as_it_was_shown() {
        let chat = Chat::new(true).unwrap();
        let (one, other, anew) = (question(1, "a"), question(2, "a"), question(1, "b"));
        let code = chat.code(Waiting::Question(&one)).unwrap();
        assert_eq!(code.len(), LENGTH + 1);
        assert!(chat.check(Waiting::Question(&other), &code).is_err());
        assert!(chat.check(Waiting::Question(&anew), &code).is_err());
        chat.check(Waiting::Question(&one), &format!(" {} ", code.to_lowercase().replace('-', " "))).unwrap();
        assert_ne!(Chat::new(true).unwrap().code(Waiting::Question(&one)), Some(code));
    }

    #[test]
    fn after_three_wrong_codes_the_right_one_is_none() {
        let chat = Chat::new(true).unwrap();
        let (one, other) = (question(1, "a"), question(2, "a"));
        let code = chat.code(Waiting::Question(&one)).unwrap();
        for left in [2, 1, 0] {
            let wrong = chat.check(Waiting::Question(&one), "");
            assert_eq!(wrong, Err(Wrong::Code { left }));
        }
        assert_eq!(chat.check(Waiting::Question(&one), &code), Err(Wrong::Locked));
        chat.check(Waiting::Question(&other), &chat.code(Waiting::Question(&other)).unwrap()).unwrap();
    }

    #[test]
    fn there_is_no_code_where_no_chat_decides() {
        let one = question(1, "a");
        let off = Chat::new(false).unwrap();
        assert!(!off.is_on() && off.code(Waiting::Question(&one)).is_none());
        assert_eq!(off.check(Waiting::Question(&one), ""), Err(Wrong::Locked));
        let on = Chat::new(true).unwrap();
        let kept = Question { operator_only: true, ..one.clone() };
        assert!(on.code(Waiting::Question(&kept)).is_none());
        let decided = Question { status: Standing::Approved, ..one };
        assert!(on.code(Waiting::Question(&decided)).is_none());
    }

    proptest! {
        #[test]
        fn nothing_else_is_taken_for_the_code(typed in ".{0,40}") {
            let chat = Chat::new(true).unwrap();
            let one = question(1, "a");
            let code = chat.code(Waiting::Question(&one)).unwrap();
            let right = plain(&typed) == code.replace('-', "");
            prop_assert_eq!(chat.check(Waiting::Question(&one), &typed).is_ok(), right);
        }
    }
}
