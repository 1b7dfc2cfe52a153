//! The query `connections`: who is connected to whom.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use agentos_api::query::Connections;
use agentos_api::query::connections::{Args, Connection, Direction, Output, Protocol, State};
use agentos_api::query::listeners::Protocol as ListenerProtocol;

use super::listeners::{listens, named};
use super::owners::Owners;
use super::sockets::{InternetSocket, internet};
use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};

/// Longest address that is compared, in bytes: one of IPv6 with an IPv4 tail has 45.
const MAX_ADDRESS_BYTES: usize = 45;

impl Read for Connections {
    fn check(args: &Args) -> Result<(), QueryError> {
        address(args).map(|_| ())
    }

    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let (mut found, all_read) = matching(&args)?;
        found.sort_by_key(|one| (one.protocol, one.state, one.socket.local.1, one.socket.remote));
        let inodes = |rows: &[Found]| {
            rows.iter().map(|one| one.socket.inode).filter(|&inode| inode != 0).collect::<HashSet<u64>>()
        };
        let mut owners = None;
        if let Some(text) = &args.text {
            // The owner decides what matches, so all are looked for; otherwise only those of the page.
            let all = Owners::of(&inodes(&found))?;
            let text = text.to_lowercase();
            found.retain(|one| named(all.get(one.socket.inode), &text));
            owners = Some(all);
        }
        let mut states = BTreeMap::new();
        for one in &found {
            *states.entry(one.state).or_insert(0) += 1;
        }
        let (total, offset) = (found.len(), args.offset.as_usize());
        let page: Vec<Found> = found.into_iter().skip(offset).take(args.limit.as_usize()).collect();
        let owners = match owners {
            Some(owners) => owners,
            None => Owners::of(&inodes(&page))?,
        };
        let next = offset + page.len();
        Ok(Output {
            next_offset: (next < total && !page.is_empty()).then_some(next as u64),
            connections: page.into_iter().map(|one| one.describe(&owners)).collect(),
            total: total as u64,
            states,
            all_processes_seen: owners.complete,
            incomplete: !all_read,
        })
    }
}

struct Found {
    protocol: Protocol,
    state: State,
    direction: Direction,
    socket: InternetSocket,
}

/// The connections that match all that can be seen without their owners, and whether all sockets were read.
fn matching(args: &Args) -> Result<(Vec<Found>, bool), QueryError> {
    let address = address(args)?;
    let mut found = Vec::new();
    let mut all_read = true;
    for (protocol, listening, names) in [
        (Protocol::Tcp, ListenerProtocol::Tcp, ["tcp", "tcp6"]),
        (Protocol::Udp, ListenerProtocol::Udp, ["udp", "udp6"]),
    ] {
        if args.protocol.is_some_and(|only| only != protocol) {
            continue;
        }
        let mut sockets = Vec::new();
        for name in names {
            let (rows, all) = internet(name)?;
            sockets.extend(rows);
            all_read &= all;
        }
        let ports: HashSet<u16> =
            sockets.iter().filter(|socket| listens(listening, socket)).map(|socket| socket.local.1).collect();
        for socket in sockets {
            let Some(state) = state(protocol, socket.state) else { continue };
            if matches(args, address, state, &socket) {
                let inbound = ports.contains(&socket.local.1);
                let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
                found.push(Found { protocol, state, direction, socket });
            }
        }
    }
    Ok((found, all_read))
}

fn matches(args: &Args, address: Option<IpAddr>, state: State, socket: &InternetSocket) -> bool {
    let (local, remote) = (socket.local.0.to_canonical(), socket.remote.0.to_canonical());
    args.state.is_none_or(|wanted| wanted == state)
        && args.port.is_none_or(|port| [socket.local.1, socket.remote.1].map(u64::from).contains(&port.get()))
        && address.is_none_or(|address| address == local || address == remote)
        && !(args.remote_only && (remote.is_loopback() || remote == local))
}

fn address(args: &Args) -> Result<Option<IpAddr>, QueryError> {
    let Some(text) = &args.address else { return Ok(None) };
    let parsed = (text.len() <= MAX_ADDRESS_BYTES).then(|| text.parse::<IpAddr>().ok()).flatten();
    let parsed = parsed.ok_or_else(|| QueryError::invalid("address", "must be an IPv4 or IPv6 address"))?;
    Ok(Some(parsed.to_canonical()))
}

/// The states of `include/net/tcp_states.h`; listening and closed sockets are no connections.
fn state(protocol: Protocol, number: u8) -> Option<State> {
    if protocol == Protocol::Udp {
        return (number == 1).then_some(State::Established);
    }
    Some(match number {
        1 => State::Established,
        2 => State::SynSent,
        3 | 12 => State::SynReceived,
        4 => State::FinWait1,
        5 => State::FinWait2,
        6 => State::TimeWait,
        8 => State::CloseWait,
        9 => State::LastAck,
        11 => State::Closing,
        _ => return None,
    })
}

impl Found {
    fn describe(self, owners: &Owners) -> Connection {
        let socket = self.socket;
        Connection {
            protocol: self.protocol,
            state: self.state,
            direction: self.direction,
            local_address: socket.local.0.to_canonical().to_string(),
            local_port: socket.local.1,
            remote_address: socket.remote.0.to_canonical().to_string(),
            remote_port: socket.remote.1,
            receive_queue_bytes: socket.receive_queue,
            send_queue_bytes: socket.send_queue,
            uid: (socket.inode != 0).then_some(socket.uid),
            processes: owners.get(socket.inode).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentos_api::Bounded;

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_found_with_their_direction() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let machine = Machine::new(crate::MachineOptions::default());
        let ask = |args: Args| {
            let args = Args { port: Some(Bounded::new(port.into()).unwrap()), ..args };
            Connections::read(&machine, Viewer::default(), args).unwrap()
        };
        let output = ask(Args::default());
        assert_eq!((output.total, output.states[&State::Established]), (2, 2));
        for connection in &output.connections {
            let inbound = connection.local_port == port;
            assert_eq!(connection.direction, if inbound { Direction::Inbound } else { Direction::Outbound });
            assert_eq!(connection.processes[0].pid, std::process::id());
        }
        let client_port = client.local_addr().unwrap().port();
        assert!(output.connections.iter().any(|connection| connection.local_port == client_port));
        assert_eq!(ask(Args { remote_only: true, ..Args::default() }).total, 0);
        assert_eq!(ask(Args { address: Some("::ffff:127.0.0.1".to_owned()), ..Args::default() }).total, 2);
        assert_eq!(ask(Args { state: Some(State::CloseWait), ..Args::default() }).total, 0);
        let page = ask(Args { limit: Bounded::new(1).unwrap(), ..Args::default() });
        assert_eq!((page.connections.len(), page.next_offset), (1, Some(1)));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "localhost", "127.0.0.1/8", "1.2.3", &"1".repeat(1000)] {
            let args = Args { address: Some(text.to_owned()), ..Args::default() };
            assert!(Connections::check(&args).is_err(), "{text}");
        }
    }
}
