//! The file in which it is kept: JSON, the programs in the order of their use.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agentos_objects::Hash;
use serde::{Deserialize, Serialize};

use super::{Counts, LONGEST_PATH, MOST_PROGRAMS, Program, Programs};

/// What this writes and reads.
const VERSION: u32 = 1;
/// Longest file that is read: each byte of a path can be six in JSON.
const LONGEST: u64 = (MOST_PROGRAMS * (LONGEST_PATH * 6 + 512)) as u64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    programs: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: Hash,
    path: String,
    counts: Counts,
}

/// Why a file is not what [`text`] writes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("it has version {0}, and {VERSION} is read")]
    Version(u32),
    #[error("it has more than {MOST_PROGRAMS} programs, or a path longer than {LONGEST_PATH} bytes")]
    TooMuch,
}

/// What the file has; nothing where there is none. One that cannot be read is set aside, and begun anew.
pub(super) fn read(path: &Path) -> Programs {
    match parse_file(path) {
        Ok(programs) => programs,
        Err(Damage::Io(error)) if error.kind() == ErrorKind::NotFound => Programs::default(),
        Err(damage) => {
            let aside = beside(path, ".damaged");
            let done = match std::fs::rename(path, &aside) {
                Ok(()) => format!("it is {} now", aside.display()),
                Err(error) => format!("it could not be set aside: {error}"),
            };
            tracing::warn!(
                "what is remembered of programs begins anew, because {} cannot be read: {damage}; {done}",
                path.display()
            );
            Programs::default()
        }
    }
}

fn parse_file(path: &Path) -> Result<Programs, Damage> {
    let mut text = Vec::new();
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(Damage::TooLong);
    }
    parse(&text)
}

pub(super) fn parse(text: &[u8]) -> Result<Programs, Damage> {
    let written: Written = serde_json::from_slice(text)?;
    if written.version != VERSION {
        return Err(Damage::Version(written.version));
    }
    if written.programs.len() > MOST_PROGRAMS
        || written.programs.iter().any(|entry| entry.path.len() > LONGEST_PATH)
    {
        return Err(Damage::TooMuch);
    }
    let mut programs = Programs::default();
    for Entry { sha256, path, counts } in written.programs {
        programs.used += 1;
        programs.by_hash.insert(sha256, Program { path, counts, used: programs.used });
    }
    Ok(programs)
}

/// As it is written.
pub(super) fn text(programs: &Programs) -> Vec<u8> {
    let mut entries: Vec<_> = programs.by_hash.iter().collect();
    entries.sort_by_key(|(_, program)| program.used);
    let entries = entries.into_iter().map(|(hash, program)| Entry {
        sha256: *hash,
        path: program.path.clone(),
        counts: program.counts,
    });
    let written = Written { version: VERSION, programs: entries.collect() };
    // Texts and numbers have a form in JSON.
    serde_json::to_vec(&written).unwrap_or_default()
}

/// Writes a file so that it is there whole or as it was before.
pub(super) fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let unfinished = beside(path, ".writing");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    // The name, too, where the folder can be opened.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
