//! Whether the process at the other end of a socket comes from a login that began after a moment.
//!
//! What is asked, the strongest there is: systemd-logind, when it knows the session that the process is in; the kernel's audit
//! session, which login programs begin (`/proc/PID/sessionid`); where there is neither, the leader of its session of processes
//! (setsid(2)). The last one tells a new terminal from an old one, not a new login from an old one.

mod peer;

use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::procfs::{Proc, stat, text};
use crate::sessions::logind::{self, Began, Known};

pub use peer::Peer;
use peer::{Facts, Place};

/// Audit sessions are numbered from 1; this stands for none (`AUDIT_SID_UNSET`, include/linux/audit.h).
const NO_AUDIT_SESSION: u32 = u32::MAX;

/// A moment, as far as logins are compared with it. It holds across a restart of this process, and a new boot is told from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Which boot (`/proc/sys/kernel/random/boot_id`).
    boot: String,
    /// Milliseconds after it, time asleep included: the clock of processes.
    boottime_ms: u64,
    /// The same without: the clock of logind.
    monotonic_ms: u64,
    /// The highest audit session that a process was in; nothing where the kernel keeps none. They are numbered as they begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit_session: Option<u32>,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self {
            boot: boot(),
            audit_session: highest_audit_session(),
            boottime_ms: milliseconds(clock_gettime(ClockId::Boottime)),
            monotonic_ms: milliseconds(clock_gettime(ClockId::Monotonic)),
        }
    }
}

impl Machine {
    /// How it is known that `peer` comes from a login that began after `moment`.
    ///
    /// # Errors
    /// Why it is not, as a part of a sentence.
    pub fn logged_in_after(&self, peer: &Peer, moment: &Moment) -> Result<String, String> {
        let facts = peer.facts()?;
        judge(&facts, moment, &boot(), |id| logind::known(self, id))
    }
}

/// Says whether a process of which `facts` are known comes from a login after `moment`. `logind` says what is known of a session,
/// or, without one, whether it runs.
fn judge(
    facts: &Facts,
    moment: &Moment,
    boot: &str,
    logind: impl FnOnce(Option<&str>) -> Known,
) -> Result<String, String> {
    if moment.boot != boot {
        return Ok("the machine was started anew since".to_owned());
    }
    match &facts.place {
        Place::Session(id) => match logind(Some(id)) {
            Known::Began(began) => of_logind(id, &began, moment),
            Known::NoSession => Err(format!("logind does not know its session {id}")),
            Known::NotRunning => of_audit(facts, moment)
                .unwrap_or_else(|| Err(format!("logind, which had the session {id}, does not run"))),
            Known::Silent(why) => of_audit(facts, moment)
                .unwrap_or_else(|| Err(format!("its session {id} cannot be asked about: {why}"))),
        },
        Place::UserManager => Err(
            "it was started by the user's service manager, which does not say from which login (a terminal of a desktop is)"
                .to_owned(),
        ),
        Place::Elsewhere => of_audit(facts, moment).unwrap_or_else(|| match logind(None) {
            Known::NotRunning => of_leader(facts, moment),
            Known::Silent(why) => Err(format!("logind cannot be asked about it: {why}")),
            // What a person starts after a login is in its session.
            Known::Began(_) | Known::NoSession => Err("it is in no login's session".to_owned()),
        }),
    }
}

fn of_logind(id: &str, began: &Began, moment: &Moment) -> Result<String, String> {
    if !began.class.starts_with("user") {
        return Err(format!("its session {id} is of the class {}, not a person's", began.class));
    }
    let old = || Err(format!("its login (session {id}) began before the change"));
    if began.monotonic_ms <= moment.monotonic_ms {
        return old();
    }
    // Whoever connected before the change and logged in after it has not shown that one can still connect. At a console the
    // leader waits for somebody to come, and is older than any login.
    if began.remote && began.leader_ms.is_none_or(|leader| leader <= moment.boottime_ms) {
        return old();
    }
    let by = began.service.as_deref().map(|service| format!(" of {service}")).unwrap_or_default();
    Ok(format!("session {id}{by}, as logind knows it"))
}

fn of_audit(facts: &Facts, moment: &Moment) -> Option<Result<String, String>> {
    let (session, highest) = (facts.audit_session?, moment.audit_session?);
    Some(if session > highest {
        Ok(format!("audit session {session}"))
    } else {
        Err(format!("its login (audit session {session}) began before the change"))
    })
}

fn of_leader(facts: &Facts, moment: &Moment) -> Result<String, String> {
    match facts.leader {
        Some((pid, began)) if began > moment.boottime_ms => {
            Ok(format!("the session of processes that {pid} leads; nobody keeps track of logins here"))
        }
        Some((pid, _)) => {
            Err(format!("the session of processes that it belongs to (leader {pid}) began before the change"))
        }
        None => Err("the leader of its session of processes is gone or out of sight".to_owned()),
    }
}

fn boot() -> String {
    text("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn milliseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

fn highest_audit_session() -> Option<u32> {
    let proc = Proc::open().ok()?;
    // Where the kernel keeps none, it has none for this process.
    proc.read(std::process::id(), "sessionid", &mut [0; 16]).ok()?;
    let mut highest = 0;
    let listed = proc.each(|pid| {
        let session = proc.read(pid, "sessionid", &mut [0; 16]).ok().and_then(audit_session);
        highest = highest.max(session.unwrap_or(0));
    });
    listed.is_ok().then_some(highest)
}

fn audit_session(text: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(text).ok()?.trim_end_matches(['\n', '\0']).parse().ok()?;
    (number != NO_AUDIT_SESSION).then_some(number)
}

fn ticks_to_ms(ticks: u64, per_second: u64) -> u64 {
    ticks.saturating_mul(1000) / per_second.max(1)
}

impl Machine {
    /// When a process began, on the clock of [`Moment::boottime_ms`].
    pub(crate) fn leader_began_ms(&self, pid: u32) -> Option<u64> {
        let mut buffer = [0; 1024];
        let proc = Proc::open().ok()?;
        let read = proc.read(pid, "stat", &mut buffer).ok()?;
        Some(ticks_to_ms(stat::parse(read)?.start_ticks, self.ticks.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        Moment { boot: "b".to_owned(), boottime_ms: 5_000, monotonic_ms: 4_000, audit_session: Some(7) }
    }

    fn facts(place: Place, audit_session: Option<u32>, leader: Option<(u32, u64)>) -> Facts {
        Facts { place, audit_session, leader }
    }

    fn ssh(monotonic_ms: u64, leader_ms: Option<u64>) -> Began {
        Began {
            class: "user".to_owned(),
            monotonic_ms,
            remote: true,
            leader_ms,
            service: Some("sshd".to_owned()),
        }
    }

    fn in_session(known: Known) -> Result<String, String> {
        let facts = facts(Place::Session("3".to_owned()), Some(7), Some((9, 9_000)));
        judge(&facts, &moment(), "b", |id| {
            assert_eq!(id, Some("3"));
            known
        })
    }

    #[test]
    fn a_session_of_logind_counts_from_when_it_began_and_over_the_network_from_the_connection() {
        in_session(Known::Began(ssh(4_001, Some(5_001)))).unwrap();
        in_session(Known::Began(ssh(4_000, Some(5_001)))).unwrap_err();
        // Connected before the change, logged in after it.
        in_session(Known::Began(ssh(4_001, Some(5_000)))).unwrap_err();
        in_session(Known::Began(ssh(4_001, None))).unwrap_err();
        let console = Began { remote: false, service: None, ..ssh(4_001, Some(10)) };
        in_session(Known::Began(console.clone())).unwrap();
        for class in ["background", "greeter", "manager", ""] {
            in_session(Known::Began(Began { class: class.to_owned(), ..console.clone() })).unwrap_err();
        }
    }

    #[test]
    fn without_logind_the_audit_session_decides_and_nothing_weaker() {
        // The process is in audit session 7, which was there.
        in_session(Known::NoSession).unwrap_err();
        in_session(Known::NotRunning).unwrap_err();
        in_session(Known::Silent("gone".to_owned())).unwrap_err();
        let judged = |audit, leader| {
            judge(&facts(Place::Elsewhere, audit, leader), &moment(), "b", |_| Known::NotRunning)
        };
        judged(Some(8), None).unwrap();
        judged(Some(7), Some((9, 9_000))).unwrap_err();
        judged(None, Some((9, 5_001))).unwrap();
        judged(None, Some((9, 5_000))).unwrap_err();
        judged(None, None).unwrap_err();
        // A session that nobody can be asked about is not judged by its leader.
        let session = facts(Place::Session("3".to_owned()), None, Some((9, 9_000)));
        judge(&session, &moment(), "b", |_| Known::Silent("no bus".to_owned())).unwrap_err();
        // Where logind runs, whoever logged in is in a session of it, or at least in one of the kernel's.
        let outside = |audit| {
            let facts = facts(Place::Elsewhere, audit, Some((9, 9_000)));
            judge(&facts, &moment(), "b", |_| Known::NoSession)
        };
        outside(None).unwrap_err();
        outside(Some(8)).unwrap();
    }

    #[test]
    fn what_a_users_service_manager_starts_says_nothing_and_a_new_boot_says_all() {
        let by_manager = facts(Place::UserManager, Some(9), Some((9, 9_000)));
        judge(&by_manager, &moment(), "b", |_| unreachable!()).unwrap_err();
        judge(&by_manager, &moment(), "c", |_| unreachable!()).unwrap();
    }

    #[test]
    fn a_moment_survives_the_ledger() {
        let now = Moment::now();
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), now);
        assert!(now.boottime_ms >= now.monotonic_ms && !now.boot.is_empty(), "{now:?}");
    }

    #[test]
    fn an_audit_session_is_a_number_that_is_set() {
        assert_eq!(audit_session(b"12"), Some(12));
        for none in [b"4294967295".as_slice(), b"", b"-1", b"x", b"99999999999"] {
            assert_eq!(audit_session(none), None, "{none:?}");
        }
    }
}
