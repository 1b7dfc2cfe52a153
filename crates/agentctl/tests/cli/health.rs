use std::fs;

use crate::support::Agentd;

#[test]
fn a_machine_at_ease_is_well() {
    let agentd = Agentd::start();
    let run = agentd.run(&["health"]).with(0);
    let names: Vec<&str> = run.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["status", "machine", "up", "cpu", "memory", "swap", "disk", "ledger", "agentd"]);
    assert!(run.stdout.contains("status   ok\n"), "{}", run.stdout);
    assert!(run.stdout.contains("writable, "), "{}", run.stdout);
}

#[test]
fn the_json_is_what_agentd_says() {
    let agentd = Agentd::start();
    let health = agentd.run(&["--json", "health"]).with(0).json();
    assert_eq!(health["status"], "ok");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(health["kernel"], kernel.trim());
}

#[test]
fn a_ledger_that_cannot_be_written_makes_it_unwell() {
    let agentd = Agentd::start();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(agentd.state().join(name)));
    }
    let refused = agentd.run(&["query", "os"]).with(4);
    assert_eq!(refused.stdout, "", "nothing is read that is not recorded");
    assert!(refused.stderr.starts_with("Error: "), "{}", refused.stderr);
    let run = agentd.run(&["health"]).with(1);
    assert!(run.stdout.contains("degraded: agentd refuses work"), "{}", run.stdout);
    assert!(run.stdout.contains("cannot be written"), "{}", run.stdout);
}

#[test]
fn a_ledger_that_is_not_whole_is_shown_with_the_way_out() {
    let mut agentd = Agentd::start();
    for _ in 0..4 {
        agentd.run(&["query", "os"]).with(0);
    }
    agentd.stop();
    let database = agentd.state().join("ledger.db");
    let copy = fs::read(&database).unwrap();
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute_batch("UPDATE events SET actor = 'agent:other' WHERE id = 4").unwrap();
    drop(connection);
    agentd.start_again();
    let run = loop {
        let run = agentd.run(&["health"]).with(1);
        if run.stdout.contains("readable") {
            break run;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    for named in ["degraded", "event 4", "events 1 to 3", "What to do", "as evidence", "verify-ledger --full"]
    {
        assert!(run.stdout.contains(named), "{named}: {}", run.stdout);
    }
    let refused = agentd.run(&["query", "os"]).with(4);
    assert!(refused.stderr.contains("agentctl health"), "{}", refused.stderr);
    assert_eq!(agentd.run(&["events", "--json"]).with(0).stdout.matches("\"hash\"").count(), 3);
    // The way out, as the third step says.
    agentd.stop();
    fs::write(&database, copy).unwrap();
    agentd.start_again();
    agentd.run(&["health"]).with(0);
}
