use std::fs;

use crate::support::{Run, agentctl};

#[test]
fn each_command_has_a_page_with_an_example() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::of(agentctl().arg("man").arg(directory.path().join("man1"))).with(0);
    let pages: Vec<_> = fs::read_dir(directory.path().join("man1")).unwrap().map(Result::unwrap).collect();
    assert!(run.stderr.starts_with(&format!("{} manual pages", pages.len())), "{}", run.stderr);
    for page in &pages {
        let text = fs::read_to_string(page.path()).unwrap();
        assert!(text.contains(".SH EXAMPLES") || text.contains(".SH \"EXAMPLES"), "{:?}", page.path());
        assert!(!text.contains(".SH EXTRA"), "{:?}", page.path());
    }
    let names: Vec<_> = pages.iter().map(|page| page.file_name().into_string().unwrap()).collect();
    for name in ["agentctl.1", "agentctl-chat.1", "agentctl-verify-ledger.1", "agentctl-memory-recall.1"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("-man.")), "{names:?}");
    let main = fs::read_to_string(directory.path().join("man1/agentctl.1")).unwrap();
    assert!(main.contains("agentd cannot be reached"), "{main}");
}
