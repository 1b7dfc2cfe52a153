//! Opens files, and refuses sockets, in the place of a command that is only to read.
//!
//! A thread answers the calls one after the other. What it reads of the caller's memory it reads once, and acts on that copy:
//! nothing the caller does meanwhile changes what was decided.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agentos_api::query::path::encode;
use agentos_api::query::shell::Refused;
use agentos_cell::{Listener, Notification};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal};

use super::advice::is_for_another_mode;
use super::bus::relay;
use super::preview::{self, Maker};
use super::programs::{Programs, Ran};
use super::resolve::{Found, Task, file_type, walk};
use super::view::View;
use crate::QueryError;
use crate::files::{Known, Located, Protected, link_to};
use crate::machine::Viewer;

/// Refusals that are told.
const MOST_REFUSED: usize = 20;
/// Longest path, with its NUL (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;
/// Longest socket address (`struct sockaddr_storage`).
const LONGEST_ADDRESS: usize = 128;
/// Where the system bus is (D-Bus Specification, "System message bus").
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";
/// How programs call it.
const BUS: [&[u8]; 2] = [b"/run/dbus/system_bus_socket", b"/var/run/dbus/system_bus_socket"];
/// Connections to the system bus of one command.
const MOST_RELAYS: usize = 32;
/// How often it looks whether the command is over, where no call comes.
const PAUSE: Duration = Duration::from_millis(100);
/// Devices that give nothing of the machine's and take nothing: null, zero, full, random, urandom (`devices.txt`).
pub(super) const DEVICES: [(u32, u32); 5] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9)];

/// The terminal of a session (`devices.txt`).
pub(super) const TERMINAL: (u32, u32) = (5, 0);

/// A thread that answers a command's calls.
pub(super) struct Supervisor {
    thread: JoinHandle<(Vec<Refused>, Vec<Ran>)>,
    over: mpsc::Sender<()>,
}

impl Supervisor {
    /// Begins to answer.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        listener: Listener,
        sight: Sight,
        viewer: Viewer,
        protected: Arc<Protected>,
        known: Known,
        deadline: Instant,
    ) -> std::io::Result<Self> {
        let (over, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("shell".to_owned()).spawn(move || {
            let mut answering = Answering {
                listener,
                sight,
                viewer,
                protected,
                known,
                deadline,
                namespace: None,
                refused: Vec::new(),
                programs: Programs::default(),
                relays: Vec::new(),
            };
            answering.run(&told);
            answering.end()
        })?;
        Ok(Self { thread, over })
    }

    /// The command is over. Says what was refused, and which programs ran.
    pub(super) fn end(self) -> (Vec<Refused>, Vec<Ran>) {
        let _ = self.over.send(());
        self.thread.join().unwrap_or_default()
    }
}

/// What a command sees of the file systems.
pub(super) enum Sight {
    /// The machine's, as this process does.
    Machine,
    /// A view of them of its own.
    View(Arc<View>),
}

pub(super) struct Answering {
    listener: Listener,
    sight: Sight,
    pub(super) viewer: Viewer,
    pub(super) protected: Arc<Protected>,
    /// What was found out for the file before.
    pub(super) known: Known,
    deadline: Instant,
    /// The command's process namespace, once it is known.
    namespace: Option<u64>,
    refused: Vec<Refused>,
    programs: Programs,
    /// Connections to the system bus, each with the program that made it and the calls that were refused on it.
    relays: Vec<(Option<usize>, JoinHandle<Vec<String>>)>,
}

/// What becomes of a call that opens something.
pub(super) type Opened = Result<OwnedFd, Errno>;

impl Answering {
    fn run(&mut self, over: &mpsc::Receiver<()>) {
        let pause = super::timespec(PAUSE);
        loop {
            let mut asked = [PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
            let waits = match poll(&mut asked, Some(&pause)) {
                Ok(_) | Err(Errno::INTR) => asked[0].revents(),
                Err(_) => return,
            };
            if waits.contains(PollFlags::IN) {
                // A caller that was killed meanwhile has no call any more.
                if let Ok(call) = self.listener.next() {
                    self.answer(&call);
                }
            } else if waits.intersects(PollFlags::HUP | PollFlags::ERR) || over.try_recv().is_ok() {
                return;
            }
        }
    }

    fn answer(&mut self, call: &Notification) {
        if call.call == libc::SYS_getpid {
            match process_of(call.thread) {
                Ok(process) => self.listener.gives(call, process.into()),
                Err(error) => self.listener.refuse(call, error),
            }
            return;
        }
        if call.call == libc::SYS_kill || call.call == libc::SYS_tgkill {
            return self.signal(call);
        }
        self.programs.asks(call.thread, &self.sight);
        if call.call == libc::SYS_connect || call.call == libc::SYS_bind {
            match self.address(call) {
                Ok(()) => self.listener.done(call),
                Err(error) => self.listener.refuse(call, error),
            }
            return;
        }
        let (folder, path, flags, mode) = match *call {
            Notification { call: libc::SYS_openat, arguments: [folder, path, flags, mode, ..], .. } => {
                (Some(folder), path, flags, mode)
            }
            // open(2), which only some kinds of machines have.
            Notification { arguments: [path, flags, mode, ..], .. } => (None, path, flags, mode),
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "flags and mode are ints, and the kernel takes that of the register"
        )]
        let (flags, mode) =
            (OFlags::from_bits_retain(flags as u32), Mode::from_raw_mode(mode as u32 & 0o7777));
        match self.open(call, folder, path, flags, mode) {
            Ok(file) => {
                if let Err(error) = self.listener.give(call, file.as_fd(), flags.contains(OFlags::CLOEXEC)) {
                    self.listener.refuse(call, error);
                }
            }
            Err(error) => self.listener.refuse(call, error),
        }
    }

    fn open(
        &mut self,
        call: &Notification,
        folder: Option<u64>,
        path: u64,
        flags: OFlags,
        mode: Mode,
    ) -> Opened {
        let path = path_in(call.thread, path)?;
        let view = match &self.sight {
            Sight::Machine => None,
            Sight::View(view) => Some(Arc::clone(view)),
        };
        let task = match view {
            None => Task { thread: call.thread, process: process_of(call.thread)? },
            Some(_) => preview::task(call.thread)?,
        };
        let from = match path.first() {
            Some(b'/') | None => None,
            Some(_) => Some(start(call.thread, folder)?),
        };
        let maker = view.as_ref().map(|_| Maker::of(call.thread)).transpose()?;
        // Until here, all that was read is only the caller's if it is still the one that asks.
        if !self.listener.still_waits(call) {
            return Err(Errno::NOENT);
        }
        let follow = !flags.contains(OFlags::NOFOLLOW);
        if let (Some(view), Some(maker)) = (view, maker) {
            return self.open_in(&view, &maker, task, (from, &path), (flags, mode));
        }
        let own = self.own_namespace(call);
        let is_own = |folder: &[u8]| own.is_some() && own == namespace_of(folder);
        match walk(None, task, from, &path, follow, &is_own)? {
            Found::Missing(..) if flags.contains(OFlags::CREATE) => {
                Err(self.refuse("write", &path, "nothing is made while observing", Errno::ROFS))
            }
            Found::Missing(..) => Err(Errno::NOENT),
            Found::Own(there) => self.open_again(&there, &path, flags, true),
            Found::There(there) => self.open_again(&there, &path, flags, false),
        }
    }

    /// The process namespace of the command. It cannot make another one, so what one of its threads is in, all are in. It is kept
    /// only where the thread was still the one that asks when it was read.
    fn own_namespace(&mut self, call: &Notification) -> Option<u64> {
        if self.namespace.is_none() {
            let found = namespace(&call.thread.to_string());
            self.namespace = found.filter(|_| self.listener.still_waits(call));
        }
        self.namespace
    }

    /// Opens what was found, if that only reads.
    fn open_again(&mut self, there: &OwnedFd, path: &[u8], flags: OFlags, own: bool) -> Opened {
        let kind = file_type(there)?;
        if flags.contains(OFlags::PATH) {
            return rustix::io::dup(there);
        }
        if flags.contains(OFlags::DIRECTORY) && kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OFlags::CREATE | OFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC)
            || flags.contains(OFlags::TMPFILE);
        let reopen = |flags: OFlags| openat(CWD, link_to(there), flags | OFlags::CLOEXEC, Mode::empty());
        let access = flags & (OFlags::WRONLY | OFlags::RDWR);
        match kind {
            // It has none: programs that ask for it go on without.
            FileType::CharacterDevice if device(there)? == TERMINAL => Err(Errno::NXIO),
            FileType::CharacterDevice if DEVICES.contains(&device(there)?) => reopen(access | OFlags::NOCTTY),
            // One of the command's own pipes. It does not wait for the other end: there is one, or there is no more.
            FileType::Fifo if own => reopen(access | OFlags::NONBLOCK).and_then(|pipe| {
                rustix::fs::fcntl_setfl(&pipe, flags & OFlags::NONBLOCK)?;
                Ok(pipe)
            }),
            FileType::Symlink => Err(Errno::LOOP),
            FileType::Socket => Err(Errno::NXIO),
            _ if writes => Err(self.refuse("write", path, "nothing is written while observing", Errno::ROFS)),
            FileType::Directory => self.checked(there, path, flags, |located, protected, viewer, known| {
                if !viewer.operator {
                    protected.check(located, known)?;
                }
                located.directory()
            }),
            FileType::RegularFile => self.checked(there, path, flags, Located::content_by),
            _ => Err(self.refuse(
                "read",
                path,
                "it is a device or a pipe of somebody else's, and reading it may act on it",
                Errno::ACCESS,
            )),
        }
    }

    /// Opens as whoever asks may, by the rules for reading.
    fn checked(
        &mut self,
        there: &OwnedFd,
        path: &[u8],
        flags: OFlags,
        open: impl FnOnce(&Located, &Protected, &Viewer, &mut Known) -> Result<OwnedFd, QueryError>,
    ) -> Opened {
        let located = Located::of(rustix::io::dup(there)?)?;
        match open(&located, &self.protected, &self.viewer, &mut self.known) {
            Ok(file) => {
                // That something was read is no trace that it leaves, where the file system lets that be.
                let as_asked = flags & OFlags::NONBLOCK;
                rustix::fs::fcntl_setfl(&file, as_asked | OFlags::NOATIME)
                    .or_else(|_| rustix::fs::fcntl_setfl(&file, as_asked))?;
                Ok(file)
            }
            Err(QueryError::Io { source, .. }) => Err(Errno::from_io_error(&source).unwrap_or(Errno::IO)),
            Err(QueryError::NotFound { .. }) => Err(Errno::NOENT),
            Err(error) => Err(self.refuse("read", path, &error.to_string(), Errno::ACCESS)),
        }
    }

    /// kill(2) and tgkill(2). A process of the command's may be meant by the number that it has outside, which is what it
    /// takes itself for; by every other number the kernel finds only what is in the namespace.
    fn signal(&mut self, call: &Notification) {
        let [process, second, third, ..] = call.arguments;
        let own = self.own_namespace(call);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "numbers of processes are ints, and the kernel takes that"
        )]
        let process = process as i32;
        if process <= 0 || own.is_none() || own != namespace(&process.to_string()) {
            return self.listener.let_through(call);
        }
        let signal = if call.call == libc::SYS_kill { second } else { third };
        if signal == 0 {
            return self.listener.done(call);
        }
        let sent =
            i32::try_from(signal).ok().and_then(Signal::from_named_raw).zip(Pid::from_raw(process)).map(
                |(signal, process)| {
                    let handle = pidfd_open(process, PidfdFlags::empty())?;
                    if self.listener.still_waits(call) {
                        pidfd_send_signal(&handle, signal)
                    } else {
                        Err(Errno::SRCH)
                    }
                },
            );
        match sent {
            Some(Ok(())) => self.listener.done(call),
            Some(Err(error)) => self.listener.refuse(call, error),
            None => self.listener.refuse(call, Errno::INVAL),
        }
    }

    /// bind(2) and connect(2): of netlink sockets, by which the kernel is asked, and to the system bus.
    fn address(&mut self, call: &Notification) -> Result<(), Errno> {
        let [socket, address, length, ..] = call.arguments;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_ADDRESS);
        let address = memory(call.thread, address, length)?;
        let number = i32::try_from(socket).map_err(|_| Errno::BADF)?;
        let (family, rest) = address.split_at_checked(2).ok_or(Errno::INVAL)?;
        if family == AddressFamily::NETLINK.as_raw().to_ne_bytes() {
            return self.netlink(call, number, rest);
        }
        let name = match rest.split_first() {
            Some((0, abstract_name)) => [b"@", abstract_name].concat(),
            _ => rest.split(|&byte| byte == 0).next().unwrap_or_default().to_vec(),
        };
        let is_unix = family == AddressFamily::UNIX.as_raw().to_ne_bytes();
        if is_unix && call.call == libc::SYS_connect && BUS.contains(&name.as_slice()) {
            return self.give_bus(call, number);
        }
        Err(self.refuse(
            "connect",
            &name,
            "other programs are not spoken to while observing",
            Errno::CONNREFUSED,
        ))
    }

    /// bind(2) or connect(2) of a netlink socket, on a copy of its descriptor: what the caller puts in its place does not
    /// matter.
    fn netlink(&self, call: &Notification, socket: i32, address: &[u8]) -> Result<(), Errno> {
        let process =
            i32::try_from(process_of(call.thread)?).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let handle = pidfd_open(process, PidfdFlags::empty())?;
        let socket = pidfd_getfd(handle, socket, PidfdGetfdFlags::empty())?;
        if !self.listener.still_waits(call) {
            return Err(Errno::NOENT);
        }
        if rustix::net::sockopt::socket_domain(&socket)? != AddressFamily::NETLINK {
            return Err(Errno::INVAL);
        }
        // Padding, the port, the groups (netlink(7)).
        let number = |from: usize| {
            let bytes = address.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_ne_bytes).ok_or(Errno::INVAL)
        };
        let address = rustix::net::netlink::SocketAddrNetlink::new(number(2)?, number(6)?);
        if call.call == libc::SYS_bind {
            rustix::net::bind(&socket, &address)
        } else {
            rustix::net::connect(&socket, &address)
        }
    }

    /// In place of a connection to the system bus, one that lets calls through which read.
    fn give_bus(&mut self, call: &Notification, number: i32) -> Result<(), Errno> {
        if self.relays.len() >= MOST_RELAYS {
            return Err(Errno::AGAIN);
        }
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let bus = UnixStream::connect(BUS_SOCKET).map_err(errno)?;
        let (ours, theirs) = UnixStream::pair().map_err(errno)?;
        rustix::fs::fcntl_setfl(&theirs, flags_of(call.thread, number)? & OFlags::NONBLOCK)?;
        self.listener.replace(call, number.unsigned_abs(), theirs.as_fd())?;
        let deadline = self.deadline;
        let relay = std::thread::Builder::new().name("shell bus".to_owned()).spawn(move || {
            let refused = RefCell::new(Vec::new());
            let note = |what: &str| refused.borrow_mut().push(what.to_owned());
            if let Err(error) = relay(ours, bus, deadline, &note) {
                note(&format!("a message that is none: {error}"));
            }
            refused.into_inner()
        });
        self.relays.push((self.programs.that_asks(), relay.map_err(errno)?));
        Ok(())
    }

    /// What was refused, on the system bus too, and which programs ran.
    fn end(mut self) -> (Vec<Refused>, Vec<Ran>) {
        for (program, relay) in std::mem::take(&mut self.relays) {
            self.programs.again(program);
            for call in relay.join().unwrap_or_default() {
                self.refuse(
                    "call",
                    call.as_bytes(),
                    "on the system bus, only what reads is called while observing",
                    Errno::ACCESS,
                );
            }
        }
        let programs = self.programs.ran(&self.protected, &self.viewer, &mut self.known);
        (self.refused, programs)
    }

    /// Notes a refusal, once, and gives the error for it. That programs which list processes look at each one's environment
    /// too would crowd out what the caller wants to know.
    pub(super) fn refuse(&mut self, what: &str, on: &[u8], because: &str, error: Errno) -> Errno {
        if is_for_another_mode(what) {
            self.programs.is_refused();
        }
        let refused = Refused { what: what.to_owned(), on: encode(on), because: because.to_owned() };
        let is_environment = on.starts_with(b"/proc/") && on.ends_with(b"/environ");
        if self.refused.len() < MOST_REFUSED && !is_environment && !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
        error
    }
}

/// `LENGTH` bytes at most of a thread's memory; fewer where no more is mapped.
fn memory(thread: u32, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let memory = File::open(format!("/proc/{thread}/mem")).map_err(|_| Errno::SRCH)?;
    let mut bytes = vec![0; length];
    let read = memory.read_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A path in a thread's memory.
fn path_in(thread: u32, address: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = memory(thread, address, LONGEST_PATH)?;
    let end = bytes.iter().position(|&byte| byte == 0);
    match end {
        Some(end) => {
            bytes.truncate(end);
            Ok(bytes)
        }
        None if bytes.len() == LONGEST_PATH => Err(Errno::NAMETOOLONG),
        None => Err(Errno::FAULT),
    }
}

/// The number of a thread's process.
pub(super) fn process_of(thread: u32) -> Result<u32, Errno> {
    // Only of a process there is such a handle, not of another thread in it, and asking for it is quicker than reading.
    let number = i32::try_from(thread).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    if pidfd_open(number, PidfdFlags::empty()).is_ok() {
        return Ok(thread);
    }
    let number = line_of(&format!("/proc/{thread}/status"), "Tgid:").ok_or(Errno::SRCH)?;
    number.parse().map_err(|_| Errno::SRCH)
}

/// The status flags of a thread's descriptor (`proc_pid_fdinfo(5)`).
fn flags_of(thread: u32, descriptor: i32) -> Result<OFlags, Errno> {
    let flags = line_of(&format!("/proc/{thread}/fdinfo/{descriptor}"), "flags:").ok_or(Errno::BADF)?;
    u32::from_str_radix(&flags, 8).map(OFlags::from_bits_retain).map_err(|_| Errno::BADF)
}

/// What follows a word in one of the first lines of a file of the kernel's.
pub(super) fn line_of(path: &str, word: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned())
}

/// The folder that a relative path of a thread's begins in.
fn start(thread: u32, folder: Option<u64>) -> Opened {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a descriptor is an int, and the kernel takes that of the register"
    )]
    let number = folder.map(|folder| folder as i32).filter(|&number| number != libc::AT_FDCWD);
    let link = match number {
        Some(number) if number < 0 => return Err(Errno::BADF),
        Some(number) => format!("/proc/{thread}/fd/{number}"),
        None => format!("/proc/{thread}/cwd"),
    };
    let folder =
        openat(CWD, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => Errno::BADF,
            error => error,
        })?;
    if file_type(&folder)? == FileType::Directory { Ok(folder) } else { Err(Errno::NOTDIR) }
}

/// The process namespace of a process, as its inode.
fn namespace(process: &str) -> Option<u64> {
    rustix::fs::stat(format!("/proc/{process}/ns/pid")).ok().map(|found| found.st_ino)
}

/// The process namespace of the process that a folder of `/proc` belongs to.
fn namespace_of(folder: &[u8]) -> Option<u64> {
    let number = folder.strip_prefix(b"/proc/")?.split(|&byte| byte == b'/').next()?;
    let number =
        std::str::from_utf8(number).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    namespace(number)
}

/// The numbers of a device.
pub(super) fn device(device: &OwnedFd) -> Result<(u32, u32), Errno> {
    let device = fstat(device)?.st_rdev;
    Ok((major(device), minor(device)))
}
