//! The accounts as a plan sees them: what is there, with what earlier steps do to it.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;

use agentos_api::problem::near_matches;

use crate::QueryError;
use crate::accounts::{Group, User, parse_groups, parse_users};
use crate::change::entry::{Book, Format, Lines, join};
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::procfs::read_at;

const LARGEST_DEFINITIONS: usize = 256 << 10;

/// The accounts.
pub(in crate::change::mutations) struct Database {
    pub(super) passwd: Book,
    pub(super) shadow: Book,
    pub(super) group: Book,
    /// Not every distribution has it.
    pub(super) gshadow: Option<Book>,
    /// subuid(5) and subgid(5), where they are.
    pub(super) subids: Vec<(Book, &'static str)>,
    pub(in crate::change::mutations) users: Vec<User>,
    pub(super) groups: Vec<Group>,
    definitions: HashMap<String, String>,
}

impl Database {
    /// Reads it.
    ///
    /// # Errors
    /// The kernel's; [`ChangeError::Refused`] where there is no `/etc/passwd`, `/etc/group` or `/etc/shadow`.
    pub(in crate::change::mutations) fn read(planner: &Planner<'_>) -> Result<Self, ChangeError> {
        let book = |format, path: &[u8]| Book::at(format, &planner.machine.own_path(path)?);
        let there = |book: Book| Ok::<_, ChangeError>(book.read()?.is_some().then_some(book));
        let needed = |format, path: &'static str| {
            there(book(format, path.as_bytes())?)?.ok_or_else(|| {
                ChangeError::refused(format!(
                    "there is no {path}: accounts are kept elsewhere on this machine"
                ))
            })
        };
        let passwd = needed(Format::Passwd, "/etc/passwd")?;
        let group = needed(Format::Group, "/etc/group")?;
        let mut subids = Vec::new();
        for (path, kind) in [("/etc/subuid", "SUB_UID"), ("/etc/subgid", "SUB_GID")] {
            subids.extend(there(book(Format::Subids, path.as_bytes())?)?.map(|book| (book, kind)));
        }
        let users = parse_users(&join(&planner.lines(&passwd)?));
        let groups = parse_groups(&join(&planner.lines(&group)?));
        Ok(Self {
            shadow: needed(Format::Shadow, "/etc/shadow")?,
            gshadow: there(book(Format::Gshadow, b"/etc/gshadow")?)?,
            passwd,
            group,
            subids,
            users,
            groups,
            definitions: definitions(planner)?,
        })
    }

    /// The user of that name.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] with near matches.
    pub(in crate::change::mutations) fn user(&self, name: &str) -> Result<User, ChangeError> {
        let names = || self.users.iter().map(|user| user.name.as_str());
        self.users.iter().find(|user| user.name == name).cloned().ok_or_else(|| {
            let near = near_matches(name, names());
            let what = format!("the user {}", name.chars().take(64).collect::<String>());
            ChangeError::Reading(QueryError::NotFound { what, near })
        })
    }

    /// The group of that name.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] with near matches.
    pub(super) fn group_named(&self, name: &str) -> Result<Group, ChangeError> {
        let names = || self.groups.iter().map(|group| group.name.as_str());
        self.groups.iter().find(|group| group.name == name).cloned().ok_or_else(|| {
            let near = near_matches(name, names());
            let what = format!("the group {}", name.chars().take(64).collect::<String>());
            ChangeError::Reading(QueryError::NotFound { what, near })
        })
    }

    /// The groups that a user is in: the main one and those that list the name.
    pub(super) fn groups_of(&self, user: &User) -> Vec<&Group> {
        self.groups
            .iter()
            .filter(|group| group.gid == user.gid || group.members.contains(&user.name))
            .collect()
    }

    /// The users in a group: those it lists and those whose main group it is.
    pub(super) fn members_of(&self, group: &Group) -> Vec<&User> {
        self.users.iter().filter(|user| user.gid == group.gid || group.members.contains(&user.name)).collect()
    }

    /// A number of login.defs(5).
    pub(super) fn defined(&self, name: &str, default: u32) -> u32 {
        self.definitions.get(name).and_then(|value| number(value)).unwrap_or(default)
    }

    /// A switch of login.defs(5).
    pub(super) fn defined_yes(&self, name: &str, default: bool) -> bool {
        self.definitions.get(name).map_or(default, |value| value.eq_ignore_ascii_case("yes"))
    }

    /// The numbers of people's accounts, or of the system's, of the kind `UID` or `GID`.
    pub(super) fn range(&self, kind: &str, system: bool) -> RangeInclusive<u32> {
        let first = self.defined(&format!("{kind}_MIN"), 1000);
        if system {
            self.defined(&format!("SYS_{kind}_MIN"), 100)
                ..=self.defined(&format!("SYS_{kind}_MAX"), first.saturating_sub(1))
        } else {
            first..=self.defined(&format!("{kind}_MAX"), 60_000)
        }
    }

    /// A number that neither a user nor a group has, as useradd(8) chooses it: after the highest, for the system below
    /// the lowest.
    pub(super) fn free_number(&self, kind: &str, system: bool) -> Result<u32, ChangeError> {
        let range = self.range(kind, system);
        let taken: BTreeSet<u32> = self
            .users
            .iter()
            .map(|user| user.uid)
            .chain(self.groups.iter().map(|group| group.gid))
            .filter(|number| range.contains(number))
            .collect();
        let free = |number: &u32| !taken.contains(number);
        let after = taken.last().map_or(*range.start(), |last| last.saturating_add(1));
        let found = if system {
            range.clone().rev().find(free)
        } else if range.contains(&after) {
            Some(after)
        } else {
            range.clone().find(free)
        };
        found.ok_or_else(|| {
            ChangeError::refused(format!(
                "every number from {} to {} is taken (login.defs)",
                range.start(),
                range.end()
            ))
        })
    }

    /// The beginning of a free range of subordinate numbers, and how many; nothing where none are given out.
    pub(super) fn free_subids(&self, lines: &Lines, kind: &str) -> Option<(u32, u32)> {
        let count = self.defined(&format!("{kind}_COUNT"), 65_536);
        let first = self.defined(&format!("{kind}_MIN"), 100_000);
        let last = self.defined(&format!("{kind}_MAX"), 600_100_000);
        let after = lines
            .iter()
            .filter_map(|line| {
                let line = String::from_utf8_lossy(line).into_owned();
                let mut fields = line.split(':').skip(1);
                number(fields.next()?)?.checked_add(number(fields.next()?)?)
            })
            .max()
            .unwrap_or(first)
            .max(first);
        (count > 0 && after.checked_add(count)? <= last).then_some((after, count))
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// login.defs(5): a name and a value a line.
fn definitions(planner: &Planner<'_>) -> Result<HashMap<String, String>, ChangeError> {
    let path = planner.machine.own_path(b"/etc/login.defs")?;
    let content = std::str::from_utf8(path.as_bytes())
        .ok()
        .and_then(|path| read_at(rustix::fs::CWD, path, LARGEST_DEFINITIONS).ok())
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(&content)
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_matches('"').to_owned()))
        })
        .collect())
}
