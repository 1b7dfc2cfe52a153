//! The accounts of `/etc/passwd`, with what `/etc/shadow` and the record of logins say of them. Never a password's hash.

use std::collections::HashMap;

use agentos_api::query::Users;
use agentos_api::query::users::{Args, Output, Password, User};
use jiff::Timestamp;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::QueryError;
use crate::accounts::{self, Group, LARGEST_FILE, parse_groups, parse_users};
use crate::dispatch::Read;
use crate::files::read_range;
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::rfc3339_unix;
use crate::procfs::{decimal, read_at};
use crate::text::{self, lossy};

/// The first number of people's accounts (`UID_MIN` in login.defs(5)).
const FIRST_PERSON: u32 = 1000;
/// The account of nobody.
const NOBODY: u32 = 65_534;

impl Read for Users {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let groups = parse_groups(&read_at(CWD, "/etc/group", LARGEST_FILE).unwrap_or_default());
        let shadow = read_at(CWD, "/etc/shadow", LARGEST_FILE)
            .map(|content| parse_shadow(&content))
            .unwrap_or_default();
        let logins = Logins::open();
        let text = args.text.as_ref().map(|text| text.to_lowercase());
        let mut users: Vec<accounts::User> = parse_users(&crate::procfs::read("/etc/passwd", LARGEST_FILE)?)
            .into_iter()
            .filter(|user| {
                text.as_ref().is_none_or(|text| {
                    text::contains(&user.name, text) || text::contains(&user.comment, text)
                })
            })
            .filter(|user| !args.people_only || is_person(user.uid))
            .collect();
        users.sort_by(|left, right| (left.uid, &left.name).cmp(&(right.uid, &right.name)));
        let total = users.len() as u64;
        let (users, next_offset) = text::page(users, args.offset.as_usize(), args.limit.as_usize());
        Ok(Output {
            users: users.into_iter().map(|account| user(account, &groups, &shadow, &logins)).collect(),
            total,
            next_offset,
            other_sources: other_sources("passwd"),
        })
    }
}

fn is_person(uid: u32) -> bool {
    uid == 0 || (uid >= FIRST_PERSON && uid != NOBODY)
}

fn user(
    account: accounts::User,
    groups: &[Group],
    shadow: &HashMap<String, Secret>,
    logins: &Logins,
) -> User {
    let secret = shadow.get(&account.name);
    let login = logins.last(account.uid);
    User {
        group: groups.iter().find(|group| group.gid == account.gid).map(|group| group.name.clone()),
        groups: groups
            .iter()
            .filter(|group| group.gid != account.gid && group.members.contains(&account.name))
            .map(|group| group.name.clone())
            .collect(),
        password: secret.map(|secret| secret.password),
        expires: secret.and_then(|secret| secret.expires.clone()),
        last_login: login.as_ref().and_then(|(at, _)| rfc3339_unix(*at)),
        last_login_from: login.and_then(|(_, from)| from),
        name: account.name,
        uid: account.uid,
        gid: account.gid,
        comment: account.comment,
        home: account.home,
        shell: account.shell,
    }
}

/// Sources of a database in nsswitch.conf(5) other than the files that are read here, and what systemd adds to them.
pub(crate) fn other_sources(database: &str) -> Vec<String> {
    let content = lossy(&read_at(CWD, "/etc/nsswitch.conf", 64 << 10).unwrap_or_default());
    sources(&content, database)
}

fn sources(content: &str, database: &str) -> Vec<String> {
    content
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once(':'))
        .filter(|(name, _)| name.trim() == database)
        .flat_map(|(_, sources)| sources.split_whitespace())
        .filter(|source| !source.starts_with('[') && !source.ends_with(']'))
        .filter(|source| !matches!(*source, "files" | "compat" | "db"))
        .map(str::to_owned)
        .collect()
}

/// What `/etc/shadow` says of an account (shadow(5)), without the password's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Secret {
    password: Password,
    expires: Option<String>,
}

fn parse_shadow(content: &[u8]) -> HashMap<String, Secret> {
    content
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let password = match fields.next()? {
                [] => Password::Empty,
                [b'!' | b'*', ..] => Password::Locked,
                _ => Password::Set,
            };
            // Days since 1970.
            let expires = fields
                .nth(5)
                .and_then(decimal)
                .and_then(|days| i64::try_from(days).ok()?.checked_mul(86_400));
            let day = |seconds| {
                Timestamp::from_second(seconds).ok().map(|time| time.strftime("%Y-%m-%d").to_string())
            };
            Some((lossy(name), Secret { password, expires: expires.and_then(day) }))
        })
        .collect()
}

/// `/var/log/lastlog`: a record per uid, at the place of its number (`struct lastlog`, utmp.h). Newer systems keep logins
/// in a database instead, which is not read; then nothing is known of them here.
struct Logins(Option<OwnedFd>);

/// 4 bytes of time, 32 of terminal, 256 of host.
const RECORD_BYTES: usize = 292;

impl Logins {
    fn open() -> Self {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Self(openat(CWD, c"/var/log/lastlog", flags, Mode::empty()).ok())
    }

    /// When the user last logged in, in seconds since 1970, and from where.
    fn last(&self, uid: u32) -> Option<(i64, Option<String>)> {
        let mut record = [0; RECORD_BYTES];
        let read = read_range(self.0.as_ref()?, u64::from(uid) * RECORD_BYTES as u64, &mut record).ok()?;
        if read < RECORD_BYTES { None } else { login(&record) }
    }
}

fn login(record: &[u8; RECORD_BYTES]) -> Option<(i64, Option<String>)> {
    let (time, rest) = record.split_first_chunk::<4>()?;
    let seconds = i64::from(u32::from_ne_bytes(*time));
    let string = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        bytes.get(..end).filter(|text| !text.is_empty()).map(lossy)
    };
    let from = string(rest.get(32..)?).or_else(|| string(rest.get(..32)?));
    (seconds > 0).then_some((seconds, from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(args: &str) -> Output {
        let machine = Machine::new(crate::MachineOptions::default());
        serde_json::from_slice(&machine.query("users", args.as_bytes(), Viewer::default()).unwrap()).unwrap()
    }

    #[test]
    fn every_account_is_listed_and_no_hash_leaves() {
        let output = ask(r#"{"limit":1000}"#);
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        assert_eq!(output.users.len(), passwd.lines().filter(|line| line.contains(':')).count());
        let root = &output.users[0];
        assert_eq!((root.name.as_str(), root.uid, root.group.as_deref()), ("root", 0, Some("root")));
        if rustix::process::geteuid().is_root() {
            assert!(root.password.is_some());
        }
        assert!(!serde_json::to_string(&output).unwrap().contains('$'));
    }

    #[test]
    fn people_can_be_told_from_the_system() {
        let people = ask(r#"{"people_only":true,"limit":1000}"#);
        assert!(people.users.iter().all(|user| user.uid == 0 || user.uid >= 1000));
        assert_eq!(ask(r#"{"text":"ROOT"}"#).users[0].name, "root");
    }

    #[test]
    fn a_password_is_set_locked_or_empty() {
        let shadow = parse_shadow(
            b"a:$y$j9T$x:19000:0:99999:7::20000:\nb:!:1::::::\nc:*:1::::::\nd::1::::::\ne:!$6$x:1::::::\n",
        );
        let password = |name: &str| shadow[name].password;
        assert_eq!(password("a"), Password::Set);
        assert_eq!([password("b"), password("c"), password("e")], [Password::Locked; 3]);
        assert_eq!(password("d"), Password::Empty);
        assert_eq!(shadow["a"].expires.as_deref(), Some("2024-10-04"));
    }

    #[test]
    fn a_login_record_is_read() {
        let mut record = [0; RECORD_BYTES];
        assert_eq!(login(&record), None);
        record[..4].copy_from_slice(&1_700_000_000u32.to_ne_bytes());
        record[4..9].copy_from_slice(b"pts/0");
        assert_eq!(login(&record), Some((1_700_000_000, Some("pts/0".to_owned()))));
        record[36..44].copy_from_slice(b"10.0.0.7");
        assert_eq!(login(&record), Some((1_700_000_000, Some("10.0.0.7".to_owned()))));
    }

    #[test]
    fn sources_beside_the_files_are_named() {
        let content = "passwd: files systemd [NOTFOUND=return] sss # ldap\ngroup: files\n";
        assert_eq!(sources(content, "passwd"), ["systemd", "sss"]);
        assert!(sources(content, "group").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>, text: String, record in proptest::array::uniform32(any::<u8>())) {
            let mut whole = [7; RECORD_BYTES];
            whole[..32].copy_from_slice(&record);
            let _ = (parse_shadow(&content), sources(&text, "passwd"), login(&whole));
        }
    }
}
