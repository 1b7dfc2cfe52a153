//! The index follows the files, and can be lost.

mod common;

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use agentos_api::memory::{MaxResults, MemoryChunk, RecallRequest};
use agentos_memory::{Memory, MemoryError, MemoryOptions};
use common::{Home, files, recall, store};

fn all(memory: &Memory, query: &str) -> Vec<MemoryChunk> {
    let request = RecallRequest { max_results: MaxResults::new(50).unwrap(), ..RecallRequest::new(query) };
    memory.recall(&request).unwrap().chunks
}

#[test]
fn an_edit_by_hand_is_followed() {
    let home = Home::new();
    let memory = home.open();
    let stored = store(&memory, "The printer is called Gutenberg");
    assert_eq!(files(&memory, "printer"), [stored.file.as_str()]);
    let edited = home.read(&stored.file).replace("printer", "plotter");
    home.write(&stored.file, edited);
    assert!(files(&memory, "printer").is_empty());
    assert_eq!(files(&memory, "plotter"), [stored.file]);
}

#[test]
fn an_edit_in_the_same_moment_with_the_same_size_is_followed() {
    let home = Home::new();
    let memory = home.open();
    for round in 0..50 {
        let (word, other) = if round % 2 == 0 { ("alpha", "omega") } else { ("omega", "alpha") };
        home.write("MEMORY.md", word);
        assert_eq!(files(&memory, word), ["MEMORY.md"], "round {round}");
        assert!(files(&memory, other).is_empty(), "round {round}");
    }
}

#[test]
fn an_edit_that_sets_the_old_time_back_is_followed() {
    let home = Home::new();
    let memory = home.open();
    home.write("MEMORY.md", "alpha");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    let set_time = || {
        let file = File::options().write(true).open(home.path("MEMORY.md")).unwrap();
        file.set_times(FileTimes::new().set_modified(long_ago)).unwrap();
    };
    set_time();
    assert_eq!(files(&memory, "alpha"), ["MEMORY.md"]);
    home.write("MEMORY.md", "omega");
    set_time();
    assert_eq!(files(&memory, "omega"), ["MEMORY.md"]);
}

#[test]
fn a_file_replaced_by_another_is_followed() {
    let home = Home::new();
    let memory = home.open();
    home.write("MEMORY.md", "alpha");
    let inode = fs::metadata(home.path("MEMORY.md")).unwrap().ino();
    assert_eq!(files(&memory, "alpha"), ["MEMORY.md"]);
    home.write("new.md", "omega");
    fs::rename(home.path("new.md"), home.path("MEMORY.md")).unwrap();
    assert_ne!(fs::metadata(home.path("MEMORY.md")).unwrap().ino(), inode);
    assert_eq!(files(&memory, "omega"), ["MEMORY.md"]);
}

#[test]
fn a_deleted_file_is_forgotten() {
    let home = Home::new();
    home.write("memory/2026-11-01.md", "one disk");
    home.write("memory/topics/disks.md", "two disks");
    let memory = home.open();
    assert_eq!(files(&memory, "disk").len(), 2);
    fs::remove_file(home.path("memory/2026-11-01.md")).unwrap();
    assert_eq!(files(&memory, "disk"), ["memory/topics/disks.md"]);
    fs::remove_dir_all(home.path("memory")).unwrap();
    assert!(files(&memory, "disk").is_empty());
    assert_eq!((memory.health().files, memory.health().collection_size), (0, 0));
}

#[test]
fn files_replaced_and_written_while_they_are_read_end_up_as_they_are() {
    let home = Home::new();
    let memory = home.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200 {
                let text = format!("round{round} ").repeat(2000);
                home.write("next.md", &text);
                fs::rename(home.path("next.md"), home.path("MEMORY.md")).unwrap();
                home.write("memory/2026-11-01.md", &text);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            memory.sync().unwrap();
        }
    });
    let mut found: Vec<_> = all(&memory, "round199").into_iter().map(|chunk| chunk.file).collect();
    found.dedup();
    found.sort();
    found.dedup();
    assert_eq!(found, ["MEMORY.md", "memory/2026-11-01.md"]);
    assert!(files(&memory, "round198").is_empty());
}

fn fill(home: &Home) {
    for day in 1..=9 {
        let notes: Vec<String> = (0..20)
            .map(|n| {
                format!("## 1{}:{n:02} Note {n}\n\nDisk {} was checked, part {}.\n\n", n % 10, n % 7, n % 3)
            })
            .collect();
        home.write(&format!("memory/2026-11-0{day}.md"), notes.concat());
    }
}

#[test]
fn a_deleted_index_is_made_again_with_the_same_answers() {
    let home = Home::new();
    fill(&home);
    let memory = home.open();
    // An index with a history: files added one by one, changed and changed back.
    for day in [3, 7, 1] {
        let file = format!("memory/2026-11-0{day}.md");
        let text = home.read(&file);
        home.write(&file, "something else about a disk");
        memory.sync().unwrap();
        home.write(&file, text);
        memory.sync().unwrap();
    }
    let before = all(&memory, "disk 3 part 2");
    assert_eq!(before.len(), 50);
    drop(memory);
    fs::remove_file(home.index()).unwrap();
    let memory = home.open();
    assert_eq!(all(&memory, "disk 3 part 2"), before);
    let report = memory.reindex().unwrap();
    assert_eq!((report.indexed, report.removed, report.skipped), (9, 0, 0));
    assert_eq!(all(&memory, "disk 3 part 2"), before);
}

#[test]
fn an_index_is_kept_over_a_restart() {
    let home = Home::new();
    fill(&home);
    let memory = home.open();
    assert_eq!(memory.sync().unwrap().indexed, 9);
    drop(memory);
    assert_eq!(home.open().sync().unwrap().indexed, 0);
}

#[test]
fn a_damaged_index_is_made_again() {
    for (what, damage) in [
        ("not a database", (|bytes: &mut Vec<u8>| bytes.fill(b'x')) as fn(&mut Vec<u8>)),
        ("empty", Vec::clear),
        ("cut off", |bytes| bytes.truncate(bytes.len() / 2)),
        ("overwritten", |bytes| bytes[4096..].fill(0xff)),
        ("schema overwritten", |bytes| bytes[100..4000].fill(0)),
    ] {
        let home = Home::new();
        fill(&home);
        let memory = home.open();
        let before = all(&memory, "disk");
        drop(memory);
        let mut bytes = fs::read(home.index()).unwrap();
        damage(&mut bytes);
        fs::write(home.index(), bytes).unwrap();
        let memory = home.open();
        assert_eq!(all(&memory, "disk"), before, "{what}");
    }
}

#[test]
fn an_index_damaged_while_it_is_open_is_made_again() {
    let home = Home::new();
    fill(&home);
    home.open().sync().unwrap();
    let memory = home.open();
    let length = fs::metadata(home.index()).unwrap().len();
    let file = File::options().write(true).open(home.index()).unwrap();
    let rubbish = vec![0x5a; usize::try_from(length).unwrap() - 4096];
    std::os::unix::fs::FileExt::write_all_at(&file, &rubbish, 4096).unwrap();
    // What SQLite had already read may still answer; what it has not is found damaged.
    home.write("MEMORY.md", "a disk of its own");
    assert!(files(&memory, "disk own").contains(&"MEMORY.md".to_owned()));
    assert_eq!(all(&memory, "disk").len(), 50);
}

#[test]
fn an_index_of_another_version_or_time_zone_is_made_again() {
    let home = Home::new();
    home.write("memory/2026-11-01.md", "disk");
    home.open().sync().unwrap();
    let connection = rusqlite::Connection::open(home.index()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert_eq!(home.open().sync().unwrap().indexed, 1);
    assert_eq!(home.open().sync().unwrap().indexed, 0);
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    let memory = Memory::open(MemoryOptions { time_zone: zone, ..home.options() }).unwrap();
    assert_eq!(memory.sync().unwrap().indexed, 1);
}

#[test]
fn a_second_process_on_the_index_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    home.write("MEMORY.md", "disk");
    let memory = home.open();
    memory.sync().unwrap();
    let error = Memory::open(home.options()).unwrap_err();
    assert!(matches!(error, MemoryError::IndexLocked { .. }), "{error:?}");
    assert_eq!(files(&memory, "disk"), ["MEMORY.md"]);
}

#[test]
fn the_index_is_readable_by_its_owner_alone() {
    let home = Home::new();
    home.write("MEMORY.md", "disk");
    let memory = home.open();
    memory.sync().unwrap();
    for suffix in ["", "-wal"] {
        let path = home.root.path().join(format!("memory.sqlite{suffix}"));
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600, "{suffix}");
    }
}

#[test]
fn a_large_change_leaves_no_large_log_behind() {
    let home = Home::new();
    let lines: Vec<String> =
        (0..60_000).map(|n| format!("line number{n} of many words{}\n\n", n / 7)).collect();
    home.write("MEMORY.md", lines.concat());
    let memory = home.open();
    memory.sync().unwrap();
    let size = |suffix: &str| fs::metadata(format!("{}{suffix}", home.index().display())).unwrap().len();
    assert!(size("") > 8 << 20 && size("-wal") <= 8 << 20, "{} {}", size(""), size("-wal"));
    assert_eq!(memory.health().index_bytes, size("") + size("-wal"));
}

#[test]
fn health_says_what_there_is() {
    let home = Home::new();
    let memory = home.open();
    let empty = memory.health();
    assert_eq!((empty.files, empty.collection_size, empty.last_indexed), (0, 0, None));
    store(&memory, "one");
    store(&memory, "two");
    let health = memory.health();
    assert_eq!((health.files, health.collection_size), (1, 2));
    assert_eq!(health.model_status, "none: keyword recall only");
    assert!(health.last_indexed.is_some() && health.index_bytes > 0);
    assert_eq!((health.problem, health.skipped_files), (None, 0));
    assert!(!recall(&memory, "two").is_empty());
    fs::rename(home.directory(), home.root.path().join("elsewhere")).unwrap();
    let problem = memory.health().problem.unwrap();
    assert!(problem.contains("does not exist"), "{problem}");
}
