use std::process::{Command, Stdio};

use super::*;
use crate::MachineOptions;

fn ask(operator: bool, args: &str) -> Result<Output, QueryError> {
    let machine = Machine::new(MachineOptions::default());
    let bytes = machine.query("process", args.as_bytes(), Viewer { operator, ..Viewer::default() })?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper() -> Child {
    let child = Command::new("sleep")
        .args(["600", " 5"])
        .env_clear()
        .env("TOKEN", "hunter2")
        .env("HOME", "/nowhere")
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let child = Child(child);
    // Until exec, the child is a copy of this process.
    let path = format!("/proc/{}/comm", child.0.id());
    while std::fs::read_to_string(&path).unwrap().trim() != "sleep" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child
}

#[test]
fn a_process_is_what_it_was_started_as() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let child = Child(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap());
    let own = ask(false, &format!(r#"{{"pid":{},"open_files_limit":1000}}"#, std::process::id())).unwrap();
    assert_eq!(own.parent_pid, std::os::unix::process::parent_id());
    assert!(own.children.contains(&child.0.id()));
    assert_eq!(own.executable.unwrap(), std::env::current_exe().unwrap().to_string_lossy());
    assert_eq!(own.arguments[0], std::env::args().next().unwrap());
    assert_eq!(own.working_directory.unwrap(), std::env::current_dir().unwrap().to_string_lossy());
    assert_eq!(own.uid, rustix::process::geteuid().as_raw());
    assert_eq!(own.gid, rustix::process::getegid().as_raw());
    assert!(own.memory.resident_bytes > 0 && own.memory.virtual_bytes > own.memory.resident_bytes);
    let limit = own.limits.iter().find(|limit| limit.name == "Max open files").unwrap();
    let expected = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!((limit.soft, limit.hard), (expected.current, expected.maximum));
    let address = listener.local_addr().unwrap().to_string();
    let socket = own.sockets.iter().find(|socket| socket.local.as_ref() == Some(&address)).unwrap();
    assert_eq!((socket.protocol.as_deref(), socket.state.as_deref()), (Some("tcp"), Some("listen")));
}

#[test]
fn arguments_and_directory_of_another_process_are_its_own() {
    let child = sleeper();
    let output = ask(false, &format!(r#"{{"pid":{}}}"#, child.0.id())).unwrap();
    assert_eq!(output.arguments, ["sleep", "600", " 5"]);
    assert_eq!(output.working_directory.as_deref(), Some("/tmp"));
    assert!(!output.executable_deleted);
    assert_eq!(output.open_files.first().map(|file| file.target.as_str()), Some("/dev/null"));
    assert_eq!(output.parent_pid, std::process::id());
}

#[test]
fn the_values_of_an_environment_are_for_the_operator_alone() {
    let child = sleeper();
    let plain = ask(false, &format!(r#"{{"pid":{}}}"#, child.0.id())).unwrap();
    let names: Vec<&str> = plain.environment.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names, ["HOME", "TOKEN"]);
    assert!(plain.environment_redacted && plain.environment.iter().all(|variable| variable.value.is_none()));
    let asked = format!(r#"{{"pid":{},"environment":true}}"#, child.0.id());
    assert!(matches!(ask(false, &asked), Err(QueryError::Forbidden { .. })));
    let operator = ask(true, &asked).unwrap();
    assert_eq!(operator.environment[1].value.as_deref(), Some("hunter2"));
    assert!(!operator.environment_redacted);
    // The operator does not see them either without asking.
    assert!(ask(true, &format!(r#"{{"pid":{}}}"#, child.0.id())).unwrap().environment_redacted);
}

#[test]
fn open_files_are_bounded_and_counted() {
    let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/etc/passwd").unwrap()).collect();
    let output = ask(false, &format!(r#"{{"pid":{},"open_files_limit":5}}"#, std::process::id())).unwrap();
    assert_eq!(output.open_files.len(), 5);
    assert!(output.open_files_total.unwrap() >= files.len() as u64 + 3);
}

#[test]
fn a_process_that_ended_does_not_exist() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    match ask(false, &format!(r#"{{"pid":{}}}"#, child.id())) {
        Err(QueryError::NotFound { what, .. }) => assert_eq!(what, format!("process {}", child.id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_held_while_it_ends_is_gone_and_not_another() {
    let child = sleeper();
    let one = One { pid: child.0.id(), directory: Proc::open().unwrap().process(child.0.id()).unwrap() };
    drop(child);
    assert!(matches!(one.read("stat", 4096), Err(QueryError::NotFound { .. })));
}

#[test]
fn a_number_that_is_no_process_is_refused() {
    for (args, field) in [
        (r#"{"pid":0}"#, "pid"),
        (r#"{"pid":-1}"#, "pid"),
        (r#"{"pid":1000000000}"#, "pid"),
        (r#"{"pid":"1"}"#, "pid"),
        ("{}", "pid"),
        (r#"{"pid":1,"open_files_limit":1001}"#, "open_files_limit"),
    ] {
        match ask(false, args) {
            Err(QueryError::InvalidArgument { field: named, .. }) => assert_eq!(named, field, "{args}"),
            other => panic!("{args}: {other:?}"),
        }
    }
}
