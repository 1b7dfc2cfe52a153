//! The program: what it prints, how it ends, what it refuses.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_agentos-rehearsal"))
}

#[test]
fn it_tells_where_it_listens_and_stops_when_told() {
    let mut child = program().args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let address: SocketAddr = ready["listening"].as_str().unwrap().parse().unwrap();
    TcpStream::connect(address).unwrap();
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_bad_scenario_ends_it_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), "ask = ['x']\nsay = 'y'\nmatch = [{ pattern = '(' }]\n")
        .unwrap();
    let output = program().arg("--scenarios").arg(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("a.toml:3: "), "{said}");
}

#[test]
fn an_address_that_is_not_loopback_ends_it() {
    let output = program().args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("127.0.0.1"));
}
