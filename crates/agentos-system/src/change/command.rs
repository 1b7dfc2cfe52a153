//! A command that is run.

mod kept;
mod scripts;

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use agentos_api::change::{Effect, Ran};
use serde::{Deserialize, Serialize};

use super::context::{Context, Making};
use super::error::ChangeError;
use super::transition::{Irreversible, Position, Transit};
use crate::run::count_one;
use crate::shell::apply::{Asked, NotRun, run};
pub use kept::{Mask, Output, Piece, output};

/// Most characters of the command in a sentence; the arguments of the step have all of it.
const MOST_SHOWN: usize = 400;

/// A command is run, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShellRun {
    /// Which of the change's commands it is, from 1.
    pub(crate) number: u32,
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// Where it runs.
    pub(crate) folder: String,
    /// How long, at most.
    pub(crate) seconds: u64,
    /// Scripts among its words, as they were when it was planned.
    pub(crate) scripts: Vec<scripts::Script>,
}

impl ShellRun {
    /// A command, with the scripts that its words name as they are now.
    pub(crate) fn new(number: u32, words: Vec<String>, folder: String, seconds: u64) -> Self {
        let scripts = scripts::named(&words, &folder);
        Self { number, words, folder, seconds, scripts }
    }

    /// A script is not what it was when this was planned.
    fn moved(&self) -> Option<(String, String)> {
        scripts::changed(&self.scripts).map(|script| {
            let on = format!("file {}", agentos_api::query::path::encode(script.path.as_os_str().as_bytes()));
            (on, "another one, or gone".to_owned())
        })
    }

    /// Its words as they would be typed, in one line.
    pub(crate) fn shown(&self) -> String {
        let mut line = String::new();
        for word in &self.words {
            if !line.is_empty() {
                line.push(' ');
            }
            quote(word, &mut line);
        }
        match line.char_indices().nth(MOST_SHOWN) {
            Some((end, _)) => {
                format!("{}… ({} characters)", line.get(..end).unwrap_or_default(), line.chars().count())
            }
            None => line,
        }
    }

    /// How it ended, where that is known.
    pub(crate) fn ended(&self, making: &Making) -> Option<Ran> {
        kept::ended(making, self.number)
    }
}

/// A word as a shell would read it back; what would not be seen as it is, or would move what is seen, by its number.
fn quote(word: &str, into: &mut String) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        into.push_str(word);
        return;
    }
    into.push('\'');
    for c in word.chars() {
        match c {
            '\'' => into.push_str("'\\''"),
            '\n' => into.push_str("\\n"),
            ' ' => into.push(' '),
            // Everything that is not to be seen is escaped by this as well.
            c if c.is_control() || c.escape_debug().count() > 2 => into.extend(c.escape_unicode()),
            c => into.push(c),
        }
    }
    into.push('\'');
}

impl Transit for ShellRun {
    fn on(&self) -> String {
        format!("command {}", self.number)
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        let after = format!("run: {}", self.shown());
        Effect { on: self.on(), before: "not run".to_owned(), after, diff: None, diff_omitted: None }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        let Some(making) = context.making else {
            return Ok(match self.moved() {
                Some((script, found)) => Position::Elsewhere(format!("not run, and {script} is {found}")),
                None => Position::Unknowable,
            });
        };
        if self.ended(making).is_some() {
            return Ok(Position::After);
        }
        Ok(if kept::is_begun(making, self.number) {
            Position::Elsewhere(format!(
                "begun, and nobody saw how it ended: it is not run again; what it wrote until then: agentctl changes output {}",
                making.change
            ))
        } else {
            Position::Before
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let failed = |error: std::io::Error| ChangeError::failed(self.on(), error);
        let making = context
            .making
            .ok_or_else(|| ChangeError::failed(self.on(), "nothing keeps what it writes here"))?;
        if let Some((what, found)) = self.moved() {
            return Err(ChangeError::Moved {
                what,
                planned: "the script that was looked at".to_owned(),
                found,
            });
        }
        let machine = context.machine;
        let covered: Vec<String> =
            machine.covered.iter().filter_map(|path| path.to_str().map(str::to_owned)).collect();
        // Once it is begun that stays: it is never begun twice.
        let files = kept::begin(making, self.number).map_err(failed)?;
        count_one();
        let asked = Asked {
            cells: machine.cells.clone(),
            words: self.words.clone(),
            folder: self.folder.clone(),
            time: Duration::from_secs(self.seconds),
            covered,
            files,
        };
        match run(asked) {
            Ok(ran) => {
                // Where that cannot be written, the event has it all the same.
                let _ = kept::end(making, self.number, &ran);
                making.note(ran);
                Ok(())
            }
            Err(NotRun::NotClosed(reason)) => {
                kept::forget(making, self.number);
                Err(ChangeError::failed(
                    self.on(),
                    format!("it was not run, because it could not be kept from what is agentd's: {reason}"),
                ))
            }
            Err(NotRun::NotStarted(reason)) => {
                kept::forget(making, self.number);
                Err(ChangeError::failed(self.on(), format!("it could not be started: {reason}")))
            }
            Err(NotRun::Lost(reason)) => Err(ChangeError::failed(self.on(), reason)),
        }
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Err(Irreversible(
            "what a command did cannot be known; run it as a preview to have an exact, undoable change"
                .to_owned(),
        ))
    }

    fn is_act(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> String {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        ShellRun::new(1, words, "/".into(), 1).shown()
    }

    #[test]
    fn words_are_shown_as_they_would_be_typed_and_nothing_hides_in_them() {
        assert_eq!(shown(&["sh", "-c", "echo 'a' b"]), r"sh -c 'echo '\''a'\'' b'");
        assert_eq!(shown(&["a", "", "x\ny"]), r"a '' 'x\ny'");
        let hidden = shown(&["rm", "a\u{1b}[2K\u{202e}b\u{200b}\r"]);
        assert_eq!(hidden, r"rm 'a\u{1b}[2K\u{202e}b\u{200b}\u{d}'");
        let long = shown(&["echo", &"ä".repeat(1000)]);
        assert!(long.ends_with("… (1007 characters)") && long.chars().count() < 430, "{long}");
    }
}
