//! The accounts of this machine from its files: `/etc/passwd`, `/etc/group`, and systemd's dynamic users.
//!
//! The name service switch (nsswitch.conf(5)) is not asked: it loads other people's code into a root process and may ask
//! the network. Accounts that come from elsewhere are shown by number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::machine::lock;
use crate::procfs::{decimal, read_at};
use rustix::fs::{CWD, readlink};

/// Largest account file that is read, in bytes.
pub(crate) const LARGEST_FILE: usize = 4 << 20;

/// One line of `/etc/passwd` (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) comment: String,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// One line of `/etc/group` (group(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
    pub(crate) members: Vec<String>,
}

/// The users in the file, in its order. A line that is not one is left out.
pub(crate) fn parse_users(content: &[u8]) -> Vec<User> {
    records(content)
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            Some(User {
                name: text(fields.next().filter(|name| !name.is_empty())?),
                uid: id(fields.nth(1)?)?,
                gid: id(fields.next()?)?,
                comment: text(fields.next()?),
                home: text(fields.next()?),
                shell: text(fields.next()?),
            })
        })
        .collect()
}

/// The groups in the file, in its order. A line that is not one is left out.
pub(crate) fn parse_groups(content: &[u8]) -> Vec<Group> {
    records(content)
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            Some(Group {
                name: text(fields.next().filter(|name| !name.is_empty())?),
                gid: id(fields.nth(1)?)?,
                members: fields
                    .next()?
                    .split(|&byte| byte == b',')
                    .filter(|member| !member.is_empty())
                    .map(text)
                    .collect(),
            })
        })
        .collect()
}

/// Lines that hold a record; comments and the `+`/`-` lines of NIS compatibility are none.
fn records(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split(|&byte| byte == b'\n')
        .filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-')))
}

fn id(field: &[u8]) -> Option<u32> {
    decimal(field).and_then(|id| u32::try_from(id).ok())
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Names of users and groups by number, read again whenever the files change.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    users: Mutex<Names>,
    groups: Mutex<Names>,
}

/// The names of one file as it stood at a time.
#[derive(Debug, Default)]
struct Names {
    as_of: Option<(SystemTime, u64)>,
    by_id: Arc<HashMap<u32, String>>,
}

impl Accounts {
    /// All user names by uid.
    pub(crate) fn users(&self) -> Arc<HashMap<u32, String>> {
        current(&self.users, "/etc/passwd", |content| {
            parse_users(content).into_iter().map(|user| (user.uid, user.name)).collect()
        })
    }

    /// All group names by gid.
    pub(crate) fn groups(&self) -> Arc<HashMap<u32, String>> {
        current(&self.groups, "/etc/group", |content| {
            parse_groups(content).into_iter().map(|group| (group.gid, group.name)).collect()
        })
    }

    /// The name of the user `uid`, if the files or systemd know one.
    pub(crate) fn user(&self, uid: u32) -> Option<String> {
        self.users().get(&uid).cloned().or_else(|| dynamic_user(uid))
    }

    /// The name of the group `gid`, if the files or systemd know one.
    pub(crate) fn group(&self, gid: u32) -> Option<String> {
        // A dynamic user's group has its number and its name.
        self.groups().get(&gid).cloned().or_else(|| dynamic_user(gid))
    }
}

/// What is kept, brought up to date. The first of several accounts with one number names it, as in getpwuid(3).
fn current(
    kept: &Mutex<Names>,
    path: &str,
    parse: impl FnOnce(&[u8]) -> Vec<(u32, String)>,
) -> Arc<HashMap<u32, String>> {
    let as_of =
        std::fs::metadata(path).ok().and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
    let mut kept = lock(kept);
    if kept.as_of != as_of || as_of.is_none() {
        let mut by_id = HashMap::new();
        for (id, name) in parse(&read_at(CWD, path, LARGEST_FILE).unwrap_or_default()) {
            by_id.entry(id).or_insert(name);
        }
        *kept = Names { as_of, by_id: Arc::new(by_id) };
    }
    Arc::clone(&kept.by_id)
}

/// The name systemd gave a dynamic user (`DynamicUser=`, systemd.exec(5)). The ranges keep the many other numbers from
/// costing a system call: 61184 to 65519 is where systemd allocates from.
fn dynamic_user(uid: u32) -> Option<String> {
    if !(61_184..=65_519).contains(&uid) {
        return None;
    }
    let target = readlink(format!("/run/systemd/dynamic-uid/direct:{uid}"), Vec::new()).ok()?;
    Some(String::from_utf8_lossy(target.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn root_has_its_name() {
        let accounts = Accounts::default();
        assert_eq!(accounts.user(0).unwrap(), "root");
        assert_eq!(accounts.group(0).unwrap(), "root");
        assert_eq!(accounts.user(u32::MAX - 7), None);
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        let users = parse_users(b"# a comment\n+::::::\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:abc:0:::\nshort:x:1\n\n:x:1:1:::\n");
        assert_eq!(users.len(), 1);
        assert_eq!(users[0].shell, "/bin/sh");
        let groups = parse_groups(b"wheel:x:10:ann,bob\nempty:x:11:\n-nis\n");
        assert_eq!(groups[0].members, ["ann", "bob"]);
        assert!(groups[1].members.is_empty());
    }

    proptest! {
        #[test]
        fn a_written_user_is_read_back(name in "[a-z_][a-z0-9_-]{0,30}", uid: u32, gid: u32, comment in "[^:\n]{0,40}", home in "/[^:\n]{0,20}", shell in "/[^:\n]{0,20}") {
            let line = format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}\n");
            prop_assert_eq!(parse_users(line.as_bytes()), vec![User { name, uid, gid, comment, home, shell }]);
        }

        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            let _ = (parse_users(&content), parse_groups(&content));
        }
    }
}
