//! What others could read, write or exchange is not used: each refusal names the object and the command that mends it.

mod common;

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use common::{Daemon, refused};

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A state directory with a ledger in it.
fn state_in(directory: &Path) -> std::path::PathBuf {
    assert!(Daemon::start(directory).stop().success());
    directory.join("state")
}

#[track_caller]
fn refuses(directory: &Path, named: &[&str]) {
    let said = refused(directory, "");
    for name in named {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!directory.join("agent.sock").exists(), "nothing is served: {said}");
}

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("{what}: NOT TESTED, only root can give a file away");
    }
    root
}

#[test]
fn a_state_directory_that_others_can_enter_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(directory.path());
    for open in [0o777, 0o750, 0o701] {
        mode(&state, open);
        refuses(directory.path(), &[&format!("{open:04o}"), "chmod 0700 "]);
    }
    mode(&state, 0o700);
    Daemon::start(directory.path());
}

#[test]
fn a_state_directory_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(directory.path());
    if is_root("a state directory of somebody else") {
        chown(&state, Some(65_534), None).unwrap();
        refuses(directory.path(), &["uid 65534", "chown -R 0 "]);
    }
}

#[test]
fn a_link_or_a_file_in_the_state_directorys_place_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(directory.path());
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(&state, &elsewhere).unwrap();
    symlink(&elsewhere, &state).unwrap();
    refuses(directory.path(), &["a symbolic link", "mv "]);
    std::fs::remove_file(&state).unwrap();
    std::fs::write(&state, "").unwrap();
    refuses(directory.path(), &["no directory", "mv "]);
}

#[test]
fn a_parent_that_anybody_can_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    state_in(directory.path());
    mode(directory.path(), 0o777);
    refuses(directory.path(), &["0777", "chmod o-w "]);
    mode(directory.path(), 0o1777);
    Daemon::start(directory.path());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let key = state_in(directory.path()).join("ledger.key");
    mode(&key, 0o644);
    refuses(directory.path(), &["ledger.key", "0644", "chmod 0600 "]);
}

#[test]
fn a_key_or_a_database_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(directory.path());
    if !is_root("a key or a database of somebody else") {
        return;
    }
    for name in ["ledger.key", "ledger.db"] {
        chown(state.join(name), Some(65_534), None).unwrap();
        refuses(directory.path(), &[name, "uid 65534", "chown 0 "]);
        chown(state.join(name), Some(0), None).unwrap();
    }
}

#[test]
fn a_link_in_the_place_of_a_file_of_the_ledger_is_refused() {
    for name in ["ledger.db", "ledger.key", "ledger.lock"] {
        let directory = tempfile::tempdir().unwrap();
        let path = state_in(directory.path()).join(name);
        let target = directory.path().join("target");
        std::fs::rename(&path, &target).unwrap();
        symlink(&target, &path).unwrap();
        refuses(directory.path(), &[name, "a symbolic link", "ls -l "]);
    }
}

#[test]
fn a_configuration_that_others_could_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = common::command(directory.path(), "");
    let config = directory.path().join("agentd.toml");
    let mut said = |named: &[&str]| {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(named.iter().all(|name| text.contains(name)), "{text}");
    };
    for open in [0o664, 0o646] {
        mode(&config, open);
        said(&[&format!("{open:04o}"), "chmod go-w "]);
    }
    mode(&config, 0o644);
    if is_root("a configuration of somebody else") {
        chown(&config, Some(65_534), None).unwrap();
        said(&["uid 65534", "chown 0 "]);
    }
    assert!(!directory.path().join("state").exists(), "nothing was made");
}
