//! What agentd does in a command's place: the calls that the filter hands over (`seccomp_unotify(2)`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// `SECCOMP_ADDFD_FLAG_SEND` (linux/seccomp.h): the call is answered with the descriptor.
const ADDFD_FLAG_SEND: u32 = 1 << 1;
/// `SECCOMP_ADDFD_FLAG_SETFD`: the descriptor gets the number that is given.
const ADDFD_FLAG_SETFD: u32 = 1 << 0;

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const FLAG_CONTINUE: u32 = 1 << 0;

/// The listener of a filter: calls wait here until they are answered.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    id: u64,
    /// The thread that makes it, as this process numbers threads.
    pub thread: u32,
    /// The number of the call (`SYS_openat`).
    pub call: i64,
    /// Its arguments, as they are in registers. What they point at may change at any time.
    pub arguments: [u64; 6],
}

impl Listener {
    /// Takes the descriptor that came with [`crate::Word::Ready`].
    pub const fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// The next call. Waits for it, unless it is known by poll(2) that there is one.
    ///
    /// # Errors
    /// `ENOENT` where the caller was killed meanwhile; the kernel's.
    pub fn next(&self) -> Result<Notification, Errno> {
        // SAFETY: all-zero is what the kernel asks for, and a value of the structure.
        let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        self.request(libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut raw)?;
        Ok(Notification { id: raw.id, thread: raw.pid, call: raw.data.nr.into(), arguments: raw.data.args })
    }

    /// Whether the call still waits: what was read of its caller's memory and of `/proc/THREAD` before is then the caller's.
    pub fn still_waits(&self, notification: &Notification) -> bool {
        let mut id = notification.id;
        self.request(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id).is_ok()
    }

    /// The call fails.
    pub fn refuse(&self, notification: &Notification, error: Errno) {
        let error = -error.raw_os_error();
        self.respond(libc::seccomp_notif_resp { id: notification.id, val: 0, error, flags: 0 });
    }

    /// The call succeeds and gives 0.
    pub fn done(&self, notification: &Notification) {
        self.gives(notification, 0);
    }

    /// The call succeeds and gives that.
    pub fn gives(&self, notification: &Notification, value: i64) {
        self.respond(libc::seccomp_notif_resp { id: notification.id, val: value, error: 0, flags: 0 });
    }

    /// The kernel makes the call as if there were no filter. Only for calls without pointers: what those point at may have
    /// changed since it was looked at.
    pub fn let_through(&self, notification: &Notification) {
        let flags = FLAG_CONTINUE;
        self.respond(libc::seccomp_notif_resp { id: notification.id, val: 0, error: 0, flags });
    }

    fn respond(&self, mut response: libc::seccomp_notif_resp) {
        // A caller that was killed needs no answer.
        let _ = self.request(libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response);
    }

    /// The call gives a descriptor of that file, in one step: a caller that is killed meanwhile is left with none.
    ///
    /// # Errors
    /// The kernel's: `EMFILE`, say. The call then still waits.
    pub fn give(
        &self,
        notification: &Notification,
        file: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        let flags = if close_on_exec { libc::O_CLOEXEC.unsigned_abs() } else { 0 };
        let mut request = libc::seccomp_notif_addfd {
            id: notification.id,
            flags: ADDFD_FLAG_SEND,
            srcfd: file.as_raw_fd().unsigned_abs(),
            newfd: 0,
            newfd_flags: flags,
        };
        self.request(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut request)
    }

    /// Puts that file in place of the caller's descriptor `number`, which is closed. The call still waits.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace(
        &self,
        notification: &Notification,
        number: u32,
        file: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let mut request = libc::seccomp_notif_addfd {
            id: notification.id,
            flags: ADDFD_FLAG_SETFD,
            srcfd: file.as_raw_fd().unsigned_abs(),
            newfd: number,
            newfd_flags: libc::O_CLOEXEC.unsigned_abs(),
        };
        self.request(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut request)
    }

    fn request<T>(&self, request: libc::Ioctl, argument: *mut T) -> Result<(), Errno> {
        loop {
            // SAFETY: each request is given the structure that `seccomp_unotify(2)` names for it, by those who call this.
            let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) };
            if result >= 0 {
                return Ok(());
            }
            match Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO) {
                Errno::INTR => {}
                error => return Err(error),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
