//! Why the ledger cannot be used, what an examination of all of it found, and what a person can do about it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use agentos_api::ledger::{Damage, Diagnosis, Examination, LedgerState};
use agentos_ledger::{Cause, DATABASE_FILE, Evidence, LedgerError, Status};

use crate::config::Config;
use crate::problem::with_causes;
use crate::state::Room;

/// Where the ledger is, for what a person is told to do.
#[derive(Clone, Debug)]
pub(crate) struct Advice {
    directory: PathBuf,
    checkpoints: Option<PathBuf>,
}

/// A ledger that is not in use, and what is known of it so far.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) reason: String,
    diagnosis: Mutex<Diagnosis>,
    evidence: Mutex<Option<Arc<Evidence>>>,
    database: PathBuf,
}

impl Advice {
    pub(crate) fn new(config: &Config) -> Self {
        Self { directory: config.state_directory.clone(), checkpoints: config.ledger.checkpoint_file.clone() }
    }

    fn for_evidence(&self) -> Vec<String> {
        let directory = self.directory.display();
        let mut steps = vec![
            format!(
                "Keep {directory} as it is, as evidence. agentd writes nothing to it. A copy with its times: \
                 cp -a {directory} /somewhere/else"
            ),
            format!(
                "See all that is wrong, best on the copy: agentctl verify-ledger --full --state-dir {directory}"
            ),
            format!(
                "To go on with a whole copy of the ledger: systemctl stop agentd; mkdir -m 0700 {directory}.evidence; mv \
                 {directory}/ledger.* {directory}.evidence/; put the copy's ledger.* into {directory}; \
                 systemctl start agentd"
            ),
        ];
        let witness = match &self.checkpoints {
            Some(file) => format!("mv {} {directory}.evidence/; ", file.display()),
            None => String::new(),
        };
        steps.push(format!(
            "To begin a new ledger, on purpose: systemctl stop agentd; mkdir -m 0700 {directory}.evidence; mv \
             {directory}/ledger.* {directory}.evidence/; {witness}systemctl start agentd. It has another key: checkpoints \
             kept before speak of the old one."
        ));
        steps
    }

    fn for_room(&self, room: Room) -> Vec<String> {
        let directory = self.directory.display();
        let step = match room {
            Room::ReadOnly => format!(
                "Find out why the file system is read-only (dmesg), and mount it for writing: findmnt -T {directory}; \
                 mount -o remount,rw ITS_MOUNT_POINT"
            ),
            Room::Full | Room::Enough => {
                format!("Make room on the file system of {directory}: df -h {directory}")
            }
        };
        vec![step, "agentd tries again every second; it need not be restarted.".to_owned()]
    }

    /// The diagnosis of a ledger that is open.
    pub(crate) fn of_open(&self, status: &Status) -> Diagnosis {
        let (state, reason, next_steps) = match &status.unavailable {
            None => (LedgerState::Writable, None, Vec::new()),
            Some(trouble) => {
                let steps = match trouble.cause {
                    Cause::Damaged | Cause::Replaced => self.for_evidence(),
                    Cause::ReadOnly => self.for_room(Room::ReadOnly),
                    Cause::DiskFull => self.for_room(Room::Full),
                    _ => vec!["agentd tries again every second; it need not be restarted.".to_owned()],
                };
                (LedgerState::Unwritable, Some(trouble.reason.clone()), steps)
            }
        };
        Diagnosis { state, reason, damage: None, examination: None, next_steps }
    }
}

impl Closed {
    /// A ledger that is not what was recorded.
    pub(crate) fn not_whole(error: &LedgerError, advice: &Advice) -> Self {
        let reason = with_causes(error);
        let damage = error.damage().map(|damage| Damage {
            kind: damage.kind,
            first: damage.first,
            last: damage.last,
            detail: reason.clone(),
        });
        Self::new(
            &advice.directory,
            Diagnosis {
                state: LedgerState::NotWhole,
                reason: Some(reason),
                damage,
                examination: Some(Examination::default()),
                next_steps: advice.for_evidence(),
            },
        )
    }

    /// A ledger that could not be opened for want of room, or of a file system that can be written.
    pub(crate) fn waiting(room: Room, reason: String, advice: &Advice) -> Self {
        Self::new(
            &advice.directory,
            Diagnosis {
                state: LedgerState::Waiting,
                reason: Some(reason),
                damage: None,
                examination: None,
                next_steps: advice.for_room(room),
            },
        )
    }

    fn new(directory: &Path, diagnosis: Diagnosis) -> Self {
        Self {
            reason: diagnosis.reason.clone().unwrap_or_default(),
            diagnosis: Mutex::new(diagnosis),
            evidence: Mutex::default(),
            database: directory.join(DATABASE_FILE),
        }
    }

    /// What is known now.
    pub(crate) fn diagnosis(&self) -> Diagnosis {
        self.diagnosis.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ledger as far as it was found whole; nothing before the examination has ended.
    pub(crate) fn evidence(&self) -> Option<Arc<Evidence>> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the whole ledger, without changing a byte of it. Takes as long as the ledger is long.
    pub(crate) fn examine(&self) {
        let found = Evidence::examine(&self.database, &mut |at| {
            self.examined(|examination| {
                examination.done = at.done;
                examination.total = at.total;
            });
        });
        match found {
            Ok(evidence) => {
                self.examined(|examination| {
                    examination.readable = evidence.readable();
                    examination.damage = evidence.violation().map(|violation| {
                        let damage = agentos_ledger::Damage::from(violation);
                        Damage {
                            kind: damage.kind,
                            first: damage.first,
                            last: damage.last,
                            detail: violation.to_string(),
                        }
                    });
                });
                *self.evidence.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(evidence));
            }
            Err(error) => self.examined(|examination| examination.trouble = Some(with_causes(&error))),
        }
        self.examined(|examination| examination.finished = true);
    }

    fn examined(&self, change: impl FnOnce(&mut Examination)) {
        let mut diagnosis = self.diagnosis.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(examination) = &mut diagnosis.examination {
            change(examination);
        }
    }
}
