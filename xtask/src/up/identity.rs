//! Whom the gateway runs as. Started by root, it gets a user number of its own that reaches agentd's socket for the
//! agent and nothing else; started by anybody else, it has that person's powers.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use agentos_setup::folder::Owner;
use anyhow::{Result, bail};
use nix::unistd::{Gid, Group, Uid, User};
use ring::digest::{SHA256, digest};

/// Whom the gateway runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A user and a group of its own, by the same number, without an entry in passwd(5).
    Separate(u32),
    /// Whoever started it.
    Same,
}

/// Numbers that systemd's "Users, Groups, UIDs and GIDs on systemd Systems" leaves unused.
const UNUSED: std::ops::Range<u32> = 60_578..61_184;

impl Identity {
    /// The identity for a gateway whose files are in `folder`: whoever has them already, or else a number that nobody has.
    ///
    /// # Errors
    /// When every number that may be used is taken.
    pub(crate) fn choose(folder: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Same);
        }
        if let Ok(metadata) = fs::symlink_metadata(folder)
            && UNUSED.contains(&metadata.uid())
            && is_free(metadata.uid())
        {
            return Ok(Self::Separate(metadata.uid()));
        }
        let digest = digest(&SHA256, folder.as_os_str().as_encoded_bytes());
        let seed = digest.as_ref().iter().take(4).fold(0_u32, |seed, byte| (seed << 8) | u32::from(*byte));
        let count = UNUSED.end - UNUSED.start;
        for step in 0..count {
            let number = UNUSED.start + (seed % count + step) % count;
            if is_free(number) {
                return Ok(Self::Separate(number));
            }
        }
        bail!(
            "every user number from {} to {} has a user; the gateway needs one of its own",
            UNUSED.start,
            UNUSED.end - 1
        )
    }

    /// To whom the gateway's files are given; none where it runs as whoever started it.
    pub(crate) fn owner(self) -> Option<Owner> {
        match self {
            Self::Separate(number) => Some(Owner { uid: number, gid: number }),
            Self::Same => None,
        }
    }

    /// The number of its user.
    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::Separate(number) => number,
            Self::Same => rustix::process::geteuid().as_raw(),
        }
    }

    /// One line for the banner.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Separate(number) => {
                format!("runs as user {number}, which reaches the machine only through agentd")
            }
            Self::Same => format!(
                "runs as you (user {}), with your powers; agentd too reads only what you may read",
                rustix::process::geteuid().as_raw()
            ),
        }
    }
}

/// Whether neither a user nor a group has this number. An error of the name service is not "nobody".
fn is_free(number: u32) -> bool {
    matches!(User::from_uid(Uid::from_raw(number)), Ok(None))
        && matches!(Group::from_gid(Gid::from_raw(number)), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_stable_and_in_the_unused_range() {
        let first = Identity::choose(Path::new("/a/b")).unwrap();
        assert_eq!(first, Identity::choose(Path::new("/a/b")).unwrap());
        if let Identity::Separate(number) = first {
            assert!(UNUSED.contains(&number));
        }
    }
}
