//! A program on the socket that is not agentd, and a reader that goes away.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{Agentd, Run, agentctl};

/// Answers every request on a socket with the same bytes, for as long as the test runs.
fn impostor(answer: String) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agentd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            drop(stream.read(&mut request));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (directory, socket)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn harmless(text: &str) -> bool {
    !text.contains(|character: char| character.is_control() && character != '\n')
}

#[test]
fn an_answer_that_is_not_understood_is_a_failure_of_its_own() {
    for answer in
        [http("200 OK", "[]"), http("200 OK", "\u{1b}[2J"), "no HTTP\r\n\r\n".to_owned(), String::new()]
    {
        let (_directory, socket) = impostor(answer.clone());
        let run = Run::of(agentctl().arg("--socket").arg(&socket).arg("health"));
        assert!([3, 5].contains(&run.code), "{answer:?}: {run:?}");
        assert!(run.stderr.contains("Hint: ") && harmless(&run.stderr), "{run:?}");
    }
}

#[test]
fn no_field_of_an_error_reaches_the_terminal_raw() {
    let evil = "\\u001b]0;owned\\u0007\\u009b2J\\u202e";
    let problem = format!(
        "{{\"type\":\"t\",\"title\":\"t\",\"status\":422,\"detail\":\"d{evil}\",\"code\":\"c{evil}\",\
         \"field\":\"f{evil}\",\"near\":[\"n{evil}\"],\"hint\":\"h{evil}\"}}"
    );
    let (_directory, socket) = impostor(http("422 Unprocessable Content", &problem));
    for arguments in [&["query", "os"][..], &["query", "os", "--json"]] {
        let run = Run::of(agentctl().arg("--socket").arg(&socket).args(arguments)).with(4);
        assert!(harmless(&run.stderr) && !run.stderr.contains('\u{202e}'), "{run:?}");
        assert!(run.stderr.contains("owned"), "{run:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let agentd = Agentd::start();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = Run::of(agentd.command(&["query", "os"]).stdout(writer));
    assert_eq!((run.code, run.stderr.as_str()), (141, ""));
}
