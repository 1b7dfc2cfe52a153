//! `ssh_key.*`: lines of a user's `authorized_keys`.
//!
//! The folder is the user's, who may put a link in the way at any time. So the folder and the file are opened without
//! following links, have to be the user's own (or root's), and are replaced by exchange, never written through.

use agentos_api::change::Risk;
use agentos_api::mutation::ssh_key as api;

use super::accounts::{Database, guard_user};
use crate::QueryError;
use crate::accounts::User;
use crate::change::Plan;
use crate::change::entry::{Book, Format, New, fingerprint_of};
use crate::change::error::ChangeError;
use crate::change::file::{FileState, Place};
use crate::change::planner::Planner;
use crate::change::ssh::{KeyLine, fingerprint};

/// Longest line that sshd reads (`SSH_MAX_PUBKEY_BYTES`).
const LONGEST_LINE: usize = 16_384;

fn parse(line: &str) -> Result<KeyLine, ChangeError> {
    let line = line.trim();
    if line.len() > LONGEST_LINE || line.chars().any(char::is_control) {
        return Err(ChangeError::invalid(
            "key",
            format!("must be one line of at most {LONGEST_LINE} bytes, without control characters"),
        ));
    }
    KeyLine::parse(line).ok_or_else(|| {
        ChangeError::invalid(
            "key",
            "must be a public key as in id_ed25519.pub: a type, the key in base64, a comment",
        )
    })
}

/// The file of a user, as sshd looks for it by default.
fn book(planner: &mut Planner<'_>, user: &User) -> Result<Book, ChangeError> {
    let home = planner.machine.own_path(user.home.as_bytes())?;
    let inside = |name: &str| planner.machine.own_path(format!("{}/{name}", user.home).as_bytes());
    // A link in the path to the home is the machine's; one in the home is the user's, and is not followed.
    let home = Place::of(&home, |folder| planner.files.is_folder(folder))?;
    let (folder, path) = (home.child(b".ssh"), inside(".ssh/authorized_keys")?);
    planner.asked_for(path.as_bytes());
    match planner.state(&home)? {
        FileState::Folder { .. } => {}
        other => {
            return Err(ChangeError::refused(format!(
                "the home folder {} of {} is {}",
                home.text(),
                user.name,
                other.text(&planner.machine.accounts)
            )));
        }
    }
    let folder_mode = match planner.state(&folder)? {
        FileState::Absent => Some(0o700),
        FileState::Folder { .. } => None,
        other => {
            return Err(ChangeError::refused(format!(
                "{} is {}, not a folder: keys are not written through it",
                folder.text(),
                other.text(&planner.machine.accounts)
            )));
        }
    };
    let place = folder.child(b"authorized_keys");
    let new = New { mode: 0o600, uid: user.uid, gid: user.gid, folder_mode };
    let new = match planner.state(&place)? {
        FileState::Absent => Some(new),
        // A file that was there before does not go with its last key.
        FileState::File { .. } => None,
        other => {
            return Err(ChangeError::refused(format!(
                "{} is {}: keys are not written through it",
                place.text(),
                other.text(&planner.machine.accounts)
            )));
        }
    };
    Ok(Book { format: Format::AuthorizedKeys, place, new, owner: Some(user.uid) })
}

fn begin(planner: &mut Planner<'_>, name: &str) -> Result<(User, Book), ChangeError> {
    let database = Database::read(planner)?;
    let user = database.user(name)?;
    guard_user(planner, &database, &user)?;
    let book = book(planner, &user)?;
    planner.risk(Risk::Destructive);
    planner.not_covered(
        "sshd_config may name other files (AuthorizedKeysFile), or ask a program (AuthorizedKeysCommand)",
    );
    Ok((user, book))
}

impl Plan for api::Add {
    fn check(args: &api::AddArgs) -> Result<(), ChangeError> {
        let key = parse(&args.key)?;
        key.weakness().map_or(Ok(()), |weakness| Err(ChangeError::invalid("key", weakness)))
    }

    fn plan(planner: &mut Planner<'_>, args: api::AddArgs) -> Result<(), ChangeError> {
        let key = parse(&args.key)?;
        let (user, book) = begin(planner, &args.user)?;
        let print = fingerprint(&key.blob).unwrap_or_default();
        planner.summary(format!("Lets the key {print} log in as {}", user.name));
        if let Some(line) =
            planner.lines(&book)?.iter().find(|line| book.format.key(line).as_deref() == Some(&key.blob))
        {
            let there = KeyLine::parse(&String::from_utf8_lossy(line));
            if there.is_some_and(|there| there.options != key.options) {
                return Err(ChangeError::refused(format!(
                    "the key {print} may log in as {} already, with other options; take it out first (ssh_key.remove)",
                    user.name
                )));
            }
            return Ok(());
        }
        planner.change_entry(&book, &key.blob, Some(key.written().as_bytes()))
    }
}

impl Plan for api::Remove {
    fn plan(planner: &mut Planner<'_>, args: api::RemoveArgs) -> Result<(), ChangeError> {
        let (user, book) = begin(planner, &args.user)?;
        planner.can_lock_out();
        let wanted = args.key.trim();
        let blob = KeyLine::parse(wanted).map_or_else(|| wanted.to_owned(), |key| key.blob);
        let lines = planner.lines(&book)?;
        let keys: Vec<String> = lines.iter().filter_map(|line| book.format.key(line)).collect();
        let Some(key) = keys.iter().find(|key| **key == blob || fingerprint(key).as_deref() == Some(wanted))
        else {
            let shown: String = wanted.chars().take(80).collect();
            return Err(ChangeError::Reading(QueryError::NotFound {
                what: format!("the key {shown} of {}", user.name),
                near: keys.iter().filter_map(|key| fingerprint(key)).take(5).collect(),
            }));
        };
        let print = fingerprint(key).unwrap_or_else(|| fingerprint_of(key.as_bytes()));
        let last = keys.len() == 1;
        planner.summary(format!(
            "Takes the key {print} out: it cannot log in as {} any more{}",
            user.name,
            if last { ", and no other key can" } else { "" }
        ));
        planner.not_covered("sessions that are open go on");
        planner.change_entry(&book, key, None)
    }
}
