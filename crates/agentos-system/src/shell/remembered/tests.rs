use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

fn entries() -> impl Strategy<Value = Vec<(u64, String, [u32; 4])>> {
    prop::collection::vec((any::<u64>(), ".{0,40}", any::<[u32; 4]>()), 0..40)
}

fn programs(entries: &[(u64, String, [u32; 4])]) -> Programs {
    let mut programs = Programs::default();
    for (number, path, [observed, refused, unchanged, changed]) in entries {
        programs.used += 1;
        let counts =
            Counts { observed: *observed, refused: *refused, unchanged: *unchanged, changed: *changed };
        let program = Program { path: path.clone(), counts, used: programs.used };
        programs.by_hash.insert(Hash::of(&number.to_le_bytes()), program);
    }
    programs
}

/// The programs, in the order of their use.
fn in_order(programs: &Programs) -> Vec<(Hash, String, Counts)> {
    let mut all: Vec<_> = programs.by_hash.iter().collect();
    all.sort_by_key(|(_, program)| program.used);
    all.into_iter().map(|(hash, program)| (*hash, program.path.clone(), program.counts)).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in entries()) {
        let programs = programs(&entries);
        let read = file::parse(&file::text(&programs)).unwrap();
        prop_assert_eq!(in_order(&read), in_order(&programs));
    }

    #[test]
    fn whatever_is_damaged_is_read_within_its_bounds_or_refused(
        entries in entries(),
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut text = file::text(&programs(&entries));
        let at = at.index(text.len());
        text.splice(at..(at + with.len()).min(text.len()), with);
        if let Ok(read) = file::parse(&text) {
            prop_assert!(read.by_hash.len() <= MOST_PROGRAMS);
            prop_assert!(read.by_hash.values().all(|program| program.path.len() <= LONGEST_PATH));
            prop_assert!(read.by_hash.values().all(|program| program.used <= read.used));
        }
    }

    #[test]
    fn any_bytes_are_no_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = file::parse(&text);
    }

    #[test]
    fn paths_and_names_are_short(path in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(shortened(&path).len() <= LONGEST_PATH);
        prop_assert!(name(&path).chars().count() <= LONGEST_NAME);
    }
}

#[test]
fn more_than_is_ever_written_is_refused() {
    let entry = |number: usize, path: &str| {
        format!(
            r#"{{"sha256":"{}","path":"{path}","counts":{{"observed":1,"refused":0,"unchanged":0,"changed":0}}}}"#,
            Hash::of(&number.to_le_bytes())
        )
    };
    let file = |version: u32, entries: &[String]| {
        file::parse(format!(r#"{{"version":{version},"programs":[{}]}}"#, entries.join(",")).as_bytes())
    };
    let many: Vec<String> = (0..=MOST_PROGRAMS).map(|number| entry(number, "/p")).collect();
    assert_eq!(file(1, &many[1..]).unwrap().by_hash.len(), MOST_PROGRAMS);
    assert!(file(1, &many).unwrap_err().to_string().contains("more than 2000"));
    assert!(file(1, &[entry(1, &"x".repeat(LONGEST_PATH + 1))]).is_err());
    assert!(file(2, &[]).unwrap_err().to_string().contains("version 2"));
}

#[test]
fn the_oldest_program_makes_room_and_counts_end_at_their_most() {
    let mut programs = Programs::default();
    let hash = |number: usize| Hash::of(&number.to_le_bytes());
    for number in 0..MOST_PROGRAMS {
        programs.note(hash(number), "/p", Some(Outcome::Observed));
    }
    programs.note(hash(0), "/again", Some(Outcome::Refused));
    programs.note(hash(MOST_PROGRAMS), "/new", Some(Outcome::Changed));
    assert_eq!(programs.by_hash.len(), MOST_PROGRAMS);
    assert!(!programs.by_hash.contains_key(&hash(1)), "it did not run for the longest time");
    assert_eq!(programs.by_hash[&hash(0)].path, "/again");
    assert_eq!(programs.note(hash(1), "/p", None), Counts::default(), "asking remembers nothing");
    assert_eq!(programs.by_hash.len(), MOST_PROGRAMS);
    let mut counts = Counts { unchanged: u32::MAX, ..Counts::default() };
    counts.add(Outcome::Unchanged);
    assert_eq!(counts.unchanged, u32::MAX);
}

fn ran(path: &std::path::Path, refused: bool) -> Ran {
    let content = File::open(path).unwrap().into();
    let key = Key::of(&content).unwrap();
    Ran { path: path.as_os_str().as_encoded_bytes().to_vec(), content, key, refused }
}

#[test]
fn it_is_there_again_after_a_restart_and_a_damaged_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (file, program) = (folder.path().join("programs.json"), folder.path().join("tool"));
    std::fs::write(&program, "one").unwrap();
    let open = || Remembered::open(Some(file.clone()));
    let note = |remembered: &Remembered| {
        let told = remembered.note(vec![ran(&program, true)], |_| Some(Outcome::Refused));
        assert_eq!((told.len(), told[0].name.as_str(), told[0].refused), (1, "tool", true));
        told[0].counts.refused
    };
    let first = open();
    assert_eq!((note(&first), note(&first)), (1, 2));
    assert_eq!(in_order(&file::read(&file))[0].2.refused, 1, "the second is not written at once");
    first.write();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(note(&open()), 3);

    // Another content is another program, whatever its name is.
    std::fs::write(&program, "another").unwrap();
    assert_eq!(note(&open()), 1);

    std::fs::write(&file, "{\"version\":1,").unwrap();
    assert_eq!(note(&open()), 1);
    assert_eq!(std::fs::read(folder.path().join("programs.json.damaged")).unwrap(), b"{\"version\":1,");
    assert_eq!(in_order(&file::read(&file)).len(), 1);
}

#[test]
fn large_programs_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(MOST_READ + 1).unwrap();
    let small = folder.path().join("small");
    std::fs::write(&small, "small").unwrap();
    let remembered = Remembered::default();
    let told = remembered.note(vec![ran(&large, false), ran(&small, false)], |_| Some(Outcome::Observed));
    assert_eq!(told.iter().map(|told| told.name.as_str()).collect::<Vec<_>>(), ["small"]);
}
