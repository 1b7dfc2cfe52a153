//! agentd's configuration: one TOML file, every key optional, unknown keys refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Where the configuration is read from when `--config` is not given.
pub(crate) const DEFAULT_PATH: &str = "/etc/agentos/agentd.toml";

/// The whole file. `packaging/etc/agentd.toml` documents each key with its default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The ledger, its key, and the memory index live here; mode 0700, owned by agentd's user.
    pub(crate) state_directory: PathBuf,
    pub(crate) sockets: Sockets,
    pub(crate) ledger: Ledger,
    pub(crate) memory: Memory,
    pub(crate) limits: Limits,
}

/// The two sockets, one a principal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sockets {
    pub(crate) agent: Socket,
    pub(crate) operator: Socket,
}

/// One socket of agentd's own making; not used for a socket that systemd passes in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    /// Who besides root may connect: a group's name or number. Left out: the group agentd runs with.
    pub(crate) group: Option<Group>,
    /// The socket's mode, in octal.
    #[serde(default = "default_mode")]
    pub(crate) mode: Mode,
}

/// A group, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Group {
    Number(u32),
    Name(String),
}

/// Permission bits written in octal, as chmod(1) takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Mode(u32);

/// The event ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ledger {
    /// The name this ledger signs its checkpoints with; left out: the machine's name.
    pub(crate) origin: Option<String>,
    /// A file outside the state directory that each checkpoint is appended to.
    pub(crate) checkpoint_file: Option<PathBuf>,
}

/// The memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    /// Where the markdown files are; left out: `memory` in the state directory.
    pub(crate) directory: Option<PathBuf>,
}

/// What bounds the work that callers can cause.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Connections open at once on each socket. The operator's are counted apart from the agent's.
    pub(crate) connections: u16,
    /// Queries running at once; more wait their turn.
    pub(crate) running_queries: u16,
    /// Seconds a request's head, and then its body, may take to arrive.
    pub(crate) request_seconds: u16,
    /// Seconds a query may run before its caller gets an answer without it.
    pub(crate) query_seconds: u16,
    /// Event streams open at once.
    pub(crate) streams: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_directory: PathBuf::from("/var/lib/agentos"),
            sockets: Sockets::default(),
            ledger: Ledger::default(),
            memory: Memory::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Sockets {
    fn default() -> Self {
        let socket = |path: &str, group: &str| Socket {
            path: PathBuf::from(path),
            group: Some(Group::Name(group.to_owned())),
            mode: default_mode(),
        };
        Self {
            agent: socket("/run/agentos/agentd.sock", "agentos"),
            operator: socket("/run/agentos/operator.sock", "agentos-operators"),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 128, running_queries: 8, request_seconds: 10, query_seconds: 30, streams: 16 }
    }
}

const fn default_mode() -> Mode {
    Mode(0o660)
}

impl Mode {
    /// The permission bits.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits & !0o770 == 0 => Ok(Self(bits)),
            Ok(_) => {
                Err(format!("mode \"{text}\" would open the socket to every user; use \"0660\" or less"))
            }
            Err(_) => Err(format!("mode \"{text}\" is not octal; write it like \"0660\"")),
        }
    }
}

/// Why the configuration cannot be used. The daemon does not start with half of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}; name another file with --config")]
    Read { path: PathBuf, source: std::io::Error },
    // toml's own message names the line, the column and the key.
    #[error("{path}: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{path}: {key} must be {expected}")]
    Value { path: PathBuf, key: &'static str, expected: &'static str },
}

impl Config {
    /// Reads `path`, or the default file if none is given; without a default file all keys have their defaults.
    ///
    /// # Errors
    /// [`ConfigError`]: the file is not there though it was named, does not parse, or holds a value that cannot work.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(file, &text),
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read { path: file.to_owned(), source }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string() })?;
        let value = |key, expected| Err(ConfigError::Value { path: path.to_owned(), key, expected });
        let absolute: [(&'static str, Option<&Path>); 5] = [
            ("state_directory", Some(&config.state_directory)),
            ("sockets.agent.path", Some(&config.sockets.agent.path)),
            ("sockets.operator.path", Some(&config.sockets.operator.path)),
            ("ledger.checkpoint_file", config.ledger.checkpoint_file.as_deref()),
            ("memory.directory", config.memory.directory.as_deref()),
        ];
        for (key, path) in absolute {
            if path.is_some_and(|path| !path.is_absolute()) {
                return value(key, "an absolute path");
            }
        }
        if config.sockets.agent.path == config.sockets.operator.path {
            return value(
                "sockets.operator.path",
                "another path than the agent's: the two sockets tell who is calling",
            );
        }
        if config
            .ledger
            .checkpoint_file
            .as_ref()
            .is_some_and(|file| file.starts_with(&config.state_directory))
        {
            return value(
                "ledger.checkpoint_file",
                "outside state_directory: it is there to survive its loss",
            );
        }
        let limits = &config.limits;
        let counts = [
            ("limits.connections", limits.connections),
            ("limits.running_queries", limits.running_queries),
            ("limits.request_seconds", limits.request_seconds),
            ("limits.query_seconds", limits.query_seconds),
            ("limits.streams", limits.streams),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| !(1..=4096).contains(count)) {
            return value(key, "from 1 to 4096");
        }
        Ok(config)
    }

    /// Where the memory's markdown files are.
    pub(crate) fn memory_directory(&self) -> PathBuf {
        self.memory.directory.clone().unwrap_or_else(|| self.state_directory.join("memory"))
    }
}

impl Limits {
    /// How long a request's head, and then its body, may take to arrive.
    pub(crate) fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_seconds.into())
    }

    /// How long a query may run before its caller gets an answer without it.
    pub(crate) fn query_time(&self) -> Duration {
        Duration::from_secs(self.query_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("agentd.toml"), text)
    }

    #[test]
    fn the_packaged_file_documents_each_default() {
        // Keys that have no fixed default stand commented out in it; all others must say what the code says.
        let packaged = parse(include_str!("../../../packaging/etc/agentd.toml")).unwrap();
        assert_eq!(packaged, Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused_and_its_line_is_named() {
        let error = parse("state_directory = \"/a\"\nstate_dir = \"/b\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("state_dir"), "{error}");
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        for (text, named) in [
            ("state_directory = \"relative\"", "state_directory"),
            ("[sockets]\noperator = { path = \"/run/agentos/agentd.sock\" }", "sockets.operator.path"),
            ("[sockets]\nagent = { path = \"/run/a\", mode = \"0666\" }", "every user"),
            ("[sockets]\nagent = { path = \"/run/a\", mode = \"rw\" }", "octal"),
            ("[ledger]\ncheckpoint_file = \"/var/lib/agentos/checkpoints\"", "outside"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[limits]\nrunning_queries = -1", "running_queries"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
