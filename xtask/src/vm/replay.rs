//! A disk as it would be if it had kept nothing but what it was told to keep: all writes up to the last flush, from a log of
//! every write (the format of Linux's dm-log-writes, which QEMU's blklogwrites writes).
//!
//! Killing QEMU loses what the machine had in its memory; what it had written stays, flushed or not. This is how a flush
//! that is missing shows.

use std::fs::File;
use std::io::SeekFrom;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const SUPERBLOCK_BYTES: usize = 28;
const ENTRY_BYTES: usize = 32;

const FLUSH: u64 = 1;
const FORCED: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// How much is copied at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
struct Log {
    /// Bytes of the log behind the last entry that it counts: it counts them at each flush.
    uncounted_bytes: u64,
    writes: Vec<Write>,
}

/// One thing that was done to the disk.
#[derive(Debug, PartialEq, Eq)]
struct Write {
    /// Where on the disk, in bytes.
    at: u64,
    /// How much, in bytes.
    length: u64,
    flags: u64,
    /// Where in the log its data is.
    data_at: u64,
}

/// What was done to the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Writes that were repeated.
    pub(super) writes: usize,
    /// Flushes among them.
    pub(super) flushes: usize,
    /// How much of the log is behind the last flush, and was left out.
    pub(super) left_out_bytes: u64,
}

/// Does to `disk` what the log says was done to one like it, up to the last flush.
///
/// # Errors
/// When a file cannot be read or written, or the log is not one, or not of a disk of this size.
pub(super) fn up_to_last_flush(log: &Path, disk: &Path) -> Result<Replayed> {
    let mut file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    let length = file.metadata()?.len();
    let parsed = Log::read(&mut file, length).with_context(|| format!("in {}", log.display()))?;
    let disk = File::options().write(true).open(disk)?;
    parsed.replay(&file, &disk)
}

impl Log {
    fn read(log: &mut (impl std::io::Read + std::io::Seek), length: u64) -> Result<Self> {
        let mut superblock = [0; SUPERBLOCK_BYTES];
        log.read_exact(&mut superblock).context("it has no beginning")?;
        let [magic, version, entries] = numbers(&superblock);
        ensure!(magic == MAGIC && version == VERSION, "it is no log of writes, or of another version");
        let sector_bytes = u64::from(u32::from_le_bytes([24, 25, 26, 27].map(|at: usize| superblock[at])));
        ensure!(
            sector_bytes.is_power_of_two() && (512..=65_536).contains(&sector_bytes),
            "its sectors are impossible"
        );
        ensure!(entries <= length / sector_bytes, "it is cut off");
        let mut writes = Vec::new();
        let mut at = sector_bytes;
        for number in 0..entries {
            let mut entry = [0; ENTRY_BYTES];
            log.seek(SeekFrom::Start(at))?;
            log.read_exact(&mut entry).with_context(|| format!("entry {number} is cut off"))?;
            let [sector, sectors, flags, inline] = numbers(&entry);
            ensure!(flags & !(FLUSH | FORCED | DISCARD | MARK) == 0, "entry {number} has flags {flags:#x}");
            let bytes = |sectors: u64| sectors.checked_mul(sector_bytes);
            let (Some(to), Some(size), Some(data_at)) =
                (bytes(sector), bytes(sectors), at.checked_add(sector_bytes))
            else {
                bail!("entry {number} is beyond any disk");
            };
            let data = match flags & (DISCARD | MARK) {
                0 => Some(size),
                // The text of a mark.
                MARK => inline.checked_next_multiple_of(sector_bytes),
                _ => Some(0),
            };
            at = data.and_then(|data| data_at.checked_add(data)).context("an entry is beyond any log")?;
            ensure!(at <= length, "the data of entry {number} is cut off");
            writes.push(Write { at: to, length: size, flags, data_at });
        }
        Ok(Self { uncounted_bytes: length.saturating_sub(at), writes })
    }

    fn replay(&self, log: &File, disk: &File) -> Result<Replayed> {
        let size = disk.metadata()?.len();
        let last = self.writes.iter().rposition(|write| write.flags & FLUSH != 0);
        // A flush covers what came before it; data that comes with it is not forced by that.
        let kept =
            |index: usize, write: &Write| last.is_some_and(|last| index < last) || write.flags & FORCED != 0;
        let mut replayed = Replayed { writes: 0, flushes: 0, left_out_bytes: self.uncounted_bytes };
        for (index, write) in self.writes.iter().enumerate() {
            replayed.flushes += usize::from(write.flags & FLUSH != 0);
            // What is discarded may read as anything: as what was there before, too.
            if write.length == 0 || write.flags & (DISCARD | MARK) != 0 {
                continue;
            }
            if !kept(index, write) {
                replayed.left_out_bytes += write.length;
                continue;
            }
            let end = write.at.checked_add(write.length);
            ensure!(end.is_some_and(|end| end <= size), "write {index} is beyond the end of the disk");
            copy(log, write, disk)?;
            replayed.writes += 1;
        }
        Ok(replayed)
    }
}

fn copy(log: &File, write: &Write, disk: &File) -> Result<()> {
    let mut done = 0;
    let mut chunk = vec![0; usize::try_from(write.length.min(CHUNK_BYTES))?];
    while done < write.length {
        let part = usize::try_from((write.length - done).min(CHUNK_BYTES))?;
        log.read_exact_at(&mut chunk[..part], write.data_at + done)?;
        disk.write_all_at(&chunk[..part], write.at + done)?;
        done += part as u64;
    }
    Ok(())
}

/// The first numbers of `bytes`, which has them all.
fn numbers<const COUNT: usize>(bytes: &[u8]) -> [u64; COUNT] {
    let mut numbers = [0; COUNT];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const SECTOR: usize = 512;

    /// A log of entries `(sector, sectors, flags, byte of the data)`.
    fn log(entries: &[(u64, u64, u64, u8)]) -> Vec<u8> {
        let count = entries.len() as u64;
        let mut log: Vec<u8> =
            [MAGIC, VERSION, count].iter().flat_map(|number| number.to_le_bytes()).collect();
        log.extend_from_slice(&512_u32.to_le_bytes());
        log.resize(SECTOR, 0);
        for &(sector, sectors, flags, byte) in entries {
            let start = log.len();
            for number in [sector, sectors, flags, 0] {
                log.extend_from_slice(&number.to_le_bytes());
            }
            log.resize(start + SECTOR, 0);
            if flags & DISCARD == 0 {
                log.resize(log.len() + usize::try_from(sectors).unwrap() * SECTOR, byte);
            }
        }
        log
    }

    fn replayed(entries: &[(u64, u64, u64, u8)]) -> (Replayed, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let [log_path, disk_path] = ["log", "disk"].map(|name| folder.path().join(name));
        std::fs::write(&log_path, log(entries)).unwrap();
        std::fs::write(&disk_path, vec![0; 8 * SECTOR]).unwrap();
        let replayed = up_to_last_flush(&log_path, &disk_path).unwrap();
        let disk = std::fs::read(&disk_path).unwrap();
        (replayed, disk.chunks(SECTOR).map(|sector| sector[0]).collect())
    }

    #[test]
    fn what_was_not_flushed_is_left_out() {
        let (replayed, disk) =
            replayed(&[(0, 2, 0, b'a'), (1, 1, 0, b'b'), (0, 0, FLUSH, 0), (2, 1, 0, b'c'), (7, 1, 0, b'd')]);
        assert_eq!(disk, b"ab\0\0\0\0\0\0");
        assert_eq!(replayed, Replayed { writes: 2, flushes: 1, left_out_bytes: 1024 });
    }

    #[test]
    fn a_forced_write_needs_no_flush_and_a_discard_none_either() {
        let (replayed, disk) = replayed(&[(0, 1, 0, b'a'), (3, 1, FORCED, b'f'), (3, 1, DISCARD, 0)]);
        assert_eq!(disk, b"\0\0\0f\0\0\0\0");
        assert_eq!(replayed, Replayed { writes: 1, flushes: 0, left_out_bytes: 512 });
    }

    #[test]
    fn a_log_that_is_cut_off_is_refused() {
        let log = log(&[(0, 1, 0, b'a'), (1, 1, FLUSH, b'b')]);
        for length in 0..log.len() {
            let cut = &log[..length];
            assert!(Log::read(&mut Cursor::new(cut), length as u64).is_err(), "{length}");
        }
        assert_eq!(Log::read(&mut Cursor::new(&log), log.len() as u64).unwrap().writes.len(), 2);
    }

    proptest! {
        #[test]
        fn no_log_makes_it_panic(at in 0_usize..1600, bytes: [u8; 8]) {
            let mut log = log(&[(0, 1, 0, b'a'), (1, 1, FLUSH, b'b')]);
            log[at..at + 8].copy_from_slice(&bytes);
            drop(Log::read(&mut Cursor::new(&log), log.len() as u64));
        }
    }
}
