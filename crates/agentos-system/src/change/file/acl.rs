//! POSIX access control lists, as far as permissions and they decide about each other (acl(5), "Correspondence between ACL
//! entries and file permission bits").
//!
//! The kernel gives them as an extended attribute: a version, and entries of tag, rights and id, all little-endian
//! (`linux/posix_acl_xattr.h`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The list that decides about access.
pub(super) const ACCESS: &str = "system.posix_acl_access";
/// The list that a new file in a folder begins with.
pub(super) const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;
const HEADER: usize = 4;
const ENTRY: usize = 8;

/// A list, in base64 as it is kept, after `mode` was set: chmod(2) writes the owner's, the mask's (or else the group's) and
/// the others' rights. Nothing where it is no list.
pub(super) fn after_chmod(list: &str, mode: u32) -> Option<String> {
    rewritten(list, |_, rights| rights)(mode)
}

/// The access list of something new with `mode` in a folder with this default list: both have to allow a right.
pub(super) fn inherited(list: &str, mode: u32) -> Option<String> {
    rewritten(list, |given, rights| given & rights)(mode)
}

/// The permissions that belong to a list: those of its owner, its mask or else its group, and the others.
pub(super) fn mode_of(list: &str) -> Option<u32> {
    let bytes = STANDARD.decode(list).ok()?;
    let entries = entries(&bytes)?;
    let has_mask = entries.iter().any(|entry| entry.0 == MASK);
    let of = |tag: u16| entries.iter().find(|entry| entry.0 == tag).map_or(0, |entry| u32::from(entry.1 & 7));
    Some(of(OWNER) << 6 | of(if has_mask { MASK } else { GROUP }) << 3 | of(OTHERS))
}

fn rewritten(list: &str, combine: impl Fn(u16, u16) -> u16) -> impl FnOnce(u32) -> Option<String> {
    let list = list.to_owned();
    move |mode| {
        let mut bytes = STANDARD.decode(&list).ok()?;
        let has_mask = entries(&bytes)?.iter().any(|entry| entry.0 == MASK);
        for entry in bytes.get_mut(HEADER..)?.chunks_exact_mut(ENTRY) {
            let [low, high, rights_low, rights_high, ..] = entry else { continue };
            let bits = match u16::from_le_bytes([*low, *high]) {
                OWNER => mode >> 6,
                MASK => mode >> 3,
                GROUP if !has_mask => mode >> 3,
                OTHERS => mode,
                _ => continue,
            };
            let bits = u16::try_from(bits & 7).unwrap_or_default();
            [*rights_low, *rights_high] =
                combine(u16::from_le_bytes([*rights_low, *rights_high]), bits).to_le_bytes();
        }
        Some(STANDARD.encode(&bytes))
    }
}

/// Tags and rights.
fn entries(bytes: &[u8]) -> Option<Vec<(u16, u16)>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    if u32::from_le_bytes(header.try_into().ok()?) != VERSION || rest.len() % ENTRY != 0 {
        return None;
    }
    rest.chunks_exact(ENTRY)
        .map(|entry| match entry {
            [a, b, c, d, ..] => Some((u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> String {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&rights.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        STANDARD.encode(bytes)
    }

    #[test]
    fn permissions_set_the_mask_and_leave_named_users() {
        let before = list(&[(OWNER, 6, 0), (2, 4, 4321), (GROUP, 4, 0), (MASK, 4, 0), (OTHERS, 0, 0)]);
        let after = list(&[(OWNER, 7, 0), (2, 4, 4321), (GROUP, 4, 0), (MASK, 5, 0), (OTHERS, 1, 0)]);
        assert_eq!(after_chmod(&before, 0o751), Some(after.clone()));
        assert_eq!(mode_of(&after), Some(0o751));
    }

    #[test]
    fn what_is_inherited_is_no_more_than_both_allow() {
        let default = list(&[(OWNER, 7, 0), (2, 7, 4321), (GROUP, 7, 0), (MASK, 7, 0), (OTHERS, 5, 0)]);
        let new = list(&[(OWNER, 6, 0), (2, 7, 4321), (GROUP, 7, 0), (MASK, 4, 0), (OTHERS, 4, 0)]);
        assert_eq!(inherited(&default, 0o644), Some(new));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>, mode in 0_u32..0o7777) {
            let text = STANDARD.encode(bytes);
            let _ = (after_chmod(&text, mode), inherited(&text, mode), mode_of(&text));
        }
    }
}
