//! What the policy keeps is kept from the agent by every way to it, on the record, and said plainly; what it is answered
//! holds no secrets; and a policy that cannot be used changes nothing.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{Daemon, Notifications, command_under, policy, post_request, refused};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A daemon under this policy, below `directory`.
fn under(directory: &Path, text: &str) -> Daemon {
    Daemon::spawn(directory, command_under(directory, text, ""))
}

fn data(event: &Value) -> Value {
    event["payload"]["data"].clone()
}

fn header(answer: &common::Answer, name: &str) -> Option<String> {
    let (_, value) = answer
        .head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.to_owned())
}

#[test]
fn the_built_in_policy_keeps_the_password_file_and_says_what_the_person_can_do() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let problem = daemon.query("file", &json!({ "path": "/etc/shadow" })).problem(403, "policy_denied");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("/etc/shadow") && detail.contains("\"password-files\" (line "), "{detail}");
    let hint = problem["hint"].as_str().unwrap();
    assert!(
        hint.contains("gives the same answer") && hint.contains("agentctl query file path=/etc/shadow"),
        "{hint}"
    );
    let events = daemon.events("policy.denied");
    assert_eq!(events.len(), 1);
    let event = data(&events[0]);
    assert_eq!(
        (&event["query"], &event["args"]["path"], &event["decision"]),
        (&json!("file"), &json!("/etc/shadow"), &json!("deny"))
    );
    assert!(event["rule"].as_str().unwrap().contains("password-files"), "{event}");
    assert_eq!(event["policy"], data(&daemon.events("agentd.start")[0])["policy"]);
    assert_eq!(daemon.events("system.query").len(), 0, "nothing was read");

    let ask = daemon.query("file", &json!({ "path": "/etc/sudoers" })).problem(403, "approval_required");
    assert_eq!(ask["approval"], 1, "{ask}");
    assert!(ask["hint"].as_str().unwrap().contains("agentctl approvals approve 1"), "{ask}");
    let waiting = data(&daemon.events("question.waiting")[0]);
    assert_eq!((&waiting["query"], &waiting["args"]["path"]), (&json!("file"), &json!("/etc/sudoers")));
    assert_eq!(daemon.events("policy.denied").len(), 1, "it was not refused for good");

    // The person reads both.
    for path in ["/etc/shadow", "/etc/sudoers"].into_iter().filter(|path| Path::new(path).exists()) {
        let answer = daemon.query_as_operator("file", &json!({ "path": path }));
        assert!(answer.status == 200 || !rustix::process::geteuid().is_root(), "{path}: {}", answer.json());
    }
    // Names may be listed, and public things read.
    assert_eq!(daemon.query("directory", &json!({ "path": "/etc" })).status, 200);
    assert_eq!(daemon.query("file", &json!({ "path": "/etc/passwd" })).status, 200);
    daemon.query("file", &json!({ "path": "/proc/self/environ" })).problem(403, "policy_denied");
    daemon.query("file", &json!({ "path": "/proc/kcore" })).problem(403, "policy_denied");
}

#[test]
fn a_kept_file_is_kept_by_every_way_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("kept/deep")).unwrap();
    std::fs::write(at("kept/deep/key"), "canary-771").unwrap();
    std::fs::write(at("single"), "canary-772").unwrap();
    symlink(at("kept/deep/key"), at("soft")).unwrap();
    symlink(at("kept"), at("folder")).unwrap();
    std::fs::hard_link(at("single"), at("hard")).unwrap();
    std::fs::create_dir(at("other")).unwrap();
    let text = format!(
        "[[rule]]\nprincipal = \"agent\"\nquery = \"file\"\npath = [\"{0}/kept/**\", \"{0}/single\"]\nthen = \"deny\"\n\
         [[rule]]\npath = \"{0}/**\"\nthen = \"allow\"\nmask = false\n",
        directory.path().display()
    );
    let daemon = under(directory.path(), &text);
    let ways = [
        "kept/deep/key",
        "soft",
        "folder/deep/key",
        "hard",
        "single",
        "other/../kept/deep/key",
        "kept//deep/./key",
    ];
    for (number, way) in ways.iter().enumerate() {
        let answer = daemon.query("file", &json!({ "path": at(way) }));
        let problem = answer.problem(403, "policy_denied");
        assert!(!problem.to_string().contains("canary"), "{way}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("rule 1 (line 1)"), "{way}: {problem}");
        for args in
            [json!({ "path": at(way), "encoding": "base64" }), json!({ "path": at(way), "tail_lines": 1 })]
        {
            daemon.query("file", &args).problem(403, "policy_denied");
        }
        assert_eq!(daemon.events("policy.denied").len(), 3 * (number + 1), "each question is an event");
    }
}

#[test]
fn a_link_that_is_exchanged_all_the_time_never_shows_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("kept")).unwrap();
    std::fs::write(at("kept/key"), "canary-773").unwrap();
    std::fs::write(at("free"), "free").unwrap();
    let text = format!("[[rule]]\npath = \"{}/kept/**\"\nthen = \"deny\"\n", directory.path().display());
    let daemon = under(directory.path(), &text);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for target in ["kept/key", "free"] {
                    let _ = std::fs::remove_file(at("next"));
                    symlink(at(target), at("next")).unwrap();
                    std::fs::rename(at("next"), at("link")).unwrap();
                }
            }
        });
        let (mut free, mut kept) = (0, 0);
        for _ in 0..400 {
            let answer = daemon.query("file", &json!({ "path": at("link") }));
            assert!(!String::from_utf8_lossy(&answer.body).contains("canary"), "{}", answer.json());
            match answer.status {
                200 => free += 1,
                403 => kept += 1,
                _ => {}
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(free > 0 && kept > 0, "both were met: {free}, {kept}");
    });
}

#[test]
fn secrets_are_masked_for_the_agent_everywhere_and_for_the_person_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "hunter2canary";
    let file = directory.path().join("settings");
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        "Zk3qT9vR2mX7cL1bN8wY5uH4".repeat(3)
    );
    std::fs::write(&file, format!("host = db\npassword = {secret}\n{pem}port = 5432\n")).unwrap();
    let daemon = Daemon::start(directory.path());

    let answer = daemon.query("file", &json!({ "path": file }));
    assert_eq!(
        answer.json()["content"],
        "host = db\npassword = [masked: password]\n[masked: private key]\nport = 5432\n"
    );
    assert_eq!(header(&answer, "X-AgentOS-Masked").as_deref(), Some("2"));
    let base64 = daemon.query("file", &json!({ "path": file, "encoding": "base64" }));
    assert_eq!(header(&base64, "X-AgentOS-Masked").as_deref(), Some("2"));
    // Read a few bytes at a time, nothing of them shows either.
    let mut pieces = String::new();
    for offset in (0..130).step_by(5) {
        let part = daemon.query("file", &json!({ "path": file, "offset": offset, "length": 5 })).json();
        pieces.push_str(part["content"].as_str().unwrap());
    }
    assert!(
        !pieces.contains("canary") && !pieces.contains("Zk3q") && pieces.starts_with("host = db"),
        "{pieces}"
    );

    // In the command line of a process, in each query that shows one.
    let mut child = std::process::Command::new("sh")
        .args(["-c", "read line", "--password", secret])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    for (query, args) in [
        ("processes", json!({ "text": "read line" })),
        ("process", json!({ "pid": pid })),
        ("file", json!({ "path": format!("/proc/{pid}/cmdline") })),
    ] {
        let answer = daemon.query(query, &args);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{body}");
        assert!(!body.contains(secret), "{query}: {body}");
        assert!(header(&answer, "X-AgentOS-Masked").is_some(), "{query}: {body}");
        if query != "file" {
            assert!(body.contains("[masked: password]"), "{query}: {body}");
            let plain = daemon.query_as_operator(query, &args);
            assert!(String::from_utf8_lossy(&plain.body).contains(secret), "{query}");
            assert_eq!(header(&plain, "X-AgentOS-Masked"), None);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!daemon.query("os", &json!({})).head.to_lowercase().contains("x-agentos-masked"));
}

#[test]
fn a_rule_can_switch_masking_off_for_what_it_allows() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("open");
    std::fs::create_dir(&folder).unwrap();
    for path in [folder.join("a"), directory.path().join("a")] {
        std::fs::write(path, "password=hunter2").unwrap();
    }
    let text = format!("[[rule]]\npath = \"{}/**\"\nthen = \"allow\"\nmask = false\n", folder.display());
    let daemon = under(directory.path(), &text);
    let content = |path: PathBuf| daemon.query("file", &json!({ "path": path })).json()["content"].clone();
    assert_eq!(content(folder.join("a")), "password=hunter2");
    assert_eq!(content(directory.path().join("a")), "password=[masked: password]");
}

#[test]
fn the_rules_go_by_the_socket_and_not_by_what_the_caller_says() {
    let directory = tempfile::tempdir().unwrap();
    let daemon =
        under(directory.path(), "[[rule]]\nprincipal = \"agent\"\nquery = \"os\"\nthen = \"deny\"\n");
    daemon.query("os", &json!({})).problem(403, "policy_denied");
    let claim = post_request("/system/query", "X-AgentOS-Actor: operator:root\r\n", br#"{"query":"os"}"#);
    common::exchange(&daemon.agent(), &claim).problem(403, "policy_denied");
    assert_eq!(daemon.query_as_operator("os", &json!({})).status, 200);
}

#[test]
fn what_cannot_be_recorded_is_not_answered_with_a_reason_either() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let other = rusqlite::Connection::open(daemon.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    daemon.query("file", &json!({ "path": "/etc/shadow" })).problem(503, "ledger_unavailable");
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn a_policy_that_cannot_be_used_keeps_agentd_from_starting_and_names_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let refuses = |text: &str, named: &[&str]| {
        drop(command_under(directory.path(), text, ""));
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"));
        for check in [&["--check-config"][..], &[]] {
            let config = directory.path().join("agentd.toml");
            let output = command.args(check).arg("--config").arg(config).output().unwrap();
            command = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(named.iter().all(|name| said.contains(name)), "{said}");
        }
    };
    refuses(
        "[[rule]]\nthen = \"deny\"\npth = \"/x\"\n",
        &["policy.toml, line 3, column 1", "path", "agentctl policy check"],
    );
    refuses("[[rule]]\nthen = deny\n", &["policy.toml, line 2"]);
    let file = directory.path().join("policy.toml");
    drop(command_under(directory.path(), "", ""));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let config = directory.path().join("agentd.toml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"))
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod go-w"), "{output:?}");
    std::fs::remove_file(&file).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"))
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read the policy"), "{output:?}");
    assert!(!directory.path().join("state").exists(), "nothing was made");
    assert!(refused(directory.path(), "policy = \"x\"").contains("policy"));
}

#[test]
fn a_reload_puts_a_good_policy_in_force_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command_under(directory.path(), "", "");
    let notified = Notifications::listen(directory.path(), &mut command);
    let daemon = Daemon::spawn(directory.path(), command);
    notified.until("READY=1");
    let reload = || {
        daemon.signal(Signal::HUP);
        notified.until("RELOADING=1");
        notified.until("READY=1")[1].clone()
    };
    assert_eq!(daemon.query("os", &json!({})).status, 200);
    policy(directory.path(), "[[rule]]\nname = \"no os\"\nquery = \"os\"\nthen = \"deny\"\n");
    assert!(reload().ends_with("asking allowed"));
    let problem = daemon.query("os", &json!({})).problem(403, "policy_denied");
    assert!(problem["detail"].as_str().unwrap().contains("\"no os\""), "{problem}");
    let loaded = data(&daemon.events("config.loaded")[0])["policy"].clone();
    assert_eq!((&loaded["rules"], loaded["sha256"].as_str().unwrap().len()), (&json!(1), 64));
    assert_ne!(loaded["sha256"], data(&daemon.events("agentd.start")[0])["policy"]["sha256"]);

    policy(directory.path(), "[[rule]]\nthen = \"allow\"\n\nhunter2 = 1\n");
    let said = reload();
    assert!(said.ends_with("policy.toml, line 4: not loaded, the policy from before holds"), "{said}");
    daemon.query("os", &json!({})).problem(403, "policy_denied");
    let event = data(&daemon.events("policy.rejected")[0]);
    assert_eq!((&event["line"], &event["problem"]), (&json!(4), &json!("not_understood")));
    assert!(!event.to_string().contains("hunter2"), "{event}");
    assert_eq!(daemon.events("config.loaded").len(), 1, "the configuration is not loaded without its policy");

    policy(directory.path(), "");
    assert!(reload().ends_with("asking allowed"));
    assert_eq!(daemon.query("os", &json!({})).status, 200);
}

#[test]
fn a_loop_of_calls_is_told_to_wait_and_costs_one_event() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = under(directory.path(), "[quota.agent]\ncalls_per_minute = 5\n");
    let ask = || daemon.query("time", &json!({}));
    for _ in 0..5 {
        assert_eq!(ask().status, 200);
    }
    let first = ask();
    let wait: u64 = header(&first, "retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    let problem = first.problem(429, "quota_reached");
    assert_eq!(problem["retry_after"], wait);
    assert!(problem["hint"].as_str().unwrap().contains("Do not repeat"), "{problem}");

    // On connections that stay open, several at a time, as a loop would.
    let last = || daemon.get("/events/log?order=newest&limit=1").json()["events"][0]["id"].clone();
    let before = last();
    let started = std::time::Instant::now();
    let one = post_request("/system/query", "", b"{\"query\":\"time\",\"args\":{}}");
    for _ in 0..100 {
        let mut stream = std::os::unix::net::UnixStream::connect(daemon.agent()).unwrap();
        let keep = String::from_utf8(one.clone()).unwrap().replace("Connection: close\r\n", "");
        let mut body = keep.repeat(99).into_bytes();
        body.extend_from_slice(&one);
        let mut reading = stream.try_clone().unwrap();
        let answers = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut reading, &mut text).unwrap();
            text.matches("HTTP/1.1 429").count()
        });
        std::io::Write::write_all(&mut stream, &body).unwrap();
        assert_eq!(answers.join().unwrap(), 100);
    }
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(40), "{took:?} for 10,000 refused calls");
    assert_eq!(last(), before, "no event more");
    let events = daemon.events("quota.reached");
    assert_eq!(events.len(), 1);
    let event = data(&events[0]);
    assert_eq!((&event["quota"], &event["limit"]), (&json!("calls_per_minute"), &json!(5)));
    assert_eq!(daemon.events("system.query").len(), 5);
    assert_eq!(daemon.query_as_operator("time", &json!({})).status, 200, "the person is not held up");
}
