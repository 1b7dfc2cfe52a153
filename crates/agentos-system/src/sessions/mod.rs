//! The query `sessions`: who is logged in, by systemd-logind; by utmp(5) where it does not run.

pub(crate) mod logind;
mod utmp;

use agentos_api::query::Sessions;
use agentos_api::query::sessions::{Args, Output, Source};

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};

impl Read for Sessions {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let (source, mut sessions) = match logind::sessions(machine) {
            Ok(sessions) => (Source::Logind, sessions),
            Err(error) => match utmp::sessions()? {
                Some(sessions) => (Source::Utmp, sessions),
                None => return Err(error),
            },
        };
        if let Some(user) = &args.user {
            sessions.retain(|session| session.user == *user);
        }
        sessions.sort_by(|left, right| (&left.since, &left.id).cmp(&(&right.since, &right.id)));
        let total = sessions.len() as u64;
        sessions.truncate(args.limit.as_usize());
        Ok(Output { source, sessions, total })
    }
}
