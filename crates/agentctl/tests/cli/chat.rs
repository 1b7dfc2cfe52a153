use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use insta::assert_snapshot;

use crate::gateway::{Answer, Gateway, TOKEN, Turn, ask_as_agent};
use crate::support::{Agentd, Run, agentctl};
use crate::terminal::Terminal;

/// An agent that asks agentd which system this is, and says so.
fn agent(agentd: &Agentd) -> impl Fn(&Turn, &mut Answer) + Send + Sync + 'static {
    let socket = agentd.path("agent.sock");
    move |turn, answer| {
        ask_as_agent(&socket, &turn.session, "os");
        answer.piece("This is ").piece("Linux.\n").piece("You said: ").piece(&turn.said).end();
    }
}

fn chat(agentd: &Agentd, gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = agentd.command(&["chat", "--gateway"]);
    command.arg(gateway.file()).args(arguments);
    command
}

fn said(text: &str, agentd: &Agentd, gateway: &Gateway) -> Run {
    Run::of(&mut chat(agentd, gateway, &["--say", text]))
}

/// The same with input, each line of which is a turn.
fn typed(input: &str, agentd: &Agentd, gateway: &Gateway) -> Run {
    let mut command = chat(agentd, gateway, &["--session", "test"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Run::from(child.wait_with_output().unwrap())
}

#[test]
fn a_turn_shows_the_answer_and_then_what_it_caused_on_the_ledger() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(agent(&agentd));
    let run = Run::of(&mut chat(&agentd, &gateway, &["--session", "test", "--say", "which system?"])).with(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[..3], ["This is Linux.", "You said: which system?", ""]);
    let [event] = lines[3..] else { panic!("{run:?}") };
    assert!(event.starts_with("  ledger ") && event.contains("Z  system.query os  by agent:"), "{event}");
    assert!(event.ends_with("/main:test"), "{event}");
    assert_eq!(run.stderr, "");
    let turn = &gateway.heard()[0];
    assert_eq!(
        (turn.authorization.as_str(), turn.session.as_str()),
        (&*format!("Bearer {TOKEN}"), "agent:main:test")
    );
}

#[test]
fn for_programs_a_turn_is_one_document() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(agent(&agentd));
    let run = Run::of(&mut chat(&agentd, &gateway, &["--json", "--session", "test", "--say", "hm"])).with(0);
    let document = run.json();
    assert_eq!(document["answer"], "This is Linux.\nYou said: hm");
    assert_eq!((&document["session"], &document["scripted"]), (&"test".into(), &false.into()));
    let events = document["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["payload"]["data"]["query"]), (1, &"os".into()));
    assert_eq!(run.stderr, "");
}

#[test]
fn only_what_the_turn_caused_is_shown() {
    let agentd = Agentd::start();
    let socket = agentd.path("agent.sock");
    let gateway = Gateway::start(move |turn, answer| {
        ask_as_agent(&socket, "agent:main:another", "time");
        ask_as_agent(&socket, &format!("{}-more", turn.session), "kernel");
        answer.piece("I asked nothing.").end();
    });
    let run = said("hm", &agentd, &gateway).with(0);
    assert_eq!(run.stdout, "I asked nothing.\n\n  ledger: nothing was recorded\n");
}

#[test]
fn each_run_is_a_session_of_its_own_unless_one_is_named() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(agent(&agentd));
    for _ in 0..2 {
        said("hm", &agentd, &gateway).with(0);
        Run::of(&mut chat(&agentd, &gateway, &["--session", "mine", "--say", "hm"])).with(0);
    }
    let sessions: Vec<String> = gateway.heard().into_iter().map(|turn| turn.session).collect();
    assert!(sessions[0].starts_with("agent:main:terminal-") && sessions[0] != sessions[2], "{sessions:?}");
    assert_eq!((&*sessions[1], &*sessions[3]), ("agent:main:mine", "agent:main:mine"));
}

#[test]
fn lines_are_turns_of_one_session_until_quit_or_the_end() {
    let agentd = Agentd::start();
    for (input, turns) in [("one\n\n two \n/quit\nthree\n", 2), ("one\ntwo", 2), ("", 0)] {
        let gateway = Gateway::start(agent(&agentd));
        let run = typed(input, &agentd, &gateway).with(0);
        let heard = gateway.heard();
        assert_eq!(heard.len(), turns, "{run:?}");
        assert!(
            heard.iter().all(|turn| turn.session == "agent:main:test" && turn.connection == 0),
            "{heard:?}"
        );
        assert_eq!(run.stdout.matches("  ledger ").count(), turns, "{run:?}");
        assert!(run.stderr.contains("--session test goes on with it"), "{run:?}");
    }
}

#[test]
fn a_script_that_answers_is_called_one_once() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(agent(&agentd));
    fs::write(gateway.file().with_file_name("scripted"), "").unwrap();
    let run = typed("one\ntwo\n", &agentd, &gateway).with(0);
    assert_eq!(run.stderr.matches("The model is scripted").count(), 1, "{run:?}");
    let run = Run::of(&mut chat(&agentd, &gateway, &["--json", "--say", "hm"])).with(0);
    assert_eq!((&run.json()["scripted"], run.stderr.as_str()), (&true.into(), ""));
}

#[test]
fn what_a_model_says_cannot_move_the_cursor() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(|_, answer| {
        answer.piece("a\u{1b}").piece("]0;owned\u{7}\r\n\tb\u{9b}2J\u{202e}").end();
    });
    let run = said("hm", &agentd, &gateway).with(0);
    assert!(run.stdout.starts_with("a\\u{1b}]0;owned\\u{7}\n\tb\\u{9b}2J\\u{202e}\n\n"), "{run:?}");
    let json = Run::of(&mut chat(&agentd, &gateway, &["--json", "--say", "hm"])).with(0);
    assert!(!json.stdout.contains(|character: char| character.is_control() && character != '\n'), "{json:?}");
    let failing = Gateway::start(|_, answer| answer.fails("\u{1b}[2J\u{9b}"));
    let run = said("hm", &agentd, &failing).with(4);
    assert!(!run.stderr.contains(|character: char| character.is_control() && character != '\n'), "{run:?}");
}

#[test]
fn a_turn_that_fails_shows_what_it_did_before() {
    let agentd = Agentd::start();
    let socket = agentd.path("agent.sock");
    let gateway = Gateway::start(move |turn, answer| {
        ask_as_agent(&socket, &turn.session, "os");
        answer.piece("I will").fails("the provider has no credit left");
    });
    let run = said("hm", &agentd, &gateway).with(4);
    assert!(run.stdout.starts_with("I will\n\n  ledger "), "{run:?}");
    assert_snapshot!(run.stderr, @r"
    Error: the turn failed: the provider has no credit left
    Hint: `journalctl -u openclaw-gateway` may say more: whether the model's key is right, and its provider in reach.
    ");
    // What a program says next may rest on the turn that failed.
    let run = typed("one\ntwo\n", &agentd, &gateway).with(4);
    assert_eq!(gateway.heard().len(), 2, "{run:?}");
}

#[test]
fn nothing_is_said_when_nothing_can_be_recorded() {
    let mut agentd = Agentd::start();
    let gateway = Gateway::start(agent(&agentd));
    agentd.stop();
    for run in [said("hm", &agentd, &gateway), typed("hm\n", &agentd, &gateway)] {
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        assert!(run.stderr.contains("systemctl status agentd"), "{run:?}");
    }
    assert!(gateway.heard().is_empty());
}

#[test]
fn a_gateway_that_is_not_set_up_is_told_from_one_that_does_not_run() {
    let agentd = Agentd::start();
    let run = agentd.run(&["chat", "--gateway", "/nonexistent/operator.json", "--say", "hm"]).with(5);
    assert_snapshot!(run.stderr, @r"
    Error: the gateway is not set up: there is no /nonexistent/operator.json
    Hint: Run `sudo agentos-setup`, which installs the gateway; or name the file of another one.
    ");
    let stopped = Gateway::stopped();
    for run in [said("hm", &agentd, &stopped), typed("hm\n", &agentd, &stopped)] {
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        assert!(run.stderr.starts_with("Error: cannot reach the gateway at 127.0.0.1:"), "{run:?}");
        assert!(run.stderr.contains("`systemctl status openclaw-gateway`"), "{run:?}");
    }
}

#[test]
fn the_token_goes_to_this_machine_only() {
    let agentd = Agentd::start();
    let gateway = Gateway::stopped();
    gateway.write_access("http://192.0.2.1:18789");
    let run = said("hm", &agentd, &gateway).with(5);
    assert!(run.stderr.contains("the token goes nowhere else") && !run.stderr.contains(TOKEN), "{run:?}");
}

#[test]
fn a_gateway_with_another_token_says_what_to_do() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(|_, answer| {
        let body = r#"{"error":{"message":"Unauthorized","type":"unauthorized"}}"#;
        let head = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n", body.len());
        answer.raw(&format!("{head}{body}"));
    });
    let run = said("hm", &agentd, &gateway).with(4);
    assert!(run.stderr.contains("status 401: Unauthorized"), "{run:?}");
    assert!(run.stderr.contains("sudo systemctl restart openclaw-gateway"), "{run:?}");
}

#[test]
fn a_user_outside_the_group_reads_which_one_to_join() {
    // Only root can run it as another user.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let gateway = Gateway::stopped();
    let folder = gateway.file().parent().unwrap().to_owned();
    // The first group of the machine that is not root's, and a program that the other user can run.
    let groups = fs::read_to_string("/etc/group").unwrap();
    let fields: Vec<Vec<&str>> = groups.lines().map(|line| line.split(':').collect()).collect();
    let group = fields.iter().find(|fields| fields[2] != "0").unwrap();
    chown(gateway.file(), None, Some(group[2].parse().unwrap())).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&gateway.file(), 0o640);
    mode(&folder, 0o755);
    let program = folder.join("agentctl");
    fs::copy(env!("CARGO_BIN_EXE_agentctl"), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["chat", "--say", "hm", "--gateway"]).arg(gateway.file()).stdin(Stdio::null());
    let run = Run::of(command.current_dir("/").uid(65534).gid(65534)).with(5);
    assert!(run.stderr.contains(&format!("sudo usermod -aG {} ", group[0])), "{run:?}");

    mode(&gateway.file(), 0o600);
    let mut command = Command::new(&program);
    command.args(["chat", "--say", "hm", "--gateway"]).arg(gateway.file()).stdin(Stdio::null());
    let run = Run::of(command.current_dir("/").uid(65534).gid(65534)).with(5);
    assert!(run.stderr.contains("with sudo") && !run.stderr.contains("usermod"), "{run:?}");

    let socket = folder.join("operator.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    chown(&socket, None, Some(group[2].parse().unwrap())).unwrap();
    mode(&socket, 0o660);
    let mut command = Command::new(&program);
    command.arg("--socket").arg(&socket).arg("health").stdin(Stdio::null());
    let run = Run::of(command.current_dir("/").uid(65534).gid(65534)).with(3);
    assert!(run.stderr.contains(&format!("sudo usermod -aG {} ", group[0])), "{run:?}");
}

#[test]
fn what_cannot_be_a_turn_is_wrong_usage() {
    for arguments in [&["--json"][..], &["--say", " \n"], &["--say", "hm", "--session", "cron:a"]] {
        Run::of(agentctl().arg("chat").args(arguments)).with(2);
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_chat_quietly() {
    let agentd = Agentd::start();
    let gateway = Gateway::start(agent(&agentd));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = Run::of(chat(&agentd, &gateway, &["--say", "hm"]).stdout(writer));
    assert_eq!((run.code, run.stderr.as_str()), (141, ""));
}

#[test]
fn at_a_terminal_one_is_asked_and_told_that_the_agent_is_waited_for() {
    let agentd = Agentd::start();
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let gateway = Gateway::start(move |turn, answer| {
        if turn.said == "fail" {
            return answer.fails("no credit");
        }
        gone.lock().unwrap().recv().unwrap();
        answer.piece("Here I am.").end();
    });
    let mut terminal = Terminal::of(&chat(&agentd, &gateway, &["--session", "test"]));
    terminal.shows("you › ");
    terminal.press("hello\n");
    terminal.shows("waiting for the agent, 1 s");
    go.send(()).unwrap();
    terminal.shows("Here I am.\r\n\r\n");
    terminal.shows("ledger: nothing was recorded");
    // A turn that fails does not end the chat.
    terminal.shows("you › ");
    terminal.press("fail\n");
    terminal.shows("no credit");
    terminal.shows("you › ");
    // Ctrl-D.
    terminal.press("\u{4}");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn ctrl_c_ends_the_chat_and_the_turn() {
    let agentd = Agentd::start();
    let (left, was_left) = channel();
    let gateway = Gateway::start(move |_, answer| {
        answer.piece("It is a long story");
        left.send(answer.is_left()).unwrap();
    });
    let mut terminal = Terminal::of(&chat(&agentd, &gateway, &[]));
    terminal.shows("you › ");
    terminal.press("tell\n");
    terminal.shows("It is a long story");
    terminal.press("\u{3}");
    assert_eq!(terminal.end(), 130);
    assert!(was_left.recv_timeout(Duration::from_mins(1)).unwrap());
}
