//! What a job runs: words that a unit's file can hold, and a program that may be run.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use agentos_api::change::Risk;
use agentos_api::query::path::{AbsolutePath, encode};

use super::super::file::risk;
use crate::QueryError;
use crate::change::error::ChangeError;
use crate::change::file::{self, FileState, Place};
use crate::change::planner::Planner;
use crate::change::protect;

const MOST_WORDS: usize = 64;
/// All words together, in bytes.
const LONGEST: usize = 16 << 10;
/// Words that lead to agentd itself, or to a yes from it.
const AGENTDS: [&str; 5] = ["agentctl", "agentd", "agentos-setup", "/run/agentos", "/var/lib/agentos"];
/// Programs that run what a file says: how their names begin.
const INTERPRETERS: [&str; 17] = [
    "ash", "awk", "bash", "busybox", "dash", "env", "fish", "ksh", "lua", "node", "perl", "php", "python",
    "ruby", "sh", "tclsh", "zsh",
];

/// Refuses words that a unit's file cannot hold.
pub(super) fn check_words(argv: &[String]) -> Result<(), ChangeError> {
    let invalid = |reason: String| ChangeError::invalid("argv", reason);
    let Some(program) = argv.first() else {
        return Err(invalid("must name a program".to_owned()));
    };
    if argv.len() > MOST_WORDS || argv.iter().map(String::len).sum::<usize>() > LONGEST {
        return Err(invalid(format!("must be at most {MOST_WORDS} words of {LONGEST} bytes together")));
    }
    if let Some(wrong) = argv.iter().position(|word| word.chars().any(char::is_control)) {
        return Err(ChangeError::invalid(
            format!("argv.{wrong}"),
            "must have no line breaks or other control characters",
        ));
    }
    let plain = program.starts_with('/') && !program.ends_with('/');
    if !plain || program.split('/').any(|part| part == ".." || part == ".") {
        return Err(ChangeError::invalid(
            "argv.0",
            "must be the absolute path of a program, such as /usr/bin/rsync: there is no shell and no PATH",
        ));
    }
    Ok(())
}

/// Who owns a program, and who may write it.
struct Facts {
    uid: u32,
    mode: u32,
}

impl Facts {
    /// Nobody but root can change it.
    const fn is_roots(&self) -> bool {
        self.uid == 0 && self.mode & 0o022 == 0
    }
}

/// Refuses what is no program, what is agentd's, and what root must not be made to run.
pub(super) fn check(
    planner: &mut Planner<'_>,
    argv: &[String],
    user: &str,
    as_good_as_root: bool,
) -> Result<(), ChangeError> {
    let Some(given) = argv.first() else { return Ok(()) };
    if !planner.viewer.operator
        && let Some(word) = AGENTDS.iter().find(|word| argv.iter().any(|given| given.contains(**word)))
    {
        return Err(protect::forbidden(&format!("a job that names {word} would act on agentd itself")));
    }
    let (place, facts) = find(planner, given)?;
    if facts.mode & 0o111 == 0 {
        return Err(ChangeError::refused(format!(
            "{given} is no program: it may not be executed (mode {:04o}); file.chmod can change that",
            facts.mode & 0o7777
        )));
    }
    if !as_good_as_root {
        if risk::at(&place) != Risk::Destructive {
            planner.not_covered(format!(
                "who may change {} decides what {user} runs: where a policy lets small changes pass, that is the agent",
                place.text()
            ));
        }
        return Ok(());
    }
    if let Some(why) = unsafe_for_root(&place, &facts) {
        let what = format!("{user} would run {}, which {why}", place.text());
        if !planner.viewer.operator {
            return Err(ChangeError::refused(format!(
                "{what}; put the program into /usr/local/bin or /usr/local/sbin, or name an ordinary user"
            )));
        }
        planner.not_covered(format!("{what}: whoever does is as good as root"));
    }
    scripts(planner, given, argv, user)
}

/// The program, links followed, as it is after what is planned so far.
fn find(planner: &mut Planner<'_>, given: &str) -> Result<(Place, Facts), ChangeError> {
    let missing = || {
        ChangeError::Reading(QueryError::NotFound { what: format!("the program {given}"), near: Vec::new() })
    };
    let path = |bytes: &[u8]| {
        AbsolutePath::new(bytes).map_err(|error| ChangeError::invalid("argv.0", error.to_string()))
    };
    let place = Place::of(&path(given.as_bytes())?, |folder| planner.files.is_folder(folder))?;
    if planner.files.knows(&place) {
        return match planner.state(&place)? {
            FileState::File { attributes, .. } => {
                Ok((place, Facts { uid: attributes.uid, mode: attributes.mode }))
            }
            FileState::Absent => Err(missing()),
            other => Err(not_a_file(given, &other.text(&planner.machine.accounts))),
        };
    }
    let leads_to = file::resolve(given.as_bytes()).map_err(|_| missing())?;
    let place = Place::of(&path(&leads_to)?, |_| false)?;
    let found = std::fs::symlink_metadata(Path::new(&encode(place.as_bytes())))
        .map_err(|error| ChangeError::io(given, error))?;
    if !found.is_file() {
        return Err(not_a_file(given, "no regular file"));
    }
    Ok((place, Facts { uid: found.uid(), mode: found.mode() }))
}

fn not_a_file(given: &str, what: &str) -> ChangeError {
    ChangeError::refused(format!("{given} is no program: it is {what}"))
}

/// Why somebody without a person's yes could change what root would run.
fn unsafe_for_root(place: &Place, facts: &Facts) -> Option<String> {
    if !facts.is_roots() {
        return Some("others than root may change".to_owned());
    }
    // The agent may change small things by itself where a policy says so; never what is destructive.
    if risk::at(place) != Risk::Destructive {
        return Some("is in a place where changes are not asked about under every policy".to_owned());
    }
    let text = place.text();
    let open = Path::new(&text).ancestors().skip(1).find(|folder| {
        std::fs::symlink_metadata(folder)
            .is_ok_and(|found| found.uid() != 0 || (found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0))
    });
    open.map(|folder| format!("is below {}, where others than root may put another one", folder.display()))
}

/// Looks at the files among the arguments: an interpreter runs them as it runs the program itself.
fn scripts(planner: &mut Planner<'_>, program: &str, argv: &[String], user: &str) -> Result<(), ChangeError> {
    let name = program.rsplit('/').next().unwrap_or_default();
    let interpreter = INTERPRETERS.iter().any(|start| name.starts_with(start));
    for word in argv.iter().skip(1) {
        // A job runs in the folder /.
        let path = if word.starts_with('/') { word.clone() } else { format!("/{word}") };
        let Ok(leads_to) = file::resolve(path.as_bytes()) else { continue };
        let Ok(found) = std::fs::symlink_metadata(encode(&leads_to)) else { continue };
        if !found.is_file() {
            continue;
        }
        let Ok(path) = AbsolutePath::new(leads_to) else { continue };
        let place = Place::of(&path, |_| false)?;
        let facts = Facts { uid: found.uid(), mode: found.mode() };
        let Some(why) = unsafe_for_root(&place, &facts) else { continue };
        if interpreter && !planner.viewer.operator {
            return Err(ChangeError::refused(format!(
                "{user} would run {} with {program}, which {why}; put it into /usr/local/bin, or name an ordinary user",
                place.text()
            )));
        }
        planner.not_covered(format!("{user} would read {}, which {why}", place.text()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_program_is_an_absolute_path_and_its_words_are_one_line() {
        assert!(check_words(&words(&["/usr/bin/rsync", "-a", "", "a b"])).is_ok());
        for bad in
            [&[][..], &["rsync"], &["./x"], &["/usr/../x"], &["/usr/bin/"], &["/bin/x", "a\nb"], &["@/bin/x"]]
        {
            assert!(check_words(&words(bad)).is_err(), "{bad:?}");
        }
        assert!(check_words(&vec!["/x".to_owned(); 65]).is_err());
        assert!(check_words(&words(&["/x", &"a".repeat(LONGEST)])).is_err());
    }

    #[test]
    fn what_others_can_change_is_not_for_root() {
        let place = |path: &str| Place::of(&path.parse().unwrap(), |_| false).unwrap();
        let roots = Facts { uid: 0, mode: 0o755 };
        assert_eq!(unsafe_for_root(&place("/usr/bin/true"), &roots), None);
        assert!(unsafe_for_root(&place("/usr/bin/true"), &Facts { uid: 1000, mode: 0o755 }).is_some());
        assert!(unsafe_for_root(&place("/usr/bin/true"), &Facts { uid: 0, mode: 0o775 }).is_some());
        assert!(unsafe_for_root(&place("/srv/job"), &roots).is_some());
        assert!(unsafe_for_root(&place("/etc/job"), &roots).is_some());
    }
}
