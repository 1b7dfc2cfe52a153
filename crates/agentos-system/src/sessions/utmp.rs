//! Sessions as login programs write them down: `/run/utmp` (utmp(5)).

use std::io;
use std::path::Path;

use agentos_api::query::sessions::Session;
use rustix::fs::CWD;

use crate::procfs::read_at;
use crate::{QueryError, moment};

const PATHS: [&str; 2] = ["/run/utmp", "/var/run/utmp"];

/// `struct utmp` of glibc on machines with 64 bits: kind, process, line, id, user, host, exit, session, time, address.
const RECORD_BYTES: usize = 384;

/// `USER_PROCESS`
const USER_PROCESS: u16 = 7;

/// About ten thousand records.
const MAX_FILE_BYTES: usize = 4 << 20;

/// The sessions whose process still runs; none where no login program keeps the file.
///
/// # Errors
/// The kernel's.
pub(super) fn sessions() -> Result<Option<Vec<Session>>, QueryError> {
    for path in PATHS {
        match read_at(CWD, path, MAX_FILE_BYTES) {
            Ok(content) => return Ok(Some(records(&content).into_iter().filter(runs).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(QueryError::io(path, error)),
        }
    }
    Ok(None)
}

/// A login program that was killed leaves its record behind.
fn runs(session: &Session) -> bool {
    session.leader_pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
}

fn records(content: &[u8]) -> Vec<Session> {
    content.chunks_exact(RECORD_BYTES).filter_map(record).collect()
}

fn record(bytes: &[u8]) -> Option<Session> {
    let word = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let text = |at: usize, length: usize| {
        let field = bytes.get(at..at + length)?;
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(length);
        (end > 0).then(|| String::from_utf8_lossy(&field[..end]).into_owned())
    };
    if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != USER_PROCESS {
        return None;
    }
    let (line, host) = (text(8, 32), text(76, 256));
    // A local X session writes its display, `:0`, where others write a host.
    let remote_host = host.filter(|host| !host.starts_with(':'));
    Some(Session {
        id: line.clone().or_else(|| text(40, 4))?,
        user: text(44, 32)?,
        uid: None,
        since: word(340).and_then(|seconds| moment::from_seconds(seconds.into())),
        tty: line,
        seat: None,
        remote: remote_host.is_some(),
        remote_host,
        service: None,
        kind: None,
        class: None,
        state: None,
        idle_since: None,
        leader_pid: word(4).and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(kind: u16, pid: i32, line: &str, user: &str, host: &str, seconds: i32) -> Vec<u8> {
        let mut bytes = vec![0; RECORD_BYTES];
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&pid.to_ne_bytes());
        bytes[8..8 + line.len()].copy_from_slice(line.as_bytes());
        bytes[44..44 + user.len()].copy_from_slice(user.as_bytes());
        bytes[76..76 + host.len()].copy_from_slice(host.as_bytes());
        bytes[340..344].copy_from_slice(&seconds.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_user_processes_are_sessions() {
        let mut content = written(2, 0, "~", "reboot", "", 1);
        content.extend(written(7, 42, "pts/0", "ada", "10.0.0.7", 86_400));
        content.extend(written(8, 43, "tty1", "ada", "", 2));
        let [session] = records(&content).try_into().unwrap();
        assert_eq!(
            (session.id.as_str(), session.user.as_str(), session.leader_pid),
            ("pts/0", "ada", Some(42))
        );
        assert_eq!((session.remote, session.remote_host.as_deref()), (true, Some("10.0.0.7")));
        assert_eq!(session.since.as_deref(), Some("1970-01-02T00:00:00Z"));
    }

    #[test]
    fn a_record_whose_process_is_gone_is_no_session() {
        let here = i32::try_from(std::process::id()).unwrap();
        assert!(runs(&record(&written(7, here, "pts/0", "ada", "", 1)).unwrap()));
        assert!(!runs(&record(&written(7, i32::MAX, "pts/0", "ada", "", 1)).unwrap()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..800), line in "[a-z/0-9]{1,32}", user in "[a-z]{1,32}", pid in 1i32..) {
            let _ = records(&bytes);
            let session = record(&written(7, pid, &line, &user, ":0", 5)).unwrap();
            prop_assert_eq!((session.id, session.user, session.remote), (line, user, false));
        }
    }
}
