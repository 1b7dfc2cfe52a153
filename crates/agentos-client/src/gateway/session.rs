//! The name of a conversation, as the gateway files it and the ledger shows it.

use std::fmt;
use std::str::FromStr;

/// The agent that a conversation is with.
const AGENT: &str = "main";

/// The name of a session: 1 to 48 of `[a-z0-9._-]`, beginning with a letter or a digit.
///
/// The gateway folds capitals and gives colons a meaning of its own (`cron:`, `subagent:`); a longer name would not fit
/// into the ledger's actor whole. Such a name comes back from the ledger exactly as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session(String);

/// The text that cannot be a [`Session`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a session: use 1 to 48 characters of a-z 0-9 . _ - and begin with a letter or a digit"
)]
pub struct InvalidSession(pub String);

impl Session {
    /// Takes `name` if the gateway and agentd would.
    ///
    /// # Errors
    /// [`InvalidSession`] when it is empty, too long, or holds another character.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidSession> {
        let name = name.into();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins = name.bytes().next().is_some_and(plain);
        let allowed = name.bytes().all(|byte| plain(byte) || b"._-".contains(&byte));
        if begins && allowed && name.len() <= 48 { Ok(Self(name)) } else { Err(InvalidSession(name)) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key under which the gateway keeps the conversation.
    pub(super) fn key(&self) -> String {
        format!("agent:{AGENT}:{}", self.0)
    }

    /// What stands below the principal in the actor of each event that this session causes: `main:NAME`.
    pub fn actor_detail(&self) -> String {
        format!("{AGENT}:{}", self.0)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Session {
    type Err = InvalidSession;

    fn from_str(name: &str) -> Result<Self, InvalidSession> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ActorDetail;

    #[test]
    fn a_session_is_the_same_for_the_gateway_and_on_the_ledger() {
        let longest = "a".repeat(48);
        for name in ["terminal-1795371560-42", "0", "a.b_c-d", &longest] {
            let session = Session::new(name).unwrap();
            assert_eq!(session.key(), format!("agent:main:{name}"));
            assert_eq!(ActorDetail::new(session.actor_detail()).unwrap().as_str(), format!("main:{name}"));
        }
    }

    #[test]
    fn a_session_cannot_smuggle_a_header_or_a_namespace() {
        for bad in ["", "-a", ".", "a b", "A", "cron:a", "a\r\nx: y", "é", &"a".repeat(49)] {
            assert_eq!(Session::new(bad), Err(InvalidSession(bad.to_owned())));
        }
    }
}
