use std::fs;

use insta::assert_snapshot;

use crate::support::Agentd;

#[test]
fn it_shows_the_signed_size_and_root() {
    let agentd = Agentd::start();
    agentd.run(&["query", "os"]).with(0);
    let run = agentd.run(&["checkpoint"]).with(0);
    let redacted = agentd.redact(&run.stdout);
    let (shown, _note) = redacted.split_once("\n\n").unwrap();
    let size = agentd.run(&["checkpoint", "--json"]).with(0).json()["size"].to_string();
    assert_snapshot!(shown.replace(&format!("events  {size}"), "events  [size]"), @r"
    ledger  test.example/ledger
    events  [size]
    root    [base64]
    key     [key]
    ");
    assert!(run.stdout.contains("\ntest.example/ledger\n"), "{}", run.stdout);
}

#[test]
fn what_is_kept_is_replaced_by_a_later_one_only() {
    let mut agentd = Agentd::start();
    agentd.run(&["query", "os"]).with(0);
    agentd.run(&["checkpoint", "--save", "kept"]).with(0);
    let first = fs::read_to_string(agentd.path("kept")).unwrap();
    agentd.run(&["query", "time"]).with(0);
    agentd.run(&["checkpoint", "--save", "kept"]).with(0);
    let second = fs::read_to_string(agentd.path("kept")).unwrap();
    assert_ne!(first, second);

    // The ledger is put back to an older state.
    let other = Agentd::start();
    let theirs = other.run(&["checkpoint", "--save", &agentd.path("kept").display().to_string()]).with(1);
    assert!(theirs.stderr.contains("was signed with another key"), "{}", theirs.stderr);
    assert_eq!(fs::read_to_string(agentd.path("kept")).unwrap(), second);

    agentd.stop();
    fs::write(agentd.path("notes"), "my notes\n").unwrap();
    agentd.start_again();
    let run = agentd.run(&["checkpoint", "--save", "notes"]).with(5);
    assert!(run.stderr.contains("holds something else than a checkpoint"), "{}", run.stderr);
    assert_eq!(fs::read_to_string(agentd.path("notes")).unwrap(), "my notes\n");
}

#[test]
fn a_ledger_that_was_put_back_is_noticed() {
    let mut agentd = Agentd::start();
    agentd.run(&["query", "os"]).with(0);
    agentd.stop();
    let copy = |from: &str, to: &str| {
        fs::create_dir_all(agentd.path(to)).unwrap();
        for entry in fs::read_dir(agentd.path(from)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("ledger.db") {
                fs::copy(entry.path(), agentd.path(to).join(entry.file_name())).unwrap();
            }
        }
    };
    copy("state", "backup");
    agentd.start_again();
    agentd.run(&["query", "time"]).with(0);
    agentd.run(&["query", "kernel"]).with(0);
    agentd.run(&["checkpoint", "--save", "kept"]).with(0);
    agentd.stop();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(agentd.state().join(name)));
    }
    fs::create_dir_all(agentd.path("backup")).unwrap();
    for entry in fs::read_dir(agentd.path("backup")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), agentd.state().join(entry.file_name())).unwrap();
    }
    agentd.start_again();
    let run = agentd.run(&["checkpoint", "--save", "kept"]).with(1);
    assert!(run.stderr.contains("the ledger had "), "{}", run.stderr);
    assert!(run.stderr.contains("was left as it is"), "{}", run.stderr);
}
