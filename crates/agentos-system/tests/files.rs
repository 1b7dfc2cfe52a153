//! Files and folders that are changed, and changed back, on a real file system.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use agentos_api::change::{Risk, Step, Undo};
use agentos_api::query::path::encode;
use agentos_objects::{Objects, Options};
use agentos_system::change::{
    ChangeError, Context, Made, Position, Prepared, Progress, Replaced, Script, Undone,
};
use agentos_system::{Machine, MachineOptions, Viewer};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A machine whose changes are made below a folder of the test's.
struct Bench {
    folder: TempDir,
    machine: Machine,
    objects: Objects,
    holder: std::cell::Cell<u64>,
}

impl Bench {
    fn new() -> Self {
        Self::with_quota(1 << 30)
    }

    fn with_quota(quota_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("state");
        fs::create_dir(folder.path().join("work")).unwrap();
        let machine =
            Machine::new(MachineOptions { protected: vec![directory.clone()], ..MachineOptions::default() });
        let objects = Objects::open(&Options { directory, quota_bytes }).unwrap();
        Self { folder, machine, objects, holder: std::cell::Cell::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    fn text(&self, name: &str) -> String {
        encode(self.path(name).as_os_str().as_bytes())
    }

    fn context(&self) -> Context<'_> {
        Context { machine: &self.machine, objects: &self.objects, making: None }
    }

    fn plan(&self, steps: &[(&str, Value)]) -> Result<Prepared, ChangeError> {
        self.plan_as(&Viewer::default(), steps)
    }

    fn plan_as(&self, viewer: &Viewer, steps: &[(&str, Value)]) -> Result<Prepared, ChangeError> {
        let steps: Vec<Step> = steps
            .iter()
            .map(|(mutation, args)| Step {
                mutation: (*mutation).to_owned(),
                args: args.as_object().unwrap().clone(),
            })
            .collect();
        let (prepared, batch) = self.machine.plan(&steps, viewer, self.objects.batch())?;
        self.holder.set(self.holder.get() + 1);
        batch.commit(self.holder.get()).unwrap();
        Ok(prepared)
    }

    fn undo(&self, script: &Script) -> Result<Prepared, ChangeError> {
        let viewer = Viewer::default();
        let (prepared, batch) = {
            let undone = Undone::new(script, "it");
            self.machine.plan_undo(&undone, &viewer, self.objects.batch())?
        };
        self.holder.set(self.holder.get() + 1);
        batch.commit(self.holder.get()).unwrap();
        Ok(prepared)
    }

    fn make(&self, script: &Script) {
        match script.make(&self.context(), |_| {}) {
            Made::All => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(script.progress(&self.context()).unwrap(), whole(script));
    }

    /// Plans, makes it, and answers how it was carried out.
    fn change(&self, mutation: &str, args: Value) -> Script {
        let prepared = self.plan(&[(mutation, args)]).unwrap();
        // What is kept with a change survives being written down.
        let text = serde_json::to_string(&prepared.script).unwrap();
        let script: Script = serde_json::from_str(&text).unwrap();
        assert_eq!(script, prepared.script);
        self.make(&script);
        script
    }

    fn take_back(&self, script: &Script) {
        self.make(&self.undo(script).unwrap().script);
    }
}

fn whole(script: &Script) -> Progress {
    if script.is_empty() { Progress::Nothing } else { Progress::All }
}

/// Has another thread end, also when this one panics: a scope waits for it.
struct Ends<'e>(&'e std::sync::atomic::AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// All that can be seen of a tree: names, kinds, contents, attributes.
fn snapshot(root: &Path) -> Vec<String> {
    fn walk(path: &Path, found: &mut Vec<String>) {
        let metadata = fs::symlink_metadata(path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_file() {
            format!("{:?} {} ns", fs::read(path).unwrap(), metadata.mtime_nsec())
        } else if kind.is_symlink() {
            fs::read_link(path).unwrap().display().to_string()
        } else {
            String::new()
        };
        found.push(format!(
            "{} {:o} {} names {}:{} {:?} {content}",
            path.display(),
            metadata.mode(),
            metadata.nlink(),
            metadata.uid(),
            metadata.gid(),
            attributes(path)
        ));
        if kind.is_dir() {
            let mut names: Vec<PathBuf> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            for path in &names {
                walk(path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, &mut found);
    found
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    let mut found: Vec<(String, Vec<u8>)> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, &name, &mut value[..]).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_file_is_made_replaced_and_taken_back() {
    let bench = Bench::new();
    let before = snapshot(&bench.path(""));
    let made =
        bench.change("file.write", json!({"path": bench.text("hosts"), "content": "one\n", "mode": "0600"}));
    assert_eq!(fs::read_to_string(bench.path("hosts")).unwrap(), "one\n");
    assert_eq!(fs::metadata(bench.path("hosts")).unwrap().mode() & 0o7777, 0o600);
    let between = snapshot(&bench.path(""));
    let replaced =
        bench.plan(&[("file.write", json!({"path": bench.text("hosts"), "content": "two\n"}))]).unwrap();
    let effect = &replaced.plan.steps[0].effects[0];
    assert_eq!(effect.diff.as_deref(), Some("@@ -1 +1 @@\n-one\n+two\n"));
    assert_eq!(effect.on, format!("file {}", bench.text("hosts")));
    assert_eq!(replaced.plan.undo, Undo::Exact);
    let shown = replaced.plan.steps[0].args["content"].as_str().unwrap();
    assert!(shown.starts_with("4 bytes, sha256 ") && !shown.contains("two"), "{shown}");
    bench.make(&replaced.script);
    assert_eq!(fs::read_to_string(bench.path("hosts")).unwrap(), "two\n");
    bench.take_back(&replaced.script);
    assert_eq!(snapshot(&bench.path("")), between);
    bench.take_back(&made);
    assert_eq!(snapshot(&bench.path("")), before);
}

#[test]
fn planning_changes_nothing_and_the_same_plan_has_the_same_hash() {
    let bench = Bench::new();
    fs::write(bench.path("a"), "a").unwrap();
    let before = snapshot(&bench.path(""));
    let step = [("file.write", json!({"path": bench.text("a"), "content": "b"}))];
    let (first, second) = (bench.plan(&step).unwrap(), bench.plan(&step).unwrap());
    assert_eq!(first.plan.hash, second.plan.hash);
    assert_eq!(snapshot(&bench.path("")), before);
    fs::write(bench.path("a"), "c").unwrap();
    assert_ne!(bench.plan(&step).unwrap().plan.hash, first.plan.hash, "it is for another state");
    assert!(matches!(first.script.check(&bench.context()), Err(ChangeError::Moved { .. })));
}

#[test]
fn what_is_so_already_is_no_change() {
    let bench = Bench::new();
    fs::write(bench.path("a"), "a").unwrap();
    let plan = bench.plan(&[("file.write", json!({"path": bench.text("a"), "content": "a"}))]).unwrap();
    assert!(plan.script.is_empty());
    assert_eq!(plan.plan.risk, Risk::Read);
}

#[test]
fn owner_mode_attributes_and_lists_come_back() {
    let bench = Bench::new();
    let file = bench.path("kept");
    fs::write(&file, "kept").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(2345)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let has_attributes = rustix::fs::setxattr(&file, "user.origin", b"\x00\xff", flags).is_ok();
    // An access control list as the kernel takes it (posix_acl_xattr.h): version 2; user, user 4321, group, mask, others.
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 4321), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    let has_lists = rustix::fs::setxattr(&file, "system.posix_acl_access", &list, flags).is_ok();
    assert!(has_attributes || has_lists, "this file system keeps neither");
    let before = snapshot(&bench.path(""));
    let deleted = bench.change("file.delete", json!({"path": bench.text("kept")}));
    assert!(!file.exists());
    bench.take_back(&deleted);
    assert_eq!(snapshot(&bench.path("")), before);
    let written = bench.change("file.write", json!({"path": bench.text("kept"), "content": "new"}));
    assert_eq!(attributes(&file), {
        bench.take_back(&written);
        attributes(&file)
    });
    assert_eq!(snapshot(&bench.path("")), before);
    for (mutation, args) in [
        ("file.chmod", json!({"path": bench.text("kept"), "mode": "0600"})),
        ("file.chown", json!({"path": bench.text("kept"), "owner": "0", "group": "root"})),
        ("file.append", json!({"path": bench.text("kept"), "content": "more"})),
        ("file.move", json!({"path": bench.text("kept"), "to": bench.text("moved")})),
        ("file.copy", json!({"path": bench.text("kept"), "to": bench.text("copied")})),
        ("file.symlink", json!({"path": bench.text("link"), "target": "kept"})),
        ("file.mkdir", json!({"path": bench.text("x/y/z"), "parents": true, "mode": "0700"})),
    ] {
        let script = bench.change(mutation, args);
        assert!(!script.is_empty(), "{mutation}");
        assert_ne!(snapshot(&bench.path("")), before, "{mutation} did nothing");
        bench.take_back(&script);
        assert_eq!(snapshot(&bench.path("")), before, "{mutation} was not taken back");
    }
}

#[test]
fn something_new_gets_what_the_folder_hands_down() {
    let bench = Bench::new();
    let shared = bench.path("shared");
    fs::create_dir(&shared).unwrap();
    std::os::unix::fs::chown(&shared, None, Some(2345)).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o2775)).unwrap();
    bench.change("file.write", json!({"path": bench.text("shared/by-agentd"), "content": "x"}));
    bench.change("file.mkdir", json!({"path": bench.text("shared/folder")}));
    // As the kernel itself does it.
    fs::write(shared.join("by-kernel"), "x").unwrap();
    fs::create_dir(shared.join("kernels")).unwrap();
    let of = |name: &str| {
        let found = fs::metadata(shared.join(name)).unwrap();
        (found.gid(), found.mode() & 0o2000, attributes(&shared.join(name)))
    };
    assert_eq!(of("by-agentd"), of("by-kernel"));
    assert_eq!(of("folder"), of("kernels"));
    let flags = rustix::fs::XattrFlags::empty();
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 7, 4321), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    if rustix::fs::setxattr(&shared, "system.posix_acl_default", &list, flags).is_err() {
        return;
    }
    bench.change("file.write", json!({"path": bench.text("shared/listed"), "content": "x"}));
    bench.change("file.mkdir", json!({"path": bench.text("shared/listed-folder")}));
    fs::write(shared.join("kernel-listed"), "x").unwrap();
    fs::set_permissions(shared.join("kernel-listed"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(shared.join("kernels-listed")).unwrap();
    let mode = |name: &str| fs::metadata(shared.join(name)).unwrap().mode();
    assert_eq!((mode("listed"), of("listed")), (mode("kernel-listed"), of("kernel-listed")));
    assert_eq!(of("listed-folder").2.len(), of("kernels-listed").2.len());
}

#[test]
fn an_undo_is_undone() {
    let bench = Bench::new();
    fs::write(bench.path("a"), "first").unwrap();
    let script = bench.change("file.write", json!({"path": bench.text("a"), "content": "second"}));
    let undo = bench.undo(&script).unwrap().script;
    bench.make(&undo);
    assert_eq!(fs::read_to_string(bench.path("a")).unwrap(), "first");
    let again = bench.undo(&undo).unwrap().script;
    bench.make(&again);
    assert_eq!(fs::read_to_string(bench.path("a")).unwrap(), "second");
}

#[test]
fn a_folder_with_all_that_is_in_it_comes_back() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("tree/deep/deeper")).unwrap();
    for (name, content) in [
        ("tree/a", b"a".to_vec()),
        ("tree/deep/b", vec![0, 255, 10]),
        ("tree/deep/deeper/large", vec![7; 200_000]),
    ] {
        fs::write(bench.path(name), content).unwrap();
    }
    fs::set_permissions(bench.path("tree/deep"), fs::Permissions::from_mode(0o1711)).unwrap();
    symlink("../nowhere", bench.path("tree/deep/link")).unwrap();
    let odd = bench.path("tree").join(std::ffi::OsStr::from_bytes(b"new\nline \xff -rf"));
    fs::write(&odd, "odd").unwrap();
    fs::write(bench.path(&format!("tree/{}", "n".repeat(255))), "long").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("tree/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    fs::hard_link(bench.path("tree/a"), bench.path("tree/deep/same")).unwrap();
    fs::hard_link(bench.path("tree/a"), bench.path("tree/also")).unwrap();
    let before = snapshot(&bench.path(""));
    let refused = bench.plan(&[("file.delete", json!({"path": bench.text("tree")}))]).unwrap_err();
    assert!(refused.to_string().contains("not empty"), "{refused}");
    let plan =
        bench.plan(&[("file.delete", json!({"path": bench.text("tree"), "recursive": true}))]).unwrap();
    assert_eq!(plan.plan.risk, Risk::Destructive);
    assert_eq!(plan.plan.steps[0].effects_total, 12);
    assert_eq!(plan.plan.undo, Undo::Exact);
    assert_eq!(snapshot(&bench.path("")), before);
    bench.make(&plan.script);
    assert!(!bench.path("tree").exists());
    bench.take_back(&plan.script);
    // A folder's own time is when its names changed, which cannot be put back.
    assert_eq!(snapshot(&bench.path("")), before);
}

#[test]
fn steps_see_what_the_earlier_ones_leave() {
    let bench = Bench::new();
    let before = snapshot(&bench.path(""));
    let plan = bench
        .plan(&[
            ("file.mkdir", json!({"path": bench.text("site")})),
            ("file.write", json!({"path": bench.text("site/index"), "content": "hello"})),
            ("file.append", json!({"path": bench.text("site/index"), "content": "there\n"})),
            ("file.chmod", json!({"path": bench.text("site/index"), "mode": "0600"})),
            ("file.copy", json!({"path": bench.text("site/index"), "to": bench.text("site/copy")})),
            ("file.symlink", json!({"path": bench.text("site/link"), "target": "index"})),
        ])
        .unwrap();
    bench.make(&plan.script);
    assert_eq!(fs::read_to_string(bench.path("site/copy")).unwrap(), "hello\nthere\n");
    assert_eq!(fs::metadata(bench.path("site/link")).unwrap().mode() & 0o7777, 0o600);
    bench.take_back(&plan.script);
    assert_eq!(snapshot(&bench.path("")), before);
}

#[test]
fn a_step_that_fails_takes_the_others_back() {
    let bench = Bench::new();
    let plan = bench
        .plan(&[
            ("file.write", json!({"path": bench.text("a"), "content": "a"})),
            ("file.mkdir", json!({"path": bench.text("b")})),
            ("file.write", json!({"path": bench.text("c"), "content": "c"})),
        ])
        .unwrap();
    fs::write(bench.path("c"), "somebody else's").unwrap();
    match plan.script.make(&bench.context(), |_| {}) {
        Made::TakenBack { error: ChangeError::Moved { what, .. } } => assert!(what.ends_with("/c"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert!(!bench.path("a").exists() && !bench.path("b").exists());
    assert_eq!(fs::read_to_string(bench.path("c")).unwrap(), "somebody else's");
    assert_eq!(fs::read_dir(bench.path("")).unwrap().count(), 1, "something was left behind");
}

#[test]
fn after_a_cut_at_any_step_it_is_known_how_far_it_was() {
    let bench = Bench::new();
    fs::write(bench.path("old"), "old").unwrap();
    let before = snapshot(&bench.path(""));
    let plan = bench
        .plan(&[
            ("file.write", json!({"path": bench.text("old"), "content": "new"})),
            ("file.chmod", json!({"path": bench.text("old"), "mode": "0600"})),
            ("file.mkdir", json!({"path": bench.text("d")})),
            ("file.write", json!({"path": bench.text("d/e"), "content": "e"})),
            ("file.delete", json!({"path": bench.text("old")})),
        ])
        .unwrap();
    let script = plan.script;
    for cut in 0..=script.len() {
        for (number, transition) in script.transitions().enumerate().take(cut) {
            // One transition at a time is what agentd makes, and where it can be cut off.
            let one = Script { steps: vec![vec![transition.clone()]] };
            assert!(matches!(one.make(&bench.context(), |_| {}), Made::All), "{number}");
        }
        let expected = match cut {
            0 => Progress::Nothing,
            all if all == script.len() => Progress::All,
            part => Progress::Part(part),
        };
        assert_eq!(script.progress(&bench.context()).unwrap(), expected);
        assert!(script.take_back(cut, &bench.context()).is_empty());
        assert_eq!(snapshot(&bench.path("")), before, "cut after {cut}");
    }
    fs::write(bench.path("old"), "neither").unwrap();
    assert!(matches!(script.progress(&bench.context()).unwrap(), Progress::Unclear(_)));
}

#[test]
fn whichever_files_of_a_folder_a_cut_left_made_are_taken_back() {
    let bench = Bench::new();
    fs::write(bench.path("old"), "old").unwrap();
    fs::write(bench.path("gone"), "gone").unwrap();
    let before = snapshot(&bench.path(""));
    let plan = bench
        .plan(&[
            ("file.write", json!({"path": bench.text("new"), "content": "new"})),
            ("file.write", json!({"path": bench.text("old"), "content": "newer"})),
            ("file.delete", json!({"path": bench.text("gone")})),
            ("file.mkdir", json!({"path": bench.text("folder")})),
        ])
        .unwrap();
    let script = plan.script;
    for subset in 0..1_usize << script.len() {
        let made: Vec<usize> = (0..script.len()).filter(|number| subset >> number & 1 == 1).collect();
        for number in &made {
            let one = Script { steps: vec![vec![script.transitions().nth(*number).unwrap().clone()]] };
            assert!(matches!(one.make(&bench.context(), |_| {}), Made::All));
        }
        let left = match script.progress(&bench.context()).unwrap() {
            Progress::Nothing => Vec::new(),
            Progress::Part(count) => {
                assert_eq!(made, (0..count).collect::<Vec<_>>());
                script.take_back(count, &bench.context())
            }
            Progress::Scattered(found) => {
                assert_eq!(made, found);
                script.take_back_these(&found, &bench.context())
            }
            Progress::All => script.take_back(script.len(), &bench.context()),
            other @ (Progress::Unclear(_) | Progress::UnderWay(_)) => panic!("{made:?}: {other:?}"),
        };
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(snapshot(&bench.path("")), before, "{made:?}");
    }
}

#[test]
fn what_is_written_ahead_is_seen_by_nobody_and_leaves_nothing() {
    let bench = Bench::new();
    fs::write(bench.path("old"), "old").unwrap();
    let before = snapshot(&bench.path(""));
    let plan = bench
        .plan(&[
            ("file.write", json!({"path": bench.text("new"), "content": "new"})),
            ("file.write", json!({"path": bench.text("old"), "content": "newer"})),
        ])
        .unwrap();
    let ahead = plan.script.write_ahead(&bench.context());
    assert_eq!(snapshot(&bench.path("")), before);
    drop(ahead);
    assert_eq!(snapshot(&bench.path("")), before);
    // The folder is another one by the time that it is made: it is written anew there.
    let ahead = plan.script.write_ahead(&bench.context());
    fs::rename(bench.path(""), bench.folder.path().join("elsewhere")).unwrap();
    fs::create_dir(bench.path("")).unwrap();
    fs::write(bench.path("old"), "old").unwrap();
    assert!(matches!(
        plan.script.make_after(ahead, &mut Replaced::default(), &bench.context(), |_| {}),
        Made::All
    ));
    assert_eq!(fs::read_to_string(bench.path("new")).unwrap(), "new");
    assert_eq!(fs::read_to_string(bench.path("old")).unwrap(), "newer");
    assert_eq!(fs::read_dir(bench.path("")).unwrap().count(), 2);
}

#[test]
fn what_somebody_else_changed_is_not_overwritten() {
    let bench = Bench::new();
    fs::write(bench.path("a"), "first").unwrap();
    let script = bench.change("file.write", json!({"path": bench.text("a"), "content": "second"}));
    fs::write(bench.path("a"), "third").unwrap();
    let error = bench.undo(&script).unwrap_err();
    assert!(matches!(error, ChangeError::Moved { .. }), "{error}");
    assert_eq!(fs::read_to_string(bench.path("a")).unwrap(), "third");
}

#[test]
fn a_link_is_followed_in_the_plan_and_never_while_it_is_made() {
    let bench = Bench::new();
    fs::create_dir(bench.path("real")).unwrap();
    fs::write(bench.path("real/file"), "real").unwrap();
    symlink("real/file", bench.path("link")).unwrap();
    symlink("real", bench.path("folder")).unwrap();
    let plan = bench.plan(&[("file.write", json!({"path": bench.text("link"), "content": "new"}))]).unwrap();
    assert_eq!(plan.plan.steps[0].effects[0].on, format!("file {}", bench.text("real/file")));
    assert!(plan.touched[0].paths.contains(&bench.path("link").as_os_str().as_bytes().to_vec()));
    assert!(plan.touched[0].paths.contains(&bench.path("real/file").as_os_str().as_bytes().to_vec()));
    let plan =
        bench.plan(&[("file.write", json!({"path": bench.text("folder/file"), "content": "new"}))]).unwrap();
    fs::rename(bench.path("real"), bench.path("other")).unwrap();
    fs::create_dir(bench.path("elsewhere")).unwrap();
    fs::write(bench.path("elsewhere/file"), "real").unwrap();
    symlink("elsewhere", bench.path("real")).unwrap();
    let made = plan.script.make(&bench.context(), |_| {});
    assert!(matches!(made, Made::TakenBack { .. }), "{made:?}");
    assert_eq!(fs::read_to_string(bench.path("elsewhere/file")).unwrap(), "real");
    symlink("nowhere", bench.path("dangling")).unwrap();
    assert!(bench.plan(&[("file.write", json!({"path": bench.text("dangling"), "content": "x"}))]).is_err());
}

#[test]
fn a_folder_that_is_exchanged_for_a_link_in_a_loop_is_never_left() {
    let bench = Bench::new();
    fs::create_dir(bench.path("safe")).unwrap();
    fs::create_dir(bench.path("victim")).unwrap();
    fs::write(bench.path("victim/file"), "untouched").unwrap();
    symlink("victim", bench.path("trap")).unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (safe, trap) = (bench.folder.path().join("work/safe"), bench.folder.path().join("work/trap"));
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &safe,
                    rustix::fs::CWD,
                    &trap,
                    rustix::fs::RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        let _end = Ends(&ended);
        let (mut made, mut refused) = (0, 0);
        for round in 0..2000 {
            let step = [(
                "file.write",
                json!({"path": bench.text("safe/file"), "content": format!("round {round}")}),
            )];
            // As it was asked for, the path may lead to the victim at that moment, and the plan would say so.
            let Ok(plan) = bench.plan(&step) else { continue };
            if !plan.plan.steps[0].effects.iter().all(|effect| effect.on.ends_with("safe/file")) {
                continue;
            }
            match plan.script.make(&bench.context(), |_| {}) {
                Made::All => made += 1,
                Made::TakenBack { .. } => refused += 1,
                Made::Stuck { left, .. } => panic!("{left:?}"),
            }
        }
        assert!(made > 0, "none of it was made ({refused} refused)");
    });
    let victim =
        if bench.path("victim").exists() { bench.path("victim/file") } else { bench.path("trap/file") };
    assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
}

#[test]
fn a_file_that_is_written_meanwhile_is_not_lost() {
    let bench = Bench::new();
    let file = bench.path("contended");
    fs::write(&file, "0").unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut last = String::new();
            for number in 0_u64.. {
                if ended.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                last = format!("somebody's {number}");
                let aside = file.with_extension("aside");
                fs::write(&aside, &last).unwrap();
                fs::rename(&aside, &file).unwrap();
            }
            last
        });
        let end = Ends(&ended);
        for round in 0..300 {
            let step = [(
                "file.write",
                json!({"path": bench.text("contended"), "content": format!("agent's {round}")}),
            )];
            if let Ok(plan) = bench.plan(&step) {
                let _ = plan.script.make(&bench.context(), |_| {});
            }
        }
        drop(end);
        let last = writer.join().unwrap();
        let found = fs::read_to_string(&file).unwrap();
        // The last word is somebody's, or a change that was planned after it.
        assert!(found == last || found.starts_with("agent's"), "{found:?}, not {last:?}");
    });
    let left: Vec<_> =
        fs::read_dir(bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["contended"], "something was left behind");
}

#[test]
fn what_belongs_to_agentd_is_kept_from_the_agent_by_every_name() {
    let bench = Bench::new();
    let state = bench.folder.path().join("state");
    let direct = encode(state.join("objects.db").as_os_str().as_bytes());
    symlink(&state, bench.path("door")).unwrap();
    fs::hard_link(state.join("objects.db"), bench.path("linked")).unwrap();
    for (mutation, args) in [
        ("file.delete", json!({"path": direct})),
        ("file.write", json!({"path": bench.text("door/objects.db"), "content": ""})),
        ("file.write", json!({"path": bench.text("door/new"), "content": ""})),
        ("file.chmod", json!({"path": bench.text("linked"), "mode": "0666"})),
        ("file.move", json!({"path": bench.text("door/objects.db"), "to": bench.text("mine")})),
        ("file.delete", json!({"path": encode(state.as_os_str().as_bytes()), "recursive": true})),
        ("file.write", json!({"path": "/etc/agentos/policy.toml", "content": ""})),
        ("file.write", json!({"path": "/etc/systemd/system/agentd.service.d/x.conf", "content": ""})),
        ("file.append", json!({"path": "/etc/group", "content": "x"})),
    ] {
        let error = bench.plan(&[(mutation, args.clone())]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("operator") || text.contains("does not exist"), "{mutation} {args}: {text}");
    }
    let operator = Viewer { operator: true, rules: None };
    assert!(bench.plan_as(&operator, &[("file.chmod", json!({"path": direct, "mode": "0640"}))]).is_ok());
}

#[test]
fn the_kernels_switches_are_no_files() {
    let bench = Bench::new();
    for path in ["/proc/sys/kernel/core_pattern", "/sys/power/state", "/proc/self/oom_score_adj"] {
        let error = bench.plan(&[("file.write", json!({"path": path, "content": "x"}))]).unwrap_err();
        assert!(error.to_string().contains("kernel"), "{path}: {error}");
    }
}

#[test]
fn bad_arguments_are_named() {
    let bench = Bench::new();
    for (mutation, args, field) in [
        ("file.write", json!({"path": "relative", "content": ""}), "path"),
        ("file.write", json!({"path": "/", "content": ""}), "path"),
        ("file.write", json!({"path": bench.text(".."), "content": ""}), "path"),
        ("file.write", json!({"path": bench.text("n") + &"n".repeat(256), "content": ""}), "path"),
        ("file.write", json!({"path": bench.text("a"), "content": "%", "encoding": "base64"}), "content"),
        ("file.write", json!({"path": bench.text("a"), "content": "", "mode": "rw"}), "mode"),
        ("file.chmod", json!({"path": bench.text("a"), "mode": "9999"}), "mode"),
        ("file.chown", json!({"path": bench.text("a")}), "owner"),
        ("file.chown", json!({"path": bench.text("a"), "owner": "no-such-user"}), "owner"),
        ("file.symlink", json!({"path": bench.text("a"), "target": ""}), "target"),
        ("file.move", json!({"path": bench.text(""), "to": bench.text("below")}), "to"),
    ] {
        let error = bench.plan(&[(mutation, args.clone())]).unwrap_err().to_string();
        assert!(error.starts_with(field), "{mutation} {args}: {error}");
    }
    let missing = bench.plan(&[("file.delete", json!({"path": bench.text("none")}))]).unwrap_err();
    assert!(missing.to_string().contains("does not exist"), "{missing}");
    let folder = bench.plan(&[("file.write", json!({"path": bench.text(""), "content": ""}))]).unwrap_err();
    assert!(folder.to_string().contains("no regular file"), "{folder}");
}

#[test]
fn what_is_too_large_to_keep_is_said_to_be_gone_for_good() {
    let bench = Bench::with_quota(100_000);
    fs::write(bench.path("large"), vec![1; 200_000]).unwrap();
    let plan = bench.plan(&[("file.delete", json!({"path": bench.text("large")}))]).unwrap();
    assert!(matches!(plan.plan.undo, Undo::Impossible { .. }), "{:?}", plan.plan.undo);
    assert_eq!(plan.plan.risk, Risk::Destructive);
    bench.make(&plan.script);
    assert!(matches!(bench.undo(&plan.script), Err(ChangeError::Refused { .. })));
}

#[test]
fn other_names_of_a_file_are_told() {
    let bench = Bench::new();
    fs::write(bench.path("a"), "a").unwrap();
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    let plan = bench.plan(&[("file.write", json!({"path": bench.text("a"), "content": "x"}))]).unwrap();
    assert!(matches!(plan.plan.undo, Undo::Partial { .. }), "{:?}", plan.plan.undo);
    bench.make(&plan.script);
    assert_eq!(fs::read_to_string(bench.path("b")).unwrap(), "a");
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written_change_nothing() {
    // A mount namespace of this test's own: its thread leaves the others'.
    let result = std::thread::spawn(|| {
        let bench = Bench::new();
        // SAFETY: only this thread's view of what is mounted changes, and it holds no descriptor of a folder by its path.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.is_err() {
            eprintln!("NOT RUN: making a mount namespace needs root");
            return;
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let small = bench.path("small");
        fs::create_dir(&small).unwrap();
        mount("tmpfs", &small, "tmpfs", MountFlags::empty(), c"size=64k,mode=0755").unwrap();
        fs::write(small.join("a"), "a").unwrap();
        let before = snapshot(&small);
        let large = "x".repeat(100_000);
        let plan =
            bench.plan(&[("file.write", json!({"path": bench.text("small/a"), "content": large}))]).unwrap();
        match plan.script.make(&bench.context(), |_| {}) {
            Made::TakenBack { error } => {
                assert!(chain(&error).to_lowercase().contains("space"), "{}", chain(&error));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(snapshot(&small), before);
        mount_remount(&small, MountFlags::RDONLY, c"size=64k").unwrap();
        let plan =
            bench.plan(&[("file.write", json!({"path": bench.text("small/a"), "content": "b"}))]).unwrap();
        match plan.script.make(&bench.context(), |_| {}) {
            Made::TakenBack { error } => {
                assert!(chain(&error).to_lowercase().contains("read-only"), "{}", chain(&error));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(snapshot(&small), before);
        let mounted =
            bench.plan(&[("file.delete", json!({"path": bench.text(""), "recursive": true}))]).unwrap_err();
        assert!(mounted.to_string().contains("mounted"), "{mounted}");
    })
    .join();
    result.unwrap();
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn the_position_of_each_transition_is_seen() {
    let bench = Bench::new();
    let plan = bench.plan(&[("file.mkdir", json!({"path": bench.text("d")}))]).unwrap();
    assert_eq!(plan.script.check(&bench.context()).map_err(|error| error.to_string()), Ok(()));
    let transition = plan.script.transitions().next().unwrap();
    assert_eq!(transition.where_is(&bench.context()).unwrap(), Position::Before);
    bench.make(&plan.script);
    assert_eq!(transition.where_is(&bench.context()).unwrap(), Position::After);
    fs::remove_dir(bench.path("d")).unwrap();
    fs::write(bench.path("d"), "").unwrap();
    assert!(matches!(transition.where_is(&bench.context()).unwrap(), Position::Elsewhere(_)));
}
