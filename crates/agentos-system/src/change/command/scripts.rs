//! The scripts that a command names: a yes to `sh deploy.sh` is a yes to what is in it.
//!
//! They are looked for among the words of the command, by what is there: so one that a variable names is not found, and the plan
//! says which were.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agentos_objects::Hash;
use serde::{Deserialize, Serialize};

/// Largest script, in bytes. Larger files are programs.
const LARGEST: u64 = 1 << 20;
/// Words that are looked at, and scripts that are found.
const MOST_WORDS: usize = 1000;
const MOST_SCRIPTS: usize = 16;
/// What divides the words of a command line, whatever shell it is for.
const BETWEEN: &str = " \t\r\n;|&()<>'\"`${}=,";
/// Folders of programs that come in packages.
const SYSTEM: [&str; 6] = ["/usr/bin", "/usr/sbin", "/usr/lib", "/bin", "/sbin", "/lib"];
/// Programs that execute the file that is named behind them, by how their names begin.
const INTERPRETERS: [&str; 16] = [
    ".", "ash", "awk", "bash", "dash", "ksh", "lua", "make", "node", "perl", "php", "python", "ruby", "sh",
    "source", "zsh",
];

/// A script, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Script {
    /// Where it is.
    pub(crate) path: PathBuf,
    sha256: Hash,
}

/// The scripts that are named in these words, and are there.
pub(super) fn named(words: &[String], folder: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    let mut interprets = false;
    let parts =
        words.iter().flat_map(|word| word.split(|c| BETWEEN.contains(c))).filter(|part| !part.is_empty());
    for part in parts.take(MOST_WORDS) {
        let path = Path::new(folder).join(part);
        let is_option = part.starts_with('-');
        if !is_option
            && let Some(script) = look(&path, interprets)
            && !scripts.contains(&script)
            && scripts.len() < MOST_SCRIPTS
        {
            scripts.push(script);
        }
        // Options may stand between the two.
        interprets = is_interpreter(part) || (interprets && is_option);
    }
    scripts
}

/// The first that is not what it was.
pub(super) fn changed(scripts: &[Script]) -> Option<&Script> {
    scripts.iter().find(|script| read(&script.path).is_none_or(|content| Hash::of(&content) != script.sha256))
}

fn is_interpreter(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    INTERPRETERS.iter().any(|one| {
        // `python3.11`, and not `shutdown`.
        name.strip_prefix(one).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    })
}

fn look(path: &Path, interprets: bool) -> Option<Script> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let runs = interprets || found.permissions().mode() & 0o111 != 0;
    let real = std::fs::canonicalize(path).ok()?;
    if !runs || SYSTEM.iter().any(|folder| real.starts_with(folder)) {
        return None;
    }
    let content = read(path)?;
    Some(Script { path: path.to_owned(), sha256: Hash::of(&content) })
}

/// Its content, where it is a file of that size: nothing is waited for.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    if size > LARGEST {
        return None;
    }
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= LARGEST).then_some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_executed_is_found_and_what_is_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap();
        for name in ["plain.sh", "runs", "data"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::set_permissions(folder.path().join("runs"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let scripts = named(&words, here);
            let names =
                scripts.iter().filter_map(|script| script.path.file_name()?.to_str()).collect::<Vec<_>>();
            names.join(" ")
        };
        assert_eq!(found(&["sh", "-c", "cat data && sh -eu ./plain.sh; ./runs <data"]), "plain.sh runs");
        assert_eq!(found(&["sh", "plain.sh"]), "plain.sh");
        assert_eq!(found(&["python3.11", "-u", "plain.sh", "data"]), "plain.sh");
        assert_eq!(found(&["sh", "-c", ". ./plain.sh;sudo -u x sh -c './runs'"]), "plain.sh runs");
        assert_eq!(found(&[&format!("{here}/runs")]), "runs");
        assert_eq!(found(&["cat", "data", "plain.sh", "/bin/ls", "/no/such"]), "");

        let scripts = named(&["./runs".to_owned()], here);
        assert!(changed(&scripts).is_none());
        std::fs::write(folder.path().join("runs"), "other").unwrap();
        assert_eq!(changed(&scripts), scripts.first());
        std::fs::remove_file(folder.path().join("runs")).unwrap();
        assert_eq!(changed(&scripts), scripts.first());
    }

    proptest! {
        #[test]
        fn any_words_are_looked_through(words in proptest::collection::vec(".{0,20}", 0..8)) {
            prop_assert!(named(&words, "/no/such/folder").len() <= MOST_SCRIPTS);
        }
    }
}
