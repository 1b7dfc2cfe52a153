//! Which columns of a known list a person wants to see first. Everything else is in `--json`.

use crate::tree::Tree;

/// Query, list, columns; a dot leads into a member. A test holds each name against the query's schema.
const KNOWN: &[(&str, &str, &[&str])] = &[
    (
        "block_devices",
        "devices",
        &["name", "kind", "size_bytes", "file_system", "mount_points", "model", "busy_percent"],
    ),
    ("boots", "boots", &["index", "boot_id", "started", "last_entry"]),
    (
        "cgroups",
        "cgroups",
        &["memory_bytes", "cpu_percent", "tasks", "io_read_bytes", "io_written_bytes", "path"],
    ),
    (
        "connections",
        "connections",
        &["protocol", "state", "local_address", "local_port", "remote_address", "remote_port", "processes"],
    ),
    ("directory", "entries", &["mode", "owner", "group", "size_bytes", "modified", "name", "target"]),
    (
        "disks",
        "file_systems",
        &[
            "mount_point",
            "usage.used_percent",
            "usage.used_bytes",
            "usage.available_bytes",
            "usage.total_bytes",
            "usage.inodes_used_percent",
            "file_system",
            "source",
        ],
    ),
    ("failed_units", "units", &["unit", "result", "since", "restarts", "description"]),
    ("find", "matches", &["size_bytes", "modified", "owner", "path"]),
    ("groups", "groups", &["gid", "name", "members"]),
    ("journal", "entries", &["timestamp", "priority_name", "unit", "identifier", "pid", "message"]),
    ("listeners", "listeners", &["protocol", "address", "port", "reach", "processes"]),
    ("packages", "packages", &["name", "version", "state", "size_bytes", "summary"]),
    (
        "processes",
        "processes",
        &[
            "pid",
            "user",
            "cpu_percent",
            "memory_percent",
            "resident_bytes",
            "state",
            "started",
            "unit",
            "command",
        ],
    ),
    (
        "services",
        "services",
        &["unit", "active_state", "sub_state", "since", "memory_bytes", "restarts", "description"],
    ),
    ("sessions", "sessions", &["id", "user", "since", "tty", "remote_host", "kind", "state"]),
    ("sysctl", "settings", &["name", "value"]),
    ("timers", "timers", &["unit", "next", "last", "activates", "schedule"]),
    ("users", "users", &["uid", "name", "group", "home", "shell", "password", "last_login", "comment"]),
];

/// The columns for the list `list` in the answer to `query`.
pub(super) fn known(query: &str, list: &str) -> Option<&'static [&'static str]> {
    KNOWN.iter().find(|(name, member, _)| *name == query && *member == list).map(|(_, _, columns)| *columns)
}

/// The columns of an unknown list: every member of any row, in the order they are first met, objects opened once.
pub(super) fn found(rows: &[Tree]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut add = |column: String| {
        if !columns.contains(&column) {
            columns.push(column);
        }
    };
    for row in rows {
        let Tree::Object(members) = row else { continue };
        for (name, member) in members {
            match member {
                Tree::Object(inner) => inner.iter().for_each(|(inner, _)| add(format!("{name}.{inner}"))),
                _ => add(name.clone()),
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The schema of a property, through whatever wraps an optional one.
    fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
        if let Some(found) = schema.get("properties").and_then(|properties| properties.get(name)) {
            return Some(found);
        }
        let wrapped =
            ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
        wrapped.into_iter().find_map(|inner| property(inner, name))
    }

    #[test]
    fn each_column_is_in_the_schema_of_its_query() {
        let descriptions = agentos_api::query::descriptions();
        for (query, list, columns) in KNOWN {
            let description = descriptions.iter().find(|description| description.name == *query);
            let result = &description.unwrap_or_else(|| panic!("there is no query {query}")).result;
            let rows = property(result, list).unwrap_or_else(|| panic!("{query} has no {list}"));
            let row = rows.get("items").unwrap_or_else(|| panic!("{query}.{list} is no list"));
            for column in *columns {
                let found = column.split('.').try_fold(row, |schema, name| property(schema, name));
                assert!(found.is_some(), "{query}.{list} has no {column}");
            }
        }
    }

    #[test]
    fn an_unknown_list_shows_all_it_has_in_order() {
        let rows: Vec<Tree> = serde_json::from_str(r#"[{"z":1,"a":{"y":1,"x":2}},{"b":1,"z":2}]"#).unwrap();
        assert_eq!(found(&rows), ["z", "a.y", "a.x", "b"]);
    }
}
