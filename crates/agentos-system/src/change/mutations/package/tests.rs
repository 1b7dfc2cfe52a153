//! With the real apt and dpkg, over a folder of the test's own and an archive of tiny packages.

use std::fmt::Write as _;
use std::process::Command;

use agentos_api::change::{Risk, Undo};
use serde_json::{Value, json};

use crate::change::testing::{Bench, effects, text_of};
use crate::change::{ChangeError, Made, Progress};

/// A machine without packages, with an archive that has: `lib` 1, `app` 1 and 2 (which need it, and have configuration),
/// `plug` 1:1 (which needs `app`), `bad` 1 (whose script fails: there is no shell here), `must` 1 (essential).
struct Archive {
    bench: Bench,
}

impl Archive {
    /// None where apt is not installed, or this is not root.
    fn new() -> Option<Self> {
        let there = ["apt-get", "dpkg-deb"].iter().all(|name| crate::run::Program::find(name).is_some());
        if !there || !rustix::process::geteuid().is_root() {
            return None;
        }
        let bench = Bench::new();
        for folder in [
            "/var/lib/dpkg/info",
            "/var/lib/dpkg/updates",
            "/var/lib/apt/lists/partial",
            "/var/cache/apt/archives/partial",
            "/etc/apt/apt.conf.d",
            "/etc/apt/preferences.d",
            "/etc/apt/sources.list.d",
            "/etc/apt/trusted.gpg.d",
            "/var/log/apt",
            "/srv/archive",
            "/build",
        ] {
            std::fs::create_dir_all(bench.path(folder)).unwrap();
        }
        let archive = bench.path("/srv/archive");
        bench.write("/etc/apt/sources.list", &format!("deb [trusted=yes] file:{} ./\n", archive.display()));
        bench.write("/var/lib/dpkg/status", "");
        // So that the folders stay.
        bench.write("/usr/share/other", "");
        let this = Self { bench };
        this.package("lib", "1", "", &[]);
        for version in ["1", "2"] {
            let configuration = format!("setting = {version}\n");
            this.package("app", version, "Depends: lib\n", &[("conffile", &configuration)]);
        }
        this.package("plug", "1:1", "Depends: app\n", &[]);
        this.package("bad", "1", "", &[("postinst", "#!/bin/sh\nexit 1\n")]);
        this.package("must", "1", "Essential: yes\n", &[]);
        this.index();
        Some(this)
    }

    fn package(&self, name: &str, version: &str, fields: &str, extra: &[(&str, &str)]) {
        let folder = format!("/build/{name}");
        let _ = std::fs::remove_dir_all(self.bench.path(&folder));
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\nInstalled-Size: 100\n{fields}Description: {name}\n"
        );
        self.bench.write(&format!("{folder}/DEBIAN/control"), &control);
        self.bench.write(&format!("{folder}/usr/share/{name}/version"), version);
        for (what, content) in extra {
            if *what == "conffile" {
                self.bench
                    .write(&format!("{folder}/DEBIAN/conffiles"), &format!("/etc/{name}.d/{name}.conf\n"));
                self.bench.write(&format!("{folder}/etc/{name}.d/{name}.conf"), content);
            } else {
                self.bench.write(&format!("{folder}/DEBIAN/{what}"), content);
                run(Command::new("chmod")
                    .arg("755")
                    .arg(self.bench.path(&format!("{folder}/DEBIAN/{what}"))));
            }
        }
        let build = self.bench.path(&folder);
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(build)
            .arg(self.bench.path("/srv/archive")));
    }

    /// Writes the archive's list, and has apt read it.
    fn index(&self) {
        let archive = self.bench.path("/srv/archive");
        let mut list = String::new();
        for entry in std::fs::read_dir(&archive).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "deb") {
                let bytes = std::fs::read(&path).unwrap();
                let fields = run(Command::new("dpkg-deb").arg("--field").arg(&path));
                let name = path.file_name().unwrap().to_str().unwrap();
                let hash = agentos_objects::Hash::of(&bytes);
                writeln!(list, "{fields}Filename: ./{name}\nSize: {}\nSHA256: {hash}\n", bytes.len())
                    .unwrap();
            }
        }
        self.bench.write("/srv/archive/Packages", &list);
        self.apt(&["update"]);
    }

    fn apt(&self, words: &[&str]) -> String {
        let root = self.bench.path("/").display().to_string();
        let root = root.trim_end_matches('/');
        run(Command::new("apt-get")
            .args([
                "--yes",
                "--quiet",
                &format!("-oDir={root}/"),
                &format!("-oDir::State::status={root}/var/lib/dpkg/status"),
            ])
            .arg(format!("-oDpkg::Options::=--root={root}"))
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    }

    /// All packages with their states, what is automatic, and the files below `/etc` and `/usr`.
    fn snapshot(&self) -> String {
        let root = self.bench.path("/").display().to_string();
        let root = root.trim_end_matches('/');
        let packages = run(Command::new("dpkg-query")
            .arg(format!("--admindir={root}/var/lib/dpkg"))
            .args(["--show", "--showformat=${db:Status-Abbrev} ${Package} ${Version}\n"]));
        let marks = run(Command::new("apt-mark")
            .arg(format!("-oDir={root}/"))
            .arg(format!("-oDir::State::status={root}/var/lib/dpkg/status"))
            .arg("showauto"));
        let files = run(Command::new("find")
            .args(["etc", "usr", "-not", "-path", "etc/apt*", "-printf", "%p %y %m %U:%G\n"])
            .current_dir(root));
        let mut files: Vec<&str> = files.lines().collect();
        files.sort_unstable();
        let conf = std::fs::read_to_string(self.bench.path("/etc/app.d/app.conf")).unwrap_or_default();
        format!("{packages}auto: {marks}\n{}\n{conf}", files.join("\n"))
    }

    fn fails(&self, mutation: &str, args: Value) -> String {
        self.bench.plan(mutation, args).unwrap_err().to_string()
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn diff(prepared: &crate::change::Prepared) -> String {
    effects(prepared)[0].diff.clone().unwrap()
}

#[test]
fn what_is_installed_comes_with_what_it_needs_and_goes_with_it() {
    let Some(archive) = Archive::new() else { return };
    let before = archive.snapshot();
    let install = archive.bench.change("package.install", json!({"names": ["plug"]}));
    assert_eq!(diff(&install), "+app 2\n+lib 1\n+plug 1:1\n");
    assert_eq!(install.plan.risk, Risk::Medium);
    assert!(install.plan.summary.contains("307.2 kB more on the disk"), "{}", install.plan.summary);
    assert!(install.plan.summary.contains("with what is needed: app, lib"), "{}", install.plan.summary);
    assert_eq!(install.script.things(), ["package app", "package lib", "package plug"]);
    let after = archive.snapshot();
    assert!(after.contains("ii  plug 1:1") && after.contains("auto: app\nlib\n"), "{after}");
    archive.bench.undo(&install);
    assert_eq!(archive.snapshot(), before);
    // A certain version.
    let install = archive.bench.change("package.install", json!({"names": ["app=1"]}));
    assert_eq!(diff(&install), "+app 1\n+lib 1\n");
    let again = archive.bench.plan("package.install", json!({"names": ["app=1", "lib"]})).unwrap();
    assert!(again.script.is_empty() && again.plan.risk == Risk::Read, "{}", text_of(&again));
}

#[test]
fn what_a_removal_drags_along_is_named_and_comes_back_the_same() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "plug", "app=1"]);
    archive.bench.write("/etc/app.d/app.conf", "setting = mine\n");
    let before = archive.snapshot();
    let conf = archive.bench.path("/etc/app.d/app.conf");
    let remove = archive.bench.change("package.remove", json!({"names": ["lib"]}));
    assert_eq!(diff(&remove), "-app 1\n+app (configuration alone)\n-lib 1\n-plug 1:1\n");
    assert_eq!(remove.plan.risk, Risk::Destructive);
    assert!(
        remove.plan.summary.starts_with("Removes: lib; with what cannot be without it: app, plug ("),
        "{}",
        remove.plan.summary
    );
    assert!(conf.exists() && archive.snapshot().contains("rc  app"), "{}", archive.snapshot());
    archive.bench.undo(&remove);
    assert_eq!(archive.snapshot(), before);
    let purge = archive.bench.change("package.remove", json!({"names": ["lib"], "purge": true}));
    assert_eq!(diff(&purge), format!("-app 1\n-lib 1\n-plug 1:1\n-{}\n", conf.display()));
    assert!(!conf.parent().unwrap().exists());
    archive.bench.undo(&purge);
    assert_eq!(archive.snapshot(), before);
}

#[test]
fn configuration_that_is_left_of_a_package_is_found_and_left_again() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "app=1"]);
    archive.bench.write("/etc/app.d/app.conf", "setting = mine\n");
    archive.apt(&["remove", "app"]);
    archive.apt(&["purge", "lib"]);
    let before = archive.snapshot();
    let install = archive.bench.change("package.install", json!({"names": ["plug", "app=1"]}));
    assert_eq!(diff(&install), "-app (configuration alone)\n+app 1\n+lib 1\n+plug 1:1\n");
    assert_eq!(archive.bench.read("/etc/app.d/app.conf"), "setting = mine\n");
    archive.bench.undo(&install);
    assert_eq!(archive.snapshot(), before);
    // Without the package, nobody can say which configuration it was.
    let purge = archive.bench.change("package.remove", json!({"names": ["app"], "purge": true}));
    assert!(matches!(purge.plan.undo, Undo::Impossible { .. }), "{:?}", purge.plan.undo);
    assert!(!archive.bench.path("/etc/app.d").exists());
}

#[test]
fn an_upgrade_goes_back_to_the_version_before_though_nobody_has_it_any_more() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "app=1"]);
    let before = archive.snapshot();
    let upgrade = archive.bench.plan("package.upgrade", json!({"all": true})).unwrap();
    assert_eq!(diff(&upgrade), "-app 1\n+app 2\n");
    archive.bench.make(&upgrade);
    let after = archive.snapshot();
    assert!(after.contains("ii  app 2") && after.contains("setting = 2"), "{after}");
    std::fs::remove_file(archive.bench.path("/srv/archive/app_1_all.deb")).unwrap();
    archive.index();
    let undo = archive.bench.plan_undo(&upgrade).unwrap();
    archive.bench.make(&undo);
    assert_eq!(archive.snapshot(), before);
    archive.bench.undo(&undo);
    assert_eq!(archive.snapshot(), after);
}

#[test]
fn configuration_that_was_edited_outlives_an_upgrade_and_its_undo() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "app=1"]);
    archive.bench.write("/etc/app.d/app.conf", "setting = mine\n");
    let before = archive.snapshot();
    let upgrade = archive.bench.change("package.upgrade", json!({"names": ["app"]}));
    assert_eq!(archive.bench.read("/etc/app.d/app.conf"), "setting = mine\n");
    assert_eq!(archive.bench.read("/etc/app.d/app.conf.dpkg-dist"), "setting = 2\n");
    archive.bench.undo(&upgrade);
    assert_eq!(archive.snapshot(), before);
}

#[test]
fn a_version_that_nobody_has_is_said_to_be_lost() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "app=1"]);
    std::fs::remove_file(archive.bench.path("/srv/archive/app_1_all.deb")).unwrap();
    archive.index();
    let upgrade = archive.bench.plan("package.upgrade", json!({"names": ["app"]})).unwrap();
    assert!(
        matches!(&upgrade.plan.undo, Undo::Impossible { because } if because.contains("app 1")),
        "{:?}",
        upgrade.plan.undo
    );
}

#[test]
fn what_only_apts_cache_has_is_kept_from_there() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "app=1"]);
    let before = archive.snapshot();
    let cache = archive.bench.path("/var/cache/apt/archives/app_1_all.deb");
    std::fs::rename(archive.bench.path("/srv/archive/app_1_all.deb"), &cache).unwrap();
    archive.index();
    let upgrade = archive.bench.change("package.upgrade", json!({"names": ["app"]}));
    std::fs::remove_file(cache).unwrap();
    archive.bench.undo(&upgrade);
    assert_eq!(archive.snapshot(), before);
}

#[test]
fn what_lies_in_a_cache_is_not_taken_for_what_the_archive_has() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "app=1"]);
    let before = archive.snapshot();
    for folder in ["/var/cache/apt/archives", "/var/cache/agentos-packages"] {
        archive.bench.write(&format!("{folder}/app_1_all.deb"), "something else");
    }
    let upgrade = archive.bench.change("package.upgrade", json!({"names": ["app"]}));
    archive.bench.undo(&upgrade);
    assert_eq!(archive.snapshot(), before);
}

#[test]
fn on_nixos_packages_belong_into_the_configuration() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("/run/current-system/sw")).unwrap();
    for (mutation, args) in [
        ("package.install", json!({"names": ["app"]})),
        ("package.remove", json!({"names": ["app"]})),
        ("package.upgrade", json!({"all": true})),
    ] {
        let why = bench.plan(mutation, args).unwrap_err().to_string();
        assert!(why.contains("NixOS") && why.contains("environment.systemPackages"), "{why}");
    }
    // Neither NixOS nor Debian.
    let why = Bench::new().plan("package.upgrade", json!({"all": true})).unwrap_err().to_string();
    assert!(why.contains("dpkg does not manage this machine"), "{why}");
}

#[test]
fn a_script_that_fails_leaves_nothing_behind() {
    let Some(archive) = Archive::new() else { return };
    let before = archive.snapshot();
    let install = archive.bench.plan("package.install", json!({"names": ["bad", "app"]})).unwrap();
    match install.script.make(&archive.bench.context(), |_| {}) {
        Made::TakenBack { error } => {
            let why = error.to_string();
            assert!(
                why.contains("bad") && why.contains("post-installation") && why.contains("was taken back"),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(archive.snapshot(), before);
    assert_eq!(install.script.progress(&archive.bench.context()).unwrap(), Progress::Nothing);
}

#[test]
fn what_dpkg_left_half_way_is_told_with_what_mends_it() {
    let Some(archive) = Archive::new() else { return };
    let install = archive.bench.plan("package.install", json!({"names": ["app"]})).unwrap();
    // As a power cut leaves it: one unpacked, the other not there.
    let status = "Package: lib\nStatus: install ok unpacked\nArchitecture: all\nVersion: 1\nMaintainer: T\nDescription: x\n\n";
    archive.bench.write("/var/lib/dpkg/status", status);
    match install.script.progress(&archive.bench.context()).unwrap() {
        Progress::Unclear(found) => {
            let found = found.join("; ");
            assert!(found.contains("lib 1 (unpacked)") && found.contains("dpkg --configure -a"), "{found}");
        }
        other => panic!("{other:?}"),
    }
    let why = archive.fails("package.install", json!({"names": ["must"]}));
    assert!(why.contains("lib (unpacked)") && why.contains("dpkg --configure -a"), "{why}");
}

#[test]
fn a_plan_is_for_what_apt_would_do_and_for_nothing_else() {
    let Some(archive) = Archive::new() else { return };
    let install = archive.bench.plan("package.install", json!({"names": ["app=1"]})).unwrap();
    // Something else is installed meanwhile, which changes nothing about it.
    archive.apt(&["install", "must"]);
    install.script.check(&archive.bench.context()).unwrap();
    // One of those that would come is there by now.
    archive.apt(&["install", "lib"]);
    let moved = install.script.check(&archive.bench.context()).unwrap_err();
    assert!(matches!(&moved, ChangeError::Moved { found, .. } if found.contains("lib 1")), "{moved}");
    // The archive has another version of what it needs.
    let install = archive.bench.plan("package.install", json!({"names": ["plug"]})).unwrap();
    archive.package("app", "3", "Depends: lib, must\nConflicts: plug\n", &[]);
    std::fs::remove_file(archive.bench.path("/srv/archive/app_2_all.deb")).unwrap();
    archive.index();
    archive.apt(&["install", "bad-"]);
    match install.script.make(&archive.bench.context(), |_| {}) {
        Made::TakenBack { error } => assert!(error.to_string().contains("app"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_machine_needs_and_what_is_held_stays() {
    let Some(archive) = Archive::new() else { return };
    archive.apt(&["install", "must", "app=1"]);
    let why = archive.fails("package.remove", json!({"names": ["must"]}));
    assert!(why.contains("without must"), "{why}");
    let root = archive.bench.path("/");
    let mut hold = Command::new("dpkg");
    hold.arg(format!("--root={}", root.display())).arg("--set-selections");
    hold_app(&mut hold);
    let all = archive.bench.plan("package.upgrade", json!({"all": true})).unwrap();
    assert!(all.script.is_empty() && text_of(&all).contains("app (held)"), "{}", text_of(&all));
    let why = archive.fails("package.remove", json!({"names": ["app"]}));
    assert!(why.contains("apt-mark unhold"), "{why}");
    let why = archive.fails("package.upgrade", json!({"names": ["app"]}));
    assert!(why.contains("apt-mark unhold"), "{why}");
}

/// Tells dpkg to hold `app`.
fn hold_app(command: &mut Command) {
    use std::io::Write as _;
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"app hold\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn configuration_that_was_edited_is_not_lost_by_an_undo() {
    let Some(archive) = Archive::new() else { return };
    let install = archive.bench.change("package.install", json!({"names": ["app"]}));
    archive.bench.write("/etc/app.d/app.conf", "setting = mine\n");
    let why = archive.bench.plan_undo(&install).unwrap_err().to_string();
    assert!(why.contains("app.conf") && why.contains("package.remove"), "{why}");
    archive.bench.write("/etc/app.d/app.conf", "setting = 2\n");
    archive.bench.undo(&install);
    assert!(!archive.bench.path("/etc/app.d").exists());
}

#[test]
fn what_apt_does_not_know_is_told_with_what_is_near() {
    let Some(archive) = Archive::new() else { return };
    for (name, near) in [("plugg", "plug"), ("must+", "must"), ("a.p", "app")] {
        let error = archive.bench.plan("package.install", json!({"names": [name]})).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
        let shown = format!("{error:?}");
        assert!(shown.contains(&format!("{near:?}")) || name == "a.p", "{shown}");
    }
    let why = archive.fails("package.install", json!({"names": ["app=9"]}));
    assert!(why.contains("apt cannot do this") && why.contains('9'), "{why}");
    let why = archive.fails("package.remove", json!({"names": ["agentos"]}));
    assert!(why.contains("belongs to agentd itself"), "{why}");
}

#[test]
fn arguments_are_checked_before_anything_is_read() {
    let bench = Bench::new();
    for (mutation, args) in [
        ("package.install", json!({"names": []})),
        ("package.install", json!({"names": ["-y"]})),
        ("package.install", json!({"names": ["app", "app=1"]})),
        ("package.install", json!({"names": vec!["aa"; 51]})),
        ("package.remove", json!({"names": ["app=1"]})),
        ("package.remove", json!({"names": ["app-"]})),
        ("package.upgrade", json!({})),
        ("package.upgrade", json!({"names": ["app"], "all": true})),
    ] {
        let step = agentos_api::change::Step {
            mutation: mutation.to_owned(),
            args: args.as_object().unwrap().clone(),
        };
        assert!(bench.machine.check_mutation(&step).is_err(), "{args}");
    }
}
