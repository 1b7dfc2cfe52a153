use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use agentos_api::change::{Risk, Undo};
use serde_json::{Value, json};

use crate::QueryError;
use crate::change::ChangeError;
use crate::change::ssh::tests::KEY;
use crate::change::testing::{Bench, effects, text_of};

const HASH: &str = "$y$j9T$salt$0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";

/// A machine with root, a service, two people, of whom ann is the only operator.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nann:x:1000:1000:Ann:/home/ann:/bin/bash\nbob:x:1001:1001:Bob,,,:/home/bob:/bin/bash\n",
    );
    bench.write(
        "/etc/shadow",
        &format!("root:*:19000:0:99999:7:::\nwww-data:*:19000:0:99999:7:::\nann:{HASH}:20000:0:99999:7:::\nbob:{HASH}:20001:0:99999:7:::\n"),
    );
    bench.write(
        "/etc/group",
        "root:x:0:\nadm:x:4:\nsudo:x:27:ann\nwww-data:x:33:\nagentos-operators:x:900:ann\nann:x:1000:\nbob:x:1001:\ndevs:x:1002:ann,bob\nusers:x:100:bob\n",
    );
    bench.write(
        "/etc/gshadow",
        "root:*::\nadm:*::\nsudo:*::ann\nwww-data:!::\nagentos-operators:!::ann\nann:!::\nbob:!::\ndevs:!:bob:ann,bob\nusers:*::bob\n",
    );
    bench.write("/etc/subuid", "ann:100000:65536\nbob:165536:65536\n");
    bench.write("/etc/subgid", "ann:100000:65536\nbob:165536:65536\n");
    bench.write("/etc/login.defs", "# UID_MIN 5\nUID_MIN 1000\nUID_MAX 60000\nHOME_MODE 0750\n");
    bench.write("/etc/skel/.profile", "umask 022\n");
    bench.write("/etc/skel/.config/app.conf", "x\n");
    bench.write("/bin/bash", "");
    std::fs::set_permissions(bench.path("/bin/bash"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(bench.path("/etc/shadow"), PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::create_dir_all(bench.path("/home")).unwrap();
    bench
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const FILES: [&str; 6] =
    ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

fn files(bench: &Bench) -> Vec<String> {
    FILES.iter().map(|path| bench.read(path)).collect()
}

/// The checkers of shadow-utils pass over the files, where they are installed.
fn checkers_pass(bench: &Bench) {
    for (program, first, second) in
        [("/usr/sbin/pwck", "/etc/passwd", "/etc/shadow"), ("/usr/sbin/grpck", "/etc/group", "/etc/gshadow")]
    {
        let Ok(output) = std::process::Command::new(program)
            .arg("-r")
            .arg(bench.path(first))
            .arg(bench.path(second))
            .output()
        else {
            continue;
        };
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // It looks for folders and for the groups of users on the real machine, which is not what is checked here.
        let bad: Vec<&str> = said
            .lines()
            .filter(|line| {
                !line.is_empty()
                    && ![
                        "does not exist",
                        "no changes",
                        "no user",
                        "no group",
                        "shell program",
                        "delete member",
                        "administrative",
                    ]
                    .iter()
                    .any(|known| line.contains(known))
            })
            .collect();
        assert!(bad.is_empty(), "{program}: {bad:?}");
    }
}

fn forbidden(result: Result<crate::change::Prepared, ChangeError>) {
    match result {
        Err(ChangeError::Reading(QueryError::Forbidden { reason })) => {
            assert!(reason.contains("only the operator"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_user_is_made_and_taken_back() {
    let bench = bench();
    let before = files(&bench);
    let made = bench.change("user.create", json!({"name": "carol", "comment": "Carol", "groups": ["devs"]}));
    assert_eq!((made.plan.risk, &made.plan.undo), (Risk::Medium, &Undo::Exact));
    assert!(bench.read("/etc/passwd").ends_with("\ncarol:x:1003:1003:Carol:/home/carol:/bin/bash\n"));
    assert!(bench.read("/etc/shadow").contains("\ncarol:!:"));
    assert!(bench.read("/etc/group").contains("\ndevs:x:1002:ann,bob,carol\n"));
    assert!(bench.read("/etc/group").ends_with("\ncarol:x:1003:\n"));
    assert!(bench.read("/etc/gshadow").contains("\ndevs:!:bob:ann,bob,carol\n"));
    assert!(bench.read("/etc/subuid").ends_with("carol:231072:65536\n"));
    assert_eq!(std::fs::metadata(bench.path("/etc/shadow")).unwrap().mode() & 0o7777, 0o640);
    assert!(text_of(&made).contains("locked, no password"));
    checkers_pass(&bench);
    bench.undo(&made);
    assert_eq!(files(&bench), before);
}

#[test]
fn a_cut_at_any_place_is_found_and_taken_back() {
    let bench = bench();
    let before = files(&bench);
    let create = bench.plan("user.create", json!({"name": "carol", "groups": ["devs", "users"]})).unwrap();
    bench.cut_and_recover(&create);
    assert_eq!(files(&bench), before);
    let delete = bench.plan("user.delete", json!({"name": "bob"})).unwrap();
    bench.cut_and_recover(&delete);
    for (path, before) in FILES.iter().zip(before) {
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text
                .lines()
                .map(|line| {
                    // The order of members says nothing.
                    let (head, members) = line.rsplit_once(':').unwrap();
                    let mut members: Vec<&str> = members.split(',').collect();
                    members.sort_unstable();
                    format!("{head}:{}", members.join(","))
                })
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&bench.read(path)), sorted(&before), "{path}");
    }
}

#[test]
fn a_deleted_user_comes_back_as_it_was_though_others_changed_meanwhile() {
    let bench = bench();
    let entry = |path: &str, start: &str| {
        bench.read(path).lines().find(|line| line.starts_with(start)).map(str::to_owned)
    };
    let (passwd, shadow) = (entry("/etc/passwd", "bob:"), entry("/etc/shadow", "bob:"));
    let deleted = bench.change("user.delete", json!({"name": "bob"}));
    assert_eq!((deleted.plan.risk, &deleted.plan.undo), (Risk::Destructive, &Undo::Exact));
    for path in FILES {
        assert!(!bench.read(path).contains("bob"), "{path}: {}", bench.read(path));
    }
    let shown = text_of(&deleted) + &serde_json::to_string(&deleted.script).unwrap();
    assert!(!shown.contains(HASH), "the hash stands in the plan or the script");
    assert!(shown.contains("password set"));
    // Somebody else comes, and ann changes her password.
    bench.change("user.create", json!({"name": "dora", "groups": ["devs"]}));
    let changed = bench.read("/etc/shadow").replace(&format!("ann:{HASH}"), "ann:$y$other$hash");
    bench.write("/etc/shadow", &changed);
    bench.undo(&deleted);
    assert_eq!((entry("/etc/passwd", "bob:"), entry("/etc/shadow", "bob:")), (passwd, shadow));
    assert_eq!(entry("/etc/group", "devs:").unwrap(), "devs:x:1002:ann,dora,bob");
    assert_eq!(entry("/etc/gshadow", "devs:").unwrap(), "devs:!:bob:ann,dora,bob");
    assert_eq!(entry("/etc/group", "users:").unwrap(), "users:x:100:bob");
    assert_eq!(entry("/etc/subuid", "bob:").unwrap(), "bob:165536:65536");
    assert!(entry("/etc/shadow", "ann:").unwrap().contains("$y$other$hash"));
    checkers_pass(&bench);
}

#[test]
fn a_number_that_somebody_else_got_meanwhile_is_not_shared() {
    let bench = bench();
    let deleted = bench.change("user.delete", json!({"name": "bob"}));
    bench.change("user.create", json!({"name": "eve", "uid": 1001}));
    let undo = bench.plan_undo(&deleted).unwrap();
    match undo.script.make(&bench.context(), |_| {}) {
        crate::change::Made::TakenBack { error: ChangeError::Moved { found, .. } } => {
            assert!(found.contains("that of eve"), "{found}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!bench.read("/etc/passwd").contains("bob"));
}

#[test]
fn the_agent_changes_nothing_about_those_who_say_yes() {
    let bench = bench();
    std::fs::create_dir_all(bench.path("/home/ann")).unwrap();
    let key = format!("ssh-ed25519 {KEY} me");
    for (mutation, args) in [
        ("user.delete", json!({"name": "ann"})),
        ("user.modify", json!({"name": "ann", "shell": "/bin/bash"})),
        ("user.modify", json!({"name": "root", "locked": true})),
        ("user.delete", json!({"name": "www-data"})),
        ("group.add_member", json!({"group": "agentos-operators", "user": "bob"})),
        ("group.remove_member", json!({"group": "agentos-operators", "user": "ann"})),
        ("ssh_key.add", json!({"user": "ann", "key": key})),
        ("ssh_key.add", json!({"user": "root", "key": key})),
        ("group.delete", json!({"name": "www-data"})),
        ("user.create", json!({"name": "x", "group": "agentos-operators"})),
        ("user.create", json!({"name": "x", "groups": ["agentos-operators"]})),
    ] {
        match bench.plan(mutation, args.clone()) {
            Err(ChangeError::Reading(QueryError::Forbidden { .. }) | ChangeError::Refused { .. }) => {}
            other => panic!("{mutation} {args}: {other:?}"),
        }
    }
    forbidden(bench.plan("user.modify", json!({"name": "ann", "comment": "x"})));
}

#[test]
fn the_last_operator_stays_whoever_asks() {
    let bench = bench();
    for (mutation, args) in [
        ("user.delete", json!({"name": "ann"})),
        ("group.remove_member", json!({"group": "agentos-operators", "user": "ann"})),
        ("user.modify", json!({"name": "ann", "locked": true})),
        ("user.delete", json!({"name": "root"})),
        ("group.delete", json!({"name": "agentos-operators"})),
    ] {
        let error = bench.plan_as_operator(mutation, args.clone()).unwrap_err();
        assert!(matches!(error, ChangeError::Refused { .. }), "{mutation} {args}: {error}");
    }
    let added = bench
        .plan_as_operator("group.add_member", json!({"group": "agentos-operators", "user": "bob"}))
        .unwrap();
    bench.make(&added);
    let removed = bench
        .plan_as_operator("group.remove_member", json!({"group": "agentos-operators", "user": "ann"}))
        .unwrap();
    assert!(removed.plan.steps[0].can_lock_out);
    bench.make(&removed);
}

#[test]
fn a_group_as_good_as_root_is_destructive_and_says_so() {
    let bench = bench();
    let joined = bench.plan("group.add_member", json!({"group": "sudo", "user": "bob"})).unwrap();
    assert_eq!(joined.plan.risk, Risk::Destructive);
    assert!(joined.plan.summary.contains("as good as root"));
    let plain = bench.plan("group.add_member", json!({"group": "users", "user": "ann"})).unwrap();
    assert_eq!(plain.plan.risk, Risk::Medium);
    let nothing = bench.plan("group.add_member", json!({"group": "users", "user": "bob"})).unwrap();
    assert!(nothing.script.is_empty());
    assert_eq!(nothing.plan.risk, Risk::Read);
}

#[test]
fn two_people_who_join_a_group_are_two_changes() {
    let bench = bench();
    bench.change("user.create", json!({"name": "carol"}));
    let first = bench.change("group.add_member", json!({"group": "users", "user": "ann"}));
    let second = bench.change("group.add_member", json!({"group": "users", "user": "carol"}));
    bench.undo(&first);
    assert!(bench.read("/etc/group").contains("users:x:100:bob,carol\n"));
    bench.undo(&second);
    assert!(bench.read("/etc/group").contains("users:x:100:bob\n"));
}

#[test]
fn a_group_that_got_members_meanwhile_is_not_taken_back_with_them() {
    let bench = bench();
    let made = bench.change("group.create", json!({"name": "lab"}));
    bench.change("group.add_member", json!({"group": "lab", "user": "bob"}));
    let undo = bench.plan_undo(&made).unwrap();
    assert!(matches!(
        undo.script.make(&bench.context(), |_| {}),
        crate::change::Made::TakenBack { error: ChangeError::Moved { .. } }
    ));
    assert!(bench.read("/etc/group").contains("lab:x:1003:bob\n"));
}

#[test]
fn several_steps_see_one_another() {
    let bench = bench();
    let before = files(&bench);
    let prepared = bench
        .plan_steps(&[
            ("group.create", json!({"name": "lab"})),
            ("user.create", json!({"name": "carol"})),
            ("group.add_member", json!({"group": "lab", "user": "carol"})),
            ("user.modify", json!({"name": "carol", "comment": "Carol", "expires": "2031-12-31"})),
        ])
        .unwrap();
    bench.make(&prepared);
    assert!(bench.read("/etc/group").contains("lab:x:1003:carol\n"));
    assert!(bench.read("/etc/passwd").contains("carol:x:1004:1004:Carol:"));
    assert!(
        bench
            .read("/etc/shadow")
            .lines()
            .any(|line| line.starts_with("carol:!:") && line.ends_with(":22644:"))
    );
    bench.undo(&prepared);
    assert_eq!(files(&bench), before);
}

#[test]
fn a_password_is_locked_and_unlocked_without_being_seen() {
    let bench = bench();
    let before = bench.read("/etc/shadow");
    let locked = bench.change("user.modify", json!({"name": "bob", "locked": true}));
    assert!(bench.read("/etc/shadow").contains(&format!("bob:!{HASH}:")));
    assert!(!(text_of(&locked) + &serde_json::to_string(&locked.script).unwrap()).contains(HASH));
    assert_eq!(effects(&locked)[0].after, "locked, with a password");
    bench.change("user.modify", json!({"name": "bob", "locked": false}));
    assert_eq!(bench.read("/etc/shadow"), before);
    bench.change("user.create", json!({"name": "carol"}));
    let error = bench.plan("user.modify", json!({"name": "carol", "locked": false})).unwrap_err();
    assert!(matches!(error, ChangeError::Refused { .. }), "{error}");
}

#[test]
fn fields_that_would_be_other_fields_are_refused() {
    let bench = bench();
    let field = |mutation: &str, args: Value| match bench.plan(mutation, args) {
        Err(ChangeError::Reading(QueryError::InvalidArgument { field, .. })) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field("user.create", json!({"name": "x:y"})), "name");
    assert_eq!(field("user.create", json!({"name": "x", "comment": "a\nroot2::0:0::/:/bin/sh"})), "comment");
    assert_eq!(field("user.create", json!({"name": "x", "home": "/a:b"})), "home");
    assert_eq!(field("user.create", json!({"name": "x", "shell": "/bin/none"})), "shell");
    assert_eq!(field("user.create", json!({"name": "x", "uid": 0})), "uid");
    assert_eq!(field("user.create", json!({"name": "x", "uid": 1000})), "uid");
    assert_eq!(field("user.modify", json!({"name": "bob"})), "args");
    assert_eq!(field("user.modify", json!({"name": "bob", "expires": "tomorrow"})), "expires");
    assert_eq!(field("user.create", json!({"name": "x", "password": "x"})), "password");
}

#[test]
fn a_home_is_made_from_the_skeleton_and_deleted_on_request() {
    if !is_root() {
        return;
    }
    let bench = bench();
    let made = bench.change("user.create", json!({"name": "carol", "create_home": true}));
    let home = std::fs::metadata(bench.path("/home/carol")).unwrap();
    assert_eq!((home.uid(), home.gid(), home.mode() & 0o7777), (1003, 1003, 0o750));
    let profile = std::fs::metadata(bench.path("/home/carol/.config/app.conf")).unwrap();
    assert_eq!((profile.uid(), profile.gid()), (1003, 1003));
    bench.undo(&made);
    assert!(!bench.path("/home/carol").exists());
    bench.make(&made);
    bench.write("/home/carol/notes", "mine\n");
    let kept = bench.change("user.delete", json!({"name": "carol"}));
    assert_eq!(bench.read("/home/carol/notes"), "mine\n");
    bench.undo(&kept);
    let deleted = bench.change("user.delete", json!({"name": "carol", "delete_home": true}));
    assert!(!bench.path("/home/carol").exists());
    bench.undo(&deleted);
    assert_eq!(bench.read("/home/carol/notes"), "mine\n");
    assert_eq!(std::fs::metadata(bench.path("/home/carol/.profile")).unwrap().uid(), 1003);
}

#[test]
fn a_home_that_is_not_the_users_own_is_not_deleted() {
    let bench = bench();
    std::fs::create_dir_all(bench.path("/home/bob")).unwrap();
    std::fs::create_dir_all(bench.path("/srv/data")).unwrap();
    let error = bench.plan("user.delete", json!({"name": "bob", "delete_home": true})).unwrap_err();
    assert!(error.to_string().contains("delete_home"), "{error}");
    std::fs::remove_dir(bench.path("/home/bob")).unwrap();
    symlink(bench.path("/srv/data"), bench.path("/home/bob")).unwrap();
    assert!(bench.plan("user.delete", json!({"name": "bob", "delete_home": true})).is_err());
}

#[test]
fn keys_are_added_and_removed_one_by_one() {
    if !is_root() {
        return;
    }
    let bench = bench();
    let home = bench.path("/home/bob");
    std::fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1001), Some(1001)).unwrap();
    let add = |options: &str| json!({"user": "bob", "key": format!("{options}ssh-ed25519 {KEY} bob@home")});
    let added = bench.change("ssh_key.add", add(""));
    assert_eq!((added.plan.risk, &added.plan.undo), (Risk::Destructive, &Undo::Exact));
    let file = "/home/bob/.ssh/authorized_keys";
    let (folder, found) = (
        std::fs::metadata(bench.path("/home/bob/.ssh")).unwrap(),
        std::fs::metadata(bench.path(file)).unwrap(),
    );
    assert_eq!((folder.uid(), folder.mode() & 0o7777), (1001, 0o700));
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1001, 1001, 0o600));
    // The same key again is nothing; with other options it is refused.
    assert!(bench.plan("ssh_key.add", add("")).unwrap().script.is_empty());
    assert!(bench.plan("ssh_key.add", add("restrict ")).is_err());
    // The user adds another one by hand meanwhile.
    let other =
        "# laptop\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA lap\n";
    bench.write(file, &(bench.read(file) + other));
    bench.undo(&added);
    assert_eq!(bench.read(file), other);
    let fingerprint = crate::change::ssh::fingerprint(KEY).unwrap();
    bench.change("ssh_key.add", add("restrict,pty "));
    let removed = bench.change("ssh_key.remove", json!({"user": "bob", "key": fingerprint}));
    assert!(removed.plan.steps[0].can_lock_out);
    assert_eq!(bench.read(file), other);
    bench.undo(&removed);
    assert!(bench.read(file).contains(&format!("restrict,pty ssh-ed25519 {KEY} bob@home\n")));
    // A first key, taken back, leaves nothing.
    std::fs::remove_dir_all(bench.path("/home/bob/.ssh")).unwrap();
    let added = bench.change("ssh_key.add", add(""));
    bench.undo(&added);
    assert!(!bench.path("/home/bob/.ssh").exists());
    bench.cut_and_recover(&added);
}

#[test]
fn a_link_that_the_user_puts_in_the_way_is_not_followed() {
    if !is_root() {
        return;
    }
    let bench = bench();
    let home = bench.path("/home/bob");
    std::fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1001), Some(1001)).unwrap();
    bench.write("/root/.ssh/authorized_keys", "");
    let add = json!({"user": "bob", "key": format!("ssh-ed25519 {KEY}")});
    // Before it is planned: the folder, then the file.
    symlink(bench.path("/root/.ssh"), home.join(".ssh")).unwrap();
    assert!(matches!(bench.plan("ssh_key.add", add.clone()), Err(ChangeError::Refused { .. })));
    std::fs::remove_file(home.join(".ssh")).unwrap();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    symlink(bench.path("/root/.ssh/authorized_keys"), home.join(".ssh/authorized_keys")).unwrap();
    assert!(matches!(bench.plan("ssh_key.add", add.clone()), Err(ChangeError::Refused { .. })));
    std::fs::remove_dir_all(home.join(".ssh")).unwrap();
    // After it was planned.
    let planned = bench.plan("ssh_key.add", add.clone()).unwrap();
    symlink(bench.path("/root/.ssh"), home.join(".ssh")).unwrap();
    assert!(matches!(planned.script.make(&bench.context(), |_| {}), crate::change::Made::TakenBack { .. }));
    assert_eq!(bench.read("/root/.ssh/authorized_keys"), "");
    assert!(home.join(".ssh").is_symlink());
    // A folder of root's that the user moves there is not given away.
    std::fs::remove_file(home.join(".ssh")).unwrap();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    let _ = planned.script.make(&bench.context(), |_| {});
    assert_eq!(std::fs::metadata(home.join(".ssh")).unwrap().uid(), 0);
    std::fs::remove_dir_all(home.join(".ssh")).unwrap();
    symlink(bench.path("/root/.ssh"), home.join(".ssh")).unwrap();
    // A folder that others may write to, or that is somebody else's.
    std::fs::remove_file(home.join(".ssh")).unwrap();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    std::os::unix::fs::chown(home.join(".ssh"), Some(1000), Some(1000)).unwrap();
    assert!(bench.plan("ssh_key.add", add).is_err());
}

#[test]
fn weak_and_broken_keys_are_refused() {
    let bench = bench();
    let dss = "ssh-dss AAAAB3NzaC1kc3MAAAABAA==";
    for key in
        ["", "ssh-ed25519", dss, &format!("ssh-rsa {KEY}"), &format!("ssh-ed25519 {KEY}\nssh-ed25519 {KEY}")]
    {
        let error = bench.plan("ssh_key.add", json!({"user": "bob", "key": key})).unwrap_err();
        assert!(error.to_string().starts_with("key: "), "{key}: {error}");
    }
}
