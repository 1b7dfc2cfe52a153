//! Commands that observe: they see what root sees, by the rules for reading, and the kernel lets them change nothing. Needs
//! root, as agentd does.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Daemon, eventually};
use serde_json::{Value, json};

/// Runs a command line for the agent.
fn observe(daemon: &Daemon, command: &str) -> Value {
    daemon.query("shell", &json!({ "command": command })).json()
}

fn stdout(answer: &Value) -> &str {
    answer["stdout"]["content"].as_str().unwrap()
}

/// The command ran, and ended well.
fn ran(answer: Value) -> Value {
    assert_eq!(answer["exit_status"], 0, "{answer:#}");
    answer
}

fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

#[test]
fn what_root_sees_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let answer = ran(observe(
        &daemon,
        "ps -eo pid,comm; df / | tail -1; cat /etc/passwd | wc -l; ls -d /root; echo $((6*7))",
    ));
    let text = stdout(&answer);
    let own = format!("{} agentd", daemon.pid());
    assert!(text.lines().any(|line| line.trim() == own), "{text}");
    assert!(text.lines().any(|line| line.ends_with(" /")) && text.ends_with("/root\n42\n"), "{text}");
    assert!(answer["refused"].is_null(), "{answer:#}");

    let lsof = format!("lsof -p {} 2>/dev/null", daemon.pid());
    for (program, command, expected) in [
        ("ip", "ip -o link show lo", "LOOPBACK"),
        ("ss", "ss -xl", "agent.sock"),
        // What others hold open: links of /proc/PID/fd are read, and none is followed.
        ("lsof", lsof.as_str(), "ledger.db"),
        ("journalctl", "journalctl --version", "systemd"),
    ] {
        if is_installed(program) {
            let answer = observe(&daemon, command);
            assert!(stdout(&answer).contains(expected), "{command}: {answer:#}");
        }
    }
    // What a program takes itself for is what it is called outside.
    let itself = "echo $$; cut -d' ' -f4 /proc/self/stat; test -d /proc/$$ && perl -e 'print $$, \" \", readlink \"/proc/self\"'";
    let own = ran(observe(&daemon, itself));
    let lines: Vec<&str> = stdout(&own).lines().collect();
    assert_eq!(lines[0], lines[1], "{own:#}");
    let (one, other) = lines[2].split_once(' ').unwrap();
    assert_eq!(one, other, "{own:#}");
    let words = daemon
        .query("shell", &json!({ "words": ["printf", "%s|", "$(id)", "a b"], "folder": "/etc" }))
        .json();
    assert_eq!(stdout(&words), "$(id)|a b|");
    let here = daemon
        .query("shell", &json!({ "command": "pwd; cat hostname >/dev/null && echo read", "folder": "/etc" }));
    assert_eq!(stdout(&here.json()), "/etc\nread\n");
    // Nor is the machine's program started that takes what is left of one that crashes.
    let core = observe(
        &daemon,
        "ulimit -S -c 0 2>/dev/null && echo set; grep core /proc/self/limits; ulimit -n 100 && echo other",
    );
    let text = stdout(&core);
    assert!(!text.contains("set\n") && text.ends_with("other\n"), "{core:#}");
    assert!(text.contains("  1                    1  "), "{core:#}");
    // It is on the record before it runs, whole.
    let event = &daemon.events("system.query")[0]["payload"]["data"];
    assert!(event["args"]["command"].as_str().unwrap().starts_with("ps -eo"), "{event}");
}

#[test]
fn the_rules_for_reading_hold_by_whatever_way_a_file_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/etc/shadow", &link).unwrap();
    let link = link.display();
    let ledger = daemon.database();
    for command in [
        "cat /etc/shadow".to_owned(),
        "cat </etc/shadow".to_owned(),
        "cd /etc && cat shadow".to_owned(),
        "cat /proc/1/root/etc/shadow".to_owned(),
        "cat /proc/self/root/etc/shadow".to_owned(),
        "cat /proc/self/cwd/etc/shadow".to_owned(),
        "exec 3</etc; cat /proc/self/fd/3/shadow".to_owned(),
        "cd /proc/1/root/etc && cat shadow".to_owned(),
        format!("cat {link}"),
        "perl -e 'open F, \"<\", \"/etc/../etc/shadow\" or die; print <F>'".to_owned(),
        "grep -r root: /etc/shadow /etc/gshadow".to_owned(),
        "tar -cO /etc/shadow 2>/dev/null".to_owned(),
        format!("cat {}", ledger.display()),
        format!("cat /proc/{}/environ", daemon.pid()),
        format!("head -c 64 /proc/{}/mem", daemon.pid()),
        "head -c 16 /dev/mem; head -c 16 /proc/1/root/dev/mem; head -c 1 /proc/kmsg".to_owned(),
    ] {
        let answer = observe(&daemon, &command);
        assert!(
            !stdout(&answer).contains(":$") && !stdout(&answer).contains("SQLite"),
            "{command}: {answer:#}"
        );
        assert!(
            !answer["refused"].as_array().is_none_or(Vec::is_empty) || answer["exit_status"] != 0,
            "{command}: {answer:#}"
        );
    }
    let answer = observe(&daemon, "cat /etc/shadow; echo went on");
    assert!(
        stdout(&answer).ends_with("went on\n"),
        "one file that is kept does not end the command: {answer:#}"
    );
    let refused = &answer["refused"][0];
    assert_eq!((&refused["what"], &refused["on"]), (&json!("read"), &json!("/etc/shadow")));
    assert!(refused["because"].as_str().unwrap().contains("password-files"), "{refused}");
    // Secrets in what it says are masked, as everywhere.
    let secret = observe(&daemon, "echo 'password = hunter2hunter2'; echo AKIAIOSFODNN7EXAMPLE");
    assert!(!stdout(&secret).contains("AKIAIOSFODNN7EXAMPLE"), "{secret:#}");
    let operator = daemon.query_as_operator("shell", &json!({ "command": "head -c 5 /etc/shadow" })).json();
    assert_eq!(operator["exit_status"], 0, "{operator:#}");
}

#[test]
fn whatever_a_command_does_it_ends_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mounts = || std::fs::read_to_string(format!("/proc/{}/mountinfo", daemon.pid())).unwrap();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    ran(observe(&daemon, "true"));
    let before = (mounts(), descriptors());
    let limited = |command: &str| {
        let asked = Instant::now();
        let answer = daemon.query("shell", &json!({ "command": command, "time_limit_seconds": 1 })).json();
        assert!(asked.elapsed() < Duration::from_secs(8), "{command}");
        answer
    };
    for command in [
        "sleep 7357",
        "trap '' TERM INT HUP; while :; do :; done",
        "kill -STOP $$",
        "sleep 7357 & kill -CONT $!; kill -CONT $$; wait",
        "exec >&- 2>&-; sleep 7357",
        "(setsid sleep 7357 &) ; sleep 7357",
        "yes",
        "i=0; while [ $i -lt 300 ]; do sleep 7357 & i=$((i+1)); done; wait",
    ] {
        let answer = limited(command);
        // The last one may be told that there are no more processes before its time is over.
        assert!(
            answer["timed_out"] == true || command.contains("done") || command.starts_with("exec"),
            "{command}: {answer:#}"
        );
    }
    // What it left running has ended with it.
    let daemonized = ran(observe(&daemon, "setsid sleep 7357 >/dev/null 2>&1 & echo gone"));
    assert_eq!(stdout(&daemonized), "gone\n");
    eventually("all of it has ended", || {
        let output = std::process::Command::new("pgrep").args(["-fx", "sleep 7357"]).output().unwrap();
        output.stdout.is_empty().then_some(())
    });
    // Nothing to read: standard input is at its end.
    assert_eq!(stdout(&ran(observe(&daemon, "cat; echo $?"))), "0\n");
    // More than is kept is counted; what is no text is base64.
    let flood = ran(observe(&daemon, "head -c 50000000 /dev/zero"));
    assert_eq!((&flood["stdout"]["bytes"], &flood["stdout"]["cut"]), (&json!(50_000_000), &json!(true)));
    assert_eq!(flood["stdout"]["encoding"], "base64");
    for (command, status) in [
        ("exit 3", 3),
        ("perl -e 'kill 15, $$; sleep 9'", 143),
        ("kill -0 $$ && kill -ABRT $$", 134),
        ("kill -9 $$", 137),
        ("nosuchprogram", 127),
    ] {
        assert_eq!(observe(&daemon, command)["exit_status"], status, "{command}");
    }
    assert_eq!(mounts(), before.0, "mounts are as they were");
    eventually("descriptors are as they were", || (descriptors() <= before.1).then_some(()));

    for (args, field) in [
        (json!({}), "command"),
        (json!({ "command": "a", "words": ["b"] }), "words"),
        (json!({ "words": ["a\u{0}b"] }), "words"),
        (json!({ "command": "x".repeat(300_000) }), "command"),
        (json!({ "words": vec!["x"; 10_001] }), "words"),
        (json!({ "words": ["/no/such/program"] }), "command"),
        (json!({ "words": [""] }), "command"),
        (json!({ "command": "true", "time_limit_seconds": 26 }), "time_limit_seconds"),
    ] {
        let problem = daemon.query("shell", &args).problem(422, "invalid_argument");
        assert!(problem["field"].as_str().is_some_and(|at| at.ends_with(field)), "{problem:#}");
    }
    let nowhere = daemon.query("shell", &json!({ "command": "true", "folder": "/no/such" })).json();
    assert!(nowhere["detail"].as_str().unwrap().contains("/no/such"), "{nowhere:#}");
}

/// Ways to alter the machine, as command lines. `$D` is a folder with what is altered, `$V` a process of root's outside.
#[cfg(target_arch = "x86_64")]
const WAYS: &[&str] = &[
    // Files, by name.
    "echo x > $D/file",
    "echo x >> $D/file",
    ": > $D/file",
    "> $D/new",
    "rm -f $D/file",
    "rm -rf $D",
    "mv $D/file $D/moved",
    "cp /etc/hostname $D/copy",
    "ln $D/file $D/hard",
    "ln -s file $D/soft",
    "mkdir $D/folder2",
    "rmdir $D/empty",
    "touch $D/file",
    "touch -a $D/file",
    "truncate -s 0 $D/file",
    "chmod 777 $D/file",
    "chmod u+s $D/program",
    "chown 1:1 $D/file",
    "chown -h 1:1 $D/link",
    "setfattr -n user.x -v y $D/file || perl -e 'syscall(188, \"$ENV{D}/file\", \"user.x\", \"y\", 1, 0)'",
    "perl -e 'syscall(197, \"$ENV{D}/file\", \"user.kept\")'",
    "chattr +a $D/file",
    "mknod $D/device c 1 3",
    "mkfifo $D/fifo2",
    "dd if=/dev/zero of=$D/file bs=1 count=1 conv=notrunc",
    "sed -i s/a/b/ $D/file",
    "perl -pi -e 's/a/b/' $D/file",
    "perl -e 'unlink \"$ENV{D}/file\"; rename \"$ENV{D}/file\", \"$ENV{D}/x\"'",
    "perl -e 'open F, \"+<\", \"$ENV{D}/file\" and print F \"x\"'",
    "perl -e 'syscall(2, \"$ENV{D}/file\", 01000)'",
    "perl -e 'syscall(257, -100, \"$ENV{D}/file\", 01000)'",
    "perl -e 'syscall(437, -100, \"$ENV{D}/new\", pack(\"QQQ\", 0101, 0644, 0), 24)'",
    "perl -e 'syscall(85, \"$ENV{D}/new\", 0644)'",
    "perl -e 'syscall(76, \"$ENV{D}/file\", 0)'",
    "perl -e 'syscall(316, -100, \"$ENV{D}/file\", -100, \"$ENV{D}/other\", 2)'",
    "perl -e 'syscall(452, -100, \"$ENV{D}/file\", 0777, 0)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(91, fileno F, 0777)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(93, fileno F, 1, 1)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(280, fileno F, 0, 0, 0)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(190, fileno F, \"user.x\", \"y\", 1, 0)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(77, fileno F, 0)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(285, fileno F, 0, 0, 4096)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(16, fileno F, 0x40086602, pack(\"L\", 16))'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(9, 0, 4096, 3, 1, fileno F, 0)'",
    "perl -e 'open F, \"<\", \"$ENV{D}/file\"; syscall(425, 8, \"\\0\" x 120)'",
    // Files, by the ways round a name.
    "echo x > /proc/self/root$D/file",
    "echo x > /proc/1/root$D/file",
    "echo x > /proc/$V/cwd/file",
    "chmod 777 /proc/1/root$D/file",
    "touch /proc/1/root$D/file",
    "rm -f /proc/1/root$D/file",
    "cd /proc/1/root$D && rm -f file && echo x > file",
    "mkdir /proc/1/root$D/folder2",
    "exec 3<$D/file; echo x > /proc/self/fd/3",
    "exec 3<$D; echo x > /proc/self/fd/3/file",
    "exec 3<$D/file; chmod 777 /proc/self/fd/3",
    "echo x > /dev/fd/0; echo x > $D/link",
    "echo x > /proc/$V/mem",
    "echo x > $D/fifo",
    "cat $D/fifo",
    "head -c 1 $D/fifo",
    "tar -xf $D/archive -C $D",
    "cp -a $D $D-copy",
    "echo x > /tmp/agentos-observed; echo x > /var/tmp/agentos-observed; echo x > /dev/shm/agentos-observed; echo x > /run/agentos-observed",
    // Mounts and namespaces.
    "mount -t tmpfs none $D/empty",
    "mount --bind /etc $D/empty",
    "mount -o remount,rw / && echo x > $D/file",
    "umount -l /proc",
    "unshare -m sh -c 'mount -o remount,rw,bind / && echo x > $D/file'",
    "unshare -Ur sh -c 'echo x > $D/file'",
    "nsenter -t 1 -m sh -c 'echo x > $D/file'",
    "nsenter -t $V -a sh -c 'echo x > $D/file'",
    "chroot / sh -c 'echo x > $D/file'",
    "chroot /proc/1/root sh -c 'echo x > $D/file'",
    "perl -e 'syscall(155, \"/\", \"/\")'",
    "perl -e 'syscall(428, -100, \"/\", 1)'",
    "perl -e 'syscall(442, -100, \"/\", 0x8000, pack(\"QQQQ\", 0, 1, 0, 0), 32)'",
    "perl -e 'syscall(56, 0x10000000 | 17, 0, 0, 0, 0) == 0 and exec \"sh\", \"-c\", \"echo x > $ENV{D}/file\"'",
    "perl -e 'syscall(435, pack(\"Q11\", 0x10000000, (0) x 10), 88)'",
    "perl -e 'open F, \"<\", \"/proc/1/ns/mnt\"; syscall(308, fileno F, 0) == 0 and system \"echo x > $ENV{D}/file\"'",
    "perl -e 'syscall(304, 3, \"\", 1)'",
    "losetup -f $D/file",
    "swapon $D/file",
    "swapoff -a",
    // Settings of the kernel's.
    "sysctl -w kernel.domainname=observed",
    "echo observed > /proc/sys/kernel/domainname",
    "echo observed > /proc/1/root/proc/sys/kernel/domainname",
    "hostname observed",
    "domainname observed || perl -e 'syscall(171, \"observed\", 8)'",
    "perl -e 'syscall(170, \"observed\", 8)'",
    "echo b > /proc/sysrq-trigger",
    "echo 1 > /proc/sys/vm/drop_caches",
    "echo -1000 > /proc/$V/oom_score_adj",
    "echo 0 > /proc/$V/coredump_filter",
    "echo x > /sys/kernel/uevent_seqnum",
    "mkdir /sys/fs/cgroup/observed /sys/fs/cgroup/unified/observed /sys/fs/cgroup/pids/observed",
    "echo $V > /sys/fs/cgroup/cgroup.procs",
    "date -s '2001-01-01'",
    "hwclock --systohc",
    "perl -e 'syscall(164, pack(\"QQ\", 1000000000, 0), 0)'",
    "perl -e 'syscall(227, 0, pack(\"QQ\", 1000000000, 0))'",
    "perl -e 'syscall(159, pack(\"Lx4q\", 1, 1000000) . \"\\0\" x 200)'",
    "modprobe dummy; insmod $D/file; rmmod dummy",
    "perl -e 'syscall(313, 0, \"\", 0)'",
    "dmesg -C; perl -e 'syscall(103, 5, 0, 0)'",
    "perl -e 'syscall(321, 0, \"\\0\" x 72, 72)'",
    "perl -e 'syscall(169, 0xfee1dead, 672274793, 0x89abcdef)'",
    // Processes.
    "kill -9 $V",
    "kill -TERM $V; kill -STOP $V",
    "kill -9 -1",
    "pkill -9 -x agentd",
    "perl -e 'kill 9, $ENV{V}; syscall(200, $ENV{V}, 9); syscall(234, $ENV{V}, $ENV{V}, 9)'",
    "perl -e 'syscall(424, syscall(434, $ENV{V}, 0), 9, 0, 0)'",
    "perl -e 'open F, \"<\", \"/proc/$ENV{V}\"; opendir D, \"/proc/$ENV{V}\"; syscall(424, 3, 9, 0, 0); syscall(424, 4, 9, 0, 0)'",
    "perl -e 'syscall(129, $ENV{V}, 9, \"\\0\" x 128)'",
    "perl -e 'syscall(101, 16, $ENV{V}, 0, 0)'",
    "perl -e 'syscall(311, $ENV{V}, \"\\0\" x 16, 1, \"\\0\" x 16, 1, 0)'",
    "renice 5 $V; perl -e 'syscall(141, 0, $ENV{V}, 5)'",
    "chrt -f -p 1 $V; taskset -p 1 $V; ionice -c 3 -p $V",
    "prlimit --pid $V --nofile=7",
    "perl -e 'syscall(302, $ENV{V}, 7, pack(\"QQ\", 7, 7), 0)'",
    // Other programs, and the network.
    "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => \"$ENV{D}/socket\")->print(\"x\")'",
    "perl -MSocket -e 'socket S, AF_UNIX, SOCK_DGRAM, 0; send S, \"x\", 0, pack_sockaddr_un(\"$ENV{D}/datagrams\")'",
    "perl -MSocket -e 'socket S, AF_UNIX, SOCK_STREAM, 0; connect S, pack_sockaddr_un(\"/proc/1/root$ENV{D}/socket\") and syswrite S, \"x\"'",
    "perl -MSocket -e 'socket S, AF_UNIX, SOCK_STREAM, 0; connect S, pack(\"Sxa*\", 1, $ENV{NAME}) and syswrite S, \"x\"'",
    "perl -MSocket -e 'socket S, AF_UNIX, SOCK_STREAM, 0; bind S, pack_sockaddr_un(\"$ENV{D}/bound\")'",
    "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"127.0.0.1:$ENV{PORT}\")->print(\"x\")'",
    "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Proto => \"udp\", PeerAddr => \"127.0.0.1:$ENV{PORT}\")->send(\"x\")'",
    "exec 3<>/dev/tcp/127.0.0.1/$PORT; bash -c 'echo x > /dev/tcp/127.0.0.1/$PORT'",
    "logger observed",
    "systemctl stop agentd; systemctl daemon-reload; busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Reload",
    "ip link set lo mtu 1500",
    "ip link add observed type dummy; ip addr add 192.0.2.1/32 dev lo; ip route add 192.0.2.0/24 dev lo",
    "nft add table inet observed; iptables -N observed",
    "ping -c 1 -W 1 127.0.0.1",
    // What outlives a process.
    "perl -e 'syscall(29, 0x0b5e, 4096, 01666); syscall(64, 0x0b5e, 1, 01666); syscall(68, 0x0b5e, 01666)'",
    "ipcmk -M 4096 -S 1 -Q",
    "perl -e 'syscall(240, \"observed\", 0101, 0666, 0)'",
    "perl -e 'syscall(248, \"user\", \"observed\", \"x\", 1, -4)'",
    "perl -e 'syscall(250, 0, -3, 1)'",
    "crontab -r; echo '* * * * * true' | crontab -; at now </dev/null",
    "useradd observed; passwd -d root; chpasswd </dev/null",
    "su -c 'echo x > $D/file' nobody; sudo -n sh -c 'echo x > $D/file'",
    "$D/program; $D/setuid",
    "perl -e 'syscall(105, 65534); syscall(126, pack(\"LL\", 0x20080522, 0), pack(\"L6\", (-1) x 6))'",
    "perl -e 'syscall(157, 22, 0); syscall(317, 0, 0, 0); open F, \">\", \"$ENV{D}/file\"'",
];

/// All that the ways are after: files with everything known of them, and what the kernel says of itself. What other tests alter
/// beside this one (mounts, loop devices, swap space of theirs) is no part of it.
#[cfg(target_arch = "x86_64")]
fn fingerprint(folder: &Path, victim: u32) -> String {
    let script = format!(
        "cd {folder}; find . -printf '%p %y %m %U %G %n %s %T@ %A@ %C@ %l\\n' | sort; cat file other; lsattr -a . 2>&1;
         perl -e 'opendir D, \".\"; for (sort readdir D) {{ next if -l or -p; my $b = \"\\0\" x 200; my $n = syscall(194, $_, $b, 200); print \"$_ $n $b\\n\" }}';
         ls -d {folder}-copy /tmp/agentos-observed /var/tmp/agentos-observed /dev/shm/agentos-observed /run/agentos-observed 2>/dev/null;
         grep -E ' (/|/proc|/sys|/dev|{folder}[^ ]*) ' /proc/self/mounts; grep {folder} /proc/swaps; cat /proc/sys/kernel/domainname /proc/sys/kernel/hostname;
         cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg; grep -c ^dummy /proc/modules;
         losetup -a | grep {folder}; ls /sys/fs/cgroup /sys/fs/cgroup/*/ 2>/dev/null | grep observed; ls /dev/mqueue 2>/dev/null;
         grep -c observed /proc/keys; crontab -l 2>&1; cat /etc/passwd /etc/group | cksum;
         ip -o addr; ip route; cat /proc/{victim}/oom_score_adj /proc/{victim}/limits /proc/{victim}/coredump_filter;
         grep -E '^(State|Cpus_allowed|TracerPid|Uid)' /proc/{victim}/status; ps -o ni=,cls=,args= -p {victim};
         ls -1 /",
        folder = folder.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn more_than_a_hundred_ways_to_alter_the_machine_alter_nothing() {
    alter_nothing(|daemon, command| {
        let answer = daemon.query("shell", &json!({ "command": command, "time_limit_seconds": 2 })).json();
        assert!(answer["stdout"].is_object(), "it ran: {command}: {answer:#}");
        answer
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn nor_do_they_in_a_preview() {
    alter_nothing(|daemon, command| {
        let args = json!({ "command": command, "time_limit_seconds": 2, "write_mebibytes": 16 });
        let asked = json!({ "mutation": "shell.preview", "args": args, "reason": "a test", "dry_run": true });
        let answer = daemon.post("/system/mutate", &asked.to_string()).json();
        let ran = answer["plan"]["steps"][0]["said"].is_object();
        // It ran to its end, or what it did may not be done or is not known.
        let code = answer["code"].as_str().unwrap_or_default();
        assert!(
            ran || ["forbidden", "change_refused", "plan_moved"].contains(&code),
            "{command}: {answer:#}"
        );
        answer
    });
}

/// Goes all ways, and compares the machine before and after each.
#[cfg(target_arch = "x86_64")]
fn alter_nothing(go: impl Fn(&Daemon, &str) -> Value) {
    use std::io::ErrorKind;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

    assert!(WAYS.len() > 100);
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let folder = directory.path().join("altered");
    let made = format!(
        "mkdir -p {0}/empty {0}/folder/below && cd {0} && echo data >file && echo other >other && ln -s file link && mkfifo fifo &&
         cp /usr/bin/touch program && cp /usr/bin/touch setuid && chmod 4755 setuid && echo y >folder/below/x &&
         perl -e 'syscall(188, \"file\", \"user.kept\", \"1\", 1, 0)'; tar -cf archive folder && rm folder/below/x",
        folder.display()
    );
    assert!(std::process::Command::new("sh").args(["-c", &made]).status().unwrap().success());
    let mut victim = std::process::Command::new("sleep").arg("600").current_dir(&folder).spawn().unwrap();
    let stream = UnixListener::bind(folder.join("socket")).unwrap();
    // Of this process alone: another test may do the same beside it.
    let name = format!("observed-{}", std::process::id());
    let abstract_name =
        <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name).unwrap();
    let abstract_stream = UnixListener::bind_addr(&abstract_name).unwrap();
    let datagrams = UnixDatagram::bind(folder.join("datagrams")).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let udp = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    for one in [
        stream.set_nonblocking(true),
        abstract_stream.set_nonblocking(true),
        datagrams.set_nonblocking(true),
        tcp.set_nonblocking(true),
        udp.set_nonblocking(true),
    ] {
        one.unwrap();
    }
    // Reading for the fingerprint sets times of access; then they stay.
    fingerprint(&folder, victim.id());
    let before = fingerprint(&folder, victim.id());
    for way in WAYS {
        let command =
            format!("export D={} V={} PORT={port} NAME={name}; {way}", folder.display(), victim.id());
        let answer = go(&daemon, &command);
        let after = fingerprint(&folder, victim.id());
        if before != after {
            let differs: Vec<String> = before
                .lines()
                .zip(after.lines())
                .filter(|(one, other)| one != other)
                .map(|(one, other)| format!("- {one}\n+ {other}"))
                .collect();
            panic!("altered by: {way}\n{}\n{answer:#}", differs.join("\n"));
        }
        assert!(victim.try_wait().unwrap().is_none(), "ended by: {way}");
        let nobody = |result: std::io::Result<()>, what: &str| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock, "{what} reached by: {way}");
        };
        nobody(stream.accept().map(drop), "a socket");
        nobody(abstract_stream.accept().map(drop), "an abstract socket");
        nobody(tcp.accept().map(drop), "a port");
        nobody(datagrams.recv(&mut [0; 8]).map(drop), "a datagram socket");
        nobody(udp.recv(&mut [0; 8]).map(drop), "a UDP port");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(daemon.get("/health").status, 200, "agentd is as it was");
}

#[test]
fn the_route_asks_what_the_query_asks() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let answer = daemon.post("/shell/exec", r#"{"mode":"observe","command":"echo hello"}"#).json();
    assert_eq!(stdout(&answer), "hello\n");
    assert_eq!(daemon.events("system.query")[0]["payload"]["data"]["query"], "shell");
    for (body, field) in [
        (r#"{"mode":"nonsense","command":"echo"}"#, "mode"),
        (r#"{"mode":"apply","command":"echo"}"#, "reason"),
        (r#"{"command":"echo","nonsense":1}"#, "nonsense"),
        (r#"{"command":1}"#, "command"),
    ] {
        let problem = daemon.post("/shell/exec", body).problem(422, "invalid_argument");
        assert!(problem.to_string().contains(field), "{problem:#}");
    }
}
