//! Descriptors go through the socket with a word (unix(7): `SCM_RIGHTS`).

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::command::Word;

/// Most descriptors of one message (`SCM_MAX_FD`).
pub const MOST_DESCRIPTORS: usize = 253;

/// Sends a word with descriptors.
///
/// # Errors
/// The kernel's.
pub(crate) fn send(socket: &UnixStream, word: Word, descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(std::io::Error::other("too many descriptors for one message"));
    }
    sendmsg(socket, &[IoSlice::new(&[word.byte()])], &mut ancillary, SendFlags::empty())?;
    Ok(())
}
