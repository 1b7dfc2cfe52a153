//! By which paths the same thing is reached: a file system that is mounted twice shows it twice.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The mounts of this process's namespace (`proc_pid_mountinfo(5)`), in the order in which they were made.
pub(super) struct Mounts(Vec<Mount>);

struct Mount {
    /// The numbers of the device, as text.
    device: Vec<u8>,
    /// Which folder of the file system it shows.
    root: PathBuf,
    /// Where.
    place: PathBuf,
    /// The kind of the file system.
    kind: Vec<u8>,
}

impl Mounts {
    pub(super) fn read() -> std::io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    fn parse(text: &[u8]) -> Self {
        Self(text.split(|&byte| byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// Where file systems of these kinds are.
    pub(super) fn of_kinds<'m>(&'m self, kinds: &'m [&[u8]]) -> impl Iterator<Item = &'m Path> {
        self.0
            .iter()
            .filter(|mount| kinds.contains(&mount.kind.as_slice()))
            .map(|mount| mount.place.as_path())
    }

    /// Where anything is mounted at that path or below it.
    pub(super) fn below<'m>(&'m self, path: &'m Path) -> impl Iterator<Item = &'m Path> {
        self.0.iter().map(|mount| mount.place.as_path()).filter(move |place| place.starts_with(path))
    }

    /// All paths of what is at `path`, which has no links in it; and those that show only a part of it.
    pub(super) fn names(&self, path: &Path) -> Vec<PathBuf> {
        let mut names = vec![path.to_owned()];
        // The last of those that are as deep is the one that is seen.
        let own = self.0.iter().filter(|mount| path.starts_with(&mount.place));
        let Some(own) = own.max_by_key(|mount| mount.place.components().count()) else { return names };
        let Ok(below) = path.strip_prefix(&own.place) else { return names };
        let inside = join(&own.root, below);
        for other in self.0.iter().filter(|other| other.device == own.device) {
            let name = match (inside.strip_prefix(&other.root), other.root.starts_with(&inside)) {
                (Ok(below), _) => join(&other.place, below),
                (Err(_), true) => other.place.clone(),
                (Err(_), false) => continue,
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// As [`Path::join`], without a slash at the end.
fn join(path: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { path.to_owned() } else { path.join(below) }
}

impl Mount {
    /// A line: number, parent, device, root, place, options, any more fields, `-`, the kind, and others.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        let device = words.by_ref().nth(2)?.to_vec();
        let (root, place) = (unescape(words.next()?), unescape(words.next()?));
        let kind = words.skip_while(|word| *word != b"-").nth(1)?.to_vec();
        Some(Self { device, root, place, kind })
    }
}

/// A path in which blanks and backslashes are three octal digits behind a backslash.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let number = digits.and_then(|digits| {
            digits.iter().try_fold(0_u8, |number, digit| {
                let digit = digit.checked_sub(b'0').filter(|&digit| digit < 8)?;
                number.checked_mul(8)?.checked_add(digit)
            })
        });
        if let Some(number) = number {
            bytes.push(number);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 0:5 / /proc rw - proc proc rw\n\
        23 21 8:1 /srv /mnt/with\\040blank rw - ext4 /dev/sda1 rw\n\
        24 21 8:1 /srv/state/deep /deep rw master:3 propagate_from:2 - ext4 /dev/sda1 rw\n\
        25 21 8:2 / /home rw - xfs /dev/sda2 rw\n\
        broken\n";

    fn names(path: &str) -> Vec<String> {
        Mounts::parse(TEXT).names(Path::new(path)).iter().map(|name| name.display().to_string()).collect()
    }

    #[test]
    fn a_folder_is_known_by_the_paths_of_all_its_mounts() {
        assert_eq!(names("/srv/state"), ["/srv/state", "/mnt/with blank/state", "/deep"]);
        assert_eq!(names("/mnt/with blank/state"), ["/mnt/with blank/state", "/srv/state", "/deep"]);
        assert_eq!(names("/deep/x"), ["/deep/x", "/srv/state/deep/x", "/mnt/with blank/state/deep/x"]);
        assert_eq!(names("/etc"), ["/etc"]);
        assert_eq!(names("/home/x"), ["/home/x"]);
        let mounts = Mounts::parse(TEXT);
        assert_eq!(mounts.of_kinds(&[b"proc"]).collect::<Vec<_>>(), [Path::new("/proc")]);
    }

    proptest! {
        #[test]
        fn whatever_the_list_says_the_path_itself_is_a_name(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let names = Mounts::parse(&text).names(Path::new("/a/b"));
            prop_assert_eq!(names.first().map(PathBuf::as_path), Some(Path::new("/a/b")));
        }

        #[test]
        fn what_is_escaped_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let escaped: Vec<u8> = bytes
                .iter()
                .flat_map(|&byte| match byte {
                    b' ' | b'\\' | b'\n' | b'\t' => format!("\\{byte:03o}").into_bytes(),
                    byte => vec![byte],
                })
                .collect();
            let path = unescape(&escaped);
            prop_assert_eq!(path.as_os_str().as_bytes(), bytes.as_slice());
        }
    }
}
