//! The open files of a process, and the addresses of those that are sockets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use agentos_api::query::path::encode;
use agentos_api::query::process::{OpenFile, Socket};
use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};

use crate::network::owners::socket_inode;
use crate::network::sockets::{InternetSocket, internet, unix};
use crate::procfs::decimal;

/// Descriptors that are counted, at most: what `fs.nr_open` allows by default.
const MOST: usize = 1 << 20;

/// The open files of a process.
pub(super) struct Open {
    pub(super) total: u64,
    pub(super) files: Vec<OpenFile>,
}

/// Reads the first `limit` descriptors by number, and counts all; `None` where the kernel does not tell.
pub(super) fn read(process: &OwnedFd, limit: usize) -> Option<Open> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = openat(process, c"fd", flags, Mode::empty()).ok()?;
    let mut numbers: Vec<u32> = Vec::new();
    let mut entries = Dir::read_from(&directory).ok()?;
    while let Some(entry) = entries.read() {
        let number =
            decimal(entry.ok()?.file_name().to_bytes()).and_then(|number| u32::try_from(number).ok());
        numbers.extend(number.filter(|_| numbers.len() < MOST));
    }
    numbers.sort_unstable();
    let files = numbers
        .iter()
        .take(limit)
        .filter_map(|&descriptor| {
            // Closed since it was listed: then it is not open.
            let target = readlinkat(&directory, descriptor.to_string(), Vec::new()).ok()?;
            Some(OpenFile { descriptor, target: encode(target.as_bytes()) })
        })
        .collect();
    Some(Open { total: numbers.len() as u64, files })
}

/// Those of the files that are sockets, with what the kernel's tables say of them.
pub(super) fn sockets(files: &[OpenFile]) -> Vec<Socket> {
    let open: Vec<(u32, u64)> = files
        .iter()
        .filter_map(|file| Some((file.descriptor, socket_inode(file.target.as_bytes())?)))
        .collect();
    if open.is_empty() {
        return Vec::new();
    }
    let known = tables();
    open.into_iter()
        .map(|(descriptor, inode)| {
            let unknown = Socket { descriptor, protocol: None, local: None, remote: None, state: None };
            known.get(&inode).cloned().map_or(unknown, |socket| Socket { descriptor, ..socket })
        })
        .collect()
}

/// All sockets of agentd's network namespace by inode. One of another namespace is in none of the tables.
fn tables() -> HashMap<u64, Socket> {
    let mut known = HashMap::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let Ok((rows, _)) = internet(protocol) else { continue };
        known.extend(
            rows.into_iter()
                .filter(|row| row.inode > 0)
                .map(|row| (row.inode, internet_socket(protocol, &row))),
        );
    }
    if let Ok((rows, _)) = unix() {
        known.extend(rows.into_iter().map(|row| {
            let state = row.listening.then(|| "listen".to_owned());
            let local = (!row.path.is_empty()).then_some(row.path);
            (
                row.inode,
                Socket { descriptor: 0, protocol: Some("unix".to_owned()), local, remote: None, state },
            )
        }));
    }
    known
}

fn internet_socket(protocol: &str, row: &InternetSocket) -> Socket {
    let text = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port).to_string();
    Socket {
        descriptor: 0,
        protocol: Some(protocol.to_owned()),
        local: Some(text(row.local)),
        remote: (row.remote.1 != 0).then(|| text(row.remote)),
        state: state(protocol, row.state).map(str::to_owned),
    }
}

/// The kernel's number as a word (`include/net/tcp_states.h`). A UDP socket is connected, or it is in no state.
fn state(protocol: &str, number: u8) -> Option<&'static str> {
    match number {
        1 => Some("established"),
        _ if protocol.starts_with("udp") => None,
        2 => Some("syn_sent"),
        3 | 12 => Some("syn_received"),
        4 => Some("fin_wait_1"),
        5 => Some("fin_wait_2"),
        6 => Some("time_wait"),
        7 => Some("close"),
        8 => Some("close_wait"),
        9 => Some("last_ack"),
        10 => Some("listen"),
        11 => Some("closing"),
        _ => None,
    }
}
