//! What is stored is found, and what a query means.

mod common;

use agentos_api::memory::{IngestRequest, MaxResults, RecallRequest, StoreRequest, TimeRange, Timeframe};
use agentos_memory::Memory;
use common::{Home, entry, files, recall, store};
use proptest::prelude::*;

fn within(timeframe: Timeframe) -> RecallRequest {
    RecallRequest { timeframe: Some(timeframe), ..RecallRequest::new("backup") }
}

#[test]
fn what_is_stored_is_recalled_with_all_that_was_said() {
    let home = Home::new();
    let memory = home.open();
    let stored = memory
        .store(&StoreRequest {
            summary: "Nginx listens on 8080".into(),
            detail: "The reverse proxy took port 80.".into(),
            category: "decision".into(),
            tags: vec!["nginx".into(), "ports".into()],
        })
        .unwrap();
    let found = recall(&memory, "which port does nginx use?");
    let [chunk] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(chunk.entry_id.as_deref(), Some(stored.id.as_str()));
    assert_eq!(chunk.file, stored.file);
    assert_eq!(chunk.category.as_deref(), Some("decision"));
    assert_eq!(chunk.tags, ["nginx", "ports"]);
    assert_eq!(chunk.file, format!("memory/{}.md", chunk.date.unwrap()));
    assert!(chunk.heading.ends_with("Nginx listens on 8080"));
    assert!(chunk.text.contains("The reverse proxy took port 80."));
    assert!(chunk.stored_at.is_some());
    assert!((chunk.score - 1.0).abs() < 1e-9 && chunk.bm25.unwrap() != 0.0);
    let lines: Vec<String> = home.read(&chunk.file).lines().map(str::to_owned).collect();
    let (first, last) =
        (usize::try_from(chunk.line_start).unwrap(), usize::try_from(chunk.line_end).unwrap());
    assert_eq!(lines[first - 1..last].join("\n"), chunk.text);
}

#[test]
fn an_ingested_event_is_recalled() {
    let home = Home::new();
    let memory = home.open();
    let event = "postgresql restarted twice\nexit code 137, out of memory";
    let stored = memory.ingest(&IngestRequest { event: event.into() }).unwrap();
    let found = recall(&memory, "postgresql exit code");
    assert_eq!(found[0].entry_id.as_deref(), Some(stored.id.as_str()));
    assert_eq!(found[0].category.as_deref(), Some("event"));
}

#[test]
fn the_passage_that_says_it_comes_before_its_neighbours() {
    let home = Home::new();
    home.write(
        "memory/2026-11-22.md",
        "## 09:00 Router\n\nThe router is a Turris Omnia.\n\n## 10:00 Lunch\n\nSoup.\n\n## 11:00 Printer\n\nOut of toner.\n",
    );
    let memory = home.open();
    let found = recall(&memory, "router turris");
    assert!(found[0].text.contains("Turris"), "{found:?}");
    assert!(found.windows(2).all(|pair| pair[0].bm25 >= pair[1].bm25 && pair[0].score > pair[1].score));
}

#[test]
fn words_are_found_in_other_forms_and_without_accents() {
    let home = Home::new();
    home.write(
        "MEMORY.md",
        "# Habits\n\nShe prefers restarting services at night; the café server is Zürich's.\n",
    );
    let memory = home.open();
    for query in ["restart", "service", "cafe", "zurich", "CAFÉ", "cafe\u{301}"] {
        assert_eq!(files(&memory, query), ["MEMORY.md"], "{query}");
    }
}

#[test]
fn text_without_spaces_between_words_is_found() {
    let home = Home::new();
    home.write("MEMORY.md", "服务器内存占用过高\n\n再起動は夜に行う\n");
    let memory = home.open();
    for query in ["内存", "占用", "夜", "再起動"] {
        assert_eq!(files(&memory, query), ["MEMORY.md"], "{query}");
    }
    assert!(files(&memory, "存内").is_empty());
}

#[test]
fn a_day_is_found_by_its_name() {
    let home = Home::new();
    home.write("memory/2026-11-20.md", "Replaced the fan.\n");
    home.write("memory/2026-10-20.md", "Replaced the disk.\n");
    let memory = home.open();
    assert_eq!(files(&memory, "november")[0], "memory/2026-11-20.md");
    assert_eq!(files(&memory, "2026-10-20")[0], "memory/2026-10-20.md");
}

#[test]
fn a_timeframe_leaves_out_other_days_and_what_has_none() {
    let home = Home::new();
    home.write("MEMORY.md", "backup goes to the NAS\n");
    home.write("memory/2026-11-01.md", "backup ran\n");
    home.write("memory/2026-11-03-nas.md", "backup failed\n");
    let memory = home.open();
    let days = |since: Option<&str>, until: Option<&str>| {
        let range = TimeRange { since: since.map(Into::into), until: until.map(Into::into) };
        let mut files: Vec<String> = memory
            .recall(&within(Timeframe::Range(range)))
            .unwrap()
            .chunks
            .into_iter()
            .map(|chunk| chunk.file)
            .collect();
        files.sort();
        files
    };
    assert_eq!(files(&memory, "backup").len(), 3);
    assert_eq!(days(Some("2026-11-02"), None), ["memory/2026-11-03-nas.md"]);
    assert_eq!(days(None, Some("2026-11-01")), ["memory/2026-11-01.md"]);
    assert_eq!(days(Some("2026-11-01"), Some("2026-11-03")).len(), 2);
    assert_eq!(days(Some("2026-11-03T23:00:00Z"), None), ["memory/2026-11-03-nas.md"]);
    assert!(days(Some("2026-11-04"), None).is_empty());

    store(&memory, "backup checked just now");
    let last_hour = memory.recall(&within(Timeframe::Text("1h".into()))).unwrap().chunks;
    assert_eq!(last_hour.len(), 1);
}

#[test]
fn the_number_of_results_is_the_callers() {
    let home = Home::new();
    let notes: Vec<String> = (0..60).map(|n| format!("## Note {n}\n\nabout disks\n\n")).collect();
    home.write("MEMORY.md", notes.concat());
    let memory = home.open();
    let count = |max_results| {
        let request = RecallRequest { max_results, ..RecallRequest::new("disks") };
        memory.recall(&request).unwrap().chunks.len()
    };
    assert_eq!(count(MaxResults::default()), 8);
    assert_eq!(count(MaxResults::new(1).unwrap()), 1);
    assert_eq!(count(MaxResults::new(50).unwrap()), 50);
}

#[test]
fn a_query_without_a_word_or_too_long_names_its_field() {
    let home = Home::new();
    let memory = home.open();
    for query in ["", "  \n", "?!*", "\0", &"x".repeat(1001)] {
        let error = memory.recall(&RecallRequest::new(query)).unwrap_err();
        assert_eq!(error.field(), Some("query"), "{query:?}");
    }
    let error = memory.recall(&within(Timeframe::Text("lately".into()))).unwrap_err();
    assert_eq!(error.field(), Some("timeframe"));
}

#[test]
fn operators_and_sql_in_a_query_are_words() {
    let home = Home::new();
    home.write("MEMORY.md", "the table of passages; DROP it NOT; near AND far\n");
    let memory = home.open();
    for query in [
        "'; DROP TABLE passages; --",
        "\"passages\" NOT table",
        "passage:table",
        "NEAR(table passages, 1)",
        "table AND (",
        "pass* ^table {passage context} : x",
        "table\0passages",
    ] {
        assert_eq!(files(&memory, query), ["MEMORY.md"], "{query}");
    }
    assert_eq!(memory.health().collection_size, 1);
}

#[test]
fn the_longest_queries_are_answered() {
    let home = Home::new();
    home.write("MEMORY.md", "a1 b2 c3\n");
    let memory = home.open();
    for query in ["a1.b2.".repeat(166), "a1 b2 c3 ".repeat(111), "a b.c".repeat(200), "内".repeat(1000)] {
        memory.recall(&RecallRequest::new(query)).unwrap();
    }
    let words: Vec<String> = (0..250).map(|n| format!("w{n}")).collect();
    assert!(recall(&memory, &words.join(" ")[..1000]).is_empty());
}

#[test]
fn threads_share_one_memory() {
    let home = Home::new();
    let memory = home.open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for n in 0..5 {
                    let stored = memory.store(&entry(&format!("note{thread}x{n}"), "")).unwrap();
                    let found = recall(memory, &format!("note{thread}x{n}"));
                    assert_eq!(found[0].entry_id.as_deref(), Some(stored.id.as_str()));
                }
            });
        }
    });
    assert_eq!(memory.health().collection_size, 20);
}

fn sample() -> (Home, Memory) {
    let home = Home::new();
    home.write("MEMORY.md", "# Facts\n\nThe disk is NVMe. \"Quoted\" (round) text, 内存, ⓐ.\n");
    let memory = home.open();
    (home, memory)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The only errors a query can cause are about the query.
    #[test]
    fn any_query_is_answered_or_refused_by_name(
        queries in prop::collection::vec(
            prop_oneof![any::<String>(), "[\"'*^:(){}+\\-\\x00 a-z]{0,60}", "(NEAR|AND|OR|NOT|\"|\\(|ⓐ|内|e\u{301}|,| |1){0,30}"],
            1..40,
        ),
    ) {
        thread_local!(static MEMORY: (Home, Memory) = sample());
        MEMORY.with(|(_, memory)| {
            for query in queries {
                if let Err(error) = memory.recall(&RecallRequest::new(&*query)) {
                    prop_assert_eq!(error.field(), Some("query"), "{:?}", query);
                }
            }
            Ok(())
        })?;
    }
}
