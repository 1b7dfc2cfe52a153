//! Route netlink (rtnetlink(7)): asking the kernel for a whole table, and its messages taken apart.
//!
//! A message is a fixed header and attributes, each with a length and a number (netlink(7)). What is too short for its
//! length is left out; what is unknown is passed over, so a newer kernel can say more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::QueryError;

pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_GETROUTE: u16 = 26;

const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const REQUEST_DUMP: u16 = 0x301;

/// `NLM_F_REQUEST | NLM_F_ACK`
const REQUEST_ACK: u16 = 0x005;

/// How long the kernel may take for one piece of a table.
const TIME: Duration = Duration::from_secs(3);

/// Pieces of one table; at up to 32 KiB each, far more than a full routing table of the internet.
const MAX_PIECES: usize = 20_000;

/// A socket to the kernel's routing.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open() -> Result<Self, QueryError> {
        let open = || {
            // Protocol 0 is `NETLINK_ROUTE`.
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
            set_socket_timeout(&socket, Timeout::Recv, Some(TIME))?;
            set_socket_timeout(&socket, Timeout::Send, Some(TIME))?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { socket }),
            Err(error) => Err(failed(error)),
        }
    }

    /// Asks for a whole table by the kind of the request and its fixed header, and hands each message's payload to
    /// `visit`.
    ///
    /// # Errors
    /// The kernel's; [`QueryError::TimedOut`] where it does not answer.
    pub(super) fn dump(
        &self,
        kind: u16,
        header: &[u8],
        mut visit: impl FnMut(&[u8]),
    ) -> Result<(), QueryError> {
        let length = HEADER_BYTES + header.len();
        let mut request = Vec::with_capacity(length);
        request.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&REQUEST_DUMP.to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(header);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..MAX_PIECES {
            let (length, _) =
                rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()))
                    .map_err(failed)?;
            for message in messages(&buffer[..length]) {
                match message {
                    (NLMSG_DONE, _) => return Ok(()),
                    (NLMSG_ERROR, payload) => return Err(refused(payload)),
                    (_, payload) => visit(payload),
                }
            }
        }
        Ok(())
    }
}

impl Netlink {
    /// Asks for one change by the kind of the message, further flags and its payload, and waits for what the kernel says
    /// of it.
    ///
    /// # Errors
    /// The kernel's error number.
    pub(super) fn change(&self, kind: u16, flags: u16, payload: &[u8]) -> Result<(), rustix::io::Errno> {
        let length = HEADER_BYTES + payload.len();
        let mut request = Vec::with_capacity(length);
        request
            .extend_from_slice(&u32::try_from(length).map_err(|_| rustix::io::Errno::MSGSIZE)?.to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&(REQUEST_ACK | flags).to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(payload);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (length, _) =
                rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()))?;
            for (kind, payload) in messages(buffer.get(..length).unwrap_or_default()) {
                if kind == NLMSG_ERROR {
                    // Zero says that it was done.
                    let number =
                        u32_at(payload, 0).map_or(libc::EPROTO, |number| number.cast_signed().wrapping_neg());
                    return if number == 0 {
                        Ok(())
                    } else {
                        Err(rustix::io::Errno::from_raw_os_error(number))
                    };
                }
            }
        }
    }
}

/// An attribute as the kernel reads it: a length, a number, the value, and zeros up to the next multiple of four.
pub(super) fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&number.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(align(bytes.len()), 0);
    bytes
}

fn failed(error: rustix::io::Errno) -> QueryError {
    if error == rustix::io::Errno::AGAIN {
        return QueryError::TimedOut { what: "the kernel's routing (netlink)".to_owned(), after: TIME };
    }
    QueryError::io("the kernel's routing (netlink)", error)
}

/// An error message holds the negative error number.
fn refused(payload: &[u8]) -> QueryError {
    let number = u32_at(payload, 0).map_or(0, |number| number.cast_signed().wrapping_neg());
    QueryError::io("the kernel's routing (netlink)", std::io::Error::from_raw_os_error(number))
}

/// The messages in one piece: their kind and what follows the header.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let kind = u16_at(rest, 4)?;
        let payload = rest.get(HEADER_BYTES..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The attributes in `bytes`: number and value. The two highest bits of the number say how the value is laid out.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let number = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((number, value))
    })
}

const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// A text that ends with NUL.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// An address of four or sixteen bytes.
pub(super) fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        Some(IpAddr::V4(Ipv4Addr::from(bytes)))
    } else {
        <[u8; 16]>::try_from(value).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::network) use super::attribute;

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_panic(bytes: Vec<u8>) {
            let inside: usize = attributes(&bytes).map(|(_, value)| value.len() + 4).sum();
            prop_assert!(inside <= bytes.len() + 3);
            prop_assert!(messages(&bytes).count() <= bytes.len());
        }

        #[test]
        fn attributes_are_read_as_they_were_written(values in proptest::collection::vec((0u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..20)), 0..10)) {
            let bytes: Vec<u8> = values.iter().flat_map(|(number, value)| attribute(*number, value)).collect();
            let read: Vec<_> = attributes(&bytes).map(|(number, value)| (number, value.to_vec())).collect();
            prop_assert_eq!(read, values);
        }
    }
}
