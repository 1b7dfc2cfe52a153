//! What is in a directory, a page at a time. However large it is, only one page of names is held.

use std::ffi::{CStr, CString};
use std::time::Duration;

use agentos_api::query::Directory;
use agentos_api::query::directory::{Args, Entry, Kind, Output};
use agentos_api::query::path::{decode, encode};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, readlinkat};

use crate::QueryError;
use crate::accounts::Accounts;
use crate::dispatch::Read;
use crate::files::{Known, Located, attributes_at, group, kind, octal_mode, owner};
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::rfc3339_unix;

/// Time for one page. A hung mount does not hold it up for longer.
const TIME_LIMIT: Duration = Duration::from_secs(10);

impl Read for Directory {
    fn check(args: &Args) -> Result<(), QueryError> {
        args.after
            .as_deref()
            .map(decode)
            .transpose()
            .map_err(|error| QueryError::invalid("after", error.to_string()))?;
        Ok(())
    }

    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let accounts = std::sync::Arc::clone(&machine.accounts);
        machine.guard.call(&args.path.to_string(), TIME_LIMIT, move || list(&args, &viewer, &accounts))
    }
}

fn list(args: &Args, viewer: &Viewer, accounts: &Accounts) -> Result<Output, QueryError> {
    let located = Located::find(&args.path)?;
    located.permit(viewer, &mut Known::default())?;
    let after = args
        .after
        .as_deref()
        .map(decode)
        .transpose()
        .map_err(|error| QueryError::invalid("after", error.to_string()))?;
    let limit = args.limit.as_usize();
    let directory = located.directory()?;
    let (names, total) = first_names(&directory, after.as_deref(), args.without_hidden, limit + 1)
        .map_err(|error| QueryError::io(located.text(), error))?;
    let entries: Vec<Entry> =
        names.iter().take(limit).map(|(name, kind)| entry(&directory, name, *kind, accounts)).collect();
    let next_after = if names.len() > limit { entries.last().map(|entry| entry.name.clone()) } else { None };
    Ok(Output { path: located.text(), entries, total, next_after })
}

/// The first `most` names after `after`, by their bytes, and how many there are without regard to `after`.
fn first_names(
    directory: &OwnedFd,
    after: Option<&[u8]>,
    without_hidden: bool,
    most: usize,
) -> Result<(Vec<(CString, FileType)>, u64), rustix::io::Errno> {
    let mut names: Vec<(CString, FileType)> = Vec::new();
    let mut total = 0;
    let mut entries = Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") || (without_hidden && name.starts_with(b".")) {
            continue;
        }
        total += 1;
        if after.is_none_or(|after| name > after) {
            names.push((entry.file_name().to_owned(), entry.file_type()));
            if names.len() >= most.saturating_mul(4) {
                keep_first(&mut names, most);
            }
        }
    }
    keep_first(&mut names, most);
    Ok((names, total))
}

fn keep_first(names: &mut Vec<(CString, FileType)>, most: usize) {
    names.sort_by(|(left, _), (right, _)| left.cmp(right));
    names.truncate(most);
}

/// An entry with what the kernel tells of it; one that vanished since has its name and type only.
fn entry(directory: &OwnedFd, name: &CStr, file_type: FileType, accounts: &Accounts) -> Entry {
    let attributes = attributes_at(directory.as_fd(), name, AtFlags::empty()).ok();
    let kind = attributes
        .as_ref()
        .map_or(kind(file_type), |attributes| kind(FileType::from_raw_mode(attributes.stx_mode.into())));
    Entry {
        name: encode(name.to_bytes()),
        kind,
        size_bytes: attributes.as_ref().filter(|_| kind == Kind::File).map(|attributes| attributes.stx_size),
        modified: attributes.as_ref().and_then(|attributes| rfc3339_unix(attributes.stx_mtime.tv_sec)),
        mode: attributes.as_ref().map(octal_mode),
        owner: attributes.as_ref().map(|attributes| owner(accounts, attributes)),
        group: attributes.as_ref().map(|attributes| group(accounts, attributes)),
        target: (kind == Kind::Symlink)
            .then(|| readlinkat(directory, name, Vec::new()).ok())
            .flatten()
            .map(|target| encode(target.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::MachineOptions;

    fn ask(args: &str) -> Result<Output, QueryError> {
        let machine = Machine::new(MachineOptions::default());
        let bytes = machine.query("directory", args.as_bytes(), Viewer::default())?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn pages_put_together_are_the_directory_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut expected: Vec<String> = (0..25).map(|number| format!("file-{number}")).collect();
        for name in &expected {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        expected.sort();
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page =
                ask(&format!(r#"{{"path":"{}","limit":4{after}}}"#, directory.path().display())).unwrap();
            assert_eq!(page.total, 25);
            seen.extend(page.entries.into_iter().map(|entry| entry.name));
            match page.next_after {
                Some(next) => after = format!(r#","after":"{next}""#),
                None => break,
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn each_kind_is_named_and_described() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("plain"), "12345").unwrap();
        std::fs::create_dir(path.join("sub")).unwrap();
        symlink("plain", path.join("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        std::fs::write(path.join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
        let entries = ask(&format!(r#"{{"path":"{}"}}"#, path.display())).unwrap().entries;
        let of = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!((of("plain").kind, of("plain").size_bytes), (Kind::File, Some(5)));
        assert_eq!(of("sub").kind, Kind::Directory);
        assert_eq!((of("link").kind, of("link").target.as_deref()), (Kind::Symlink, Some("plain")));
        assert_eq!((of("pipe").kind, of("pipe").mode.as_deref()), (Kind::Fifo, Some("0400")));
        assert_eq!(of("socket").kind, Kind::Socket);
        assert_eq!(of("bytes:caf%E9").kind, Kind::File);
    }

    #[test]
    fn hidden_names_can_be_left_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".hidden"), "").unwrap();
        std::fs::write(directory.path().join("seen"), "").unwrap();
        let page =
            ask(&format!(r#"{{"path":"{}","without_hidden":true}}"#, directory.path().display())).unwrap();
        assert_eq!((page.total, page.entries[0].name.as_str()), (1, "seen"));
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        assert!(matches!(ask(r#"{"path":"/etc/passwd"}"#), Err(QueryError::InvalidArgument { .. })));
        assert!(matches!(ask(r#"{"path":"/no/such"}"#), Err(QueryError::NotFound { .. })));
        for path in ["etc", "", "/a\\u0000b", "../etc"] {
            match ask(&format!(r#"{{"path":"{path}"}}"#)) {
                Err(QueryError::InvalidArgument { field, .. }) => assert_eq!(field, "path"),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(matches!(ask("{}"), Err(QueryError::InvalidArgument { field, .. }) if field == "path"));
    }

    #[test]
    fn ls_counts_the_same() {
        let listed = std::process::Command::new("ls").args(["-A", "/etc"]).output().unwrap().stdout;
        let lines = String::from_utf8_lossy(&listed).lines().count() as u64;
        assert_eq!(ask(r#"{"path":"/etc"}"#).unwrap().total, lines);
    }
}
