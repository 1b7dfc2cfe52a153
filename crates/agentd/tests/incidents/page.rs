//! The page of the docs with what was found, written by the suite and compared with what it finds.
//!
//! Each class is found by a test, and so by a process, of its own: it answers for its section of the page.

use std::fmt::Write as _;
use std::io::{Read, Seek, Write as _};
use std::path::Path;

use crate::incident::{Incident, Replay, Row};
use crate::replay;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/INCIDENTS.md");

/// Replays a class, and holds what is found against what has to be and against the page.
pub(crate) fn check(title: &str, incidents: &[Incident]) {
    let mut section = String::from(
        "| incident | has to be | as shell text | as a typed change | hidden |\n|---|---|---|---|---|\n",
    );
    let mut missed = Vec::new();
    for incident in incidents {
        let row = match &incident.replay {
            Replay::Files(files) => replay::files(incident, files),
            Replay::Own(replay) => replay(),
        };
        let Row { shell, typed, hidden } = &row;
        for (way, found) in [("shell", shell), ("typed", typed), ("hidden", hidden)] {
            let told = matches!(found, crate::incident::Found::Open(_));
            if !told && !incident.expected.is_met_by(found) {
                missed.push(format!("{} {way}: {found:?}, not {:?}", incident.name, incident.expected));
            }
        }
        writeln!(
            section,
            "| {} {} ({}) | {} | {} | {} | {} |",
            incident.name,
            incident.what,
            incident.source,
            incident.expected.text(),
            shell.text(),
            names(incident.types) + &typed.text(),
            hidden.text()
        )
        .unwrap();
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    compare(title, &section);
}

fn names(types: &[&str]) -> String {
    let names: Vec<String> = types
        .iter()
        .map(|name| {
            name.strip_prefix("the query ")
                .map_or_else(|| format!("`{name}`"), |name| format!("the query `{name}`"))
        })
        .collect();
    if names.is_empty() { String::new() } else { format!("{}: ", names.join(", ")) }
}

fn compare(title: &str, section: &str) {
    let heading = format!("\n## {title}\n\n");
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(PAGE).unwrap();
    // The classes are other processes, which write their sections at the same time.
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut page = String::new();
    file.read_to_string(&mut page).unwrap();
    let begin = page.find(&heading).map(|at| at + heading.len());
    let begin = begin.unwrap_or_else(|| panic!("docs/INCIDENTS.md has no section \"{title}\""));
    let end = page[begin..].find("\n## ").map_or(page.len(), |at| begin + at);
    if &page[begin..end] == section {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_INCIDENTS").is_some(),
        "docs/INCIDENTS.md is not what is found; UPDATE_INCIDENTS=1 cargo nextest run -p agentd --test incidents writes it\n\
         the page: {}\nfound: {section}",
        &page[begin..end]
    );
    page.replace_range(begin..end, section);
    file.rewind().unwrap();
    file.set_len(0).unwrap();
    file.write_all(page.as_bytes()).unwrap();
}

/// Every section with a table is one that a test answers for.
#[test]
fn every_table_of_the_page_is_found_by_a_test() {
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let sections = page.split("\n## ").skip(1).filter(|section| section.contains("| has to be |"));
    let found: Vec<&str> = sections.map(|section| section.lines().next().unwrap()).collect();
    let expected = [
        crate::a_files::TITLE,
        crate::b_databases::TITLE,
        crate::c_services::TITLE,
        crate::d_boot::TITLE,
        crate::e_lockout::TITLE,
        crate::f_secrets::TITLE,
        crate::g_history::TITLE,
        crate::h_approval::TITLE,
        crate::j_gate::TITLE,
        crate::k_quota::TITLE,
        crate::m_instructions::TITLE,
        crate::x_gaps::TITLE,
    ];
    assert_eq!(found, expected);
}
