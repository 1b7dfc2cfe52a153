use std::process::{Command, Stdio};
use std::thread;

use super::*;
use crate::MachineOptions;

fn ask(args: &str) -> Output {
    let machine = Machine::new(MachineOptions::default());
    ask_of(&machine, args)
}

fn ask_of(machine: &Machine, args: &str) -> Output {
    let bytes = machine.query("processes", args.as_bytes(), Viewer::default()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A child that is ended when the test is done with it.
struct Child(std::process::Child);

impl Child {
    fn run(program: &str, arguments: &[&str]) -> Self {
        Self(Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_busy_process_shows_its_share_of_the_interval_and_an_idle_one_shows_none() {
    let machine = Machine::new(MachineOptions::default());
    let busy = Child::run("sh", &["-c", "while :; do :; done"]);
    let idle = Child::run("sleep", &["600"]);
    let output = ask_of(&machine, r#"{"measure_seconds":1,"limit":1000}"#);
    assert!((1.0..5.0).contains(&output.cpu_interval_seconds), "{}", output.cpu_interval_seconds);
    let share = |pid| output.processes.iter().find(|process| process.pid == pid).unwrap().cpu_percent;
    // On a loaded machine the loop gets a part of a processor, never none of it and never two.
    assert!((2.0..=115.0).contains(&share(busy.0.id())), "{}", share(busy.0.id()));
    assert!(share(idle.0.id()) < 2.0);
    assert!(output.processes.windows(2).all(|pair| pair[0].cpu_percent >= pair[1].cpu_percent));
}

#[test]
fn the_second_answer_is_measured_from_the_first() {
    let machine = Machine::new(MachineOptions::default());
    let first = ask_of(&machine, r#"{"limit":1}"#);
    assert!(first.cpu_interval_seconds >= 0.2);
    thread::sleep(Duration::from_millis(700));
    let started = std::time::Instant::now();
    let second = ask_of(&machine, r#"{"limit":1}"#);
    assert!(second.cpu_interval_seconds >= 0.7, "{}", second.cpu_interval_seconds);
    assert!(started.elapsed() < Duration::from_millis(650), "it waited for a sample of its own");
}

#[test]
fn ps_sees_the_same_processes() {
    let output = ask(r#"{"limit":1000,"sort":"pid"}"#);
    let listing = Command::new("ps").args(["-eo", "pid=,ppid=,nlwp=,uid=,comm="]).output().unwrap();
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let mut compared = 0;
    for line in listing.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(process) = output.processes.iter().find(|process| process.pid.to_string() == fields[0])
        else {
            continue;
        };
        // A number may have passed to another process in between.
        if process.name.split_whitespace().next() != Some(fields[4]) {
            continue;
        }
        assert_eq!(process.parent_pid.to_string(), fields[1], "{line}");
        assert_eq!(process.uid.to_string(), fields[3], "{line}");
        compared += 1;
    }
    assert!(compared * 10 >= output.processes.len() * 7, "{compared} of {}", output.processes.len());
    assert!(output.processes.iter().any(|process| process.pid == 1));
}

#[test]
fn filters_take_what_matches_and_nothing_else() {
    let marker = format!("{}.{}", 600, std::process::id());
    let child = Child::run("sleep", &[&marker]);
    let by_text = ask(&format!(r#"{{"text":"SLEEP {marker}"}}"#));
    assert_eq!(by_text.total, 1);
    assert_eq!(by_text.processes[0].pid, child.0.id());
    assert_eq!(by_text.processes[0].command, format!("sleep {marker}"));

    let children = ask(&format!(r#"{{"parent_pid":{},"limit":1000}}"#, std::process::id()));
    assert!(children.processes.iter().any(|process| process.pid == child.0.id()));
    assert!(children.processes.iter().all(|process| process.parent_pid == std::process::id()));

    let user = ask(&format!(r#"{{"user":"{}","limit":1000}}"#, rustix::process::geteuid().as_raw()));
    assert!(user.processes.iter().any(|process| process.pid == child.0.id()));

    let own = ask(r#"{"without_kernel_threads":true,"limit":1000}"#);
    assert!(own.processes.iter().all(|process| !process.kernel_thread));
    assert_eq!(ask(r#"{"unit":"no-such.service"}"#).total, 0);
}

#[test]
fn a_zombie_is_called_one() {
    let mut child = Command::new("true").spawn().unwrap();
    let machine = Machine::new(MachineOptions::default());
    let found = (0..50).any(|_| {
        thread::sleep(Duration::from_millis(20));
        let zombies = ask_of(&machine, r#"{"state":"zombie","limit":1000}"#);
        zombies.counts.zombies >= 1 && zombies.processes.iter().any(|process| process.pid == child.id())
    });
    child.wait().unwrap();
    assert!(found);
}

#[test]
fn pages_follow_each_other_and_are_bounded() {
    let first = ask(r#"{"limit":2,"sort":"pid"}"#);
    assert_eq!(first.processes.len(), 2);
    assert_eq!(first.next_offset, Some(2));
    let second = ask(r#"{"limit":2,"sort":"pid","offset":2}"#);
    assert!(second.processes[0].pid > first.processes[1].pid);
    let beyond = ask(r#"{"offset":1000000}"#);
    assert!(beyond.processes.is_empty() && beyond.next_offset.is_none());
}

#[test]
fn a_limit_out_of_range_is_refused_by_name() {
    let machine = Machine::new(MachineOptions::default());
    for limit in ["-1", "0", "1000000000", "1001", "\"7\"", "1e99", "null"] {
        match machine.check("processes", format!(r#"{{"limit":{limit}}}"#).as_bytes()).unwrap_err() {
            QueryError::InvalidArgument { field, .. } => assert_eq!(field, "limit", "{limit}"),
            other => panic!("{limit}: {other}"),
        }
    }
}

#[test]
fn an_unknown_user_is_told_who_was_meant() {
    let machine = Machine::new(MachineOptions::default());
    match machine.query("processes", br#"{"user":"rooot"}"#, Viewer::default()).unwrap_err() {
        QueryError::NotFound { near, .. } => assert_eq!(near.first().unwrap(), "root"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_number_given_to_another_process_is_not_taken_for_the_same() {
    let proc = Proc::open().unwrap();
    let ticks = crate::procfs::ticks::Ticks::of_this_kernel();
    let mut earlier = Sample::take(&proc, ticks).unwrap();
    let now = Sample::take(&proc, ticks).unwrap();
    let own = now.rows.iter().find(|row| row.pid == std::process::id()).unwrap();
    let before = earlier.rows.iter_mut().find(|row| row.pid == own.pid).unwrap();
    before.start_ticks -= 1;
    before.cpu_ticks = 0;
    assert_eq!(earlier.ticks_until(own), own.cpu_ticks);
}
