//! Where agentd is, and what is said when it is not.

use insta::assert_snapshot;

use crate::support::{Agentd, Run, agentctl};

#[test]
fn a_socket_that_is_not_there_is_named_with_what_to_do() {
    let run = Run::of(agentctl().args(["--socket", "/nonexistent/a.sock", "health"])).with(3);
    assert_snapshot!(run.stderr, @r"
    Error: cannot connect to agentd on /nonexistent/a.sock: No such file or directory (os error 2)
    Hint: There is no such socket: start agentd (`systemctl start agentd.socket agentd-operator.socket`; `systemctl status agentd` says how it is), or name the socket it listens on.
    ");
    assert_eq!(run.stdout, "");
}

#[test]
fn an_error_for_programs_is_json_on_standard_error() {
    let run = Run::of(agentctl().args(["--socket", "/nonexistent/a.sock", "events", "--json"])).with(3);
    let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["message"], "cannot connect to agentd on /nonexistent/a.sock");
    assert!(error["error"]["hint"].as_str().unwrap().contains("systemctl start"));
}

#[test]
fn the_socket_may_come_from_the_environment() {
    let agentd = Agentd::start();
    Run::of(agentctl().env("AGENTOS_SOCKET", agentd.socket()).arg("health")).with(0);
    let run = Run::of(agentctl().env("AGENTOS_SOCKET", "/nonexistent/b.sock").arg("health")).with(3);
    assert!(run.stderr.contains("/nonexistent/b.sock"), "{}", run.stderr);
}

#[test]
fn an_agentd_that_is_gone_leaves_a_socket_nobody_listens_on() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agentd.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let run = Run::of(agentctl().arg("--socket").arg(&socket).arg("health")).with(3);
    assert!(run.stderr.contains("nobody listens on it"), "{}", run.stderr);
}

#[test]
fn wrong_usage_is_told_apart_from_all_else() {
    for arguments in [&["frobnicate"][..], &[], &["query"], &["health", "--color", "sometimes"]] {
        Run::of(agentctl().args(arguments)).with(2);
    }
    Run::of(agentctl().arg("--version")).with(0);
}

#[test]
fn colour_comes_only_where_it_is_wanted() {
    let agentd = Agentd::start();
    assert!(!agentd.run(&["health"]).with(0).stdout.contains('\x1b'));
    assert!(agentd.run(&["health", "--color", "always"]).with(0).stdout.contains("\x1b[32mok\x1b[0m"));
    assert!(!agentd.run(&["health", "--color", "never"]).with(0).stdout.contains('\x1b'));
}
