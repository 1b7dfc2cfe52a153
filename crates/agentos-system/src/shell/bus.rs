//! The system bus for a command that may read the machine and change nothing.
//!
//! [`relay`] stands between a client and a connection to the system bus. Method calls that only read, listed in
//! [`allow`], are written anew and passed on; every other call is answered with an error and never reaches the bus.
//! What the bus sends is passed back as it is. No file descriptor goes either way: neither side is offered them
//! (`NEGOTIATE_UNIX_FD`), and both are read without room for control messages, for which the kernel closes what came
//! along (unix(7), `SCM_RIGHTS`).

mod allow;
mod message;
mod operate;
mod sasl;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use message::{Kind, Message};
use sasl::Server;

/// Largest message taken from the client, in bytes.
const MAX_CLIENT_MESSAGE: usize = 1 << 20;

/// Largest message taken from the bus, in bytes.
const MAX_BUS_MESSAGE: usize = 16 << 20;

/// Above this many bytes that one side has not taken yet, nothing more is read for it.
const MAX_WAITING: usize = 1 << 20;

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How many refused calls are told of; each is still refused after that.
const MAX_TOLD: usize = 1024;

/// Passes reading calls of `client` to `bus` and all that `bus` sends to `client`, until one of them closes its end or
/// `deadline` has come.
///
/// `bus` is a fresh connection, on which nothing has been said. `refused` is told of each refused call as
/// `INTERFACE.MEMBER of DESTINATION` (`-` for what the call does not name), at most 1024 times.
///
/// # Errors
///
/// `InvalidData` where one side does not speak D-Bus or sends a larger message than it may, and what the sockets answer.
pub(crate) fn relay(
    client: UnixStream,
    bus: UnixStream,
    deadline: Instant,
    refused: &dyn Fn(&str),
) -> io::Result<()> {
    relay_by(Rules::Reads, client, bus, deadline, refused)
}

/// As [`relay`], by other rules.
///
/// # Errors
///
/// As [`relay`].
pub(crate) fn relay_by(
    rules: Rules,
    client: UnixStream,
    bus: UnixStream,
    deadline: Instant,
    refused: &dyn Fn(&str),
) -> io::Result<()> {
    let mut client = Side::new(client);
    let mut bus = Side::new(bus);
    let Some(guid) = authenticate(&mut bus, deadline)? else { return Ok(()) };
    let mut server = Server::new(guid);
    let mut answers = Answers { rules, serial: 0, told: 0, refused };
    loop {
        // What has arrived is worked off first, as far as the other side has room for it.
        let mut begun = server.begun();
        if !begun {
            let used = server.take(&client.read, &mut client.write)?;
            client.read.drain(..used);
            begun = server.begun();
        }
        if begun {
            pass_calls(&mut client, &mut bus, &mut answers)?;
            pass_back(&mut bus, &mut client)?;
        }
        if client.closed || bus.closed && client.write.is_empty() {
            return Ok(());
        }
        let client_reads = client.write.len() < MAX_WAITING && bus.write.len() < MAX_WAITING;
        let bus_reads = begun && client.write.len() < MAX_WAITING;
        if !wait([(&mut client, client_reads), (&mut bus, bus_reads)], deadline)? {
            return Ok(());
        }
    }
}

/// Which calls are passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rules {
    /// Those that read ([`allow`]).
    Reads,
    /// Those that operate services as well ([`operate`]).
    Operates,
}

impl Rules {
    fn allow(self, call: &Message<'_>) -> bool {
        allow::reads(call) || matches!(self, Self::Operates) && operate::allows(call)
    }

    /// Said with the error.
    const fn otherwise(self) -> &'static str {
        match self {
            Self::Reads => "not while observing",
            Self::Operates => "not through a command that is applied",
        }
    }
}

/// One of the two connections.
struct Side {
    socket: UnixStream,
    /// Has come from it and is not worked off.
    read: Vec<u8>,
    /// Is to go to it.
    write: Vec<u8>,
    /// It will send nothing more.
    closed: bool,
}

impl Side {
    fn new(socket: UnixStream) -> Self {
        Self { socket, read: Vec::new(), write: Vec::new(), closed: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        match recv(&self.socket, chunk.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => self.closed = true,
            Ok((count, _)) => self.read.extend(chunk.iter().take(count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match send(&self.socket, &self.write, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => drop(self.write.drain(..count.min(self.write.len()))),
            Err(Errno::PIPE | Errno::CONNRESET) => {
                self.closed = true;
                self.write.clear();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Waits until something can be read or written, and does it. False at the deadline.
fn wait<const N: usize>(sides: [(&mut Side, bool); N], deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    let ready = {
        let mut polled = Vec::with_capacity(N);
        let mut places = Vec::with_capacity(N);
        for (place, (side, reads)) in sides.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, *reads);
            flags.set(PollFlags::OUT, !side.write.is_empty());
            // A side that has closed stays readable for ever, and would keep this from sleeping.
            if !side.closed {
                polled.push(PollFd::from_borrowed_fd(side.socket.as_fd(), flags));
                places.push(place);
            }
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = [PollFlags::empty(); N];
        for (place, polled) in places.iter().zip(&polled) {
            if let Some(ready) = ready.get_mut(*place) {
                *ready = polled.revents();
            }
        }
        ready
    };
    for ((side, reads), ready) in sides.into_iter().zip(ready) {
        if ready.contains(PollFlags::OUT) {
            side.flush()?;
        }
        if reads && ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            side.fill()?;
        } else if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            // Nobody is there any more to take what waits.
            side.closed = true;
        }
    }
    Ok(true)
}

/// Says to the bus who this is (D-Bus specification, "Authentication Protocol"), and answers the bus's GUID; `None` when
/// the deadline came first or the bus closed.
fn authenticate(bus: &mut Side, deadline: Instant) -> io::Result<Option<String>> {
    bus.write.extend(sasl::hello(rustix::process::geteuid().as_raw()));
    loop {
        if let Some((guid, used)) = sasl::accepted(&bus.read)? {
            bus.read.drain(..used);
            bus.write.extend(sasl::BEGIN);
            return Ok(Some(guid));
        }
        if bus.closed || !wait([(&mut *bus, true)], deadline)? {
            return Ok(None);
        }
    }
}

/// How refused calls are answered.
struct Answers<'a> {
    rules: Rules,
    serial: u32,
    told: usize,
    refused: &'a dyn Fn(&str),
}

fn pass_calls(client: &mut Side, bus: &mut Side, answers: &mut Answers<'_>) -> io::Result<()> {
    let mut used = 0;
    while bus.write.len() < MAX_WAITING && client.write.len() < MAX_WAITING {
        let rest = client.read.get(used..).unwrap_or_default();
        let Some(length) = message::length(rest, MAX_CLIENT_MESSAGE)? else { break };
        let Some(bytes) = rest.get(..length) else { break };
        let message = Message::parse(bytes)?;
        used += length;
        // Without methods or signals of its own, the client has nothing to answer and nothing to announce.
        if message.kind != Kind::MethodCall {
            continue;
        }
        if answers.rules.allow(&message) {
            let starts = matches!(answers.rules, Rules::Operates) && !allow::reads(&message);
            message.write_call(starts, &mut bus.write);
        } else {
            answers.refuse(&message, &mut client.write);
        }
    }
    client.read.drain(..used);
    Ok(())
}

impl Answers<'_> {
    fn refuse(&mut self, call: &Message<'_>, out: &mut Vec<u8>) {
        let name = |name: Option<&'_ str>| name.unwrap_or("-").to_owned();
        let what = format!("{}.{} of {}", name(call.interface), name(call.member), name(call.destination));
        if self.told < MAX_TOLD {
            self.told += 1;
            (self.refused)(&what);
        }
        if call.flags & message::NO_REPLY_EXPECTED == 0 {
            // Zero is no serial.
            self.serial = self.serial.checked_add(1).unwrap_or(1);
            message::write_denied(call, self.serial, &format!("{}: {what}", self.rules.otherwise()), out);
        }
    }
}

/// Passes on whole messages only, so that answers of the relay's own come between two and not into one.
fn pass_back(bus: &mut Side, client: &mut Side) -> io::Result<()> {
    let mut used = 0;
    while client.write.len() < MAX_WAITING {
        let rest = bus.read.get(used..).unwrap_or_default();
        let Some(length) = message::length(rest, MAX_BUS_MESSAGE)? else { break };
        let Some(bytes) = rest.get(..length) else { break };
        client.write.extend(bytes);
        used += length;
    }
    bus.read.drain(..used);
    Ok(())
}
