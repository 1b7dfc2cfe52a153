use insta::assert_snapshot;

use crate::support::Agentd;

#[test]
fn every_query_and_tool_is_listed() {
    let agentd = Agentd::start();
    let run = agentd.run(&["tools"]).with(0);
    for name in agentos_api::query::NAMES.iter().chain(agentos_api::mutation::NAMES) {
        assert!(
            run.stdout.lines().any(|line| line.split_whitespace().next() == Some(name)),
            "{name} is not listed"
        );
    }
    let catalog = agentd.run(&["tools", "--json"]).with(0).json();
    assert_eq!(catalog["queries"].as_array().unwrap().len(), agentos_api::query::NAMES.len());
    assert!(run.stdout.contains("memory_store"), "{}", run.stdout);
}

#[test]
fn one_is_described_with_its_arguments() {
    let agentd = Agentd::start();
    let run = agentd.run(&["tools", "boots"]).with(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "agentctl query boots");
    assert!(lines.iter().any(|line| line.starts_with("limit  1 to 500  20")), "{}", run.stdout);
    let run = agentd.run(&["tools", "os"]).with(0);
    assert!(run.stdout.ends_with("It takes no arguments.\n"), "{}", run.stdout);
    let run = agentd.run(&["tools", "file.chmod"]).with(0);
    assert!(run.stdout.starts_with("agentctl change file.chmod\n"), "{}", run.stdout);
    assert!(run.stdout.lines().any(|line| line.starts_with("mode  string  required")), "{}", run.stdout);
    let tool = agentd.run(&["tools", "memory_recall", "--json"]).with(0).json();
    assert_eq!(tool["effect"], "read");
}

#[test]
fn an_unknown_one_is_answered_with_those_close_to_it() {
    let agentd = Agentd::start();
    let run = agentd.run(&["tools", "jornal"]).with(2);
    assert_snapshot!(run.stderr, @r#"
    Error: there is no query, no mutation and no tool named "jornal"
    Close to it: journal, journal_logs, journal.vacuum
    Hint: `agentctl tools` lists them all.
    "#);
}
