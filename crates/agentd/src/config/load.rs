//! Reading the configuration: a file that only its owner writes, and an error that names the line and what to do.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use toml::de::{DeTable, DeValue};

use super::{Config, DEFAULT_PATH};

/// The longest configuration that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why the configuration cannot be used. The daemon does not start with half of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}; name another file with --config")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} {problem}; run: {command} {path}")]
    Rights { path: PathBuf, problem: String, command: String },
    // toml's own message names the line and the column, and shows the line.
    #[error("{path}: {}\nmend it, and check it with: agentd --check-config --config {path}", message.trim_end())]
    Parse { path: PathBuf, line: Option<usize>, message: String },
    #[error(
        "{path}{}: {key} must be {expected}\nmend it, and check it with: agentd --check-config --config {path}",
        on_line(*line)
    )]
    Value { path: PathBuf, line: Option<usize>, key: &'static str, expected: &'static str },
}

fn on_line(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

impl ConfigError {
    /// The line at fault, from 1.
    pub(crate) fn line(&self) -> Option<usize> {
        match self {
            Self::Parse { line, .. } | Self::Value { line, .. } => *line,
            Self::Read { .. } | Self::Rights { .. } => None,
        }
    }

    /// The kind of error and the key, without anything that stands in the file: that may be a secret in the wrong place.
    pub(crate) fn summary(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Read { .. } => ("not_readable", None),
            Self::Rights { .. } => ("writable_by_others", None),
            Self::Parse { .. } => ("not_understood", None),
            Self::Value { key, .. } => ("out_of_range", Some(key)),
        }
    }
}

impl Config {
    /// Reads `path`, or the default file if none is given; without a default file all keys have their defaults.
    ///
    /// # Errors
    /// [`ConfigError`]: the file is not there though it was named, could be written by others, does not parse, or holds a
    /// value that cannot work.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match read(file) {
            Ok(text) => Ok(Self { file: path.map(Path::to_owned), ..Self::parse(file, &text)? }),
            Err(ConfigError::Read { source, .. })
                if path.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: error.span().map(|span| line_at(text, span.start)),
            message: error.to_string(),
        })?;
        match config.impossible() {
            Some((key, expected)) => {
                let line = line_of(text, key).or_else(|| line_of(text, key.rsplit_once('.')?.0));
                Err(ConfigError::Value { path: path.to_owned(), line, key, expected })
            }
            None => Ok(config),
        }
    }
}

/// The text of a configuration, if nobody but its owner and root can write it.
///
/// # Errors
/// [`ConfigError::Read`] and [`ConfigError::Rights`].
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let rights =
        |problem, command: String| Err(ConfigError::Rights { path: path.to_owned(), problem, command });
    // A link is followed: what matters is who can write the file it leads to. A FIFO is not waited for.
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != ours {
        let problem =
            format!("belongs to uid {}: whoever writes it decides what agentd does", metadata.uid());
        return rights(problem, format!("chown {ours}"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        let problem = format!("has mode {mode:04o}: others could write it, and decide what agentd does");
        return rights(problem, "chmod go-w".to_owned());
    }
    if metadata.len() > MAX_BYTES {
        return Err(failed(std::io::Error::other("it is larger than a mebibyte")));
    }
    let mut text = String::new();
    file.by_ref().take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The line, from 1, on which the byte at `offset` stands.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line on which the dotted `key` has its value; nothing when it is not in the file.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let parsed = DeTable::parse(text).ok()?;
    let mut table = parsed.get_ref();
    let mut parts = key.split('.').peekable();
    loop {
        let part = parts.next()?;
        let (found, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        if parts.peek().is_none() {
            return Some(line_at(text, found.span().start));
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("agentd.toml"), text)
    }

    #[test]
    fn each_kind_of_error_names_its_line_and_what_to_do() {
        for (text, line, named) in [
            ("state_directory = \"/a\"\nstate_dir = \"/b\"\n", 2, "state_dir"),
            ("\n\nstate_directory = ", 3, "string"),
            ("[limits]\nconnections = \"many\"", 2, "connections"),
            ("[limits]\n\nconnections = 5\nconnections = 6", 4, "duplicate"),
            ("[limits]\nrunning_queries = -1", 2, "running_queries"),
            ("[limits]\nstreams = 70000", 2, "streams"),
            ("# a comment\n[limits]\nconnections = 0", 3, "limits.connections"),
            ("[limits]\nquery_seconds = 5000", 2, "limits.query_seconds"),
            ("\nstate_directory = \"relative\"", 2, "state_directory"),
            ("[sockets]\noperator = { path = \"/run/agentos/agentd.sock\" }", 2, "sockets.operator.path"),
            (
                "[sockets.operator]\npath = \"/b\"\n[sockets.agent]\nmode = \"0660\"\npath = \"a\"",
                5,
                "absolute",
            ),
            ("[sockets]\nagent = { path = \"/run/a\", mode = \"0666\" }", 2, "every user"),
            ("[sockets]\n\nagent = { path = \"/run/a\", mode = \"rw\" }", 3, "octal"),
            ("[sockets]\nagent = { path = \"/run/a\", group = true }", 2, "group"),
            ("[sockets]\nagent = { mode = \"0660\" }", 2, "path"),
            ("[ledger]\ncheckpoint_file = \"/var/lib/agentos/checkpoints\"", 2, "outside"),
            ("[memory]\ndirectory = \"memory\"", 2, "memory.directory"),
        ] {
            let error = parse(text).unwrap_err();
            let said = error.to_string();
            assert_eq!(error.line(), Some(line), "{text}: {said}");
            assert!(said.contains(&format!("line {line}")) && said.contains(named), "{text}: {said}");
            assert!(said.contains("agentd --check-config --config agentd.toml"), "{said}");
        }
    }

    #[test]
    fn a_file_that_others_could_write_is_refused_with_the_command_that_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agentd.toml");
        std::fs::write(&path, "").unwrap();
        for (mode, refused) in [(0o644, false), (0o664, true), (0o646, true), (0o600, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match Config::load(Some(&path)) {
                Ok(_) => assert!(!refused, "{mode:o}"),
                Err(error) => {
                    assert!(refused && error.to_string().contains("chmod go-w"), "{mode:o}: {error}");
                }
            }
        }
        if !rustix::process::geteuid().is_root() {
            eprintln!("a file of another owner: NOT TESTED, only root can give a file away");
            return;
        }
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let error = Config::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("uid 65534") && error.contains("chown 0 "), "{error}");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        for path in [fifo.as_path(), directory.path()] {
            assert!(matches!(Config::load(Some(path)), Err(ConfigError::Read { .. })));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
