//! `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`): what is mounted where.

use super::{decimal, read};
use crate::QueryError;

/// Most that is read of the list, in bytes.
const LONGEST: usize = 4 << 20;
/// File systems on a server, or behind a program, by how their types begin.
const REMOTE: [&[u8]; 8] = [b"nfs", b"cifs", b"smb", b"ceph", b"fuse", b"9p", b"afs", b"autofs"];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// The directory of the file system that is its root here: `/` but for bind mounts and subvolumes.
    pub(crate) root: Vec<u8>,
    /// Where it is mounted.
    pub(crate) point: Vec<u8>,
    /// Options of this mount, joined by commas.
    pub(crate) options: Vec<u8>,
    /// The type: `ext4`, `nfs4`, `fuse.sshfs`.
    pub(crate) file_system: Vec<u8>,
    /// What was mounted: a device, a share, a name.
    pub(crate) source: Vec<u8>,
    /// Options of the file system itself, joined by commas.
    pub(crate) file_system_options: Vec<u8>,
}

impl Mount {
    /// It is of what is on a server, or behind a program, that may not answer.
    pub(crate) fn is_remote(&self) -> bool {
        REMOTE.iter().any(|kind| self.file_system.starts_with(kind))
    }
}

/// All mounts that this thread sees, in the order of [`parse`].
///
/// # Errors
/// The list cannot be read.
pub(crate) fn now() -> Result<Vec<Mount>, QueryError> {
    Ok(parse(&read("/proc/thread-self/mountinfo", LONGEST)?))
}

/// All mounts in the file, in its order: later ones cover earlier ones at the same point. A line that cannot be read is
/// left out.
pub(crate) fn parse(content: &[u8]) -> Vec<Mount> {
    content.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = decimal(fields.next()?)?;
    let device = fields.nth(1)?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let major = u32::try_from(decimal(device.get(..colon)?)?).ok()?;
    let minor = u32::try_from(decimal(device.get(colon + 1..)?)?).ok()?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let options = unescape(fields.next()?);
    // Any number of optional fields (propagation), then a lone hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let file_system = unescape(fields.next()?);
    let source = unescape(fields.next()?);
    let file_system_options = unescape(fields.next().unwrap_or_default());
    Some(Mount { id, major, minor, root, point, options, file_system, source, file_system_options })
}

/// Takes the kernel's octal escapes back (`\040` is a blank). What only looks like one stays as it is.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (byte, tail) {
            plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_manual_page_is_read() {
        let mounts = parse(
            b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n",
        );
        assert_eq!(
            mounts,
            [Mount {
                id: 36,
                major: 98,
                minor: 0,
                root: b"/mnt1".to_vec(),
                point: b"/mnt 2".to_vec(),
                options: b"rw,noatime".to_vec(),
                file_system: b"ext3".to_vec(),
                source: b"/dev/root".to_vec(),
                file_system_options: b"rw,errors=continue".to_vec(),
            }]
        );
    }

    #[test]
    fn the_mounts_of_this_machine_are_all_read() {
        let content = std::fs::read("/proc/self/mountinfo").unwrap();
        let mounts = parse(&content);
        assert_eq!(mounts.len(), String::from_utf8_lossy(&content).lines().count());
        assert!(mounts.iter().any(|mount| mount.point == b"/proc" && mount.file_system == b"proc"));
    }

    /// As the kernel does (`seq_path`, `mangle`).
    fn escape(plain: &[u8]) -> Vec<u8> {
        plain
            .iter()
            .flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
                _ => vec![*byte],
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_mount_point_is_read_back(point in proptest::collection::vec(1u8.., 1..80)) {
            let mut line = b"1 2 0:3 / ".to_vec();
            line.extend(escape(&point));
            line.extend_from_slice(b" rw - tmpfs none rw\n");
            prop_assert_eq!(&parse(&line)[0].point, &point);
        }

        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            let _ = parse(&content);
        }
    }
}
