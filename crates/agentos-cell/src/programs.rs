//! The filters as they go from agentd, which makes them once, to each cell: making them takes longer than anything else that a
//! cell does before it is closed.

use std::io::{Error, ErrorKind, Read, Write};
use std::sync::OnceLock;

use seccompiler::{BpfProgram, sock_filter};

use crate::command::Confinement;
use crate::filter::filters;
use crate::preview_filter;

/// Programs that are sent.
const PROGRAMS: usize = 3;
/// Bytes of an instruction (`struct sock_filter`).
const INSTRUCTION: usize = 8;
/// Most instructions of one program: what the kernel takes (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: usize = 4096;

/// Sends the filters of a confinement, each with its number of instructions before it. They are made when this is called first.
///
/// # Errors
/// The socket's; `Unsupported` where a filter cannot be made for this kind of machine.
pub fn send(socket: &mut impl Write, confinement: &Confinement) -> Result<(), Error> {
    static OBSERVE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    static PREVIEW: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let made = match confinement {
        Confinement::Observe => OBSERVE.get_or_init(|| filters().map(|programs| encoded(&programs))),
        // It refuses by a list of its own, and makes it itself.
        Confinement::Apply(_) => return Ok(()),
        Confinement::Preview(_) => {
            PREVIEW.get_or_init(|| preview_filter::filters().map(|programs| encoded(&programs)))
        }
    };
    match made {
        Ok(bytes) => socket.write_all(bytes),
        Err(reason) => Err(Error::new(ErrorKind::Unsupported, reason.as_str())),
    }
}

/// Reads what [`send`] wrote.
///
/// # Errors
/// The socket's; `InvalidData` where a program is longer than one may be.
pub(crate) fn receive(socket: &mut impl Read) -> Result<[BpfProgram; PROGRAMS], Error> {
    let mut programs = [const { BpfProgram::new() }; PROGRAMS];
    for program in &mut programs {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
        if length > MOST_INSTRUCTIONS {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length * INSTRUCTION];
        socket.read_exact(&mut bytes)?;
        program.extend(bytes.as_chunks().0.iter().copied().map(decoded));
    }
    Ok(programs)
}

fn encoded(programs: &[BpfProgram]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for program in programs {
        let length = u32::try_from(program.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_ne_bytes());
        for one in program {
            bytes.extend(one.code.to_ne_bytes());
            bytes.extend([one.jt, one.jf]);
            bytes.extend(one.k.to_ne_bytes());
        }
    }
    bytes
}

fn decoded(bytes: [u8; INSTRUCTION]) -> sock_filter {
    let [code, code2, jt, jf, k @ ..] = bytes;
    sock_filter { code: u16::from_ne_bytes([code, code2]), jt, jf, k: u32::from_ne_bytes(k) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_sent_is_what_was_made() {
        let mut sent = Vec::new();
        send(&mut sent, &Confinement::Observe).unwrap();
        assert_eq!(receive(&mut sent.as_slice()).unwrap(), filters().unwrap());
        assert!(receive(&mut &sent[..sent.len() - 1]).is_err());
        assert!(filters().unwrap().iter().all(|program| program.len() <= MOST_INSTRUCTIONS));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes: Vec<u8>) {
            let _ = receive(&mut bytes.as_slice());
        }
    }
}
