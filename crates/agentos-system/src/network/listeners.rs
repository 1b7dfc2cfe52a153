//! The query `listeners`: what waits for others to connect.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use agentos_api::query::Listeners;
use agentos_api::query::listeners::{Args, Listener, Output, Owner, Protocol, Reach};

use super::owners::Owners;
use super::sockets::{InternetSocket, internet, unix};
use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};

/// `TCP_LISTEN`
pub(super) const LISTEN: u8 = 0x0a;
/// `TCP_CLOSE`, which a UDP socket without a peer is in.
pub(super) const CLOSE: u8 = 0x07;

/// One address, with the sockets that share it.
type Key = (Protocol, u16, String, Option<u32>);

#[derive(Debug, Default)]
struct Group {
    inodes: Vec<u64>,
    queued: u64,
    reach: Option<Reach>,
}

impl Read for Listeners {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let wanted = |protocol| match args.protocol {
            Some(only) => only == protocol,
            None => protocol != Protocol::Unix,
        };
        let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
        let mut all_read = true;
        for (name, protocol) in
            [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)]
        {
            if wanted(protocol) {
                let (sockets, all) = internet(name)?;
                all_read &= all;
                for socket in sockets.into_iter().filter(|socket| listens(protocol, socket)) {
                    add_internet(&mut groups, protocol, &socket);
                }
            }
        }
        if wanted(Protocol::Unix) {
            let (sockets, all) = unix()?;
            all_read &= all;
            for socket in sockets.into_iter().filter(|socket| socket.listening) {
                let group = groups.entry((Protocol::Unix, 0, socket.path, None)).or_default();
                group.inodes.push(socket.inode);
            }
        }
        if let Some(port) = args.port {
            groups.retain(|(_, known, _, _), _| u64::from(*known) == port.get());
        }
        let inodes: HashSet<u64> = groups.values().flat_map(|group| group.inodes.iter().copied()).collect();
        let owners = Owners::of(&inodes)?;
        let mut listeners: Vec<Listener> =
            groups.into_iter().map(|(key, group)| listener(key, &group, &owners)).collect();
        if let Some(text) = &args.text {
            let text = text.to_lowercase();
            listeners.retain(|listener| named(&listener.processes, &text));
        }
        let (total, offset) = (listeners.len(), args.offset.as_usize());
        let listeners: Vec<Listener> =
            listeners.into_iter().skip(offset).take(args.limit.as_usize()).collect();
        let next = offset + listeners.len();
        Ok(Output {
            next_offset: (next < total && !listeners.is_empty()).then_some(next as u64),
            listeners,
            total: total as u64,
            all_processes_seen: owners.complete && all_read,
        })
    }
}

/// Whether a socket waits for others: a listening TCP socket, or a UDP socket without a peer.
pub(super) fn listens(protocol: Protocol, socket: &InternetSocket) -> bool {
    match protocol {
        Protocol::Tcp => socket.state == LISTEN,
        Protocol::Udp => socket.state == CLOSE && socket.remote.1 == 0 && socket.local.1 != 0,
        Protocol::Unix => false,
    }
}

/// Whether a process or its unit has `text`, in lower case, in its name.
pub(super) fn named(owners: &[Owner], text: &str) -> bool {
    let has = |name: &str| name.to_lowercase().contains(text);
    owners.iter().any(|owner| has(&owner.name) || owner.unit.as_deref().is_some_and(has))
}

fn add_internet(groups: &mut BTreeMap<Key, Group>, protocol: Protocol, socket: &InternetSocket) {
    let (address, port) = socket.local;
    let group = groups.entry((protocol, port, address.to_string(), Some(socket.uid))).or_default();
    group.inodes.push(socket.inode);
    group.queued += socket.receive_queue;
    group.reach = Some(reach(address));
}

fn reach(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    if address.is_loopback() {
        Reach::ThisMachine
    } else if address.is_unspecified() {
        Reach::EveryAddress
    } else {
        Reach::OneAddress
    }
}

fn listener((protocol, port, address, uid): Key, group: &Group, owners: &Owners) -> Listener {
    let mut processes: Vec<Owner> =
        group.inodes.iter().flat_map(|&inode| owners.get(inode)).cloned().collect();
    processes.sort();
    processes.dedup();
    Listener {
        protocol,
        address,
        port: (protocol != Protocol::Unix).then_some(port),
        reach: group.reach.unwrap_or(Reach::ThisMachine),
        sockets: u32::try_from(group.inodes.len()).unwrap_or(u32::MAX),
        queued: group.queued,
        uid,
        processes,
    }
}

#[cfg(test)]
mod tests {
    use agentos_api::Bounded;

    use super::*;

    fn ask(args: Args) -> Output {
        let machine = Machine::new(crate::MachineOptions::default());
        Listeners::read(&machine, Viewer::default(), args).unwrap()
    }

    #[test]
    fn a_listener_of_this_process_is_found_with_its_owner() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = ask(Args { port: Some(Bounded::new(port.into()).unwrap()), ..Args::default() });
        let [listener] = found.listeners.as_slice() else { panic!("{found:?}") };
        assert_eq!((listener.address.as_str(), listener.reach), ("127.0.0.1", Reach::ThisMachine));
        assert_eq!(listener.processes[0].pid, std::process::id());
    }

    #[test]
    fn a_udp_and_a_unix_socket_are_found() {
        let udp = std::net::UdpSocket::bind("[::1]:0")
            .or_else(|_| std::net::UdpSocket::bind("127.0.0.1:0"))
            .unwrap();
        let port = udp.local_addr().unwrap().port();
        let found = ask(Args {
            protocol: Some(Protocol::Udp),
            port: Some(Bounded::new(port.into()).unwrap()),
            ..Args::default()
        });
        assert_eq!(found.total, 1);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("with blank");
        let _unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let found = ask(Args {
            protocol: Some(Protocol::Unix),
            limit: Bounded::new(1000).unwrap(),
            ..Args::default()
        });
        let unix =
            found.listeners.iter().find(|listener| listener.address == path.to_string_lossy()).unwrap();
        assert_eq!((unix.port, unix.processes[0].pid), (None, std::process::id()));
    }

    #[test]
    fn pages_follow_each_other_without_gap() {
        let kept: Vec<_> = (0..4).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let text = std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
        let page = |offset| {
            ask(Args {
                text: Some(text.clone()),
                offset: Bounded::new(offset).unwrap(),
                limit: Bounded::new(3).unwrap(),
                ..Args::default()
            })
        };
        let first = page(0);
        assert_eq!((first.listeners.len(), first.next_offset), (3, Some(3)));
        assert!(page(3).listeners.iter().all(|listener| !first.listeners.contains(listener)));
        drop(kept);
    }
}
