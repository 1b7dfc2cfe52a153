//! The store on a real disk.

use std::io::Read;

use agentos_objects::{Hash, INLINE_BYTES, ObjectError, Objects, Options};

fn store(directory: &std::path::Path, quota_bytes: u64) -> Objects {
    Objects::open(&Options { directory: directory.join("objects"), quota_bytes }).unwrap()
}

#[test]
fn small_and_large_contents_come_back_also_after_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let contents: Vec<Vec<u8>> =
        [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 3 << 20].map(|size| vec![7; size]).into();
    let hashes: Vec<Hash> = {
        let store = store(directory.path(), 1 << 30);
        let mut batch = store.batch();
        let hashes = contents.iter().map(|content| batch.put(content).unwrap()).collect();
        batch.commit(1).unwrap();
        hashes
    };
    let store = store(directory.path(), 1 << 30);
    for (hash, content) in hashes.iter().zip(&contents) {
        assert_eq!(&store.get(hash, 1 << 30).unwrap(), content);
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(store.copy_to(hash, &mut file).unwrap(), content.len() as u64);
        std::io::Seek::rewind(&mut file).unwrap();
        let mut copied = Vec::new();
        file.read_to_end(&mut copied).unwrap();
        assert_eq!(&copied, content);
    }
}

#[test]
fn what_is_not_committed_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 1 << 30);
    let large = vec![1; INLINE_BYTES + 1];
    let (small, large) = {
        let mut batch = store.batch();
        (batch.put(b"small").unwrap(), batch.put(&large).unwrap())
    };
    assert!(!store.has(&small).unwrap() && !store.has(&large).unwrap());
    let left = std::fs::read_dir(directory.path().join("objects/large")).unwrap().count();
    assert_eq!(left, 0, "a draft was left behind");
}

#[test]
fn a_content_goes_with_its_last_holder() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 1 << 30);
    let mut hash = None;
    for holder in [1, 2] {
        let mut batch = store.batch();
        hash = Some(batch.put(b"shared").unwrap());
        batch.commit(holder).unwrap();
    }
    let hash = hash.unwrap();
    assert_eq!(store.usage().unwrap().objects, 1);
    store.release(&[1]).unwrap();
    assert!(store.has(&hash).unwrap());
    store.release(&[2]).unwrap();
    assert!(!store.has(&hash).unwrap());
}

#[test]
fn the_oldest_make_room_and_what_is_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 100_000);
    let mut kept = Vec::new();
    for holder in 1..=5_u8 {
        let mut batch = store.batch();
        kept.push(batch.put(&vec![holder; 30_000]).unwrap());
        let evicted = batch.commit(holder.into()).unwrap();
        let expected: &[u64] = match holder {
            4 => &[1],
            5 => &[2],
            _ => &[],
        };
        assert_eq!(evicted.holders, expected);
    }
    assert!(matches!(store.get(&kept[0], 1 << 20), Err(ObjectError::Missing(_))));
    assert!(store.get(&kept[4], 1 << 20).is_ok());
    assert!(store.usage().unwrap().bytes <= 100_000);
    let mut batch = store.batch();
    assert!(matches!(batch.put(&vec![9; 100_001]), Err(ObjectError::OverQuota { .. })));
    assert!(batch.put(b"small").is_ok(), "the batch is usable after a refusal");
}

#[test]
fn what_is_pinned_makes_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 70_000);
    let keep = |holder: u8| {
        let mut batch = store.batch();
        let hash = batch.put(&vec![holder; 30_000]).unwrap();
        (hash, batch.commit(holder.into()).unwrap().holders)
    };
    let (first, _) = keep(1);
    store.pin(&[1]);
    keep(2);
    assert_eq!(keep(3).1, [2]);
    assert!(store.has(&first).unwrap());
    store.unpin(&[1]);
    assert_eq!(keep(4).1, [1]);
}

#[test]
fn a_content_that_was_damaged_is_not_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 1 << 30);
    let mut batch = store.batch();
    let hash = batch.put(&vec![3; INLINE_BYTES + 1]).unwrap();
    batch.commit(1).unwrap();
    let file = directory.path().join("objects/large").join(hash.to_string());
    std::fs::write(&file, vec![4; INLINE_BYTES + 1]).unwrap();
    assert!(matches!(store.get(&hash, 1 << 20), Err(ObjectError::Damaged(_))));
    let mut out = tempfile::tempfile().unwrap();
    assert!(matches!(store.copy_to(&hash, &mut out), Err(ObjectError::Damaged(_))));
}

#[test]
fn a_large_content_without_a_row_is_swept_away() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path(), 1 << 30));
    let stray = directory.path().join("objects/large").join(Hash::of(b"stray").to_string());
    std::fs::write(&stray, b"stray").unwrap();
    std::fs::write(directory.path().join("objects/large/draft-3"), b"half").unwrap();
    drop(store(directory.path(), 1 << 30));
    assert!(!stray.exists());
    assert_eq!(std::fs::read_dir(directory.path().join("objects/large")).unwrap().count(), 0);
}

#[test]
fn a_store_of_the_first_version_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let hash = {
        let store = store(directory.path(), 1 << 30);
        let mut batch = store.batch();
        let hash = batch.put(b"kept").unwrap();
        batch.commit(1).unwrap();
        hash
    };
    let database = rusqlite::Connection::open(directory.path().join("objects/objects.db")).unwrap();
    database
        .execute_batch("CREATE TABLE pins (holder INTEGER PRIMARY KEY); INSERT INTO pins VALUES (1); PRAGMA user_version = 1")
        .unwrap();
    drop(database);
    let store = store(directory.path(), 1 << 30);
    assert_eq!(store.get(&hash, 10).unwrap(), b"kept");
    assert_eq!(store.usage().unwrap().objects, 1);
}
