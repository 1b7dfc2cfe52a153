//! Installing from real archives with the real curl(1), from a folder and from a server on loopback.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use agentos_setup::runtime::{Expected, Options, Pinned, Runtime};
use agentos_setup::{Event, Kind, Registry, SetupError};
use support::{Answer, Entry, Project, Server};

fn install(project: &Project, place: &Path, registry: Option<&str>) -> Result<Runtime, SetupError> {
    let registry = registry.map(|address| Registry::parse(address).unwrap());
    let downloads = place.join("downloads");
    let options = Options {
        registry: registry.as_ref(),
        curl: Path::new("/usr/bin/curl"),
        downloads: &downloads,
        expected: Some(Expected { download: 1000, installed: 1000 }),
    };
    Pinned::read(&project.folder)?.install(&place.join("runtimes"), &options, &mut |_: Event<'_>| {})
}

/// The names in a folder, without those that begin with a dot.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn parts(folder: &Path) -> usize {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            if path.is_dir() {
                parts(&path)
            } else {
                usize::from(path.extension().is_some_and(|it| it == "part"))
            }
        })
        .sum()
}

#[test]
fn a_runtime_is_installed_from_a_mirror_and_is_one_itself() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let runtime = install(&project, place.path(), Some(&project.address())).unwrap();
    let folder = runtime.folder();
    let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(read("node_modules/c/index.js"), "c");
    assert_eq!(read("node_modules/c/node_modules/b/index.js"), "b");
    assert_eq!(read("node_modules/@scope/a/node_modules/b/index.js"), "b");
    assert!(!folder.join("node_modules/mac").exists());
    assert_eq!(
        fs::read_link(folder.join("bin/node")).unwrap(),
        Path::new("../node_modules/node-linux-test/bin/node")
    );
    assert_eq!(read("bin/openclaw"), "console.log(1)");
    // Programs can be run, whatever the archive says; nothing can be written by others.
    assert_eq!(mode("bin/openclaw"), 0o755);
    assert_eq!(mode("bin/node"), 0o755);
    assert_eq!(mode("node_modules/openclaw/node_modules/inner/tool.js"), 0o755);
    assert_eq!(mode("node_modules/c/index.js"), 0o644);
    assert_eq!(mode("node_modules/c"), 0o755);
    assert_eq!(mode(""), 0o755);
    assert!(folder.join(".complete").is_file());
    assert!(!folder.join("node_modules/openclaw/.openclaw-lifecycle-pending").exists());

    // What was downloaded serves as a registry for another machine.
    let mirror = place.path().join("downloads");
    assert_eq!(parts(&mirror), 0);
    let other = tempfile::tempdir().unwrap();
    install(&project, other.path(), Some(&format!("file://{}", mirror.display()))).unwrap();
}

#[test]
fn what_is_installed_is_left_alone_and_another_lock_file_makes_another_runtime() {
    let place = tempfile::tempdir().unwrap();
    let mut project = Project::like_ours(place.path());
    let first = install(&project, place.path(), Some(&project.address())).unwrap();
    assert_eq!(install(&project, place.path(), None).unwrap(), first);
    first.make_current().unwrap();
    project.add("node_modules/new", "1.0.0", &[Entry::file("package/x", b"x")], &serde_json::json!({}));
    // Only the new one is fetched: the rest of the mirror may be gone.
    for name in ["@scope", "c", "openclaw", "node-linux-test", "b"] {
        fs::remove_dir_all(project.mirror.join(name)).unwrap();
    }
    let second = install(&project, place.path(), Some(&project.address())).unwrap();
    assert_ne!(first, second);
    assert!(first.is_current() && !second.is_current());
    second.make_current().unwrap();
    assert!(second.is_current() && place.path().join("runtimes/current/bin/openclaw").is_file());
}

#[test]
fn a_forged_archive_is_neither_unpacked_nor_kept() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let forged = support::archive(&[Entry::file("package/openclaw.mjs", b"forged")]);
    fs::write(project.archive("openclaw", "2.0.0"), forged).unwrap();
    let server = Server::start(&project.mirror, |_, _| Answer::Whole);
    for address in [project.address(), server.address()] {
        let error = install(&project, place.path(), Some(&address)).unwrap_err();
        assert!(matches!(error, SetupError::Integrity { .. }), "{error}");
        assert!(error.to_string().contains("openclaw-2.0.0.tgz"), "{error}");
        assert!(!place.path().join("downloads/openclaw/-/openclaw-2.0.0.tgz").exists());
        assert_eq!(names(&place.path().join("runtimes")), Vec::<String>::new());
    }
}

#[test]
fn a_file_that_was_tampered_with_after_the_download_is_fetched_again() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    install(&project, place.path(), Some(&project.address())).unwrap();
    fs::remove_dir_all(place.path().join("runtimes")).unwrap();
    fs::write(place.path().join("downloads/c/-/c-3.1.4-rc.1+x.tgz"), "tampered").unwrap();
    assert!(install(&project, place.path(), None).unwrap_err().to_string().contains("c-3.1.4-rc.1+x.tgz"));
    let server = Server::start(&project.mirror, |_, _| Answer::Whole);
    install(&project, place.path(), Some(&server.address())).unwrap();
    assert_eq!(server.requests(), ["/c/-/c-3.1.4-rc.1+x.tgz"]);
}

#[test]
fn a_download_that_is_cut_off_is_asked_for_again() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let flaky = |path: &str, before: usize| match (path.contains("openclaw"), before) {
        (true, 0) => Answer::Half,
        (true, 1) => Answer::Status(503),
        _ => Answer::Whole,
    };
    let server = Server::start(&project.mirror, flaky);
    install(&project, place.path(), Some(&server.address())).unwrap();
    let other = tempfile::tempdir().unwrap();
    let server =
        Server::start(
            &project.mirror,
            |path, _| if path.contains("openclaw") { Answer::Half } else { Answer::Whole },
        );
    let error = install(&project, other.path(), Some(&server.address())).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert_eq!(parts(&other.path().join("downloads")), 0);
    // What did come is not asked for again.
    let server = Server::start(&project.mirror, |_, _| Answer::Whole);
    install(&project, other.path(), Some(&server.address())).unwrap();
    assert_eq!(server.requests(), ["/openclaw/-/openclaw-2.0.0.tgz"]);
}

#[test]
fn a_registry_that_lacks_a_package_is_told_from_one_that_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let server = Server::start(&project.mirror, |path, _| {
        if path.contains("/c-") { Answer::Status(404) } else { Answer::Whole }
    });
    let secret = format!("http://me:secret@127.0.0.1:{}/", server.port);
    let error = install(&project, place.path(), Some(&secret)).unwrap_err();
    assert!(matches!(error, SetupError::Fetch { count: 1, .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("404") && text.contains("c-3.1.4-rc.1+x.tgz") && !text.contains("secret"),
        "{text}"
    );

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for address in [format!("http://127.0.0.1:{closed}"), "file:///no/such/folder".to_owned()] {
        let error = install(&project, place.path(), Some(&address)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error =
        install(&project, place.path(), Some(&format!("file://{}", empty.path().display()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{error}");
}

#[test]
fn a_redirection_leads_to_a_server_and_never_to_a_file() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let real = Server::start(&project.mirror, |_, _| Answer::Whole);
    let to = real.address();
    let server = Server::start(&project.mirror, move |path, _| Answer::Redirect(format!("{to}{path}")));
    install(&project, place.path(), Some(&server.address())).unwrap();
    let other = tempfile::tempdir().unwrap();
    let to = project.address();
    let server = Server::start(&project.mirror, move |path, _| Answer::Redirect(format!("{to}{path}")));
    install(&project, other.path(), Some(&server.address())).unwrap_err();
    assert_eq!(names(&other.path().join("runtimes")), Vec::<String>::new());
}

#[test]
fn two_that_install_at_once_wait_for_each_other() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let server = Server::start(&project.mirror, |_, _| Answer::After(Duration::from_millis(200)));
    let address = server.address();
    std::thread::scope(|scope| {
        let installed: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| install(&project, place.path(), Some(&address)).unwrap()))
            .collect();
        let installed: Vec<_> = installed.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(installed.windows(2).all(|pair| pair[0] == pair[1]));
    });
    let mut requests = server.requests();
    let all = requests.len();
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), all, "a package was fetched twice");
}

#[test]
fn what_was_cut_off_while_unpacking_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    let project = Project::like_ours(place.path());
    let name = Pinned::read(&project.folder).unwrap().name();
    let runtimes = place.path().join("runtimes");
    for leftover in [format!("{name}.partial"), name.clone()] {
        fs::create_dir_all(runtimes.join(leftover).join("node_modules/openclaw")).unwrap();
    }
    fs::write(runtimes.join(&name).join("node_modules/openclaw/stale.js"), "").unwrap();
    let runtime = install(&project, place.path(), Some(&project.address())).unwrap();
    assert!(!runtime.folder().join("node_modules/openclaw/stale.js").exists());
    assert_eq!(names(&runtimes), [name]);
}

#[test]
fn a_package_that_should_come_inside_of_another_and_does_not_is_missed() {
    let place = tempfile::tempdir().unwrap();
    let mut project = Project::like_ours(place.path());
    project.entry(
        "node_modules/c/node_modules/inner",
        serde_json::json!({ "version": "1.0.0", "inBundle": true }),
    );
    let error = install(&project, place.path(), Some(&project.address())).unwrap_err().to_string();
    assert!(error.contains("node_modules/c/node_modules/inner"), "{error}");
}

#[test]
fn without_room_nothing_is_begun_and_the_figures_are_told() {
    let place = tempfile::tempdir().unwrap();
    let mut project = Project::like_ours(place.path());
    // Unpacks to more than the disk below has; its archive is small.
    project.add(
        "node_modules/large",
        "1.0.0",
        &[Entry::file("package/zeros", &vec![0; 8 << 20])],
        &serde_json::json!({}),
    );
    let disk = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::tmpfs(disk.path(), c"size=4m") else {
        eprintln!("not tested: a file system cannot be mounted here");
        return;
    };
    let error = install(&project, disk.path(), Some(&project.address())).unwrap_err();
    assert_eq!(error.kind(), Kind::Space, "{error}");
    assert!(error.to_string().contains("MB free"), "{error}");
    // What is fetched may not fit either.
    fs::remove_dir_all(disk.path().join("downloads")).unwrap();
    fs::write(disk.path().join("filler"), vec![0; (4 << 20) - (40 << 10)]).unwrap();
    let large = Entry::file("package/noise", &noise(256 << 10));
    project.add("node_modules/large", "1.0.0", &[large], &serde_json::json!({}));
    let error = install(&project, disk.path(), Some(&project.address())).unwrap_err();
    assert_eq!(error.kind(), Kind::Space, "{error}");
    fs::remove_file(disk.path().join("filler")).unwrap();
    install(&project, disk.path(), Some(&project.address())).unwrap();
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// A mounted file system; dropped, it is unmounted.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(path: &'a Path, options: &std::ffi::CStr) -> Option<Self> {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, Some(options)).ok().map(|()| Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
