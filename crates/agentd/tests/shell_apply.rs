//! Commands that are applied: for real, after a yes, to their end, and not on agentd. Needs root, as agentd does.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Answer, Daemon, command_under, eventually, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

const ALLOW: &str = "[[rule]]\nmutation = \"shell.apply\"\nrisk = [\"destructive\"]\nthen = \"allow\"\n";
const ASK: &str =
    "[[rule]]\nmutation = \"shell.apply\"\nthen = \"ask\"\nreason = \"a person decides here\"\n";

/// agentd under a policy, and a folder that commands work in.
struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

impl Bench {
    fn under(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let daemon = Daemon::spawn(folder.path(), command_under(folder.path(), policy, ""));
        Self { daemon, folder }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn ask(&self, args: &Value) -> Answer {
        let mut args = args.clone();
        args.as_object_mut().unwrap().entry("folder").or_insert_with(|| json!(self.work()));
        let body = json!({ "mutation": "shell.apply", "args": args, "reason": "a test" });
        self.daemon.post("/system/mutate", &body.to_string())
    }

    /// Runs a command line that the policy allows: the change, which is applied.
    #[track_caller]
    fn apply(&self, command: &str) -> Value {
        self.apply_for(command, 20)
    }

    #[track_caller]
    fn apply_for(&self, command: &str, seconds: u64) -> Value {
        let answer = self.ask(&json!({ "command": command, "time_limit_seconds": seconds }));
        assert_eq!(answer.status, 200, "{command}: {:#}", answer.json());
        let change = answer.json();
        assert_eq!(change["status"], "applied", "{command}: {change:#}");
        change
    }

    /// What the operator is told that a change's command wrote, from the beginning.
    fn said(&self, change: &Value, stream: &str) -> String {
        self.output(change, "")[stream]["content"].as_str().unwrap().to_owned()
    }

    fn output(&self, change: &Value, from: &str) -> Value {
        let path = format!("/changes/{}/output{from}", change["id"]);
        let request = format!("GET {path} HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\n\r\n");
        exchange(&self.daemon.operator(), request.as_bytes()).json()
    }

    fn stdout(&self, change: &Value) -> String {
        self.said(change, "stdout")
    }

    fn approve(&self, change: &Value) -> Answer {
        let body = json!({ "decision": "approve", "plan_hash": change["plan"]["hash"] });
        let path = format!("/approvals/{}", change["id"]);
        exchange(&self.daemon.operator(), &post_request(&path, "", body.to_string().as_bytes()))
    }

    fn change(&self, id: &Value) -> Value {
        self.daemon.get(&format!("/changes/{id}")).json()
    }
}

/// Whether a process runs whose command line is that.
fn runs(line: &str) -> bool {
    !std::process::Command::new("pgrep").args(["-fx", line]).output().unwrap().stdout.is_empty()
}

fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

#[test]
fn it_is_made_after_a_yes_and_for_real() {
    let bench = Bench::under(ASK);
    let made = bench.work().join("made");
    let answer = bench.ask(&json!({ "command": "echo hello | tee made; echo trouble >&2; umask; exit 3" }));
    assert_eq!(answer.status, 202, "{:#}", answer.json());
    let waiting = answer.json();
    assert!(!made.exists(), "nothing is done before the yes");
    let step = &waiting["plan"]["steps"][0];
    assert_eq!((&step["risk"], &step["undo"]), (&json!("destructive"), &json!("impossible")), "{step:#}");
    assert!(step["because"].as_str().unwrap().contains("run it as a preview"), "{step:#}");
    assert!(step["summary"].as_str().unwrap().contains("sh -c 'echo hello | tee made;"), "{step:#}");
    bench
        .daemon
        .post(&format!("/approvals/{}", waiting["id"]), r#"{"decision":"approve"}"#)
        .problem(403, "forbidden");
    assert!(!made.exists());

    let approved = bench.approve(&waiting);
    assert_eq!(approved.status, 200, "{:#}", approved.json());
    let change = approved.json();
    assert_eq!(change["status"], "applied", "an exit status is no failure: {change:#}");
    assert_eq!(bench.said(&change, "stderr"), "trouble\n");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "hello\n");
    let ran = &change["ran"][0];
    assert_eq!(ran["exit_status"], 3, "{change:#}");
    assert_eq!(ran["stdout"]["bytes"], "hello\n0022\n".len(), "{ran}");
    let sha256 = agentos_objects::Hash::of(b"trouble\n").to_string();
    assert_eq!(ran["stderr"], json!({ "bytes": 8, "sha256": sha256, "kept": 8 }));
    assert!(change["outcome"].as_str().unwrap().starts_with("it exited with 3 after "), "{change:#}");
    // On the record: the words before, what became of it after.
    let steps: Vec<Value> =
        bench.daemon.events("change.").iter().map(|event| event["type"].clone()).collect();
    assert_eq!(
        steps,
        [
            "change.requested",
            "change.planned",
            "change.waiting",
            "change.approved",
            "change.applying",
            "change.applied"
        ]
    );
    let requested = &bench.daemon.events("change.requested")[0]["payload"]["data"];
    assert!(requested.to_string().contains("tee made"), "{requested}");
    let applied = &bench.daemon.events("change.applied")[0]["payload"]["data"];
    assert_eq!(applied["ran"][0], *ran, "{applied}");
    let undo = bench.daemon.post(&format!("/changes/{}/undo", change["id"]), r#"{"reason":"not wanted"}"#);
    assert_eq!(undo.status, 409, "{:#}", undo.json());
}

#[test]
fn a_yes_to_a_script_is_a_yes_to_what_is_in_it() {
    let bench = Bench::under(ASK);
    let script = bench.work().join("deploy.sh");
    std::fs::write(&script, "echo harmless > made\n").unwrap();
    let waiting = bench.ask(&json!({ "command": "sh ./deploy.sh" })).json();
    assert!(
        waiting["plan"]["steps"][0]["not_covered"].to_string().contains("deploy.sh is executed"),
        "{waiting:#}"
    );
    std::fs::write(&script, "echo harmful > made\n").unwrap();
    let answer = bench.approve(&waiting);
    assert_ne!(answer.json()["status"], "applied", "{:#}", answer.json());
    assert!(!bench.work().join("made").exists(), "what nobody looked at is not run");
    let again = bench.change(&waiting["id"]);
    assert_eq!(again["status"], "waiting", "{again:#}");
    assert_ne!(again["plan"]["hash"], waiting["plan"]["hash"]);
    assert_eq!(bench.approve(&again).json()["status"], "applied");
    assert_eq!(std::fs::read_to_string(bench.work().join("made")).unwrap(), "harmful\n");
}

#[test]
fn words_are_executed_as_they_are_and_what_cannot_be_started_changes_nothing() {
    let bench = Bench::under(ALLOW);
    let change = bench.ask(&json!({ "words": ["printf", "%s|", "$(id)", "a b", "ä\u{1b}"] })).json();
    assert_eq!(bench.stdout(&change), "$(id)|a b|ä\u{1b}|");
    assert!(change["plan"]["summary"].as_str().unwrap().contains(r"'ä\u{1b}'"), "{change:#}");
    let binary = bench.apply("cat; printf '\\377\\000\\376'; printf '\\377' >&2");
    let sha256 = agentos_objects::Hash::of(b"\xff\x00\xfe").to_string();
    assert_eq!(binary["ran"][0]["stdout"], json!({ "bytes": 3, "sha256": sha256, "kept": 3 }), "{binary:#}");
    let script = bench.work().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for args in [
        json!({ "words": ["/no/such/program"] }),
        json!({ "words": [script] }),
        json!({ "command": "true", "folder": "/no/such" }),
        json!({ "command": "true", "shell": "/etc/passwd" }),
    ] {
        let problem = bench.ask(&args).json();
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| text.contains("could not be") || text.contains("/no/such")),
            "{problem:#}"
        );
        let last = bench.daemon.get("/changes?limit=1").json()["changes"][0].clone();
        assert_eq!(last["status"], "failed", "{last:#}");
        assert!(!bench.state().join("outputs").join(format!("{}-1", last["id"])).exists());
    }
    for (args, field) in [
        (json!({}), "command"),
        (json!({ "command": "a", "words": ["b"] }), "words"),
        (json!({ "command": "true", "time_limit_seconds": 1801 }), "time_limit_seconds"),
    ] {
        let problem = bench.ask(&args).problem(422, "invalid_argument");
        assert!(problem["field"].as_str().is_some_and(|at| at.ends_with(field)), "{problem:#}");
    }
}

#[test]
fn whatever_it_does_it_ends_with_all_that_it_left() {
    let bench = Bench::under(ALLOW);
    let before = descriptors(&bench);
    for (command, seconds, timed_out) in [
        ("sleep 7361", 1, true),
        ("trap '' TERM INT HUP; while :; do sleep 0.1; done", 1, true),
        ("kill -STOP $$", 1, true),
        ("exec >&- 2>&-; sleep 7361", 1, true),
        ("(setsid sh -c 'trap \"\" TERM; sleep 7361; sleep 7361' >/dev/null 2>&1 &); echo left", 20, false),
        ("setsid sh -c 'setsid sleep 7361 & exit' & sleep 0.2; echo left", 20, false),
        (
            "perl -e 'fork and exit; setpgrp; fork and exit; $SIG{$_} = \"IGNORE\" for keys %SIG; exec \"sleep\", \"7361\"'; sleep 0.2",
            20,
            false,
        ),
        // Each begins the next and goes: whoever looks for the one finds it gone. Were they left, they would end by themselves.
        (
            "perl -e '$SIG{TERM} = \"IGNORE\"; $end = time + 15; fork and exit; while (time < $end) { exit if fork; }' & sleep 0.3; echo left",
            20,
            false,
        ),
        // Forty of them.
        (
            "perl -e '$SIG{TERM} = \"IGNORE\"; $end = time + 15; for (1 .. 40) { fork or do { while (time < $end) { exit if fork; } exit } }' & sleep 0.3; echo left",
            20,
            false,
        ),
    ] {
        let asked = Instant::now();
        let change = bench.apply_for(command, seconds);
        assert!(asked.elapsed() < Duration::from_secs(12), "{command}: {:?}", asked.elapsed());
        let ran = &change["ran"][0];
        assert_eq!(ran["timed_out"].as_bool().unwrap_or_default(), timed_out, "{command}: {change:#}");
        assert!(ran["left"].is_null(), "{command}: {change:#}");
        assert!(!runs("sleep 7361"), "{command}");
    }
    let flood = bench.apply("head -c 100000000 /dev/zero");
    let stdout = &flood["ran"][0]["stdout"];
    assert_eq!((&stdout["bytes"], &stdout["kept"]), (&json!(100_000_000), &json!(262_144)));
    let output = std::process::Command::new("sh")
        .args(["-c", "head -c 100000000 /dev/zero | sha256sum"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(stdout["sha256"].as_str().unwrap()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.daemon.pid())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 100_000, "agentd took {peak} KiB");
    eventually("descriptors are as they were", || (descriptors(&bench) <= before + 1).then_some(()));
}

fn descriptors(bench: &Bench) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", bench.daemon.pid())).unwrap().count()
}

/// Ways to get at agentd, as command lines. `$S` is its state, `$P` its policy, `$C` its configuration, `$O` the operator's socket,
/// `$A` its process, `$V` a process of another user's.
#[cfg(target_arch = "x86_64")]
const WAYS: &[&str] = &[
    // Its files, by name and by the ways round a name.
    "cat $S/ledger.db; ls $S/; ls -a $S/outputs",
    "echo x > $S/stray; mkdir $S/stray; touch $S/stray; ln -s / $S/stray",
    "rm -rf $S/ledger.db $S/*; rmdir $S; mv $S $S-moved",
    "cat $P; echo x > $P; echo x >> $P; rm -f $P; mv $P $P-moved; cp /etc/hostname $P; ln -f /etc/hostname $P",
    "cat $C; echo x > $C; sed -i s/state/x/ $C; perl -e 'rename \"/etc/hostname\", $ENV{C}'",
    "truncate -s 0 $P; chmod 777 $P; chown 1 $P; perl -e 'open F, \"+<\", $ENV{P} and print F \"x\"'",
    "cat /proc/$A/root$S/ledger.db; cat /proc/$A/cwd$S/ledger.db; cat /proc/1/root$S/ledger.db; cat /proc/1/root$P",
    "for p in /proc/[0-9]*; do head -c 15 $p/root$S/ledger.db; head -c 15 $p/cwd$S/ledger.db; cat $p/root$P; done",
    "for t in /proc/$A/task/*; do head -c 15 $t/root$S/ledger.db; cat $t/root$P; done",
    "for f in /proc/$A/fd/*; do head -c 15 $f; done; cat /proc/$A/environ; head -c 99 /proc/$A/mem; ls -l /proc/$A/map_files",
    "echo x > /proc/1/root$P; echo x > /proc/$V/root$P; cat /proc/$V/root$P; head -c 15 /proc/$V/root$S/ledger.db",
    "su -s /bin/sh nobody -c \"cat /proc/$V/root$P; head -c 15 /proc/$V/root$S/ledger.db\"",
    // As the other user into the process, as root on from there.
    "perl -e '$> = 65534; chdir \"/proc/$ENV{V}/root\" or warn $!; $> = 0; open F, \"<\", \".$ENV{S}/ledger.db\" or die $!; read F, $x, 15; print $x'",
    "perl -e '$) = \"65534 65534\"; $> = 65534; opendir D, \"/proc/$ENV{V}/root\" or warn $!; $> = 0; chdir D; open F, \"<\", \".$ENV{P}\" or die $!; print <F>'",
    "perl -e 'use POSIX; $( = $) = 65534; POSIX::setuid(65534); open F, \"<\", \"/proc/$ENV{V}/root$ENV{P}\" or die $!; print <F>'",
    "chroot /proc/$V/root cat $P; chroot /proc/1/root cat $P; cd /proc/$V/cwd && cat .$P",
    "perl -e '$> = 65534; open N, \"<\", \"/proc/$ENV{V}/ns/mnt\" or warn $!; $> = 0; syscall(308, fileno N, 0) == 0 and system \"cat $ENV{P}\"'",
    // Mounts and namespaces.
    "umount $S; umount -l $P; mount --bind / /mnt; mount -t tmpfs none /mnt; mount -o remount,rw,dev /",
    "unshare -m cat $P; unshare -Urm sh -c 'umount $S; cat $S/ledger.db'; nsenter -t 1 -m cat $P; nsenter -t $V -m cat $P",
    "perl -e 'syscall(56, 0x20000 | 17, 0, 0, 0, 0) == 0 and exec \"umount\", $ENV{P}'; perl -e 'syscall(435, pack(\"Q11\", 0x20000, (0) x 10), 88) == 0 and exec \"umount\", $ENV{P}'",
    "perl -e 'syscall(428, -100, \"/\", 1) >= 0 and print \"SQLite a tree\"; syscall(430, \"tmpfs\", 0) >= 0 and print \"SQLite a file system\"'",
    "perl -e 'syscall(442, -100, \"/\", 0x8000, pack(\"QQQQ\", 0, 4, 0, 0), 32) == 0 and print \"SQLite attributes\"'",
    "perl -e 'syscall(155, \"/\", \"/\") == 0 and print \"SQLite a root\"; syscall(304, 3, \"\", 1)'",
    // Its processes.
    "kill -9 $A; kill -STOP $A; kill -TERM $A; kill -HUP $A",
    "kill -9 -1; kill -9 -- -$(ps -o pgid= -p $A | tr -d ' ')",
    "for t in /proc/$A/task/*; do kill -9 ${t##*/}; done",
    "perl -e 'syscall(200, $ENV{A}, 9); syscall(234, $ENV{A}, $ENV{A}, 9); syscall(129, $ENV{A}, 9, \"\\0\" x 128); syscall(297, $ENV{A}, $ENV{A}, 9, \"\\0\" x 128)'",
    "perl -e 'syscall(424, syscall(434, $ENV{A}, 0), 9, 0, 0); opendir D, \"/proc/$ENV{A}\"; syscall(424, $_, 9, 0, 0) for 3..9'",
    "perl -e 'pipe R, W; fcntl R, 8, $ENV{A}; fcntl R, 10, 9; fcntl R, 4, 020000; syswrite W, \"x\"; ioctl R, 0x8901, pack(\"l\", $ENV{A})'",
    "perl -e 'syscall(0x40000000 | 62, $ENV{A}, 9); syscall(62, $ENV{A} + (1 << 32), 9)'",
    "prlimit --pid $A --cpu=0 --nofile=1; renice 19 $A; chrt -i -p 0 $A; ionice -c 3 -p $A; taskset -p 1 $A; echo 1000 > /proc/$A/oom_score_adj",
    "perl -e 'syscall(101, 16, $ENV{A}, 0, 0) == 0 and print \"SQLite traced\"; syscall(310, $ENV{A}, \"\\0\" x 16, 1, \"\\0\" x 16, 1, 0) > 0 and print \"SQLite read\"'",
    "perl -e 'syscall(438, syscall(434, $ENV{A}, 0), 3, 0) >= 0 and print \"SQLite a descriptor\"'",
    "kill -9 $PPID; kill -STOP $PPID; kill -TERM $PPID",
    // Its sockets.
    "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => $ENV{O}) or die $!; print $s \"GET /health HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n\"; print <$s>'",
    "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => \"/proc/$ENV{V}/root$ENV{O}\") or die $!; print $s \"GET /health HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n\"; print <$s>'",
    "rm -f $O; mv $O $O-moved; chmod 777 $O; mkdir $O",
    // Below the mounts, and through the kernel.
    "for d in /dev/vd* /dev/sd* /dev/loop* /dev/nvme* /dev/mem /dev/kmsg /dev/port /dev/fuse; do head -c 1 $d && echo SQLite $d; done",
    "mknod disk b 254 0 && head -c 99 disk; mknod zero c 1 5 && head -c 1 zero && echo SQLite device",
    "perl -e '$h = pack(\"LL\", 128, 0) . \"\\0\" x 128; syscall(303, -100, $ENV{S}, $h, $m = pack(\"l\", 0), 0); syscall(304, 3, $h, 0) >= 0 and print \"SQLite handle\"'",
    "echo '|/bin/sh' > /proc/sys/kernel/core_pattern; echo /bin/sh > /proc/sys/kernel/modprobe; sysctl -w kernel.domainname=applied; echo b > /proc/sysrq-trigger; echo x > /proc/self/root/proc/sys/kernel/core_pattern",
    "echo 1 > /sys/kernel/mm/ksm/run; for f in $(find /sys/fs/cgroup -name cgroup.kill -o -name cgroup.freeze 2>/dev/null | head -20); do echo 1 > $f; done; mkdir /sys/fs/cgroup/applied",
    "perl -e 'syscall(321, 0, \"\\0\" x 72, 72); syscall(313, 0, \"\", 0); syscall(169, 0xfee1dead, 672274793, 0x89abcdef); syscall(425, 8, \"\\0\" x 120) >= 0 and print \"SQLite a ring\"'",
    "date -s '2001-01-01'; perl -e 'syscall(227, 0, pack(\"QQ\", 1000000000, 0))'; swapoff -a; modprobe dummy; rmmod dummy",
    "perl -e 'syscall(157, 22, 0); syscall(317, 0, 0, 0); kill 9, $ENV{A}'",
    "perl -e 'open T, \"+<\", \"/dev/tty\"; ioctl STDIN, 0x5412, \"x\" and print \"SQLite typed\"'",
];

/// What must stay: agentd's own files as far as they do not change by being used, and what of the kernel's is kept.
#[cfg(target_arch = "x86_64")]
fn own(bench: &Bench) -> String {
    let script = format!(
        "cd {}; cat policy.toml agentd.toml; stat -c '%n %i %a %u %s' policy.toml agentd.toml *.sock state state/ledger.db; ls -a . state | grep -v -e ledger.db- -e outputs; \
         cat /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/domainname /proc/swaps; ls /sys/fs/cgroup; \
         cat /proc/{pid}/oom_score_adj /proc/{pid}/limits /sys/kernel/mm/ksm/run; grep -e ^Cpus_allowed: -e ^TracerPid /proc/{pid}/status; ps -o ni=,cls= -p {pid}; date +%Y",
        bench.folder.path().display(),
        pid = bench.daemon.pid()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The ledger grows by what is recorded.
    text.lines().map(|line| if line.contains("ledger.db") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

#[cfg(target_arch = "x86_64")]
#[test]
fn no_way_leads_to_agentd() {
    use std::os::unix::process::CommandExt;

    let bench = Bench::under(ALLOW);
    let mut victim = std::process::Command::new("sleep")
        .arg("600")
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .spawn()
        .unwrap();
    bench.apply("true");
    let before = own(&bench);
    let folder = bench.folder.path().display();
    for way in WAYS {
        let command = format!(
            "export S={folder}/state P={folder}/policy.toml C={folder}/agentd.toml O={folder}/operator.sock A={} V={}; {way}",
            bench.daemon.pid(),
            victim.id()
        );
        let change = bench.apply_for(&command, 5);
        let said = bench.stdout(&change);
        let errors = bench.said(&change, "stderr");
        for secret in ["SQLite", "[[rule]]", "state_directory", "HTTP/1.1 200"] {
            assert!(!said.contains(secret), "{way}\n{said}\n{errors}");
        }
        assert_eq!(own(&bench), before, "altered by: {way}\n{said}\n{errors}");
        assert_eq!(bench.daemon.get("/health").status, 200, "{way}");
        assert!(
            change["ran"][0]["timed_out"].is_null() && change["ran"][0]["left"].is_null(),
            "{way}: {change:#}"
        );
        assert!(victim.try_wait().unwrap().is_none(), "ended by: {way}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn what_administers_the_machine_works() {
    let bench = Bench::under(ALLOW);
    let mut victim = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (command, expected) in [
        ("echo a > new && chmod 640 new && chown 1:2 new && stat -c '%a %u %g' new && mkdir -p d/e && mv new d/e/moved && ln d/e/moved hard && rm -r d && cat hard".to_owned(), "640 1 2\na\n"),
        ("ps -eo pid= | grep -cw 1".to_owned(), "1\n"),
        (format!("kill -9 {} && echo sent", victim.id()), "sent\n"),
        ("su -s /bin/sh nobody -c 'id -u; echo x > /dev/null'".to_owned(), "65534\n"),
        (format!("perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"127.0.0.1:{port}\") and print \"connected\\n\"'"), "connected\n"),
        ("sleep 9 & kill $!; wait $!; echo $?".to_owned(), "143\n"),
        ("cat /proc/sys/net/ipv4/ip_forward > /proc/sys/net/ipv4/ip_forward && echo written".to_owned(), "written\n"),
        ("head -c 3 /dev/zero | tr '\\0' x; echo; head -c 2 /dev/urandom | wc -c".to_owned(), "xxx\n2\n"),
        ("(ulimit -n 64; ulimit -n); perl -e 'print fork ? (wait, \"forked\\n\")[1] : exit'".to_owned(), "64\nforked\n"),
        ("perl -e 'use threads; print threads->create(sub { 42 })->join, \"\\n\"' || echo 42".to_owned(), "42\n"),
        ("trap 'echo caught; exit 0' TERM; kill -TERM $$; sleep 1".to_owned(), "caught\n"),
    ] {
        let change = bench.apply(&command);
        assert_eq!(bench.stdout(&change), expected, "{command}: {}", bench.said(&change, "stderr"));
    }
    assert!(!victim.wait().unwrap().success());
    if is_installed("ip") {
        let change = bench.apply("ip link show lo | head -1");
        assert!(bench.stdout(&change).contains("LOOPBACK"), "{change:#}");
    }
}

#[test]
fn what_it_writes_is_followed_while_it_runs_and_masked_for_the_agent() {
    let bench = Bench::under(ALLOW);
    let (go, key) = (bench.work().join("go"), "AKIAIOSFODNN7EXAMPLE");
    let command = format!(
        "echo one; echo {key}; printf 'AKIAIOSF'; while ! test -e go; do sleep 0.05; done; echo ODNN7EXAMPLE; printf '\\377' >&2"
    );
    let (socket, work) = (bench.daemon.agent(), bench.work());
    let asking = std::thread::spawn(move || {
        let body = json!({ "mutation": "shell.apply", "args": { "command": command, "folder": work }, "reason": "a test" });
        exchange(&socket, &post_request("/system/mutate", "", body.to_string().as_bytes())).json()
    });
    let change = json!({ "id": 1 });
    let agent = |from: &str| bench.daemon.get(&format!("/changes/1/output{from}")).json();
    let running = eventually("it runs", || {
        let output = bench.output(&change, "");
        output["stdout"]["content"].as_str().is_some_and(|text| text.ends_with("AKIAIOSF")).then_some(output)
    });
    assert_eq!((&running["running"], &running["ran"]), (&json!(true), &Value::Null), "{running:#}");
    assert!(running["stdout"]["content"].as_str().unwrap().starts_with(&format!("one\n{key}\n")));
    let seen = agent("");
    let text = seen["stdout"]["content"].as_str().unwrap();
    assert!(text.starts_with("one\n") && !text.contains("AKIA"), "{seen:#}");
    let next = seen["stdout"]["next"].as_u64().unwrap();
    assert_eq!(next, "one\n".len() as u64 + key.len() as u64 + 1, "half a line is not given out: {seen:#}");
    std::fs::write(go, "").unwrap();
    assert_eq!(asking.join().unwrap()["status"], "applied");
    let rest = agent(&format!("?stdout_after={next}"));
    assert_eq!((&rest["running"], &rest["ran"]["exit_status"]), (&json!(false), &json!(0)), "{rest:#}");
    assert!(!rest["stdout"]["content"].as_str().unwrap().contains("AKIA"), "{rest:#}");
    assert_eq!(rest["stdout"]["from"], next, "{rest:#}");
    assert_eq!((&rest["stderr"]["encoding"], &rest["stderr"]["content"]), (&json!("base64"), &json!("/w==")));
    assert!(bench.stdout(&change).ends_with(&format!("{key}\n")), "the operator sees it");
    bench.daemon.get("/changes/1/output?command=2").problem(404, "not_found");
    bench.daemon.get("/changes/9/output").problem(404, "not_found");
    bench.daemon.get("/changes/1/output?nonsense=1").problem(422, "invalid_argument");
}

#[test]
fn agentd_that_is_killed_in_the_middle_says_that_it_does_not_know() {
    let bench = Bench::under(ALLOW);
    let started = bench.work().join("started");
    let request = json!({
        "mutation": "shell.apply", "reason": "a test",
        "args": { "command": "echo begun; echo x >> started; sleep 7363; echo x >> ended", "folder": bench.work() },
    });
    let socket = bench.daemon.agent();
    let asking = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let _ = stream.write_all(&post_request("/system/mutate", "", request.to_string().as_bytes()));
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let kept = bench.state().join("outputs/1-1/stdout");
    eventually("it runs", || {
        (started.exists() && std::fs::read(&kept).is_ok_and(|said| !said.is_empty())).then_some(())
    });
    let Bench { daemon, folder } = bench;
    daemon.kill();
    asking.join().unwrap();
    eventually("what it ran has ended with agentd", || (!runs("sleep 7363")).then_some(()));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.arg("--config").arg(folder.path().join("agentd.toml"));
    let bench = Bench { daemon: Daemon::spawn(folder.path(), command), folder };
    let change = bench.change(&json!(1));
    assert_eq!(change["status"], "unknown", "{change:#}");
    let outcome = change["outcome"].as_str().unwrap();
    assert!(outcome.contains("nobody saw how it ended") && outcome.contains("not run again"), "{outcome}");
    assert_eq!(bench.stdout(&change), "begun\n");
    assert_eq!(std::fs::read_to_string(&started).unwrap(), "x\n", "it was not run again");
    assert!(!bench.work().join("ended").exists());
}
