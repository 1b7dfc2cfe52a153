//! The groups of `/etc/group`, with the users whose first group each is.

use agentos_api::query::Groups;
use agentos_api::query::groups::{Args, Group, Output};
use rustix::fs::CWD;

use crate::QueryError;
use crate::accounts::{LARGEST_FILE, parse_groups, parse_users};
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::read_at;
use crate::queries::users::other_sources;
use crate::text;

impl Read for Groups {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let users = parse_users(&read_at(CWD, "/etc/passwd", LARGEST_FILE).unwrap_or_default());
        if let Some(name) = args.user.as_ref()
            && !users.iter().any(|user| user.name == *name)
        {
            return Err(QueryError::NotFound {
                what: format!("the user {}", text::shortened(name.clone(), 64)),
                near: agentos_api::problem::near_matches(name, users.iter().map(|user| user.name.as_str())),
            });
        }
        let wanted = args.text.as_ref().map(|text| text.to_lowercase());
        let mut groups: Vec<Group> = parse_groups(&crate::procfs::read("/etc/group", LARGEST_FILE)?)
            .into_iter()
            .filter(|group| wanted.as_ref().is_none_or(|text| text::contains(&group.name, text)))
            .map(|group| {
                let first = users.iter().filter(|user| user.gid == group.gid).map(|user| user.name.clone());
                let mut members: Vec<String> = group.members.into_iter().chain(first).collect();
                members.sort();
                members.dedup();
                Group { name: group.name, gid: group.gid, members }
            })
            .filter(|group| args.user.as_ref().is_none_or(|user| group.members.contains(user)))
            .collect();
        groups.sort_by(|left, right| (left.gid, &left.name).cmp(&(right.gid, &right.name)));
        let total = groups.len() as u64;
        let (groups, next_offset) = text::page(groups, args.offset.as_usize(), args.limit.as_usize());
        Ok(Output { groups, total, next_offset, other_sources: other_sources("group") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(args: &str) -> Result<Output, QueryError> {
        let machine = Machine::new(crate::MachineOptions::default());
        Ok(serde_json::from_slice(&machine.query("groups", args.as_bytes(), Viewer::default())?).unwrap())
    }

    #[test]
    fn the_groups_of_a_user_are_those_that_id_prints() {
        let output = ask(r#"{"user":"root","limit":1000}"#).unwrap();
        let printed = std::process::Command::new("id").args(["-Gn", "root"]).output().unwrap().stdout;
        let mut printed: Vec<String> =
            String::from_utf8_lossy(&printed).split_whitespace().map(str::to_owned).collect();
        let mut found: Vec<String> = output.groups.into_iter().map(|group| group.name).collect();
        printed.sort();
        found.sort();
        assert_eq!(found, printed);
    }

    #[test]
    fn an_unknown_user_is_told_who_was_meant() {
        assert!(
            matches!(ask(r#"{"user":"rooot"}"#), Err(QueryError::NotFound { near, .. }) if near[0] == "root")
        );
    }
}
