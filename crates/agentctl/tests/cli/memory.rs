use insta::assert_snapshot;

use crate::support::Agentd;

#[test]
fn what_is_stored_is_recalled() {
    let agentd = Agentd::start();
    let stored = agentd
        .run(&[
            "memory",
            "store",
            "nginx listens on 8080",
            "--detail",
            "Port 80 is caddy's.",
            "--tag",
            "nginx",
        ])
        .with(0);
    assert!(stored.stdout.starts_with("Remembered as "), "{}", stored.stdout);
    let run = agentd.run(&["memory", "recall", "which", "port", "nginx"]).with(0);
    assert!(run.stdout.contains("nginx listens on 8080"), "{}", run.stdout);
    assert!(run.stdout.contains("Port 80 is caddy's."), "{}", run.stdout);
    assert!(run.stdout.contains("#nginx"), "{}", run.stdout);
    let json = agentd.run(&["memory", "recall", "nginx", "--within", "1h", "--json"]).with(0).json();
    assert_eq!(json["chunks"][0]["tags"][0], "nginx");
}

#[test]
fn nothing_remembered_is_said() {
    let agentd = Agentd::start();
    let run = agentd.run(&["memory", "recall", "anything"]).with(0);
    assert_snapshot!(run.stderr, @"Nothing is remembered about that.");
    assert_eq!(run.stdout, "");
}

#[test]
fn a_wrong_request_names_its_field() {
    let agentd = Agentd::start();
    let run = agentd.run(&["memory", "store", &"long ".repeat(100)]).with(4);
    assert!(run.stderr.contains("Field: summary"), "{}", run.stderr);
    let run = agentd.run(&["memory", "recall", "x", "--within", "soonish"]).with(4);
    assert!(run.stderr.contains("Field: timeframe"), "{}", run.stderr);
    agentd.run(&["memory", "recall", "x", "--within", "1d", "--since", "1d"]).with(2);
    agentd.run(&["memory", "recall"]).with(2);
}

#[test]
fn the_memory_says_what_it_holds() {
    let agentd = Agentd::start();
    agentd.run(&["memory", "store", "something"]).with(0);
    agentd.run(&["memory", "recall", "something"]).with(0);
    let run = agentd.run(&["memory", "health"]).with(0);
    assert!(run.stdout.contains("keyword recall only"), "{}", run.stdout);
    let files = run.stdout.lines().find(|line| line.starts_with("files")).unwrap();
    assert_eq!(files.split_whitespace().last(), Some("1"));
}
