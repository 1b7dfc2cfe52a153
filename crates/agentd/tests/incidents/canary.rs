//! A secret that must be nowhere but in its own file.

use std::path::Path;

use crate::bench::Bench;

/// A key in the shape of a real one, made up.
pub(crate) fn key() -> String {
    // Put together here: no scanner shall take this file for a leak.
    ["sk-", "ant-", "api03-", "Qm7Vd2xRkT9wLzB4nYc8HsJfEgPa6UuX3oIi5tMlKvNqWbZy1CrDhSjG0eOpAxFw"].concat()
}

impl Bench {
    /// The secret is not in what the agent was answered, nor in any of the places where it might have been written down.
    pub(crate) fn is_nowhere(&self, secret: &str, answers: &[Vec<u8>]) {
        for answer in answers {
            assert!(!is_told(answer, secret), "told: {}", String::from_utf8_lossy(answer));
        }
        // What the agent can read of the record, and of what waits.
        for path in ["/events/log?limit=1000", "/approvals", "/changes"] {
            assert!(!is_told(&self.daemon.get(path).body, secret), "told by {path}");
        }
        let state = self.folder.path().join("state");
        let mut looked_at = 0;
        for file in std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
            if file.is_file() {
                looked_at += usize::from(!is_in(&file, secret));
            }
        }
        assert!(looked_at >= 2, "the ledger and the list of changes are in {}", state.display());
        is_in(&self.folder.path().join("stderr"), secret);
    }
}

impl Bench {
    /// Whether the ledger has it.
    pub(crate) fn is_on_the_record(&self, secret: &str) -> bool {
        let files = ["ledger.db", "ledger.db-wal"].map(|name| self.folder.path().join("state").join(name));
        files.iter().any(|file| std::fs::read(file).is_ok_and(|bytes| is_told(&bytes, secret)))
    }
}

/// Whether it is in a file; then the test has failed.
fn is_in(file: &Path, secret: &str) -> bool {
    let found = is_told(&std::fs::read(file).unwrap(), secret);
    assert!(!found, "written to {}", file.display());
    found
}

/// Whether it is there, or half of it, which would be as bad.
pub(crate) fn is_told(bytes: &[u8], secret: &str) -> bool {
    let half = &secret.as_bytes()[secret.len() / 2..];
    bytes.windows(half.len()).any(|window| window == half)
}
