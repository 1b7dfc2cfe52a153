//! Where the kernel proper is in the file that boot loaders take (Documentation/arch/x86/boot.rst).

use anyhow::{Result, bail, ensure};

/// The offsets of the setup header's fields.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The note that gives the entry without firmware.
const XEN_PHYS32_ENTRY: u32 = 18;
const PROGRAM_HEADER_NOTE: u32 = 4;

/// The packed kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    /// Its bytes.
    pub(super) packed: &'a [u8],
    /// How many it says that it unpacks to.
    pub(super) unpacked_bytes: u32,
    /// The program that unpacks it.
    pub(super) program: &'static str,
}

/// Finds the packed kernel.
///
/// # Errors
/// When the file is not a kernel, is cut off, or is packed in a way not known here.
pub(super) fn payload(file: &[u8]) -> Result<Payload<'_>> {
    ensure!(file.get(MAGIC..MAGIC + 4) == Some(b"HdrS"), "not a kernel: no setup header");
    let sectors = usize::from(file[SETUP_SECTORS]);
    // 0 stands for 4, for the sake of very old boot loaders.
    let protected_mode = (if sectors == 0 { 4 } else { sectors } + 1) * 512;
    let (Some(offset), Some(length)) = (number(file, PAYLOAD_OFFSET), number(file, PAYLOAD_LENGTH)) else {
        bail!("the setup header is cut off");
    };
    let whole = slice(file, protected_mode.saturating_add(offset as usize), length as usize);
    let Some((packed, size)) = whole.and_then(<[u8]>::split_last_chunk::<4>) else {
        bail!("the packed kernel is cut off");
    };
    let program = match packed {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "/usr/bin/zstd",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "/usr/bin/xz",
        [0x02, 0x21, 0x4c, 0x18, ..] => "/usr/bin/lz4",
        [0x1f, 0x8b, 8, ..] => "/usr/bin/gzip",
        _ => bail!("the kernel is packed in a way that is not known here"),
    };
    Ok(Payload { packed, unpacked_bytes: u32::from_le_bytes(*size), program })
}

/// Makes sure that QEMU can start `elf` as it is.
///
/// # Errors
/// When it is not an ELF file, or has no entry without firmware.
pub(super) fn check_elf(elf: &[u8]) -> Result<()> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit ELF file");
    let (Some(table), Some(size), Some(count)) = (long(elf, 32), short(elf, 54), short(elf, 56)) else {
        bail!("the ELF header is cut off");
    };
    let has_entry = (0..count).any(|index| {
        let at = usize::from(index).saturating_mul(size.into()).saturating_add(table);
        let note = || {
            (number(elf, at)? == PROGRAM_HEADER_NOTE).then_some(())?;
            slice(elf, long(elf, at.checked_add(8)?)?, long(elf, at.checked_add(32)?)?)
        };
        note().is_some_and(has_phys32_entry)
    });
    ensure!(has_entry, "the kernel has no entry without firmware (PVH)");
    Ok(())
}

fn has_phys32_entry(mut notes: &[u8]) -> bool {
    let padded = |bytes: u32| (bytes as usize).checked_add(3).map(|bytes| bytes & !3);
    while let (Some(name), Some(content), Some(kind)) = (number(notes, 0), number(notes, 4), number(notes, 8))
    {
        if kind == XEN_PHYS32_ENTRY && notes.get(12..16) == Some(b"Xen\0") {
            return true;
        }
        let next = padded(name)
            .zip(padded(content))
            .and_then(|(name, content)| name.checked_add(content)?.checked_add(12));
        match next.and_then(|next| notes.get(next..)) {
            Some(rest) => notes = rest,
            None => return false,
        }
    }
    false
}

fn slice(bytes: &[u8], start: usize, length: usize) -> Option<&[u8]> {
    bytes.get(start..start.checked_add(length)?)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(slice(bytes, at, 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(slice(bytes, at, 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(slice(bytes, at, 8)?.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A kernel with one setup sector besides the first, and `packed` 16 bytes into the rest.
    fn kernel(packed: &[u8], unpacked_bytes: u32) -> Vec<u8> {
        let mut file = vec![0; 1024 + 16];
        file[SETUP_SECTORS] = 1;
        file[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        file[PAYLOAD_OFFSET..][..4].copy_from_slice(&16_u32.to_le_bytes());
        file[PAYLOAD_LENGTH..][..4].copy_from_slice(&u32::try_from(packed.len() + 4).unwrap().to_le_bytes());
        file.extend_from_slice(packed);
        file.extend_from_slice(&unpacked_bytes.to_le_bytes());
        file
    }

    /// An ELF file with one program header, whose notes are `notes`.
    fn elf(notes: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 4;
        file[64 + 8] = 120;
        file[64 + 32] = u8::try_from(notes.len()).unwrap();
        file.extend_from_slice(notes);
        file
    }

    const ENTRY: &[u8] = b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0\0\0\0\x01";

    #[test]
    fn the_packed_kernel_is_found_by_the_header() {
        let packed = b"\x28\xb5\x2f\xfdand so on";
        let file = kernel(packed, 77);
        let wanted = Payload { packed, unpacked_bytes: 77, program: "/usr/bin/zstd" };
        assert_eq!(payload(&file).unwrap(), wanted);
    }

    #[test]
    fn a_kernel_that_is_cut_off_is_refused() {
        let file = kernel(b"\x28\xb5\x2f\xfdand so on", 77);
        for length in 0..file.len() {
            assert!(payload(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_kernel_needs_the_entry_without_firmware() {
        let other = b"\x04\0\0\0\x02\0\0\0\x01\0\0\0Xen\0ab\0\0";
        assert!(check_elf(&elf(ENTRY)).is_ok());
        assert!(check_elf(&elf(&[other, ENTRY].concat())).is_ok());
        assert!(check_elf(&elf(other)).is_err());
        assert!(check_elf(&elf(b"")).is_err());
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(offset: u32, length: u32, sectors: u8, rest: Vec<u8>) {
            let mut file = kernel(&rest, 0);
            file[SETUP_SECTORS] = sectors;
            file[PAYLOAD_OFFSET..][..4].copy_from_slice(&offset.to_le_bytes());
            file[PAYLOAD_LENGTH..][..4].copy_from_slice(&length.to_le_bytes());
            drop(payload(&file));
        }

        #[test]
        fn no_elf_file_makes_it_panic(mut rest: Vec<u8>, at in 0_usize..140, byte: u8) {
            rest.splice(..0, elf(ENTRY));
            rest[at] = byte;
            drop(check_elf(&rest));
        }
    }
}
