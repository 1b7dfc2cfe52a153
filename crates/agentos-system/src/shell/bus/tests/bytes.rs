//! What parses bytes: messages, lines, and the relay between two sockets.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::shell::bus::message::{self, Kind, Message};
use crate::shell::bus::{MAX_CLIENT_MESSAGE, allow, relay, sasl};

const GUID: &str = "0123456789abcdef0123456789abcdef";

/// A call as zbus writes it.
fn call(destination: &str, interface: &str, member: &str, argument: &str, big: bool) -> Vec<u8> {
    let endian = if big { zbus::wire::Endian::Big } else { zbus::wire::Endian::Little };
    let message = zbus::Message::method_call("/a/b", member)
        .destination(destination)
        .interface(interface)
        .endian(endian)
        .build(&argument)
        .unwrap();
    message.data().bytes().to_vec()
}

fn get_all(big: bool) -> Vec<u8> {
    call("org.freedesktop.systemd1", "org.freedesktop.DBus.Properties", "GetAll", "a.b", big)
}

#[test]
fn what_another_implementation_writes_is_read_and_written_again() {
    for big in [false, true] {
        let bytes = get_all(big);
        let read = Message::parse(&bytes).unwrap();
        assert_eq!(read.kind, Kind::MethodCall);
        assert_eq!(read.destination, Some("org.freedesktop.systemd1"));
        assert_eq!(read.interface, Some("org.freedesktop.DBus.Properties"));
        assert_eq!(read.member, Some("GetAll"));
        let mut written = Vec::new();
        read.write_call(false, &mut written);
        let again = Message::parse(&written).unwrap();
        assert_eq!(again, Message { flags: message::NO_AUTO_START, ..read });
    }
}

#[test]
fn only_what_is_listed_reads() {
    let reads = |destination: &str, interface: &str, member: &str, argument: &str| {
        let bytes = call(destination, interface, member, argument, false);
        allow::reads(&Message::parse(&bytes).unwrap())
    };
    let bus = "org.freedesktop.DBus";
    let systemd = "org.freedesktop.systemd1";
    assert!(reads(bus, bus, "Hello", "x"));
    assert!(reads(bus, bus, "AddMatch", "type='signal'"));
    assert!(reads(systemd, "org.freedesktop.systemd1.Manager", "ListUnits", "x"));
    assert!(reads(systemd, "org.freedesktop.systemd1.Service", "GetProcesses", "x"));
    assert!(reads("org.freedesktop.hostname1", "org.freedesktop.hostname1", "Describe", "x"));
    for (destination, interface, member, argument) in [
        (bus, bus, "AddMatch", "eavesdrop='true'"),
        (bus, bus, "RequestName", "a.b"),
        (bus, bus, "StartServiceByName", "a.b"),
        (bus, bus, "UpdateActivationEnvironment", "x"),
        (bus, "org.freedesktop.DBus.Monitoring", "BecomeMonitor", "x"),
        (bus, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "x"),
        (systemd, bus, "Hello", "x"),
        (systemd, "org.freedesktop.DBus.Properties", "Set", "x"),
        (systemd, "org.freedesktop.systemd1.Manager", "StartUnit", "x"),
        (systemd, "org.freedesktop.systemd1.Manager", "Subscribe", "x"),
        (systemd, "org.freedesktop.systemd1.Unit", "Start", "x"),
        (systemd, "org.freedesktop.login1.Manager", "ListUsers", "x"),
        ("org.freedesktop.login1", "org.freedesktop.login1.Manager", "PowerOff", "x"),
        ("org.freedesktop.resolve1", "org.freedesktop.resolve1.Manager", "ResolveHostname", "x"),
        (":1.5", "org.freedesktop.DBus.Properties", "GetAll", "x"),
        ("org.example.Other", "org.freedesktop.DBus.Properties", "GetAll", "x"),
    ] {
        assert!(!reads(destination, interface, member, argument), "{interface}.{member} of {destination}");
    }
    let bare = zbus::Message::method_call("/", "Hello").destination(bus).build(&()).unwrap();
    assert!(!allow::reads(&Message::parse(bare.data().bytes()).unwrap()), "a call without an interface");
    let lost = zbus::Message::method_call("/", "Hello").interface(bus).build(&()).unwrap();
    assert!(!allow::reads(&Message::parse(lost.data().bytes()).unwrap()), "a call without a destination");
}

#[test]
fn a_client_that_says_everything_at_once_is_accepted() {
    let mut server = sasl::Server::new(GUID.to_owned());
    let mut out = Vec::new();
    let said = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\x01";
    assert_eq!(server.take(said, &mut out).unwrap(), said.len() - 2);
    assert!(server.begun());
    let expected = format!("DATA\r\nOK {GUID}\r\nERROR \"no file descriptors\"\r\n");
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn who_begins_too_early_or_without_end_is_dropped() {
    for said in [
        b"\0BEGIN\r\n".to_vec(),
        b"AUTH".to_vec(),
        [b"\0".to_vec(), vec![b'x'; 16 << 10]].concat(),
        [b"\0".to_vec(), b"AUTH\r\n".repeat(65)].concat(),
    ] {
        let result = sasl::Server::new(GUID.to_owned()).take(&said, &mut Vec::new());
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    }
}

/// Plays the bus and the client by hand; answers what reached the bus, what the client got, what was told and how the
/// relay ended.
fn between(said: &[u8], wait: Duration) -> (Vec<u8>, Vec<u8>, Vec<String>, std::io::Result<()>) {
    let (mut client, client_end) = UnixStream::pair().unwrap();
    let (mut bus, bus_end) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let started = scope.spawn(move || {
            let told = RefCell::new(Vec::new());
            let tell = |what: &str| told.borrow_mut().push(what.to_owned());
            let result = relay(client_end, bus_end, Instant::now() + wait, &tell);
            (told.into_inner(), result)
        });
        bus.write_all(format!("OK {GUID}\r\n").as_bytes()).unwrap();
        client.write_all(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n").unwrap();
        // The relay may be gone before everything is said.
        let _ = client.write_all(said);
        let (told, result) = started.join().unwrap();
        let (mut reached, mut answered) = (Vec::new(), Vec::new());
        bus.read_to_end(&mut reached).unwrap();
        let _ = client.read_to_end(&mut answered);
        (reached, answered, told, result)
    })
}

#[test]
fn a_refused_call_is_answered_and_does_not_reach_the_bus() {
    let manager = "org.freedesktop.systemd1.Manager";
    let start = call("org.freedesktop.systemd1", manager, "StartUnit", "a.service", true);
    let said = [start, get_all(false)].concat();
    let (reached, answered, told, result) = between(&said, Duration::from_millis(300));
    result.unwrap();
    assert_eq!(told, ["org.freedesktop.systemd1.Manager.StartUnit of org.freedesktop.systemd1"]);
    let begin = reached.windows(7).position(|part| part == sasl::BEGIN).unwrap() + 7;
    let passed = Message::parse(&reached[begin..]).unwrap();
    assert_eq!((passed.member, passed.flags), (Some("GetAll"), message::NO_AUTO_START));
    let ok = format!("OK {GUID}\r\n").len();
    let error = Message::parse(&answered[ok..]).unwrap();
    assert_eq!(error.kind, Kind::Error);
    assert!(error.body.windows(19).any(|part| part == b"not while observing"));
}

#[test]
fn a_message_that_is_too_large_ends_the_connection() {
    let mut head = get_all(false);
    head[4..8].copy_from_slice(&u32::try_from(MAX_CLIENT_MESSAGE).unwrap().to_le_bytes());
    let (_, _, _, result) = between(&head, Duration::from_secs(20));
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_call_that_announces_a_file_descriptor_is_refused() {
    let stdin = std::io::stdin();
    let bytes = zbus::Message::method_call("/", "Hello").build(&zbus::Fd::from(&stdin)).unwrap();
    let error = Message::parse(bytes.data().bytes()).unwrap_err();
    assert_eq!(error.to_string(), "file descriptors are not passed");
}

#[test]
fn a_file_descriptor_that_comes_along_is_closed() {
    let (client, client_end) = UnixStream::pair().unwrap();
    let (mut bus, bus_end) = UnixStream::pair().unwrap();
    let (mut watched, given) = UnixStream::pair().unwrap();
    watched.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let relayed = std::thread::spawn(move || {
        relay(client_end, bus_end, Instant::now() + Duration::from_secs(20), &|_| ())
    });
    bus.write_all(format!("OK {GUID}\r\n").as_bytes()).unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    let given_too = [std::os::fd::AsFd::as_fd(&given)];
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&given_too)));
    let said = [std::io::IoSlice::new(b"\0AUTH EXTERNAL 30\r\n")];
    rustix::net::sendmsg(&client, &said, &mut control, rustix::net::SendFlags::empty()).unwrap();
    drop(given);
    // Its end comes once nobody has it any more, while the relay goes on.
    assert_eq!(watched.read(&mut [0]).unwrap(), 0);
    assert!(!relayed.is_finished());
    drop(client);
    relayed.join().unwrap().unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = message::length(&bytes, MAX_CLIENT_MESSAGE);
        let _ = Message::parse(&bytes);
        let _ = sasl::accepted(&bytes);
        let _ = sasl::Server::new(GUID.to_owned()).take(&bytes, &mut Vec::new());
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_the_same_to_who_reads_it_next(
        at in any::<prop::sample::Index>(), to in any::<u8>(), big in any::<bool>()
    ) {
        let mut bytes = get_all(big);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(read) = Message::parse(&bytes) {
            prop_assert_eq!(message::length(&bytes, MAX_CLIENT_MESSAGE).unwrap(), Some(bytes.len()));
            let mut written = Vec::new();
            read.write_call(false, &mut written);
            prop_assert_eq!(message::length(&written, 2 * MAX_CLIENT_MESSAGE).unwrap(), Some(written.len()));
            let again = Message::parse(&written).unwrap();
            let flags = again.flags;
            prop_assert_eq!(flags & !message::NO_REPLY_EXPECTED, message::NO_AUTO_START);
            prop_assert_eq!(&again, &Message { flags, kind: Kind::MethodCall, ..read.clone() });
            prop_assert_eq!(allow::reads(&again), allow::reads(&read));
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_refused(keep in any::<prop::sample::Index>()) {
        let bytes = get_all(false);
        prop_assert!(Message::parse(&bytes[..keep.index(bytes.len())]).is_err());
    }
}
