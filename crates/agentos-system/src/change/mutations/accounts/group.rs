//! `group.*`.

use agentos_api::change::Risk;
use agentos_api::mutation::group as api;

use super::database::Database;
use super::names::check_name;
use super::rights::{Rank, guard_group, refuse_last_operator};
use crate::accounts::{Group, User};
use crate::change::Plan;
use crate::change::entry::{Book, Member, fields, list};
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::transition::Transition;

const SESSIONS: &str = "sessions and programs that run keep the groups that they began with";
const OTHER_SERVICES: &str =
    "accounts that come from elsewhere than the files (LDAP, systemd-homed), and caches of them";

impl Plan for api::Create {
    fn check(args: &api::CreateArgs) -> Result<(), ChangeError> {
        check_name("name", &args.name)
    }

    fn plan(planner: &mut Planner<'_>, args: api::CreateArgs) -> Result<(), ChangeError> {
        let database = Database::read(planner)?;
        if let Some(group) = database.groups.iter().find(|group| group.name == args.name) {
            planner.summary(format!("Makes the group {}", group.name));
            if args.gid.is_some_and(|gid| gid != group.gid) {
                return Err(ChangeError::refused(format!(
                    "there is a group {} already, with the number {}",
                    group.name, group.gid
                )));
            }
            return Ok(());
        }
        let gid = number(&database, args.gid, args.system)?;
        planner.risk(Risk::Medium);
        guard_group(planner, &Group { name: args.name.clone(), gid, members: Vec::new() })?;
        planner.summary(format!("Makes the group {} with the number {gid}", args.name));
        planner.not_covered(OTHER_SERVICES);
        create(planner, &database, &args.name, gid)
    }
}

/// The number of a new group.
fn number(database: &Database, asked: Option<u32>, system: bool) -> Result<u32, ChangeError> {
    match asked {
        None => database.free_number("GID", system),
        Some(gid) if gid == 0 || gid == u32::MAX => Err(ChangeError::invalid("gid", "that number is taken")),
        Some(gid) => match database.groups.iter().find(|group| group.gid == gid) {
            Some(group) => Err(ChangeError::invalid("gid", format!("is that of the group {}", group.name))),
            None => Ok(gid),
        },
    }
}

/// Plans a group without members.
pub(super) fn create(
    planner: &mut Planner<'_>,
    database: &Database,
    name: &str,
    gid: u32,
) -> Result<(), ChangeError> {
    planner.change_entry(&database.group, name, Some(format!("{name}:x:{gid}:").as_bytes()))?;
    if let Some(gshadow) = &database.gshadow {
        planner.change_entry(gshadow, name, Some(format!("{name}:!::").as_bytes()))?;
    }
    Ok(())
}

/// Plans that a group goes.
pub(super) fn delete(planner: &mut Planner<'_>, database: &Database, name: &str) -> Result<(), ChangeError> {
    if let Some(gshadow) = &database.gshadow {
        planner.change_entry(gshadow, name, None)?;
    }
    planner.change_entry(&database.group, name, None)
}

impl Plan for api::Delete {
    fn plan(planner: &mut Planner<'_>, args: api::DeleteArgs) -> Result<(), ChangeError> {
        let database = Database::read(planner)?;
        let group = database.group_named(&args.name)?;
        if Rank::of(&group) == Rank::SaysYes || group.gid == 0 {
            return Err(ChangeError::refused(format!(
                "the group {} is what root or agentd is known by; it is not deleted",
                group.name
            )));
        }
        if let Some(user) = database.users.iter().find(|user| user.gid == group.gid) {
            return Err(ChangeError::refused(format!(
                "{} is the main group of {}; change or delete that user first",
                group.name, user.name
            )));
        }
        if !planner.viewer.operator && !database.range("GID", false).contains(&group.gid) {
            return Err(crate::change::protect::forbidden(&format!(
                "{} is a group of the system's",
                group.name
            )));
        }
        guard_group(planner, &group)?;
        planner.risk(Risk::Destructive);
        planner.summary(format!("Deletes the group {} with its {} members", group.name, group.members.len()));
        planner.not_covered("files that belong to the group keep its number");
        planner.not_covered(SESSIONS);
        delete(planner, &database, &group.name)
    }
}

/// The lists of a group that a user can be in: members in both files, and administrators.
pub(super) fn lists(database: &Database) -> Vec<(&Book, usize)> {
    let mut lists = vec![(&database.group, 3)];
    lists.extend(database.gshadow.iter().flat_map(|book| [(book, 3), (book, 2)]));
    lists
}

/// Plans that a user leaves every list of a group.
pub(super) fn leave(
    planner: &mut Planner<'_>,
    database: &Database,
    group: &str,
    user: &str,
) -> Result<(), ChangeError> {
    for (book, field) in lists(database) {
        let is_in = is_in(planner, book, field, group, user)?;
        if is_in == Some(true) {
            planner.add(member(book, field, group, user, false))?;
        }
    }
    Ok(())
}

/// Plans that a user becomes a member of a group.
pub(super) fn join(
    planner: &mut Planner<'_>,
    database: &Database,
    group: &str,
    user: &str,
) -> Result<(), ChangeError> {
    for (book, field) in lists(database).into_iter().filter(|(_, field)| *field == 3) {
        if is_in(planner, book, field, group, user)? == Some(false) {
            planner.add(member(book, field, group, user, true))?;
        }
    }
    Ok(())
}

fn is_in(
    planner: &Planner<'_>,
    book: &Book,
    field: usize,
    group: &str,
    user: &str,
) -> Result<Option<bool>, ChangeError> {
    let lines = planner.lines(book)?;
    let line = lines.iter().find(|line| fields(line).first().is_some_and(|name| name == group));
    Ok(line.map(|line| list(line, field).contains(&user.as_bytes())))
}

fn member(book: &Book, field: usize, group: &str, user: &str, joins: bool) -> Transition {
    Transition::Member(Member {
        book: book.clone(),
        group: group.to_owned(),
        user: user.to_owned(),
        field,
        joins,
    })
}

fn both(planner: &Planner<'_>, args: &api::MemberArgs) -> Result<(Database, Group, User), ChangeError> {
    let database = Database::read(planner)?;
    let (group, user) = (database.group_named(&args.group)?, database.user(&args.user)?);
    Ok((database, group, user))
}

impl Plan for api::AddMember {
    fn plan(planner: &mut Planner<'_>, args: api::MemberArgs) -> Result<(), ChangeError> {
        let (database, group, user) = both(planner, &args)?;
        planner.risk(Risk::Medium);
        let means = guard_group(planner, &group)?;
        let means = means.map_or_else(String::new, |means| format!(": {means}"));
        planner.summary(format!("Makes {} a member of {}{means}", user.name, group.name));
        if user.gid == group.gid {
            planner.not_covered(format!("{} is the main group of {} already", group.name, user.name));
        }
        planner.not_covered(SESSIONS);
        join(planner, &database, &group.name, &user.name)
    }
}

impl Plan for api::RemoveMember {
    fn plan(planner: &mut Planner<'_>, args: api::MemberArgs) -> Result<(), ChangeError> {
        let (database, group, user) = both(planner, &args)?;
        planner.risk(Risk::Medium);
        guard_group(planner, &group)?;
        if Rank::of(&group) == Rank::SaysYes {
            refuse_last_operator(&database, &user)?;
        }
        if Rank::of(&group) >= Rank::AsGoodAsRoot {
            planner.can_lock_out();
        }
        planner.summary(format!("Takes {} out of the group {}", user.name, group.name));
        if user.gid == group.gid {
            return Err(ChangeError::refused(format!("{} is the main group of {}", group.name, user.name)));
        }
        planner.not_covered(SESSIONS);
        leave(planner, &database, &group.name, &user.name)
    }
}
