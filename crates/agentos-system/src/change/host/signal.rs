//! A signal to a process, by a descriptor of that process and no other (`pidfd_open(2)`).

use agentos_api::change::Effect;
use agentos_api::mutation::process::SignalName;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal as Number, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};
use crate::procfs::{Proc, stat};

/// A signal is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "a signal is what is sent")]
pub(crate) struct Signal {
    pub(crate) pid: u32,
    /// When it started, in ticks after the machine did: with the number, which process it is.
    pub(crate) start_ticks: u64,
    /// In which boot.
    pub(crate) boot: String,
    /// Its name.
    pub(crate) name: String,
    pub(crate) signal: SignalName,
}

/// The signal's name in signal(7).
pub(crate) fn name(signal: SignalName) -> &'static str {
    match signal {
        SignalName::Term => "SIGTERM",
        SignalName::Kill => "SIGKILL",
        SignalName::Hup => "SIGHUP",
        SignalName::Int => "SIGINT",
        SignalName::Quit => "SIGQUIT",
        SignalName::Usr1 => "SIGUSR1",
        SignalName::Usr2 => "SIGUSR2",
        SignalName::Stop => "SIGSTOP",
        SignalName::Cont => "SIGCONT",
    }
}

const fn number(signal: SignalName) -> Number {
    match signal {
        SignalName::Term => Number::TERM,
        SignalName::Kill => Number::KILL,
        SignalName::Hup => Number::HUP,
        SignalName::Int => Number::INT,
        SignalName::Quit => Number::QUIT,
        SignalName::Usr1 => Number::USR1,
        SignalName::Usr2 => Number::USR2,
        SignalName::Stop => Number::STOP,
        SignalName::Cont => Number::CONT,
    }
}

/// This start of the machine.
pub(crate) fn boot() -> String {
    crate::procfs::text("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

impl Signal {
    /// The state of the process, as the kernel's letter; none once it has ended.
    fn state(&self) -> Result<Option<u8>, ChangeError> {
        if boot() != self.boot {
            return Ok(None);
        }
        let mut buffer = [0; 4096];
        let Ok(line) = Proc::open()?.read(self.pid, "stat", &mut buffer) else { return Ok(None) };
        Ok(stat::parse(line)
            .filter(|stat| stat.start_ticks == self.start_ticks && !matches!(stat.state, b'Z' | b'X'))
            .map(|stat| stat.state))
    }

    fn gone(&self) -> ChangeError {
        ChangeError::Moved { what: self.on(), planned: "running".to_owned(), found: "ended".to_owned() }
    }
}

impl Transit for Signal {
    fn on(&self) -> String {
        format!("process {} ({})", self.pid, self.name)
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        let (before, after) = match self.signal {
            SignalName::Kill => ("running".to_owned(), "ended".to_owned()),
            SignalName::Stop => ("running".to_owned(), "halted".to_owned()),
            SignalName::Cont => ("halted".to_owned(), "running".to_owned()),
            other => ("running".to_owned(), format!("sent {}", name(other))),
        };
        Effect { on: self.on(), before, after, diff: None, diff_omitted: None }
    }

    fn position(&self, _: &Context<'_>) -> Result<Position, ChangeError> {
        let Some(state) = self.state()? else {
            return Ok(match self.signal {
                SignalName::Stop | SignalName::Cont => Position::Elsewhere("ended".to_owned()),
                _ => Position::After,
            });
        };
        let halted = state == b'T';
        Ok(match self.signal {
            SignalName::Stop if halted => Position::After,
            SignalName::Cont if !halted => Position::After,
            SignalName::Kill | SignalName::Stop | SignalName::Cont => Position::Before,
            // It may have been sent, and the process go on all the same.
            _ => Position::Unknowable,
        })
    }

    fn apply(&self, _: &Context<'_>) -> Result<(), ChangeError> {
        let failed = |error: Errno| ChangeError::failed(self.on(), std::io::Error::from(error));
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or_else(|| self.gone())?;
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::SRCH) => return Err(self.gone()),
            Err(error) => return Err(failed(error)),
        };
        // The descriptor is of whoever has the number now; that one has to be the one that was meant.
        if self.state()?.is_none() {
            return Err(self.gone());
        }
        match pidfd_send_signal(&descriptor, number(self.signal)) {
            Ok(()) => {}
            Err(Errno::SRCH) => return Err(self.gone()),
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        let signal = match self.signal {
            SignalName::Stop => SignalName::Cont,
            SignalName::Cont => SignalName::Stop,
            other => return Err(Irreversible(format!("{} was sent, and cannot be unsent", name(other)))),
        };
        Ok(Self { signal, ..self.clone() })
    }
}
