use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::MachineOptions;

fn ask_as(machine: &Machine, operator: bool, path: &Path, more: &str) -> Result<Output, QueryError> {
    let path = agentos_api::query::path::encode(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    let path = serde_json::to_string(&path).unwrap();
    let bytes = machine.query(
        "file",
        format!(r#"{{"path":{path}{more}}}"#).as_bytes(),
        Viewer { operator, ..Viewer::default() },
    )?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

fn ask(path: impl AsRef<Path>, more: &str) -> Result<Output, QueryError> {
    ask_as(&Machine::new(MachineOptions::default()), false, path.as_ref(), more)
}

fn file(directory: &tempfile::TempDir, content: &[u8]) -> PathBuf {
    let path = directory.path().join("file");
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn ranges_put_together_are_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let text = "Größe und Maß — ".repeat(500);
    let path = file(&directory, text.as_bytes());
    let (mut whole, mut offset) = (String::new(), 0);
    loop {
        let part = ask(&path, &format!(r#","offset":{offset},"length":1001"#)).unwrap();
        assert_eq!(part.encoding, ContentEncoding::Text, "a character was cut at {offset}");
        assert!(part.length <= 1001);
        whole.push_str(&part.content);
        match part.next_offset {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(whole, text);
}

#[test]
fn what_is_not_text_is_base64_and_exact() {
    let directory = tempfile::tempdir().unwrap();
    for content in [&b"\xff\xfe\x00\x01"[..], b"text with \0 in it", b"caf\xe9"] {
        let part = ask(file(&directory, content), "").unwrap();
        assert_eq!(part.encoding, ContentEncoding::Base64);
        assert_eq!(STANDARD.decode(part.content).unwrap(), content);
    }
    let part = ask(file(&directory, b"caf\xe9"), r#","encoding":"text""#).unwrap();
    assert_eq!((part.content.as_str(), part.lossy), ("caf\u{fffd}", true));
    let part = ask(file(&directory, b"plain"), r#","encoding":"base64""#).unwrap();
    assert_eq!(part.content, "cGxhaW4=");
}

#[test]
fn first_and_last_lines_are_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (1..=1000).map(|line| format!("line {line}")).collect();
    let text = lines.join("\n") + "\n";
    let path = file(&directory, text.as_bytes());
    let head = ask(&path, r#","head_lines":2"#).unwrap();
    assert_eq!(head.content, "line 1\nline 2\n");
    assert_eq!(head.next_offset, Some(14));
    let tail = ask(&path, r#","tail_lines":2"#).unwrap();
    assert_eq!(tail.content, "line 999\nline 1000\n");
    assert!(tail.end_of_file);
    assert_eq!(tail.offset + tail.length, text.len() as u64);
    // Only what fits into the length, and no line that is cut.
    let short = ask(&path, r#","tail_lines":1000,"length":25"#).unwrap();
    assert_eq!(short.content, "line 999\nline 1000\n");
    assert_eq!(ask(file(&directory, b"no end"), r#","tail_lines":3"#).unwrap().content, "no end");
}

#[test]
fn a_file_of_the_kernel_has_content_though_no_size() {
    let part = ask("/proc/version", "").unwrap();
    assert_eq!(part.size_bytes, 0);
    assert_eq!(part.content, std::fs::read_to_string("/proc/version").unwrap());
    let tail = ask("/proc/meminfo", r#","tail_lines":1"#).unwrap();
    assert!(tail.content.ends_with(" kB\n") && tail.content.lines().count() == 1, "{}", tail.content);
}

#[test]
fn a_symbolic_link_is_followed_and_the_file_it_leads_to_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let target = file(&directory, b"content");
    let link = directory.path().join("link");
    symlink("./file", &link).unwrap();
    let part = ask(&link, "").unwrap();
    assert_eq!((Path::new(&part.path), part.content.as_str()), (target.as_path(), "content"));
    let turned = directory.path().join("turned");
    symlink("turned", &turned).unwrap();
    assert!(matches!(ask(&turned, ""), Err(QueryError::InvalidArgument { .. })));
}

#[test]
fn what_could_wait_or_act_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let socket = directory.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let device = directory.path().join("to-device");
    symlink("/dev/zero", &device).unwrap();
    let started = std::time::Instant::now();
    for path in [&fifo, &socket, &device, Path::new("/dev/zero"), Path::new("/dev/tty"), Path::new("/etc")] {
        assert!(matches!(ask(path, ""), Err(QueryError::InvalidArgument { .. })), "{}", path.display());
    }
    for path in ["/proc/kcore", "/proc/kmsg", "/proc/self/mem", "/proc/1/environ", "/proc/self/pagemap"] {
        match ask(path, "") {
            Err(QueryError::Forbidden { .. }) => {}
            Err(QueryError::NotFound { .. }) if !Path::new(path).exists() => {}
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_links_of_proc_lead_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::File::open(file(&directory, b"secret")).unwrap();
    let own = std::process::id();
    for path in [
        format!("/proc/{own}/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)),
        format!("/proc/{own}/root/etc/passwd"),
        "/proc/self/exe".to_owned(),
    ] {
        assert!(matches!(ask(&path, ""), Err(QueryError::Forbidden { .. })), "{path}");
    }
}

#[test]
fn what_agentd_protects_is_kept_from_the_agent_by_every_name() {
    let state = tempfile::tempdir().unwrap();
    let beside = tempfile::tempdir_in(state.path().parent().unwrap()).unwrap();
    std::fs::create_dir_all(state.path().join("keys/old")).unwrap();
    let key = state.path().join("keys/old/key");
    std::fs::write(&key, "private").unwrap();
    let hard_link = beside.path().join("hard");
    std::fs::hard_link(&key, &hard_link).unwrap();
    let link = beside.path().join("soft");
    symlink(&key, &link).unwrap();
    let around = beside.path().join("..").join(state.path().file_name().unwrap()).join("keys/./old/key");
    let harmless = beside.path().join("harmless");
    std::fs::write(&harmless, "x").unwrap();
    std::fs::hard_link(&harmless, beside.path().join("harmless-2")).unwrap();

    let machine = Machine::new(MachineOptions {
        protected: vec![state.path().to_owned()],
        ..crate::MachineOptions::default()
    });
    for path in [&key, &hard_link, &link, &around] {
        assert!(
            matches!(ask_as(&machine, false, path, ""), Err(QueryError::Forbidden { .. })),
            "{}",
            path.display()
        );
        assert_eq!(ask_as(&machine, true, path, "").unwrap().content, "private");
    }
    assert_eq!(ask_as(&machine, false, &harmless, "").unwrap().content, "x");

    // One file alone can be protected too.
    let machine =
        Machine::new(MachineOptions { protected: vec![key.clone()], ..crate::MachineOptions::default() });
    assert!(matches!(ask_as(&machine, false, &hard_link, ""), Err(QueryError::Forbidden { .. })));
}

#[test]
fn another_mount_of_what_agentd_protects_is_no_way_around() {
    use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("key"), "private").unwrap();
    let other = tempfile::tempdir().unwrap();
    // SAFETY: only the mounts are unshared, for this thread; memory and descriptors stay shared with the others.
    if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
        assert!(!rustix::process::geteuid().is_root(), "root may have mounts of its own");
        return;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount_bind(state.path(), other.path()).unwrap();
    let machine = Machine::new(MachineOptions {
        protected: vec![state.path().to_owned()],
        ..crate::MachineOptions::default()
    });
    let path = other.path().join("key");
    assert!(matches!(ask_as(&machine, false, &path, ""), Err(QueryError::Forbidden { .. })));
    assert_eq!(ask_as(&machine, true, &path, "").unwrap().path, path.to_string_lossy());
    rustix::mount::unmount(other.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
}

/// Keeps what is at, or below, some paths, as a policy does; shows an X in the place of each `secret`.
#[derive(Debug)]
struct Keeps {
    paths: Vec<String>,
    kept: crate::Kept,
}

impl crate::Rules for Keeps {
    fn judge(&self, names: &[Vec<u8>]) -> Result<(), String> {
        let below = |name: &[u8], path: &str| match path.split_once("**") {
            Some((folder, end)) => name.starts_with(folder.as_bytes()) && name.ends_with(end.as_bytes()),
            None => name == path.as_bytes(),
        };
        match self.paths.iter().find(|path| names.iter().any(|name| below(name, path))) {
            Some(path) => Err(format!("{path} is kept")),
            None => Ok(()),
        }
    }

    fn kept(&self) -> &crate::Kept {
        &self.kept
    }

    fn mask(&self, content: &[u8], part: std::ops::Range<usize>) -> Option<Vec<u8>> {
        let mut masked = content.to_vec();
        let starts: Vec<usize> =
            content.windows(6).enumerate().filter(|(_, at)| *at == b"secret").map(|(at, _)| at).collect();
        for &start in &starts {
            masked[start..start + 6].fill(b'X');
        }
        (!starts.is_empty()).then(|| masked[part].to_vec())
    }
}

fn ask_under(
    rules: &std::sync::Arc<Keeps>,
    query: &str,
    path: &Path,
    more: &str,
) -> Result<serde_json::Value, QueryError> {
    let viewer = Viewer { operator: false, rules: Some(rules.clone()) };
    let machine = Machine::new(MachineOptions::default());
    let bytes = machine.query(
        query,
        format!(r#"{{"path":{:?}{more}}}"#, path.display().to_string()).as_bytes(),
        viewer,
    )?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

fn keeps(paths: &[&str], patterns: &[&str]) -> std::sync::Arc<Keeps> {
    std::sync::Arc::new(Keeps {
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
        kept: crate::Kept::new(patterns.iter().copied()),
    })
}

#[test]
fn what_a_rule_keeps_is_kept_by_every_name_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = |name: &str| at(name).display().to_string();
    // The homes stand elsewhere than where the rule speaks of them, and one of them elsewhere again.
    std::fs::create_dir_all(at("disk/anna/keys/old")).unwrap();
    std::fs::create_dir_all(at("away/bert/keys")).unwrap();
    symlink(at("disk"), at("home")).unwrap();
    symlink(at("away/bert"), at("disk/bert")).unwrap();
    std::fs::create_dir(at("disk/anna/dot")).unwrap();
    for (name, content) in
        [("disk/anna/keys/old/id", "1"), ("away/bert/keys/id", "2"), ("disk/anna/dot/netrc", "3")]
    {
        std::fs::write(at(name), content).unwrap();
    }
    symlink("dot/netrc", at("disk/anna/.netrc")).unwrap();
    std::fs::hard_link(at("disk/anna/dot/netrc"), at("hard")).unwrap();
    symlink(at("disk/anna/keys/old/id"), at("soft")).unwrap();
    std::fs::write(at("free"), "4").unwrap();

    let paths = [text("home/anna/keys/**"), text("home/bert/keys/**"), text("home/anna/.netrc")];
    let patterns = [text("home/*/keys/**"), text("home/*/.netrc")];
    let rules = keeps(&paths.each_ref().map(String::as_str), &patterns.each_ref().map(String::as_str));
    for name in [
        "home/anna/keys/old/id",
        "disk/anna/keys/old/id",
        "soft",
        "home/bert/keys/id",
        "away/bert/keys/id",
        "disk/bert/keys/id",
        "home/anna/.netrc",
        "disk/anna/dot/netrc",
        "hard",
        "free/../hard/../soft",
    ] {
        match ask_under(&rules, "file", &at(name), "") {
            Err(QueryError::Denied { reason }) => assert!(reason.ends_with("is kept"), "{name}: {reason}"),
            Err(QueryError::NotFound { .. }) if name.contains("..") => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(ask_under(&rules, "file", &at("free"), "").unwrap()["content"], "4");
    for query in ["directory", "find"] {
        let answer = ask_under(&rules, query, &at("disk/anna/keys/old"), "");
        assert!(matches!(answer, Err(QueryError::Denied { .. })), "{query}: {answer:?}");
        assert!(ask_under(&rules, query, &at("disk/anna/dot"), "").is_ok(), "{query}");
    }
}

#[test]
fn another_mount_of_what_a_rule_keeps_is_no_way_around() {
    use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    let kept = tempfile::tempdir().unwrap();
    std::fs::create_dir(kept.path().join("deep")).unwrap();
    std::fs::write(kept.path().join("deep/key"), "private").unwrap();
    let other = tempfile::tempdir().unwrap();
    // SAFETY: only the mounts are unshared, for this thread; memory and descriptors stay shared with the others.
    if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
        assert!(!rustix::process::geteuid().is_root(), "root may have mounts of its own");
        return;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount_bind(kept.path(), other.path()).unwrap();
    let pattern = format!("{}/**", kept.path().display());
    let rules = keeps(&[&pattern], &[&pattern]);
    let path = other.path().join("deep/key");
    assert!(matches!(ask_under(&rules, "file", &path, ""), Err(QueryError::Denied { .. })));
    rustix::mount::unmount(other.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_secret_that_a_part_cuts_is_masked_in_each_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, b"before secret after");
    let rules = keeps(&[], &[]);
    let mut whole = String::new();
    for offset in 0..19 {
        let part = ask_under(&rules, "file", &path, &format!(r#","offset":{offset},"length":1"#)).unwrap();
        whole.push_str(part["content"].as_str().unwrap());
    }
    assert_eq!(whole, "before XXXXXX after");
    let base64 = ask_under(&rules, "file", &path, r#","encoding":"base64""#).unwrap();
    assert_eq!(STANDARD.decode(base64["content"].as_str().unwrap()).unwrap(), b"before XXXXXX after");
    let tail = ask_under(&rules, "file", &path, r#","tail_lines":1,"length":9"#).unwrap();
    assert!(!tail.to_string().contains("cret"), "{tail}");
}

#[test]
fn a_file_that_grows_is_read_on_from_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, b"one\n");
    let first = ask(&path, "").unwrap();
    assert!(first.end_of_file);
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two\n").unwrap();
    let end = first.offset + first.length;
    assert_eq!(ask(&path, &format!(r#","offset":{end}"#)).unwrap().content, "two\n");
    assert!(ask(&path, r#","offset":9223372036854775807"#).unwrap().content.is_empty());
}

#[test]
fn a_file_that_vanished_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, b"x");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(ask(&path, ""), Err(QueryError::NotFound { .. })));
}

#[test]
fn a_name_that_is_not_utf8_is_read_by_what_the_directory_showed() {
    let directory = tempfile::tempdir().unwrap();
    let name =
        std::ffi::OsStr::new(std::os::unix::ffi::OsStrExt::from_bytes(&b"caf\xe9 %"[..]) as &std::ffi::OsStr);
    let path = directory.path().join(name);
    std::fs::write(&path, "here").unwrap();
    assert_eq!(ask(&path, "").unwrap().content, "here");
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    for (more, field) in [
        (r#","length":0"#, "length"),
        (r#","length":-1"#, "length"),
        (r#","length":1048577"#, "length"),
        (r#","length":1000000000"#, "length"),
        (r#","offset":-1"#, "offset"),
        (r#","head_lines":0"#, "head_lines"),
        (r#","tail_lines":1000000000"#, "tail_lines"),
        (r#","tail_lines":1,"head_lines":1"#, "tail_lines"),
        (r#","tail_lines":1,"offset":1"#, "tail_lines"),
        (r#","encoding":"latin1""#, "encoding"),
        (r#","bytes":1"#, "bytes"),
    ] {
        match ask("/etc/passwd", more) {
            Err(QueryError::InvalidArgument { field: named, .. }) => assert_eq!(named, field, "{more}"),
            other => panic!("{more}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn the_last_lines_are_those_that_a_split_gives(text in "[a\n]{0,40}", lines in 1usize..6) {
        let start = start_of_last_lines(text.as_bytes(), lines, true);
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let expected: String = all[all.len().saturating_sub(lines)..].concat();
        prop_assert_eq!(&text[start..], expected);
    }

    #[test]
    fn any_part_of_any_file_is_encoded_without_loss_or_marked(bytes in proptest::collection::vec(any::<u8>(), 0..64), end: bool) {
        let mut part = Part { offset: 0, bytes: bytes.clone(), end_of_file: end };
        leave_cut_character(&mut part, Encoding::Auto);
        let (encoding, content, lossy) = encode(&part.bytes, Encoding::Auto);
        let decoded = match encoding {
            ContentEncoding::Text => content.into_bytes(),
            ContentEncoding::Base64 => STANDARD.decode(content).unwrap(),
        };
        prop_assert_eq!(&decoded, &part.bytes);
        prop_assert!(bytes.starts_with(&decoded) && bytes.is_empty() == decoded.is_empty() && !lossy);
    }
}
