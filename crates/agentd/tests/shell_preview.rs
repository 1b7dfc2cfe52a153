//! Commands whose effects on files are previewed: what they did to a view of the machine is the change, and is made exactly so.
//! Needs root, as agentd does.

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::{Answer, Daemon, command_under, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

const ASK: &str = "[[rule]]\nmutation = \"*\"\nthen = \"ask\"\n";

struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::under(ASK)
    }

    fn under(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let daemon = Daemon::spawn(folder.path(), command_under(folder.path(), policy, ""));
        Self { daemon, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Under the policy that agentd has when none is written.
    fn by_default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let daemon = Daemon::start(folder.path());
        Self { daemon, folder }
    }

    /// Has a command previewed in the folder.
    fn preview(&self, command: &str) -> Answer {
        self.ask(&json!({ "command": command, "folder": self.path("") }))
    }

    fn ask(&self, args: &Value) -> Answer {
        let body = json!({ "mutation": "shell.preview", "args": args, "reason": "a test" });
        self.daemon.post("/system/mutate", &body.to_string())
    }

    /// It is waiting for a yes.
    fn waits(&self, command: &str) -> Value {
        let answer = self.preview(command);
        assert_eq!(answer.status, 202, "{command}: {:#}", answer.json());
        answer.json()
    }

    fn approve(&self, change: &Value) -> Answer {
        let path = format!("/approvals/{}", change["id"]);
        let body = json!({ "decision": "approve", "plan_hash": change["plan"]["hash"] });
        exchange(&self.daemon.operator(), &post_request(&path, "", body.to_string().as_bytes()))
    }

    fn undo(&self, change: &Value) -> Answer {
        let path = format!("/changes/{}/undo", change["id"]);
        let body = json!({ "reason": "a test" }).to_string();
        let answer = exchange(&self.daemon.operator(), &post_request(&path, "", body.as_bytes()));
        if answer.status == 202 { self.approve(&answer.json()) } else { answer }
    }
}

fn step(change: &Value) -> &Value {
    &change["plan"]["steps"][0]
}

/// All that is below a folder, with what is known of it but for times and numbers of inodes.
fn tree(folder: &Path) -> String {
    let script =
        "find . -printf '%P %y %m %U:%G %n %s %l\\n' | sort; find . -type f -exec cksum {} + | sort -k3";
    let output = std::process::Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(folder: &Path, command: &str) {
    let status = std::process::Command::new("sh").args(["-c", command]).current_dir(folder).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn what_a_command_did_is_made_exactly_once_a_person_says_yes_and_taken_back() {
    let bench = Bench::new();
    let set_up = "echo one >a; echo two >b; mkdir -p d/e; echo deep >d/e/f; ln -s a link; echo gone >gone; mkdir old; echo x >old/x; chmod 640 b";
    run(&bench.path(""), set_up);
    let before = tree(&bench.path(""));
    let command = "set -e; sed -i s/one/ONE/ a; echo more >>b; rm gone; rm -r old; mkdir -p new/folder; echo n >new/folder/n; chmod 600 d/e/f; ln -sf b link; mv d/e d/moved; mkfifo pipe; echo said; echo also >&2";
    let waits = bench.waits(command);
    assert_eq!(tree(&bench.path("")), before, "nothing is changed while it waits");
    let said = &step(&waits)["said"];
    assert_eq!(
        (&said["exit_status"], &said["stdout"]["content"]),
        (&json!(0), &json!("said\n")),
        "{waits:#}"
    );
    assert_eq!(said["stderr"]["content"], "also\n");
    let effects = step(&waits)["effects"].as_array().unwrap();
    let on = |name: &str| {
        let thing = format!("file {}", bench.path(name).display());
        effects
            .iter()
            .find(|effect| effect["on"] == thing.as_str())
            .unwrap_or_else(|| panic!("{name}: {waits:#}"))
    };
    assert!(on("a")["diff"].as_str().unwrap().contains("-one\n+ONE\n"), "{waits:#}");
    assert!(on("gone")["after"] == "absent" && on("new/folder/n")["before"] == "absent");
    assert!(on("link")["after"].as_str().unwrap().contains("link to b"));

    // The same, for real, somewhere else.
    let twin = tempfile::tempdir().unwrap();
    run(twin.path(), set_up);
    run(twin.path(), command);
    assert_eq!(bench.approve(&waits).status, 200);
    assert_eq!(tree(&bench.path("")), tree(twin.path()));
    assert_eq!(bench.undo(&waits).status, 200);
    assert_eq!(tree(&bench.path("")), before);
}

#[test]
fn a_command_that_changes_no_file_is_no_change() {
    let bench = Bench::new();
    let answer = bench.preview("ls /etc >/dev/null; touch -d yesterday .; echo $((6*7))");
    assert_eq!(answer.status, 200, "{:#}", answer.json());
    let change = answer.json();
    assert_eq!(change["status"], "planned", "{change:#}");
    assert_eq!(step(&change)["said"]["stdout"]["content"], "42\n", "{change:#}");
    assert_eq!(change["plan"]["risk"], "read");
}

#[test]
fn what_is_kept_from_the_agent_is_not_read_under_any_name() {
    let bench = Bench::by_default();
    let database = bench.daemon.database();
    let shadow = std::fs::read_to_string("/etc/shadow").unwrap();
    let kept: Vec<&str> = shadow.lines().filter(|line| line.len() > 12).collect();
    assert!(!kept.is_empty());
    let link = bench.path("hard");
    std::fs::hard_link("/etc/shadow", &link).ok();
    for command in [
        "cat /etc/shadow".to_owned(),
        "cat </etc/shadow".to_owned(),
        "mv /etc/shadow x; cat x".to_owned(),
        "ln /etc/shadow x; cat x".to_owned(),
        "cp -l /etc/shadow x; cat x".to_owned(),
        "echo >>/etc/shadow; cat /etc/shadow".to_owned(),
        "chmod 666 /etc/shadow; mv /etc/shadow x; cat x".to_owned(),
        "mv /etc/shadow x; echo >>x; cat x".to_owned(),
        "mv /etc /moved; cat /moved/shadow".to_owned(),
        "cp -a /etc/shadow x; cat x".to_owned(),
        "cd /proc/self/root/etc; cat shadow".to_owned(),
        "cat /proc/1/root/etc/shadow".to_owned(),
        "perl -e 'open F, \"+<\", \"/etc/shadow\" or die; print <F>'".to_owned(),
        "perl -e 'open F, \"+>>\", \"/etc/shadow\" or die; seek F,0,0; print <F>'".to_owned(),
        "su nobody -s /bin/sh -c 'cat /etc/shadow'".to_owned(),
        "cat hard".to_owned(),
        format!("cat {}", database.display()),
        format!("ls {}; cat {0}/*", database.parent().unwrap().display()),
        "head -c 16 /proc/kcore".to_owned(),
        "head -c 16 /dev/mem /dev/vda /dev/sda".to_owned(),
    ] {
        let answer = bench.ask(&json!({ "command": command, "folder": bench.path("") }));
        let text = answer.json().to_string();
        assert!(
            kept.iter().all(|line| !text.contains(line)) && !text.contains("SQLite"),
            "{command}: {text}"
        );
    }
}

#[test]
fn a_file_that_was_changed_meanwhile_has_it_planned_anew() {
    let bench = Bench::new();
    std::fs::write(bench.path("a"), "one\n").unwrap();
    let waits = bench.waits("echo two >>a");
    std::fs::write(bench.path("a"), "other\n").unwrap();
    let answer = bench.approve(&waits);
    assert_eq!(answer.status, 409, "{:#}", answer.json());
    assert_eq!(std::fs::read_to_string(bench.path("a")).unwrap(), "other\n");
    let again = bench.daemon.get(&format!("/changes/{}", waits["id"])).json();
    assert_eq!(bench.approve(&again).status, 200, "{again:#}");
    assert_eq!(std::fs::read_to_string(bench.path("a")).unwrap(), "other\ntwo\n");
    // While the command runs, too.
    let path = bench.path("a");
    let meanwhile = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        std::fs::write(path, "third\n").unwrap();
    });
    let answer = bench.preview("sleep 1.5; echo four >>a");
    meanwhile.join().unwrap();
    assert!(answer.json().to_string().contains("changed while the command ran"), "{:#}", answer.json());
}

#[test]
fn agentds_own_files_and_accounts_are_not_changed_by_a_command_either() {
    let bench = Bench::new();
    for command in ["echo x >>/etc/passwd", "mkdir -p /etc/agentos; touch /etc/agentos/x", "rm /etc/shadow"] {
        let answer = bench.preview(command);
        assert_eq!(answer.status, 403, "{command}: {:#}", answer.json());
    }
}

#[test]
fn a_preview_that_is_too_much_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let args = |command: &str, seconds: u64| json!({ "command": command, "folder": bench.path(""), "time_limit_seconds": seconds, "write_mebibytes": 8 });
    let mounts = || std::fs::read_to_string(format!("/proc/{}/mountinfo", bench.daemon.pid())).unwrap();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", bench.daemon.pid())).unwrap().count();
    bench.ask(&args("true", 5));
    let before = (mounts(), descriptors());
    for (command, seconds, expected) in [
        ("dd if=/dev/zero of=big bs=1M count=20 2>/dev/null", 20, "8 MiB"),
        ("sleep 60", 1, "longer than 1 s"),
        ("trap '' TERM; while :; do :; done", 1, "longer than 1 s"),
        ("kill -STOP $$", 1, "longer than 1 s"),
        ("seq 1 70000 | xargs touch", 60, "60000 files"),
    ] {
        let answer = bench.ask(&args(command, seconds));
        assert!(
            answer.status >= 400 && answer.json().to_string().contains(expected),
            "{command}: {:#}",
            answer.json()
        );
    }
    assert_eq!(mounts(), before.0);
    common::eventually("its descriptors are closed", || (descriptors() <= before.1).then_some(()));
    assert_eq!(std::fs::read_dir(bench.path("")).unwrap().count(), 0);
}

#[test]
fn owners_modes_names_and_links_are_as_the_command_made_them() {
    let bench = Bench::new();
    let command = "umask 027; echo a >a; install -m 4755 a setuid; chown 12:34 a; ln a b; printf x >'with
line'; mkdir -m 1777 t; truncate -s 1M sparse; perl -e 'open F, \">\", \"\\xff\\xfe\" or die; print F 1'; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")' || true";
    let waits = bench.waits(command);
    assert_eq!(bench.approve(&waits).status, 200);
    let found = |name: &str| std::fs::symlink_metadata(bench.path(name)).unwrap();
    assert_eq!(
        (found("a").permissions().mode() & 0o7777, found("a").uid(), found("a").gid()),
        (0o640, 12, 34)
    );
    assert_eq!((found("a").ino(), found("a").nlink()), (found("b").ino(), 2));
    assert_eq!(found("setuid").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(found("t").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(found("with\nline").len(), 1);
    assert_eq!(found("sparse").len(), 1 << 20);
    assert!(std::fs::symlink_metadata(bench.path("sock")).is_err());
}

#[test]
fn rules_about_changes_of_files_are_rules_about_what_a_command_does() {
    let policy = "[[rule]]\nmutation = [\"file.write\", \"file.mkdir\"]\nthen = \"allow\"\n[[rule]]\nmutation = \"file.delete\"\nthen = \"deny\"\n";
    let bench = Bench::under(policy);
    let answer = bench.preview("mkdir d; echo x >d/x");
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("applied")), "{:#}", answer.json());
    assert_eq!(std::fs::read_to_string(bench.path("d/x")).unwrap(), "x\n");
    for command in
        ["rm d/x", "echo y >d/y; find . -name x -delete", "python3 -c 'import os; os.unlink(\"d/x\")'"]
    {
        let answer = bench.preview(command);
        answer.problem(403, "policy_denied");
    }
    // Many small deletions are a large one.
    let bench =
        Bench::under("[[rule]]\nmutation = \"file.*\"\nrisk = [\"low\", \"medium\"]\nthen = \"allow\"\n");
    let made = bench.preview("mkdir d; echo x >d/x; echo y >y");
    assert_eq!(made.status, 200, "{:#}", made.json());
    assert_eq!(bench.preview("rm y").status, 200);
    assert_eq!(bench.preview("rm -r d").status, 202);
    let bench = Bench::under(policy);
    bench.preview("mkdir d; echo x >d/x");
    // What no rule names is asked about.
    assert_eq!(bench.preview("chmod 600 d/x").status, 202);
    assert_eq!(std::fs::read_to_string(bench.path("d/x")).unwrap(), "x\n");
    assert!(!bench.path("d/y").exists());
}

fn is_installed(program: &str) -> bool {
    std::env::var("PATH").unwrap().split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// What real programs do is made exactly as they do it without a preview.
#[test]
fn programs_that_change_files_in_their_own_ways_do_so_in_a_preview() {
    let bench = Bench::new();
    for (program, set_up, command) in [
        ("sed", "seq 9 >a", "sed -i -e 3d -e s/5/five/ a"),
        ("ed", "seq 9 >a", "printf '2d\\n$a\\nend\\n.\\nw\\nq\\n' | ed -s a"),
        ("vim", "seq 9 >a", "vim -es -u NONE -i NONE -c '2d' -c 'normal Goend' -c 'wq!' a"),
        (
            "tar",
            "mkdir d; seq 9 >d/a; ln d/a d/b; ln -s a d/c; chmod 600 d/a",
            "tar -cf x.tar d && mkdir out && tar -xpf x.tar -C out && rm x.tar",
        ),
        ("cp", "mkdir d; seq 9 >d/a; ln d/a d/b; truncate -s 5M d/hole; ln -s a d/c", "cp -a d e"),
        ("install", "seq 9 >a", "install -D -m 750 -o 1 -g 2 a x/y/z"),
        ("perl", "seq 9 >a", "perl -pi.bak -e 's/7/seven/' a"),
        (
            "python3",
            "seq 9 >a",
            "python3 -c 'import os; f = open(\"a\", \"r+\"); f.truncate(4); f.seek(0); f.write(\"X\"); f.close(); os.replace(\"a\", \"b\")'",
        ),
        (
            "sqlite3",
            "true",
            "sqlite3 db 'create table t(a); insert into t values (1),(2);' && sqlite3 db .dump >dump.sql && rm db",
        ),
        (
            "rsync",
            "mkdir s; seq 9 >s/a; ln -s a s/b",
            "rsync -a s/ t/ && echo more >>s/a && rsync -a --delete s/ t/",
        ),
        (
            "git",
            "seq 9 >a",
            "git -c init.defaultBranch=main init -q . && git add a && GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' git -c user.name=x -c user.email=x@example.org commit -qm one && rm .git/index",
        ),
        ("make", "printf 'all: b\\nb: a\\n\\tsort -r a >b\\n' >Makefile; seq 9 >a", "make -s"),
        ("ar", "seq 9 >a; seq 4 >b", "ar rcD lib.a a b"),
        ("truncate", "seq 9 >a", "truncate -s 3 a; truncate -s 2M b"),
        (
            "patch",
            "seq 9 >a; printf -- '--- a\\n+++ a\\n@@ -1,2 +1,2 @@\\n 1\\n-2\\n+two\\n' >p",
            "patch -s a <p",
        ),
        (
            "xargs",
            "seq 200 | sed s/^/f/ | xargs touch",
            "ls | head -150 | xargs rm; for i in 1 2 3; do mkdir -p m/$i; done; mv f9 m/1/",
        ),
    ] {
        if !is_installed(program) {
            continue;
        }
        for entry in std::fs::read_dir(bench.path("")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        let twin = tempfile::tempdir().unwrap();
        let set_up = format!("umask 022; {set_up}");
        run(&bench.path(""), &set_up);
        run(twin.path(), &set_up);
        let before = tree(&bench.path(""));
        let waits = bench.waits(command);
        assert_eq!(step(&waits)["said"]["exit_status"], 0, "{command}: {waits:#}");
        run(twin.path(), &format!("umask 022; {command}"));
        let answer = bench.approve(&waits);
        assert_eq!(answer.status, 200, "{command}: {:#}", answer.json());
        assert_eq!(tree(&bench.path("")), tree(twin.path()), "{command}");
        assert_eq!(bench.undo(&waits).status, 200);
        assert_eq!(tree(&bench.path("")), before, "{command}, taken back");
    }
}

#[test]
fn what_listens_on_the_machine_is_not_reached() {
    let bench = Bench::new();
    let path = bench.path("socket");
    let stream = std::os::unix::net::UnixListener::bind(&path).unwrap();
    stream.set_nonblocking(true).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let agent = bench.daemon.agent();
    let command = format!(
        "python3 - <<'E'\nimport socket\nfor kind, to in ((socket.AF_UNIX, {path:?}), (socket.AF_UNIX, {agent:?}), (socket.AF_INET, ('127.0.0.1', {port}))):\n    try:\n        socket.socket(kind).connect(to); print('reached', to)\n    except OSError as error: print('no', error.errno)\nE"
    );
    let answer = bench.preview(&command);
    let said = step(&answer.json())["said"]["stdout"]["content"].as_str().unwrap().to_owned();
    assert!(said.lines().count() == 3 && !said.contains("reached"), "{said}");
    for accepted in [stream.accept().map(drop), tcp.accept().map(drop)] {
        assert_eq!(accepted.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
    // A program that asks a daemon is told that there is none.
    if is_installed("docker") {
        let answer = bench.preview("docker ps").json();
        assert_ne!(step(&answer)["said"]["exit_status"], 0, "{answer:#}");
    }
}

/// Packages are installed by the package manager's own scripts: what they do to files is seen, before it happens.
#[test]
fn a_package_is_unpacked_and_configured_in_a_preview() {
    if !is_installed("dpkg-deb") {
        return;
    }
    let bench = Bench::new();
    let folder = bench.path("package");
    run(
        &bench.path(""),
        "mkdir -p package/DEBIAN package/srv/agentos-preview; echo hello >package/srv/agentos-preview/file",
    );
    let control = "Package: agentos-preview-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a test\n";
    std::fs::write(folder.join("DEBIAN/control"), control).unwrap();
    std::fs::write(
        folder.join("DEBIAN/postinst"),
        "#!/bin/sh\necho configured >/srv/agentos-preview/state\n",
    )
    .unwrap();
    run(
        &bench.path(""),
        "chmod 755 package/DEBIAN/postinst; dpkg-deb --root-owner-group -b package p.deb >/dev/null",
    );
    let args = json!({ "command": "dpkg -i p.deb", "folder": bench.path(""), "time_limit_seconds": 60 });
    let body = json!({ "mutation": "shell.preview", "args": args, "reason": "a test", "dry_run": true });
    let answer = bench.daemon.post("/system/mutate", &body.to_string());
    let change = answer.json();
    assert_eq!(answer.status, 200, "{change:#}");
    assert_eq!(step(&change)["said"]["exit_status"], 0, "{change:#}");
    let text = change.to_string();
    for made in ["/srv/agentos-preview/file", "/srv/agentos-preview/state", "/var/lib/dpkg/status"] {
        assert!(text.contains(made), "{made}: {change:#}");
    }
    assert_eq!(change["plan"]["risk"], "destructive");
    assert!(!Path::new("/srv/agentos-preview").exists());
}

#[test]
fn what_was_looked_at_is_made_when_the_command_does_the_same_again() {
    let bench = Bench::under("[[rule]]\nmutation = \"*\"\nthen = \"allow\"\n");
    let ask = |command: &str, more: Value| {
        let mut body =
            json!({ "mode": "preview", "command": command, "folder": bench.path(""), "reason": "a test" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.daemon.post("/shell/exec", &body.to_string())
    };
    let looked = ask("echo x >a; echo $$", json!({ "dry_run": true })).json();
    assert!(!bench.path("a").exists());
    let made = ask("echo x >a; echo $$", json!({ "plan_hash": looked["plan"]["hash"] }));
    assert_eq!((made.status, &made.json()["status"]), (200, &json!("applied")), "{:#}", made.json());
    // One that does something else is not what was looked at.
    let looked = ask("date +%N >b", json!({ "dry_run": true })).json();
    ask("date +%N >b", json!({ "plan_hash": looked["plan"]["hash"] })).problem(409, "plan_changed");
    assert!(bench.path("a").exists() && !bench.path("b").exists());
    ask("echo x >a", json!({ "reason": null })).problem(422, "invalid_argument");
}
