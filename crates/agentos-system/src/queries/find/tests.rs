use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::MachineOptions;

fn ask(path: &Path, more: &str) -> Result<Output, QueryError> {
    let machine = Machine::new(MachineOptions::default());
    let args = format!(r#"{{"path":"{}"{more}}}"#, path.display());
    let bytes = machine.query("find", args.as_bytes(), Viewer::default())?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

fn names(output: &Output) -> Vec<&str> {
    output.matches.iter().map(|found| found.path.rsplit('/').next().unwrap()).collect()
}

/// Files of different sizes and ages, two levels of directories, and a link that leads back up.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("a/b")).unwrap();
    for (name, size) in
        [("small.log", 10), ("a/large.log", 5_000), ("a/b/middle.log", 500), ("a/b/other.txt", 700)]
    {
        std::fs::write(tree.path().join(name), vec![b'x'; size]).unwrap();
    }
    symlink("..", tree.path().join("a/up")).unwrap();
    tree
}

#[test]
fn a_pattern_finds_names_at_every_depth() {
    let tree = tree();
    let output = ask(tree.path(), r#","name":"*.log","sort":"path""#).unwrap();
    assert_eq!(names(&output), ["middle.log", "large.log", "small.log"]);
    assert_eq!((output.matched, output.stopped), (3, None));
    assert_eq!(output.visited, 7, "a link to a directory was followed");
}

#[test]
fn the_largest_come_first_and_the_limit_holds() {
    let tree = tree();
    let output = ask(tree.path(), r#","kind":"file","sort":"size","limit":2"#).unwrap();
    assert_eq!(names(&output), ["large.log", "other.txt"]);
    assert_eq!((output.matched, output.stopped), (4, None));
    let met = ask(tree.path(), r#","kind":"file","limit":2"#).unwrap();
    assert_eq!((met.matches.len(), met.stopped), (2, Some(Stopped::Limit)));
}

#[test]
fn size_age_owner_and_depth_narrow_it_down() {
    let tree = tree();
    let sized = ask(tree.path(), r#","min_size_bytes":500,"max_size_bytes":700,"kind":"file","sort":"path""#)
        .unwrap();
    assert_eq!(names(&sized), ["middle.log", "other.txt"]);

    let old = std::fs::File::options().write(true).open(tree.path().join("small.log")).unwrap();
    old.set_modified(std::time::SystemTime::now() - Duration::from_secs(5000)).unwrap();
    let unchanged = ask(tree.path(), r#","unchanged_for_seconds":4000"#).unwrap();
    assert_eq!(names(&unchanged), ["small.log"]);
    let changed = ask(tree.path(), r#","changed_within_seconds":4000,"kind":"file""#).unwrap();
    assert_eq!(changed.matched, 3);

    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(ask(tree.path(), &format!(r#","owner":"{uid}""#)).unwrap().matched, 7);
    assert_eq!(ask(tree.path(), r#","owner":"4000000000""#).unwrap().matched, 0);
    assert_eq!(ask(tree.path(), r#","max_depth":1"#).unwrap().visited, 2);
    assert_eq!(ask(tree.path(), r#","max_depth":2"#).unwrap().visited, 5);
}

#[test]
fn other_file_systems_are_not_entered_unless_asked_for() {
    let output = ask(Path::new("/"), r#","name":"meminfo","max_depth":2,"limit":5"#).unwrap();
    assert!(output.matches.iter().all(|found| !found.path.starts_with("/proc/")));
    let asked = ask(Path::new("/"), r#","name":"meminfo","max_depth":2,"other_file_systems":true"#).unwrap();
    assert!(asked.matches.iter().any(|found| found.path == "/proc/meminfo"));
}

#[test]
fn find_finds_the_same() {
    let found =
        Command::new("find").args(["/etc", "-xdev", "-type", "f", "-name", "*.conf"]).output().unwrap();
    let expected: BTreeSet<String> =
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    let output =
        ask(Path::new("/etc"), r#","kind":"file","name":"*.conf","limit":1000,"sort":"path""#).unwrap();
    let got: BTreeSet<String> = output.matches.into_iter().map(|found| found.path).collect();
    assert_eq!(got, expected);
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    for (more, field) in [
        (r#","limit":0"#, "limit"),
        (r#","limit":-1"#, "limit"),
        (r#","limit":1000000000"#, "limit"),
        (r#","max_depth":65"#, "max_depth"),
        (r#","name":"[""#, "name"),
        (r#","min_size_bytes":2,"max_size_bytes":1"#, "min_size_bytes"),
        (r#","time_limit_seconds":3600"#, "time_limit_seconds"),
    ] {
        match ask(Path::new("/etc"), more) {
            Err(QueryError::InvalidArgument { field: named, .. }) => assert_eq!(named, field, "{more}"),
            other => panic!("{more}: {other:?}"),
        }
    }
    assert!(matches!(ask(Path::new("/etc/passwd"), ""), Err(QueryError::InvalidArgument { .. })));
}

#[test]
fn the_time_limit_ends_a_search() {
    let started = Instant::now();
    let output = ask(
        Path::new("/"),
        r#","name":"no such name at all","other_file_systems":true,"time_limit_seconds":1,"max_depth":64"#,
    );
    assert!(started.elapsed() < Duration::from_secs(4));
    if started.elapsed() >= Duration::from_secs(1) {
        assert!(matches!(output.unwrap().stopped, Some(Stopped::TimeLimit | Stopped::Entries) | None));
    }
}
