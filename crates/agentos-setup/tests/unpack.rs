//! Archives as somebody would make them who wants to write outside of a folder, or without end.

mod support;

use std::fs;
use std::path::Path;

use agentos_setup::SetupError;
use agentos_setup::unpack::{Limits, unpack};
use support::{Entry, archive};
use tar::EntryType;

fn unpacked(entries: &[Entry], place: &Path, limits: Limits) -> Result<(), SetupError> {
    let file = place.join("archive.tgz");
    fs::write(&file, archive(entries)).unwrap();
    unpack(&file, "hostile", &place.join("deep/er/package"), limits)
}

fn refused(entries: &[Entry], why: &str) {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("precious"), "precious").unwrap();
    let error = unpacked(entries, place.path(), Limits::default()).unwrap_err();
    assert!(matches!(error, SetupError::Archive { .. }), "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(fs::read_to_string(place.path().join("precious")).unwrap(), "precious");
    let mut names: Vec<_> =
        fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["archive.tgz", "deep", "precious"]);
    assert_eq!(fs::read_dir(place.path().join("deep/er")).unwrap().count(), 1);
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    refused(&[Entry::file("package/../../../../precious", b"x")], "goes up");
    refused(&[Entry::file("../precious", b"x")], "goes up");
    refused(&[Entry::file("package/..", b"x")], "goes up");
    refused(&[Entry::file("/tmp/precious", b"x")], "absolute");
    refused(&[Entry::file("precious", b"x")], "outside of the package's folder");
    refused(&[Entry::file("./precious", b"x")], "outside of the package's folder");
}

#[test]
fn links_and_devices_are_refused() {
    refused(&[Entry::of(EntryType::Symlink, "package/link", "../../../..")], "a link");
    refused(&[Entry::of(EntryType::Symlink, "package/link", "inside")], "a link");
    refused(&[Entry::of(EntryType::Link, "package/link", "../../../precious")], "a link");
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        refused(&[Entry::of(kind, "package/device", "")], "neither a file nor a folder");
    }
}

#[test]
fn more_than_the_limits_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let limits = Limits { entries: 3, bytes: 1000, path: 40, depth: 4 };
    let cases: [(Vec<Entry>, &str); 4] = [
        (
            (0..4).map(|number| Entry::file(&format!("package/{number}"), b"")).collect(),
            "more than 3 entries",
        ),
        (
            (0..2).map(|number| Entry::file(&format!("package/{number}"), &[0; 600])).collect(),
            "more than 1000 bytes",
        ),
        (vec![Entry::file(&format!("package/{}", "x".repeat(40)), b"")], "too long"),
        (vec![Entry::file("package/a/b/c/d", b"")], "too deep"),
    ];
    for (number, (entries, why)) in cases.into_iter().enumerate() {
        let place = place.path().join(number.to_string());
        fs::create_dir(&place).unwrap();
        let error = unpacked(&entries, &place, limits).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_file_in_place_of_a_folder_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let entries = [Entry::file("package/a", b"x"), Entry::file("package/a/b", b"x")];
    assert!(unpacked(&entries, place.path(), Limits::default()).is_err());
}

#[test]
fn an_archive_that_is_cut_off_or_none_at_all_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let whole = archive(&[Entry::file("package/a", &[7; 5000])]);
    let file = place.path().join("archive.tgz");
    for cut in [0, 5, whole.len() / 2, whole.len() - 9] {
        fs::write(&file, &whole[..cut]).unwrap();
        assert!(
            unpack(&file, "cut", &place.path().join(format!("to-{cut}")), Limits::default()).is_err(),
            "{cut}"
        );
    }
    fs::write(&file, vec![7; 5000]).unwrap();
    assert!(unpack(&file, "none", &place.path().join("to-none"), Limits::default()).is_err());
    fs::write(&file, &whole).unwrap();
    unpack(&file, "whole", &place.path().join("to-whole"), Limits::default()).unwrap();
    // Where something stands already nothing is unpacked.
    assert!(unpack(&file, "twice", &place.path().join("to-whole"), Limits::default()).is_err());
}
