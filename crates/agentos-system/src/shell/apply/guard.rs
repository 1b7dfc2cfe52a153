//! Keeps a command's signals from agentd.
//!
//! Each call that arrives here has all that it says in registers, so it can be let through as it is: nothing that is looked at here
//! can change afterwards. A number that is nobody's is answered here, for it may become agentd's.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use agentos_cell::{Listener, Notification};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, getpgid};

/// How often it looks whether the command is over, where no call comes.
const PAUSE: Duration = Duration::from_millis(50);

/// A thread that answers the calls.
pub(super) struct Guard {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Guard {
    /// Begins to answer. `kept` are the processes that get no signals.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(listener: Listener, kept: [u32; 2]) -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("shell guard".to_owned())
            .spawn(move || answer_all(&listener, kept, &is_over))?;
        Ok(Self { over, thread })
    }

    /// The command is over.
    pub(super) fn end(self) {
        self.over.store(true, Ordering::Release);
        let _ = self.thread.join();
    }
}

/// Until it is over: then the listener is closed, and the kernel answers all of its calls with `ENOSYS`.
fn answer_all(listener: &Listener, kept: [u32; 2], over: &AtomicBool) {
    let pause = super::super::timespec(PAUSE);
    while !over.load(Ordering::Acquire) {
        let mut asked = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        let waits = match poll(&mut asked, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => asked[0].revents(),
            Err(_) => return,
        };
        if waits.contains(PollFlags::IN) {
            // A caller that was killed meanwhile has no call any more.
            let Ok(call) = listener.next() else { continue };
            match verdict(&call, kept) {
                Ok(()) => listener.let_through(&call),
                Err(error) => listener.refuse(&call, error),
            }
        } else if waits.intersects(PollFlags::HUP | PollFlags::ERR) {
            return;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers of processes are ints, and the kernel takes that of the register"
)]
fn verdict(call: &Notification, kept: [u32; 2]) -> Result<(), Errno> {
    let [first, second, ..] = call.arguments.map(|argument| argument as i32);
    match call.call {
        libc::SYS_kill => match first {
            // Every process there is.
            -1 => Err(Errno::PERM),
            0 => Ok(()),
            group if group < 0 => not_the_group(group.saturating_neg(), kept),
            process => not_kept(process, kept),
        },
        libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo => {
            not_kept(first, kept)?;
            not_kept(second, kept)
        }
        // Who is meant: a process, a group of them, all of a user's (setpriority(2), ioprio_set(2)).
        libc::SYS_setpriority => of_who(first, second, kept),
        libc::SYS_ioprio_set => of_who(first.wrapping_sub(1), second, kept),
        _ => not_kept(first, kept),
    }
}

fn of_who(which: i32, who: i32, kept: [u32; 2]) -> Result<(), Errno> {
    match (which, who) {
        (0 | 1, 0) => Ok(()),
        (0, process) => not_kept(process, kept),
        (1, group) => not_the_group(group, kept),
        _ => Err(Errno::PERM),
    }
}

/// The process of this number, or that it is a thread of, is none of those.
fn not_kept(number: i32, kept: [u32; 2]) -> Result<(), Errno> {
    // Below 1 the kernel itself says what it is.
    let Some(number) = u32::try_from(number).ok().filter(|&number| number > 0) else { return Ok(()) };
    match super::super::supervisor::process_of(number) {
        Ok(process) if kept.contains(&process) => Err(Errno::PERM),
        Ok(_) => Ok(()),
        Err(_) => Err(Errno::SRCH),
    }
}

/// None of those is in that group.
fn not_the_group(group: i32, kept: [u32; 2]) -> Result<(), Errno> {
    let is_in = |process: u32| {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        process
            .and_then(|process| getpgid(Some(process)).ok())
            .is_some_and(|its| its.as_raw_nonzero().get() == group)
    };
    if kept.into_iter().any(is_in) { Err(Errno::PERM) } else { Ok(()) }
}
