//! A disk that fills, a file system that turns read-only, a locked or exchanged database: nothing is acknowledged, nothing
//! acknowledged is lost, and the ledger goes on by itself when it can.
//!
//! The file systems are real ones, in a mount namespace of the test's own.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agentos_api::event::{Actor, EventFilter, EventType};
use agentos_ledger::{AppendError, Cause, Ledger, LedgerError, NewEvent, VerifyOptions, verify};
use common::{append, event, ledger_of, open, options, tamper};
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

const INSIDE: &str = "AGENTOS_LEDGER_TEST_INSIDE";

/// Runs the test named `name` again in a mount namespace where it is root. True inside, where the test is to go on.
fn in_own_mount_namespace(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let status = command
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare(1) of util-linux is needed to test with file systems of its own");
    assert!(status.success(), "{name} failed in its mount namespace: {status}");
    false
}

fn tmpfs(directory: &Path, size: &str) {
    let data = std::ffi::CString::new(format!("size={size},mode=0700")).unwrap();
    mount("tmpfs", directory, "tmpfs", MountFlags::empty(), Some(data.as_c_str())).unwrap();
}

fn large() -> NewEvent {
    let data = serde_json::json!({ "text": "x".repeat(60_000) });
    NewEvent::new(EventType::new("large").unwrap(), Actor::new("agent/main").unwrap(), &data).unwrap()
}

#[track_caller]
fn unavailable(result: Result<agentos_ledger::Appended, AppendError>, causes: &[Cause]) {
    match result {
        Err(AppendError::Unavailable(unavailable)) => {
            assert!(causes.contains(&unavailable.cause), "{unavailable:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// Waits for the ledger to find out by itself that it can be written again.
fn recovers(ledger: &Ledger) {
    let start = Instant::now();
    while let Some(trouble) = ledger.status().unavailable {
        assert!(start.elapsed() < Duration::from_secs(20), "still unavailable: {trouble:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn whole(ledger: &Ledger) -> u64 {
    verify(ledger.path(), VerifyOptions::default()).unwrap().size
}

#[test]
fn a_full_disk_refuses_and_recovers_when_there_is_room() {
    if !in_own_mount_namespace("a_full_disk_refuses_and_recovers_when_there_is_room") {
        return;
    }
    let directory = TempDir::new().unwrap();
    tmpfs(directory.path(), "3m");
    let ledger = open(directory.path());
    append(&ledger, 1, 10);
    let ballast = directory.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let mut acknowledged = 10;
    let refused = loop {
        match ledger.append_blocking(large()) {
            Ok(appended) => {
                acknowledged += 1;
                assert_eq!(appended.id, acknowledged);
            }
            error => break error,
        }
    };
    unavailable(refused, &[Cause::DiskFull, Cause::InputOutput]);
    assert!(ledger.status().unavailable.is_some());
    unavailable(ledger.append_blocking(large()), &[Cause::DiskFull, Cause::InputOutput]);
    // Reading goes on, and what was refused is not in it.
    assert_eq!(ledger.page(&EventFilter::default()).unwrap().events[0].id, acknowledged);

    std::fs::remove_file(&ballast).unwrap();
    recovers(&ledger);
    assert_eq!(ledger.append_blocking(event(1)).unwrap().id, acknowledged + 1);
    assert_eq!(whole(&ledger), acknowledged + 1);
}

#[test]
fn a_read_only_directory_opens_no_ledger_until_it_can_be_written() {
    if !in_own_mount_namespace("a_read_only_directory_opens_no_ledger_until_it_can_be_written") {
        return;
    }
    let directory = TempDir::new().unwrap();
    tmpfs(directory.path(), "16m");
    let refuses = || {
        mount_remount(directory.path(), MountFlags::RDONLY, "").unwrap();
        let result = Ledger::open(&options(directory.path()));
        assert!(matches!(result, Err(LedgerError::File { .. } | LedgerError::Database { .. })), "{result:?}");
        mount_remount(directory.path(), MountFlags::empty(), "").unwrap();
    };
    refuses();
    append(&open(directory.path()), 1, 10);
    refuses();
    let ledger = open(directory.path());
    append(&ledger, 11, 20);
    assert_eq!(whole(&ledger), 20);
}

/// A file that may not grow: every write beyond the limit fails with an error of the disk (EFBIG).
#[test]
fn a_disk_that_fails_to_write_refuses_and_loses_nothing_that_was_acknowledged() {
    let name = "a_disk_that_fails_to_write_refuses_and_loses_nothing_that_was_acknowledged";
    if std::env::var_os(INSIDE).is_none() {
        // The signal that comes with the limit would end the process.
        let status = Command::new("env")
            .args(["--ignore-signal=XFSZ", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("env(1) of coreutils is needed to ignore a signal");
        assert!(status.success(), "{name} failed in its process: {status}");
        return;
    }
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    append(&ledger, 1, 10);
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), maximum: unlimited.maximum }).unwrap();
    let mut acknowledged = 10;
    let refused = loop {
        match ledger.append_blocking(large()) {
            Ok(appended) => acknowledged = appended.id,
            error => break error,
        }
    };
    unavailable(refused, &[Cause::InputOutput, Cause::DiskFull]);
    setrlimit(Resource::Fsize, unlimited).unwrap();
    recovers(&ledger);
    let next = ledger.append_blocking(event(1)).unwrap().id;
    assert!(next > acknowledged);
    assert_eq!(whole(&ledger), next);
}

#[test]
fn a_read_only_directory_that_holds_a_ledger_can_be_verified() {
    if !in_own_mount_namespace("a_read_only_directory_that_holds_a_ledger_can_be_verified") {
        return;
    }
    let directory = TempDir::new().unwrap();
    tmpfs(directory.path(), "16m");
    let ledger = open(directory.path());
    append(&ledger, 1, 300);
    let path = ledger.path().to_owned();
    drop(ledger);
    mount_remount(directory.path(), MountFlags::RDONLY, "").unwrap();
    assert_eq!(verify(&path, VerifyOptions::default()).unwrap().size, 300);
}

#[test]
fn a_locked_database_refuses_and_recovers_when_it_is_released() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.busy_timeout = Duration::from_millis(50);
    let ledger = Ledger::open(&options).unwrap();
    append(&ledger, 1, 10);
    let other = tamper(directory.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    unavailable(ledger.append_blocking(event(11)), &[Cause::Locked]);
    assert_eq!(ledger.status().unavailable.map(|trouble| trouble.cause), Some(Cause::Locked));
    assert!(matches!(ledger.checkpoint_blocking(), Err(AppendError::Unavailable(_))));
    assert_eq!(ledger.page(&EventFilter::default()).unwrap().events.len(), 10);
    other.execute_batch("ROLLBACK").unwrap();
    recovers(&ledger);
    assert_eq!(ledger.append_blocking(event(11)).unwrap().id, 11);
    assert_eq!(whole(&ledger), 11);
}

#[test]
fn who_subscribed_is_told_when_the_ledger_cannot_be_written_and_when_it_can_again() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.busy_timeout = Duration::from_millis(20);
    let ledger = Ledger::open(&options).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let subscription = ledger.subscribe_to_status(move |status| {
        let _ = sender.send(status.unavailable.as_ref().map(|trouble| trouble.cause));
    });
    let other = tamper(directory.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    unavailable(ledger.append_blocking(event(1)), &[Cause::Locked]);
    unavailable(ledger.append_blocking(event(1)), &[Cause::Locked]);
    other.execute_batch("ROLLBACK").unwrap();
    recovers(&ledger);
    append(&ledger, 1, 5);
    drop(subscription);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [Some(Cause::Locked), None]);
}

#[test]
fn every_waiting_event_is_refused_while_the_database_is_locked() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.busy_timeout = Duration::from_millis(20);
    let ledger = Ledger::open(&options).unwrap();
    let other = tamper(directory.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        for number in 0..32 {
            let ledger = &ledger;
            scope.spawn(move || unavailable(ledger.append_blocking(event(number)), &[Cause::Locked]));
        }
    });
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(ledger.append_blocking(event(1)).unwrap().id, 1);
    assert_eq!(whole(&ledger), 1);
}

#[test]
fn an_exchanged_database_is_not_written_to() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    append(&ledger, 1, 10);
    let path = ledger.path().to_owned();
    let away = directory.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    unavailable(ledger.append_blocking(event(11)), &[Cause::ReadOnly, Cause::Replaced, Cause::Other]);
    assert!(!path.exists(), "a new database was made");
    std::fs::write(&path, b"").unwrap();
    unavailable(ledger.append_blocking(event(11)), &[Cause::Damaged]);
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    recovers(&ledger);
    assert_eq!(ledger.append_blocking(event(11)).unwrap().id, 11);
    assert_eq!(whole(&ledger), 11);
}

#[test]
fn somebody_elses_row_stops_the_writer() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    append(&ledger, 1, 10);
    let other = tamper(directory.path());
    other
        .execute_batch("INSERT INTO events VALUES (11, 'ts', 'type', 'actor', '{}', 'prev', 'hash')")
        .unwrap();
    unavailable(ledger.append_blocking(event(11)), &[Cause::Damaged]);
    other.execute_batch("DELETE FROM events WHERE id = 11; UPDATE sqlite_sequence SET seq = 10").unwrap();
    recovers(&ledger);
    other.execute_batch("DELETE FROM events WHERE id > 5; UPDATE sqlite_sequence SET seq = 5").unwrap();
    // A whole chain, but not the one that was acknowledged.
    unavailable(ledger.append_blocking(event(11)), &[Cause::Damaged]);
    // Whoever wrote it is gone, and left the log as it was.
    other.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    drop(other);
    let log = || std::fs::read(directory.path().join("ledger.db-wal")).unwrap();
    let before = log();
    unavailable(ledger.append_blocking(event(11)), &[Cause::Damaged]);
    drop(ledger);
    assert!(before == log() && !before.is_empty(), "what was found damaged is kept as it was");
}

#[test]
fn traces_of_a_lost_ledger_keep_a_new_one_from_being_made() {
    let names = [agentos_ledger::KEY_FILE, agentos_ledger::PUBLIC_KEY_FILE, "ledger.db-wal"];
    for kept in names {
        let directory = ledger_of(3);
        std::fs::write(directory.path().join("ledger.db-wal"), b"log").unwrap();
        for name in names.into_iter().chain([agentos_ledger::DATABASE_FILE]).filter(|name| *name != kept) {
            std::fs::remove_file(directory.path().join(name)).unwrap();
        }
        let result = Ledger::open(&options(directory.path()));
        assert!(
            matches!(&result, Err(LedgerError::Missing { evidence, .. }) if evidence.ends_with(kept)),
            "{result:?}"
        );
    }
    let directory = ledger_of(3);
    std::fs::remove_file(directory.path().join(agentos_ledger::KEY_FILE)).unwrap();
    assert!(matches!(Ledger::open(&options(directory.path())), Err(LedgerError::KeyMissing { .. })));
}

#[test]
fn files_that_others_could_read_or_write_are_refused_with_the_command_that_mends_them() {
    let refusal = |directory: &Path| {
        let error = Ledger::open(&options(directory)).unwrap_err();
        assert_eq!(error.damage(), None, "rights are no damage: {error}");
        error.to_string()
    };
    let directory = ledger_of(3);
    let key = directory.path().join(agentos_ledger::KEY_FILE);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let said = refusal(directory.path());
    assert!(said.contains("0640") && said.contains("chmod 0600"), "{said}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    drop(open(directory.path()));
    if !rustix::process::geteuid().is_root() {
        eprintln!("files of another owner: NOT TESTED, only root can give a file away");
        return;
    }
    for name in [agentos_ledger::DATABASE_FILE, agentos_ledger::KEY_FILE, agentos_ledger::PUBLIC_KEY_FILE] {
        let path = directory.path().join(name);
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let said = refusal(directory.path());
        assert!(said.contains("uid 65534") && said.contains("chown 0 ") && said.contains(name), "{said}");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    drop(open(directory.path()));
}

#[test]
fn links_in_the_place_of_the_ledgers_files_are_not_followed() {
    for name in [agentos_ledger::DATABASE_FILE, agentos_ledger::KEY_FILE, agentos_ledger::LOCK_FILE] {
        let directory = ledger_of(3);
        let elsewhere = TempDir::new().unwrap();
        let (path, target) = (directory.path().join(name), elsewhere.path().join("target"));
        std::fs::rename(&path, &target).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = Ledger::open(&options(directory.path())).unwrap_err();
        assert!(matches!(error, LedgerError::NotAFile { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("a symbolic link"), "{error}");
    }
}
