//! Files below a directory, by name, type, size, age or owner.
//!
//! Directories are opened by descriptor, one below the other, and symbolic links are not followed: no exchange of a path
//! leads the search elsewhere, and there is no way round in a circle. Entries, depth and time are bounded.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentos_api::query::Find;
use agentos_api::query::directory::Kind;
use agentos_api::query::find::{Args, Match, Output, Sort, Stopped};
use agentos_api::query::path::encode;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxAttributes, openat};

use crate::QueryError;
use crate::accounts::Accounts;
use crate::dispatch::Read;
use crate::files::glob::Glob;
use crate::files::{Known, Located, attributes_at, kind, owner};
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::rfc3339_unix;
use crate::queries::processes::user_number;

/// Entries that are looked at, at most.
const MOST_ENTRIES: u64 = 1_000_000;
/// Beyond the caller's time limit: the search itself stops in time, unless the kernel does not return.
const GRACE: Duration = Duration::from_secs(2);

impl Read for Find {
    fn check(args: &Args) -> Result<(), QueryError> {
        args.name.as_deref().map(|name| Glob::new(name, "name")).transpose()?;
        if let (Some(least), Some(most)) = (args.min_size_bytes, args.max_size_bytes)
            && least.get() > most.get()
        {
            return Err(QueryError::invalid("min_size_bytes", "is larger than max_size_bytes"));
        }
        Ok(())
    }

    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let accounts = Arc::clone(&machine.accounts);
        let limit = Duration::from_secs(args.time_limit_seconds.get());
        machine.guard.call(&args.path.to_string(), limit + GRACE, move || {
            let start = Located::find(&args.path)?;
            start.permit(&viewer, &mut Known::default())?;
            let mut search =
                Search::new(&args, &accounts, Instant::now() + limit, device(&start.attributes))?;
            search.run(start.directory()?, start.path)?;
            Ok(search.output(&accounts))
        })
    }
}

/// A directory being looked through.
struct Level {
    entries: Dir,
    path: Vec<u8>,
}

/// A match, until it is known whether it is shown.
struct Found {
    path: Vec<u8>,
    attributes: Statx,
}

struct Search<'a> {
    args: &'a Args,
    name: Option<Glob>,
    owner: Option<u32>,
    deadline: Instant,
    device: (u32, u32),
    now: i64,
    found: Vec<Found>,
    matched: u64,
    visited: u64,
    unreadable: u64,
    stopped: Option<Stopped>,
}

impl<'a> Search<'a> {
    fn new(
        args: &'a Args,
        accounts: &Accounts,
        deadline: Instant,
        device: (u32, u32),
    ) -> Result<Self, QueryError> {
        Ok(Self {
            args,
            name: args.name.as_deref().map(|name| Glob::new(name, "name")).transpose()?,
            owner: args.owner.as_deref().map(|owner| user_number(owner, accounts, "owner")).transpose()?,
            deadline,
            device,
            now: jiff::Timestamp::now().as_second(),
            found: Vec::new(),
            matched: 0,
            visited: 0,
            unreadable: 0,
            stopped: None,
        })
    }

    fn run(&mut self, start: OwnedFd, mut path: Vec<u8>) -> Result<(), QueryError> {
        if path == b"/" {
            path.clear();
        }
        let entries = Dir::new(start).map_err(|error| QueryError::io(encode(&path), error))?;
        let mut levels = vec![Level { entries, path }];
        while let Some(level) = levels.last_mut() {
            if self.visited >= MOST_ENTRIES {
                self.stopped = Some(Stopped::Entries);
            } else if self.visited.is_multiple_of(64) && Instant::now() >= self.deadline {
                self.stopped = Some(Stopped::TimeLimit);
            }
            if self.stopped.is_some() {
                break;
            }
            match level.entries.read() {
                None => {
                    levels.pop();
                }
                Some(Err(_)) => {
                    self.unreadable += 1;
                    levels.pop();
                }
                Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Some(Ok(entry)) => {
                    self.visited += 1;
                    let may_descend = levels.len() as u64 <= self.args.max_depth.get().saturating_sub(1);
                    if let Some(below) =
                        self.visit(levels.last(), entry.file_name(), entry.file_type(), may_descend)
                    {
                        levels.push(below);
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at one entry; answers the directory to go on with.
    fn visit(
        &mut self,
        level: Option<&Level>,
        name: &CStr,
        file_type: FileType,
        may_descend: bool,
    ) -> Option<Level> {
        let level = level?;
        let directory = level.entries.fd().ok()?;
        let is_match = self.name.as_ref().is_none_or(|pattern| pattern.matches(name.to_bytes()));
        let descends = may_descend && matches!(file_type, FileType::Directory | FileType::Unknown);
        if !is_match && !descends {
            return None;
        }
        // Vanished since it was listed: then it is not there.
        let attributes = attributes_at(directory, name, AtFlags::empty()).ok()?;
        if is_match && self.takes(&attributes) {
            self.keep(Found { path: joined(&level.path, name), attributes });
        }
        let is_directory = kind_of(&attributes) == Kind::Directory;
        let elsewhere = device(&attributes) != self.device;
        let unmounted = attributes.stx_attributes.contains(StatxAttributes::AUTOMOUNT);
        if !may_descend || !is_directory || unmounted || (elsewhere && !self.args.other_file_systems) {
            return None;
        }
        let flags =
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = openat(directory, name, flags, Mode::empty()).and_then(Dir::new).ok();
        self.unreadable += u64::from(opened.is_none());
        opened.map(|entries| Level { entries, path: joined(&level.path, name) })
    }

    fn takes(&self, attributes: &Statx) -> bool {
        let args = self.args;
        let age = self.now.saturating_sub(attributes.stx_mtime.tv_sec);
        let age_is =
            |limit: u64, younger: bool| i64::try_from(limit).is_ok_and(|limit| (age < limit) == younger);
        args.kind.is_none_or(|kind| kind == kind_of(attributes))
            && args.min_size_bytes.is_none_or(|least| attributes.stx_size >= least.get())
            && args.max_size_bytes.is_none_or(|most| attributes.stx_size <= most.get())
            && args.changed_within_seconds.is_none_or(|limit| age_is(limit.get(), true))
            && args.unchanged_for_seconds.is_none_or(|limit| age_is(limit.get(), false))
            && self.owner.is_none_or(|owner| owner == attributes.stx_uid)
    }

    fn keep(&mut self, found: Found) {
        let limit = self.args.limit.as_usize();
        self.matched += 1;
        self.found.push(found);
        if self.args.sort == Sort::Met {
            if self.found.len() >= limit {
                self.stopped = Some(Stopped::Limit);
            }
        } else if self.found.len() >= limit.saturating_mul(4) {
            self.keep_best(limit);
        }
    }

    fn keep_best(&mut self, limit: usize) {
        let by_path = |left: &Found, right: &Found| left.path.cmp(&right.path);
        match self.args.sort {
            Sort::Met => {}
            Sort::Size => self.found.sort_by(|left, right| {
                right.attributes.stx_size.cmp(&left.attributes.stx_size).then_with(|| by_path(left, right))
            }),
            Sort::Modified => self.found.sort_by(|left, right| {
                let time =
                    |found: &Found| (found.attributes.stx_mtime.tv_sec, found.attributes.stx_mtime.tv_nsec);
                time(right).cmp(&time(left)).then_with(|| by_path(left, right))
            }),
            Sort::Path => self.found.sort_by(by_path),
        }
        self.found.truncate(limit);
    }

    fn output(mut self, accounts: &Accounts) -> Output {
        self.keep_best(self.args.limit.as_usize());
        let shown = |found: &Found| Match {
            path: encode(&found.path),
            kind: kind_of(&found.attributes),
            size_bytes: (kind_of(&found.attributes) == Kind::File).then_some(found.attributes.stx_size),
            modified: rfc3339_unix(found.attributes.stx_mtime.tv_sec),
            owner: Some(owner(accounts, &found.attributes)),
        };
        Output {
            matches: self.found.iter().map(shown).collect(),
            matched: self.matched,
            visited: self.visited,
            unreadable: self.unreadable,
            stopped: self.stopped,
        }
    }
}

fn kind_of(attributes: &Statx) -> Kind {
    kind(FileType::from_raw_mode(attributes.stx_mode.into()))
}

fn device(attributes: &Statx) -> (u32, u32) {
    (attributes.stx_dev_major, attributes.stx_dev_minor)
}

fn joined(directory: &[u8], name: &CStr) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.count_bytes());
    path.extend_from_slice(directory);
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    path
}

#[cfg(test)]
mod tests;
