//! `user.*`.

use std::time::{SystemTime, UNIX_EPOCH};

use agentos_api::change::Risk;
use agentos_api::mutation::user as api;
use agentos_api::query::path::AbsolutePath;
use jiff::civil::Date;

use super::database::Database;
use super::names::{check_comment, check_name, path_field};
use super::rights::{guard_group, guard_user, refuse_last_operator};
use super::{group, home};
use crate::accounts::User;
use crate::change::Plan;
use crate::change::entry::fields;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::procfs::Proc;

const SECONDS_A_DAY: u64 = 86_400;
const MOST_GROUPS: usize = 32;

fn check_fields(
    comment: Option<&String>,
    home: Option<&AbsolutePath>,
    shell: Option<&AbsolutePath>,
) -> Result<(), ChangeError> {
    comment.map_or(Ok(()), |comment| check_comment(comment))?;
    home.map_or(Ok(()), |home| path_field("home", home).map(|_| ()))?;
    shell.map_or(Ok(()), |shell| path_field("shell", shell).map(|_| ()))
}

/// Refuses a shell that is no program: nobody could log in.
fn check_shell(planner: &Planner<'_>, shell: &str) -> Result<(), ChangeError> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    let path = planner.machine.own_path(shell.as_bytes())?;
    let found = std::fs::metadata(std::ffi::OsStr::from_bytes(path.as_bytes()));
    if found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0) {
        return Ok(());
    }
    Err(ChangeError::invalid("shell", format!("{shell} is no program here")))
}

impl Plan for api::Create {
    fn check(args: &api::CreateArgs) -> Result<(), ChangeError> {
        check_name("name", &args.name)?;
        if args.groups.len() > MOST_GROUPS {
            return Err(ChangeError::invalid("groups", format!("must be at most {MOST_GROUPS}")));
        }
        check_fields(args.comment.as_ref(), args.home.as_ref(), args.shell.as_ref())
    }

    fn plan(planner: &mut Planner<'_>, args: api::CreateArgs) -> Result<(), ChangeError> {
        let database = Database::read(planner)?;
        let name = args.name.as_str();
        if database.users.iter().any(|user| user.name == name) {
            return Err(ChangeError::refused(format!(
                "there is a user {name} already; user.modify changes it"
            )));
        }
        planner.risk(Risk::Medium);
        let uid = match args.uid {
            Some(uid) => free(&database, uid)?,
            None => database.free_number("UID", args.system)?,
        };
        let gid = match &args.group {
            Some(group) => {
                let group = database.group_named(group)?;
                guard_group(planner, &group)?;
                group.gid
            }
            None => own_group(planner, &database, name, uid)?,
        };
        let home = match &args.home {
            Some(home) => path_field("home", home)?,
            None if args.system => "/nonexistent".to_owned(),
            None => format!("/home/{name}"),
        };
        let shell = match &args.shell {
            Some(shell) => path_field("shell", shell)?,
            None if args.system => "/usr/sbin/nologin".to_owned(),
            None if check_shell(planner, "/bin/bash").is_ok() => "/bin/bash".to_owned(),
            None => "/bin/sh".to_owned(),
        };
        if args.shell.is_some() {
            check_shell(planner, &shell)?;
        }
        let kind = if args.system { "system account" } else { "user" };
        planner.summary(format!("Makes the {kind} {name} ({uid}), locked, without a password"));
        for group in &args.groups {
            let group = database.group_named(group)?;
            if let Some(means) = guard_group(planner, &group)? {
                planner.not_covered(format!("{name} becomes a member of {}: {means}", group.name));
            }
            group::join(planner, &database, &group.name, name)?;
        }
        for (book, kind) in database.subids.iter().filter(|_| !args.system) {
            if let Some((first, count)) = database.free_subids(&planner.lines(book)?, kind) {
                let line = format!("{name}:{first}:{count}");
                planner.change_entry(book, &format!("{name}:{first}"), Some(line.as_bytes()))?;
            }
        }
        planner.change_entry(
            &database.shadow,
            name,
            Some(shadow(&database, name, args.system).as_bytes()),
        )?;
        let comment = args.comment.unwrap_or_default();
        let line = format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}");
        planner.change_entry(&database.passwd, name, Some(line.as_bytes()))?;
        planner.not_covered(
            "it cannot log in until it has a key (ssh_key.add) or a person sets a password (passwd)",
        );
        if args.create_home {
            home::create(planner, &database, home.as_bytes(), uid, gid)?;
        }
        Ok(())
    }
}

/// The new entry of shadow(5): `!` is no hash of anything.
fn shadow(database: &Database, name: &str, system: bool) -> String {
    let today =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_A_DAY);
    if system {
        return format!("{name}:!:{today}::::::");
    }
    let days = |name, default| database.defined(name, default);
    format!(
        "{name}:!:{today}:{}:{}:{}:::",
        days("PASS_MIN_DAYS", 0),
        days("PASS_MAX_DAYS", 99_999),
        days("PASS_WARN_AGE", 7)
    )
}

fn free(database: &Database, uid: u32) -> Result<u32, ChangeError> {
    if uid == 0 || uid >= u32::MAX - 1 {
        return Err(ChangeError::invalid("uid", "must be a number that nobody has, and not root's"));
    }
    match database.users.iter().find(|user| user.uid == uid) {
        Some(user) => Err(ChangeError::invalid("uid", format!("is that of {}", user.name))),
        None => Ok(uid),
    }
}

/// The group of the user's own: with the user's number where that is free.
fn own_group(
    planner: &mut Planner<'_>,
    database: &Database,
    name: &str,
    uid: u32,
) -> Result<u32, ChangeError> {
    if let Some(group) = database.groups.iter().find(|group| group.name == name) {
        return Err(ChangeError::invalid(
            "group",
            format!(
                "there is a group {name} ({}) already; name it here to have it as the main group",
                group.gid
            ),
        ));
    }
    if !database.defined_yes("USERGROUPS_ENAB", true) {
        planner.not_covered("login.defs asks for no group of the user's own; one is made nevertheless");
    }
    let gid = if database.groups.iter().any(|group| group.gid == uid) {
        database.free_number("GID", false)?
    } else {
        uid
    };
    group::create(planner, database, name, gid)?;
    Ok(gid)
}

impl Plan for api::Delete {
    fn plan(planner: &mut Planner<'_>, args: api::DeleteArgs) -> Result<(), ChangeError> {
        let database = Database::read(planner)?;
        let user = database.user(&args.name)?;
        if user.uid == 0 {
            return Err(ChangeError::refused(format!(
                "{} is the machine's root; it is not deleted",
                user.name
            )));
        }
        if guard_user(planner, &database, &user)? {
            planner.can_lock_out();
        }
        refuse_last_operator(&database, &user)?;
        // Numbers of a machine's own processes say nothing about another root's accounts.
        let running = if planner.machine.is_own_root() { processes(user.uid)? } else { 0 };
        if running > 0 {
            return Err(ChangeError::refused(format!(
                "{running} processes of {} run; end them first (the query processes shows them)",
                user.name
            )));
        }
        planner.risk(Risk::Destructive);
        let deleted = if args.delete_home { home::delete(planner, &database, &user)? } else { 0 };
        let own_group = database.groups.iter().find(|group| {
            let only = database.users.iter().all(|other| other.gid != group.gid || other.name == user.name);
            group.gid == user.gid
                && group.name == user.name
                && only
                && group.members.iter().all(|member| *member == user.name)
        });
        for group in &database.groups {
            group::leave(planner, &database, &group.name, &user.name)?;
        }
        planner.change_entry(&database.passwd, &user.name, None)?;
        planner.change_entry(&database.shadow, &user.name, None)?;
        for (book, _) in &database.subids {
            for line in planner.lines(book)? {
                let key = book.format.key(&line);
                let is_theirs = fields(&line).first().is_some_and(|name| *name == user.name);
                if let (Some(key), true) = (key, is_theirs) {
                    planner.change_entry(book, &key, None)?;
                }
            }
        }
        if let Some(group) = own_group {
            group::delete(planner, &database, &group.name)?;
        }
        let home = match (args.delete_home, deleted) {
            (true, 0) => ", who has no home folder".to_owned(),
            (true, deleted) => format!(", with the {deleted} things of the home folder {}", user.home),
            (false, _) => format!("; {} stays as it is", user.home),
        };
        planner.summary(format!("Deletes the user {} ({}){home}", user.name, user.uid));
        planner.not_covered("files elsewhere keep the number, and belong to whoever gets it next");
        planner.not_covered("jobs of cron and at, and mail in /var/mail, stay");
        Ok(())
    }
}

/// How many processes run with that user's rights.
fn processes(uid: u32) -> Result<usize, ChangeError> {
    let proc = Proc::open()?;
    let mut count = 0;
    proc.each(|pid| {
        count += usize::from(proc.attributes(pid).is_ok_and(|found| found.st_uid == uid));
    })?;
    Ok(count)
}

impl Plan for api::Modify {
    fn check(args: &api::ModifyArgs) -> Result<(), ChangeError> {
        let api::ModifyArgs { comment, home, shell, locked, expires, .. } = args;
        if comment.is_none() && home.is_none() && shell.is_none() && locked.is_none() && expires.is_none() {
            return Err(ChangeError::invalid(
                "args",
                "must say what changes: comment, home, shell, locked or expires",
            ));
        }
        expires.as_deref().map_or(Ok(None), day).map(|_| ())?;
        check_fields(comment.as_ref(), home.as_ref(), shell.as_ref())
    }

    fn plan(planner: &mut Planner<'_>, args: api::ModifyArgs) -> Result<(), ChangeError> {
        let database = Database::read(planner)?;
        let user = database.user(&args.name)?;
        planner.risk(Risk::Medium);
        let important = guard_user(planner, &database, &user)?;
        if important {
            planner.not_covered(format!("{} is as good as root here", user.name));
            if args.home.is_some()
                || args.shell.is_some()
                || args.locked == Some(true)
                || args.expires.is_some()
            {
                planner.can_lock_out();
            }
        }
        let mut says = Vec::new();
        if let Some(line) = passwd(planner, &database, &args, &user, &mut says)? {
            planner.change_entry(&database.passwd, &user.name, Some(&line))?;
        }
        if args.locked.is_some() || args.expires.is_some() {
            let shuts_out =
                args.locked == Some(true) || args.expires.as_deref().is_some_and(|day| day != "never");
            if shuts_out {
                refuse_last_operator(&database, &user)?;
                planner.risk(Risk::Destructive);
            }
            let line = shadowed(planner, &database, &args, &user, &mut says)?;
            planner.change_entry(&database.shadow, &user.name, Some(&line))?;
        }
        if args.locked == Some(true) {
            planner.not_covered(
                "keys for ssh and sessions that are open go on working; ssh_key.remove takes a key out",
            );
        }
        planner.summary(format!("Changes the user {}: {}", user.name, says.join(", ")));
        Ok(())
    }
}

/// The new entry of passwd(5); nothing where it stays.
fn passwd(
    planner: &mut Planner<'_>,
    database: &Database,
    args: &api::ModifyArgs,
    user: &User,
    says: &mut Vec<String>,
) -> Result<Option<Vec<u8>>, ChangeError> {
    let mut changes: Vec<(usize, String)> = Vec::new();
    if let Some(comment) = &args.comment {
        says.push(format!("comment {comment:?}"));
        changes.push((4, comment.clone()));
    }
    if let Some(home) = &args.home {
        let home = path_field("home", home)?;
        says.push(format!("home {home}"));
        planner.not_covered(format!("{} stays where it is, with all that is in it", user.home));
        changes.push((5, home));
    }
    if let Some(shell) = &args.shell {
        let shell = path_field("shell", shell)?;
        check_shell(planner, &shell)?;
        says.push(format!("shell {shell}"));
        changes.push((6, shell));
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let line = entry(planner, &database.passwd, &user.name)?;
    Ok(Some(with_fields(&line, &changes)))
}

/// The new entry of shadow(5).
fn shadowed(
    planner: &Planner<'_>,
    database: &Database,
    args: &api::ModifyArgs,
    user: &User,
    says: &mut Vec<String>,
) -> Result<Vec<u8>, ChangeError> {
    let line = entry(planner, &database.shadow, &user.name)?;
    let mut changes = Vec::new();
    let password = line.split(|&byte| byte == b':').nth(1).unwrap_or_default().to_vec();
    match args.locked {
        Some(true) if !password.starts_with(b"!") => changes.push((1, [b"!", password.as_slice()].concat())),
        Some(false) => match password.strip_prefix(b"!") {
            // Unlocked, it would be an account without any password.
            Some(b"" | b"!" | b"*") => {
                return Err(ChangeError::refused(format!(
                    "{} has no password that could be unlocked; a person sets one with passwd",
                    user.name
                )));
            }
            Some(rest) => changes.push((1, rest.to_vec())),
            None => {}
        },
        _ => {}
    }
    if let Some(locked) = args.locked {
        says.push(if locked { "password locked" } else { "password unlocked" }.to_owned());
    }
    if let Some(expires) = &args.expires {
        says.push(format!("expires {expires}"));
        let day = day(expires)?.map_or_else(String::new, |day| day.to_string());
        changes.push((7, day.into_bytes()));
    }
    let mut fields: Vec<Vec<u8>> = line.split(|&byte| byte == b':').map(<[u8]>::to_vec).collect();
    for (at, value) in changes {
        if let Some(field) = fields.get_mut(at) {
            *field = value;
        }
    }
    Ok(fields.join(&b':'))
}

/// The line of a user in a book.
fn entry(
    planner: &Planner<'_>,
    book: &crate::change::entry::Book,
    name: &str,
) -> Result<Vec<u8>, ChangeError> {
    let lines = planner.lines(book)?;
    let line = lines.into_iter().find(|line| book.format.key(line).as_deref() == Some(name));
    line.ok_or_else(|| ChangeError::refused(format!("{name} has no entry in {}", book.place.text())))
}

fn with_fields(line: &[u8], changes: &[(usize, String)]) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = line.split(|&byte| byte == b':').map(<[u8]>::to_vec).collect();
    for (at, value) in changes {
        if let Some(field) = fields.get_mut(*at) {
            *field = value.clone().into_bytes();
        }
    }
    fields.join(&b':')
}

/// Days since 1970; nothing for `never`.
fn day(text: &str) -> Result<Option<i64>, ChangeError> {
    if text == "never" {
        return Ok(None);
    }
    let epoch = Date::constant(1970, 1, 1);
    text.parse::<Date>()
        .ok()
        .filter(|_| text.len() == 10)
        .and_then(|date| epoch.until(date).ok())
        .map(|span| i64::from(span.get_days()))
        .filter(|&days| days >= 0)
        .map(Some)
        .ok_or_else(|| ChangeError::invalid("expires", "must be a day such as 2031-12-31, or never"))
}
