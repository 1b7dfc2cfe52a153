//! The sockets of this machine's network namespace: `/proc/net/tcp` and its kin (`proc_net(5)`), row by row.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::QueryError;
use crate::procfs::decimal;

/// Rows read of one file; the kernel may hold more.
const MAX_ROWS: usize = 500_000;

/// Longest row: an abstract Unix name has 108 bytes, and the rest about 60.
const MAX_ROW_BYTES: u64 = 1024;

/// A row of one of the internet files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InternetSocket {
    pub(crate) local: (IpAddr, u16),
    pub(crate) remote: (IpAddr, u16),
    /// The state as `include/net/tcp_states.h` numbers it.
    pub(crate) state: u8,
    pub(crate) send_queue: u64,
    pub(crate) receive_queue: u64,
    pub(crate) uid: u32,
    /// 0 where no process holds the socket any more.
    pub(crate) inode: u64,
}

/// A row of `/proc/net/unix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnixSocket {
    pub(crate) listening: bool,
    pub(crate) inode: u64,
    /// Empty for a socket without a name; `@` begins an abstract one.
    pub(crate) path: String,
}

/// The rows of an internet file, and whether all of them were read. A file that is not there (IPv6 is switched off) is
/// empty.
///
/// # Errors
/// The kernel's.
pub(crate) fn internet(name: &str) -> Result<(Vec<InternetSocket>, bool), QueryError> {
    rows(name, internet_row)
}

/// The rows of `/proc/net/unix`, and whether all of them were read.
///
/// # Errors
/// The kernel's.
pub(crate) fn unix() -> Result<(Vec<UnixSocket>, bool), QueryError> {
    rows("unix", unix_row)
}

fn rows<T>(name: &str, parse: fn(&[u8]) -> Option<T>) -> Result<(Vec<T>, bool), QueryError> {
    let path = format!("/proc/net/{name}");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        Err(error) => return Err(QueryError::io(path, error)),
    };
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut sockets = Vec::new();
    let mut row = Vec::new();
    for _ in 0..MAX_ROWS {
        row.clear();
        let length = reader
            .by_ref()
            .take(MAX_ROW_BYTES)
            .read_until(b'\n', &mut row)
            .map_err(|error| QueryError::io(path.as_str(), error))?;
        if length == 0 {
            return Ok((sockets, true));
        }
        // The heading does not parse, and so is left out.
        sockets.extend(parse(&row));
    }
    Ok((sockets, false))
}

/// `sl local remote state send:receive timer:when retransmits uid timeout inode …`
fn internet_row(row: &[u8]) -> Option<InternetSocket> {
    let mut words = row.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next()?;
    let (local, remote) = (end_point(words.next()?)?, end_point(words.next()?)?);
    let state = u8::try_from(hexadecimal(words.next()?)?).ok()?;
    let (send_queue, receive_queue) = pair(words.next()?)?;
    let uid = u32::try_from(decimal(words.nth(2)?)?).ok()?;
    let inode = decimal(words.nth(1)?)?;
    Some(InternetSocket {
        local,
        remote,
        state,
        send_queue: hexadecimal(send_queue)?,
        receive_queue: hexadecimal(receive_queue)?,
        uid,
        inode,
    })
}

/// `0100007F:1F90`: the address as the kernel's words printed as numbers, the port as a number.
fn end_point(word: &[u8]) -> Option<(IpAddr, u16)> {
    let (address, port) = pair(word)?;
    let port = u16::try_from(hexadecimal(port)?).ok()?;
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(kernel_word(address)?)),
        32 => {
            let mut bytes = [0; 16];
            for (word, place) in address.chunks_exact(8).zip(bytes.chunks_exact_mut(4)) {
                place.copy_from_slice(&kernel_word(word)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((address, port))
}

/// Four bytes of an address, which the kernel printed as a number in its own byte order.
fn kernel_word(digits: &[u8]) -> Option<[u8; 4]> {
    u32::try_from(hexadecimal(digits)?).ok().map(u32::to_ne_bytes)
}

/// `address: refcount protocol flags type state inode path`
fn unix_row(row: &[u8]) -> Option<UnixSocket> {
    /// `__SO_ACCEPTCON`: listen(2) was called.
    const ACCEPTS: u64 = 0x1_0000;
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    let mut words = row.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next().filter(|word| word.ends_with(b":"))?;
    let flags = hexadecimal(words.nth(2)?)?;
    let digits = words.nth(2)?;
    let inode = decimal(digits)?;
    // The path is the rest of the row, and may hold blanks. Its column begins one blank after the inode.
    let inode_at = digits.as_ptr().addr().checked_sub(row.as_ptr().addr())?;
    let path = row.get(inode_at + digits.len() + 1..).unwrap_or_default();
    Some(UnixSocket {
        listening: flags & ACCEPTS != 0,
        inode,
        path: String::from_utf8_lossy(path).into_owned(),
    })
}

fn pair(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = word.iter().position(|&byte| byte == b':')?;
    Some((&word[..colon], &word[colon + 1..]))
}

/// The value of hexadecimal digits, up to sixteen of them.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits
        .iter()
        .try_fold(0u64, |value, &digit| Some(value << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A row as the kernel prints it (`get_tcp4_sock` and `get_tcp6_sock`).
    fn printed(socket: &InternetSocket) -> String {
        let end = |(address, port): (IpAddr, u16)| {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let words = bytes
                .chunks_exact(4)
                .map(|word| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap())))
                .collect::<Vec<_>>()
                .concat();
            format!("{words}:{port:04X}")
        };
        format!(
            "   0: {} {} {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5}        0 {} 1 0000000000000000 100 0 0 10 0\n",
            end(socket.local),
            end(socket.remote),
            socket.state,
            socket.send_queue,
            socket.receive_queue,
            socket.uid,
            socket.inode,
        )
    }

    #[test]
    fn the_heading_is_no_socket() {
        let heading = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        assert_eq!(internet_row(heading), None);
        assert_eq!(unix_row(b"Num       RefCount Protocol Flags    Type St Inode Path\n"), None);
    }

    #[test]
    fn a_unix_row_is_read_with_the_blanks_in_its_path() {
        let socket =
            unix_row(b"0000000000000000: 00000002 00000000 00010000 0001 01 25045 /run/my dir/x  y\n")
                .unwrap();
        assert_eq!(
            socket,
            UnixSocket { listening: true, inode: 25_045, path: "/run/my dir/x  y".to_owned() }
        );
        let unnamed = unix_row(b"0000000000000000: 00000003 00000000 00000000 0001 03 61234\n").unwrap();
        assert_eq!((unnamed.listening, unnamed.path.as_str()), (false, ""));
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let (sockets, all) = internet("tcp").unwrap();
        let found = sockets.iter().find(|socket| socket.local == (local.ip(), local.port())).unwrap();
        assert!(all);
        assert_eq!(found.state, 0x0a);
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_printed(
            local: (IpAddr, u16), remote: (IpAddr, u16), state: u8, send: u32, receive: u32, uid: u32, inode in 0u64..1 << 40,
        ) {
            let socket = InternetSocket {
                local, remote, state, send_queue: send.into(), receive_queue: receive.into(), uid, inode,
            };
            prop_assert_eq!(internet_row(printed(&socket).as_bytes()), Some(socket));
        }

        #[test]
        fn any_row_is_read_without_panic(row: Vec<u8>, text in "[0-9A-F: /a-z@]{0,120}") {
            let _ = (internet_row(&row), unix_row(&row), internet_row(text.as_bytes()), unix_row(text.as_bytes()));
        }
    }
}
