//! The directory belongs to somebody who means harm, or to somebody whose machine just crashed.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use agentos_memory::{Memory, MemoryError, MemoryOptions};
use common::{Home, entry, files, recall, store};

fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
}

/// The file that a store of today goes to first, found by storing once.
fn todays_file(home: &Home, memory: &Memory) -> String {
    let file = store(memory, "probe").file;
    fs::remove_file(home.path(&file)).unwrap();
    file
}

fn skipped(memory: &Memory, file: &str) -> String {
    let health = memory.health();
    let skipped = health.skipped.iter().find(|skipped| skipped.file == file);
    skipped.unwrap_or_else(|| panic!("{file} is not in {health:?}")).reason.clone()
}

#[test]
fn a_symbolic_link_is_not_read() {
    let home = Home::new();
    fs::write(home.root.path().join("secret"), "password hunter2").unwrap();
    fs::create_dir(home.path("memory")).unwrap();
    symlink(home.root.path().join("secret"), home.path("MEMORY.md")).unwrap();
    symlink("../../secret", home.path("memory/2026-11-01.md")).unwrap();
    let memory = home.open();
    assert!(files(&memory, "hunter2").is_empty());
    assert_eq!(skipped(&memory, "MEMORY.md"), "is a symbolic link");
    assert_eq!(skipped(&memory, "memory/2026-11-01.md"), "is a symbolic link");
}

#[test]
fn a_linked_directory_is_neither_read_nor_written() {
    let home = Home::new();
    let outside = home.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("2026-11-01.md"), "hunter2").unwrap();
    symlink(&outside, home.path("memory")).unwrap();
    let memory = home.open();
    assert!(files(&memory, "hunter2").is_empty());
    assert_eq!(skipped(&memory, "memory"), "is a symbolic link");
    let error = memory.store(&entry("x", "")).unwrap_err();
    assert!(matches!(&error, MemoryError::Refused { file, .. } if file == "memory"), "{error:?}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
}

#[test]
fn a_memory_directory_behind_a_link_is_refused_with_the_way_out() {
    let home = Home::new();
    let link = home.root.path().join("link");
    symlink(home.directory(), &link).unwrap();
    let error = Memory::open(MemoryOptions::new(&link, home.index())).unwrap_err();
    assert!(error.to_string().contains("configure the path it leads to"), "{error}");
    let error = Memory::open(MemoryOptions::new("relative", home.index())).unwrap_err();
    assert!(error.to_string().contains("absolute"), "{error}");
}

#[test]
fn an_index_where_others_may_write_is_refused() {
    let home = Home::new();
    let error = Memory::open(MemoryOptions::new(home.directory(), home.path("index"))).unwrap_err();
    assert!(matches!(error, MemoryError::IndexFile { .. }), "{error:?}");
    assert!(!home.path("index").exists());
}

#[test]
fn nothing_is_written_through_a_link_of_the_days_file() {
    let home = Home::new();
    let memory = home.open();
    let file = todays_file(&home, &memory);
    let target = home.root.path().join("target");
    fs::write(&target, "untouched\n").unwrap();
    symlink(&target, home.path(&file)).unwrap();
    let error = memory.store(&entry("x", "")).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    fs::remove_file(home.path(&file)).unwrap();
    fs::hard_link(&target, home.path(&file)).unwrap();
    let error = memory.store(&entry("x", "")).unwrap_err();
    assert!(error.to_string().contains("hard link"), "{error}");
    assert_eq!(fs::read_to_string(target).unwrap(), "untouched\n");
}

#[test]
fn fifos_sockets_devices_and_directories_are_passed_over_without_waiting() {
    let home = Home::new();
    let memory = home.open();
    let file = todays_file(&home, &memory);
    home.write("memory/2026-11-01.md", "disk");
    fifo(&home.path("MEMORY.md"));
    fifo(&home.path(&file));
    let _socket = UnixListener::bind(home.path("memory/socket.md")).unwrap();
    fs::create_dir(home.path("memory/directory.md")).unwrap();
    assert_eq!(files(&memory, "disk"), ["memory/2026-11-01.md"]);
    assert!(skipped(&memory, "MEMORY.md").contains("FIFO"));
    assert!(skipped(&memory, "memory/socket.md").contains("socket"));
    let error = memory.store(&entry("x", "")).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_file_too_large_is_passed_over_and_named() {
    let home = Home::new();
    home.write("memory/2026-11-01.md", "disk ".repeat(1000));
    home.write("memory/2026-11-02.md", "disk");
    let memory = Memory::open(MemoryOptions { max_file_bytes: 4096, ..home.options() }).unwrap();
    assert_eq!(files(&memory, "disk"), ["memory/2026-11-02.md"]);
    assert_eq!(skipped(&memory, "memory/2026-11-01.md"), "has 5000 bytes, more than 4096");
    home.write("memory/2026-11-02.md", "disk ".repeat(1000));
    assert!(files(&memory, "disk").is_empty());
}

#[test]
fn with_too_many_files_the_latest_are_kept() {
    let home = Home::new();
    home.write("MEMORY.md", "disk");
    for day in 1..=9 {
        home.write(&format!("memory/2026-11-0{day}.md"), "disk");
    }
    let memory = Memory::open(MemoryOptions { max_files: 4, ..home.options() }).unwrap();
    let mut found = files(&memory, "disk");
    found.sort();
    assert_eq!(found, ["MEMORY.md", "memory/2026-11-07.md", "memory/2026-11-08.md", "memory/2026-11-09.md"]);
    assert_eq!(memory.health().skipped_files, 6);
    let memory2 = MemoryOptions { max_total_bytes: 9, ..home.options() };
    drop(memory);
    assert_eq!(files(&Memory::open(memory2).unwrap(), "disk").len(), 2);
}

#[test]
fn bytes_that_are_not_text_are_shown_as_such_and_the_rest_is_found() {
    let home = Home::new();
    home.write("MEMORY.md", b"disk \xff\xfe sda\n\n\x00\x1b[31mred\n");
    let memory = home.open();
    let found = recall(&memory, "sda");
    assert!(found[0].text.contains("disk \u{fffd}\u{fffd} sda"));
    assert!(!recall(&memory, "red 31mred").is_empty());
    assert_eq!(memory.health().invalid_utf8_files, 1);
}

#[test]
fn names_that_are_not_text_are_passed_over_and_named() {
    let home = Home::new();
    fs::create_dir(home.path("memory")).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff.md");
    fs::write(home.path("memory").join(name), "disk").unwrap();
    fs::write(home.path("memory/\u{1b}[31m.md"), "disk").unwrap();
    fs::write(home.path("memory/.hidden.md"), "disk").unwrap();
    fs::write(home.path("memory/notes.txt"), "disk").unwrap();
    let memory = home.open();
    assert!(files(&memory, "disk").is_empty());
    assert_eq!(skipped(&memory, "memory/\u{fffd}.md"), "its name is not UTF-8");
    assert_eq!(memory.health().skipped_files, 2);
}

#[test]
fn directories_that_go_too_deep_are_named() {
    let home = Home::new();
    home.write("memory/a/b/deep.md", "disk");
    home.write("memory/a/b/c/deeper.md", "disk");
    let memory = home.open();
    assert_eq!(files(&memory, "disk"), ["memory/a/b/deep.md"]);
    assert!(skipped(&memory, "memory/a/b/c").contains("too deep"));
}

#[test]
fn half_an_entry_left_by_a_crash_does_not_swallow_the_next() {
    let home = Home::new();
    let memory = home.open();
    let file = todays_file(&home, &memory);
    let detail = "It says:\n\n```sh\n# restart\nsystemctl restart nginx\n```\n\nand this is the end";
    let whole = {
        memory.store(&entry("The first", detail)).unwrap();
        let whole = home.read(&file);
        fs::remove_file(home.path(&file)).unwrap();
        whole
    };
    for cut in 1..=whole.len() {
        fs::write(home.path(&file), &whole.as_bytes()[..cut]).unwrap();
        let stored = memory.store(&entry("The second", "zanzibar")).unwrap();
        let found = recall(&memory, "zanzibar");
        assert_eq!(found[0].entry_id.as_deref(), Some(stored.id.as_str()), "cut at {cut}");
        assert!(found[0].heading.ends_with("The second"), "cut at {cut}: {}", found[0].heading);
        assert!(found[0].text.contains("## ") && !found[0].text.contains("restart"), "cut at {cut}");
        let now = fs::read(home.path(&file)).unwrap();
        assert_eq!(&now[..cut], &whole.as_bytes()[..cut], "what was there stays");
    }
}

#[test]
fn two_writers_of_one_file_lose_nothing() {
    let home = Home::new();
    let memory = home.open();
    let file = todays_file(&home, &memory);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut by_hand = File::options().create(true).append(true).open(home.path(&file)).unwrap();
            for n in 0..50 {
                by_hand.write_all(format!("\n## Hand {n}\n\nhand{n}\n").as_bytes()).unwrap();
            }
        });
        for n in 0..50 {
            store(&memory, &format!("stored{n}"));
        }
    });
    let text = home.read(&file);
    for n in 0..50 {
        assert!(text.contains(&format!("\nhand{n}\n")) && text.contains(&format!(" stored{n}\n")), "{n}");
    }
}

#[test]
fn an_editor_that_replaces_the_file_does_not_lose_a_confirmed_entry_in_passing() {
    let home = Home::new();
    let memory = home.open();
    let file = todays_file(&home, &memory);
    let first = store(&memory, "first");
    let copy = home.path("copy.md");
    fs::copy(home.path(&file), &copy).unwrap();
    fs::rename(&copy, home.path(&file)).unwrap();
    let second = store(&memory, "second");
    let text = home.read(&file);
    assert!(text.contains(&first.id) && text.contains(&second.id));
}

#[test]
fn a_full_days_file_is_continued_in_another() {
    let home = Home::new();
    let memory = Memory::open(MemoryOptions { max_file_bytes: 1000, ..home.options() }).unwrap();
    let stored: Vec<String> =
        (0..12).map(|n| memory.store(&entry(&format!("entry{n}"), &"x".repeat(200))).unwrap().file).collect();
    assert!(stored[0].len() < stored[11].len(), "{stored:?}");
    for (n, file) in stored.iter().enumerate() {
        assert_eq!(&files(&memory, &format!("entry{n}"))[0], file, "{n}");
    }
    let error = (0..100)
        .find_map(|_| memory.store(&entry("more", &"x".repeat(600))).err())
        .expect("a day's files are bounded");
    assert!(matches!(error, MemoryError::DayFull { .. }), "{error:?}");
}

#[test]
fn a_disk_that_is_full_takes_no_half_entry() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let tmpfs = rustix::mount::mount(
        "tmpfs",
        home.directory(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=64k"),
    );
    // A container may not mount.
    if tmpfs.is_err() {
        return;
    }
    let memory = home.open();
    let stored = store(&memory, "fits");
    let filler = home.path("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    let before = home.read(&stored.file);
    let result = memory.store(&entry("does not fit", &"x".repeat(30_000)));
    let after = home.read(&stored.file);
    drop(file);
    fs::remove_file(&filler).unwrap();
    let again = memory.store(&entry("fits again", "")).map(|_| files(&memory, "fits again").len());
    drop(memory);
    rustix::mount::unmount(home.directory(), rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(matches!(result, Err(MemoryError::File { .. })), "{result:?}");
    assert_eq!(after, before);
    assert!(again.unwrap() >= 1);
}

#[test]
fn what_is_created_has_the_directorys_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let home = Home::new();
    fs::set_permissions(home.directory(), fs::Permissions::from_mode(0o750)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(home.directory(), Some(4242), Some(4243)).unwrap();
    }
    let file = store(&home.open(), "x").file;
    for (path, mode) in [(home.path("memory"), 0o750), (home.path(&file), 0o640)] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, mode, "{path:?}");
        if is_root {
            assert_eq!((metadata.uid(), metadata.gid()), (4242, 4243), "{path:?}");
        }
    }
}

#[test]
fn a_hard_link_to_another_users_file_is_not_read() {
    use std::os::unix::fs::chown;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    chown(home.directory(), Some(4242), Some(4242)).unwrap();
    let secret = home.root.path().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    fs::hard_link(&secret, home.path("MEMORY.md")).unwrap();
    let memory = home.open();
    assert!(files(&memory, "hunter2").is_empty());
    assert!(skipped(&memory, "MEMORY.md").contains("another user"));
}
