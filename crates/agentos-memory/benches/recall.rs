//! What a recall costs beside the same question asked of SQLite directly.
//!
//! `cargo bench -p agentos-memory`. A memory of 10,000 passages in 400 daily files is made in a temporary directory. Then
//! the same queries go in turn to `Memory::recall` (which also makes sure that the index follows the files) and to a bare
//! FTS5 table of the same words in a SQLite file of its own, which returns the same columns. The medians and their ratio
//! are printed; times depend on the machine, the ratio little. It takes less than 30 seconds.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use agentos_api::memory::RecallRequest;
use agentos_memory::{Memory, MemoryOptions};
use rusqlite::Connection;

const FILES: usize = 400;
const PASSAGES_PER_FILE: usize = 25;
const WORDS_PER_PASSAGE: usize = 120;
const VOCABULARY: u64 = 20_000;
const BUDGET: Duration = Duration::from_secs(12);
const RAW: &str = "SELECT rowid, path, line_start, line_end, heading, passage, rank FROM words
     WHERE words MATCH ?1 ORDER BY rank LIMIT 8";

/// A sequence that is the same in every run (Steele and Vigna's splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A word; as in language, a few are everywhere and most are rare.
    fn word(&mut self) -> String {
        let most = 1 + self.next() % VOCABULARY;
        let number = self.next() % most;
        format!("word{}", self.next() % (number + 1))
    }
}

fn main() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().canonicalize().expect("its real path").join("workspace");
    fs::create_dir_all(directory.join("memory")).expect("the memory directory");
    let mut random = Random(7);
    for file in 0..FILES {
        fs::write(directory.join(day_file(file)), daily(&mut random)).expect("a daily file");
    }
    let memory = Memory::open(MemoryOptions::new(&directory, root.path().join("index"))).expect("the memory");
    let started = Instant::now();
    let report = memory.sync().expect("the first pass");
    let first_pass = started.elapsed();
    let health = memory.health();
    println!(
        "{} passages of {} files indexed in {:.2} s, {:.1} MiB on disk",
        health.collection_size,
        report.indexed,
        first_pass.as_secs_f64(),
        mebibytes(health.index_bytes)
    );
    drop(memory);
    let started = Instant::now();
    let memory = Memory::open(MemoryOptions::new(&directory, root.path().join("index"))).expect("the memory");
    println!("opened again in {:.1} ms", milliseconds(started.elapsed()));
    // The files are older than the moment they were read in by now, so that no recall reads them again.
    std::thread::sleep(Duration::from_millis(2100));
    memory.sync().expect("a pass over settled files");

    let raw = raw_table(&root.path().join("raw"), &directory);
    let queries: Vec<Vec<String>> = (0..64).map(|_| (0..4).map(|_| random.word()).collect()).collect();
    let (mut ours, mut theirs, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    let end = Instant::now() + BUDGET;
    for words in queries.iter().cycle().take(2000) {
        if Instant::now() > end {
            break;
        }
        let request = RecallRequest::new(words.join(" "));
        ours.push(time(|| black_box(memory.recall(&request).expect("an answer")).chunks.len()));
        let expression = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" OR ");
        theirs.push(time(|| ask(&raw, &expression)));
        passes.push(time(|| memory.sync().expect("a pass").indexed));
    }
    let (ours, theirs, pass) = (median(&mut ours), median(&mut theirs), median(&mut passes));
    println!("recall            p50 {:8.3} ms", milliseconds(ours));
    println!("raw FTS5 query    p50 {:8.3} ms", milliseconds(theirs));
    println!("pass over files   p50 {:8.3} ms (part of each recall)", milliseconds(pass));
    println!("ratio recall / raw FTS5 query: {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn day_file(number: usize) -> String {
    format!("memory/20{:02}-{:02}-{:02}.md", 20 + number / 336, 1 + number / 28 % 12, 1 + number % 28)
}

fn daily(random: &mut Random) -> String {
    let mut text = String::new();
    for passage in 0..PASSAGES_PER_FILE {
        let _ = write!(text, "## {:02}:00 Note {passage}\n\n", passage % 24);
        for _ in 0..WORDS_PER_PASSAGE {
            let _ = write!(text, "{} ", random.word());
        }
        text.push_str("\n\n");
    }
    text
}

/// The same passages, with the same surroundings, in a table made by hand.
fn raw_table(path: &std::path::Path, directory: &std::path::Path) -> Connection {
    let mut connection = Connection::open(path).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA locking_mode = EXCLUSIVE;
             CREATE VIRTUAL TABLE words USING fts5(passage, context, path UNINDEXED, line_start UNINDEXED,
               line_end UNINDEXED, heading UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2');
             INSERT INTO words (words, rank) VALUES ('rank', 'bm25(1.0, 0.3)');",
        )
        .expect("the table");
    let transaction = connection.transaction().expect("a transaction");
    for file in 0..FILES {
        let path = day_file(file);
        let text = fs::read_to_string(directory.join(&path)).expect("a daily file");
        let mut before = "";
        for (number, passage) in text.split("## ").skip(1).enumerate() {
            let tail = before.get(before.len().saturating_sub(600)..).unwrap_or_default();
            let context = format!("{path} {tail}");
            let heading = passage.lines().next().unwrap_or_default();
            transaction
                .execute(
                    "INSERT INTO words VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
                    rusqlite::params![passage, context, path, i64::try_from(number).unwrap_or(0), heading],
                )
                .expect("a row");
            before = passage;
        }
    }
    transaction.commit().expect("the rows");
    connection
}

fn ask(connection: &Connection, expression: &str) -> usize {
    let mut statement = connection.prepare_cached(RAW).expect("the query");
    let rows = statement
        .query_map([expression], |row| {
            let numbers: (i64, i64, i64, f64) = (row.get(0)?, row.get(2)?, row.get(3)?, row.get(6)?);
            let texts: (String, String, String) = (row.get(1)?, row.get(4)?, row.get(5)?);
            Ok(black_box((numbers, texts)))
        })
        .expect("rows");
    rows.flatten().count()
}

fn time(work: impl FnOnce() -> usize) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
