//! agentd's configuration: one TOML file, every key optional, unknown keys refused.

mod load;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentos_ledger::{MAX_WITNESSES, WitnessKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::load::{ConfigError, read};

/// Where the configuration is read from when `--config` is not given.
pub(crate) const DEFAULT_PATH: &str = "/etc/agentos/agentd.toml";
/// Where the policy is, unless the configuration says otherwise.
pub(crate) const DEFAULT_POLICY: &str = "/etc/agentos/policy.toml";

/// The whole file. `packaging/etc/agentd.toml` documents each key with its default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The ledger, its key, and the memory index live here; mode 0700, owned by agentd's user.
    pub(crate) state_directory: PathBuf,
    /// The rules for reading; where the default file is missing, those that are built in.
    pub(crate) policy: PathBuf,
    pub(crate) sockets: Sockets,
    pub(crate) ledger: Ledger,
    pub(crate) memory: Memory,
    pub(crate) limits: Limits,
    pub(crate) changes: Changes,
    pub(crate) approvals: Approvals,
    /// The file that was named on the command line, if one was.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
}

/// The two sockets, one a principal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sockets {
    pub(crate) agent: Socket,
    pub(crate) operator: Socket,
}

/// One socket of agentd's own making; not used for a socket that systemd passes in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Group {
    Number(u32),
    Name(String),
}

/// Permission bits written in octal, as chmod(1) takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mode(u32);

/// The event ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ledger {
    /// The name this ledger signs its checkpoints with; left out: the machine's name.
    pub(crate) origin: Option<String>,
    /// A file outside the state directory that each checkpoint is appended to.
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// The public keys of the witnesses whose cosignatures are kept.
    pub(crate) witnesses: Vec<String>,
}

impl Ledger {
    /// The keys of the witnesses; nothing when one is no witness's key, one stands twice, or there are too many.
    pub(crate) fn witness_keys(&self) -> Option<Vec<WitnessKey>> {
        let mut keys: Vec<WitnessKey> = Vec::new();
        for text in &self.witnesses {
            let key: WitnessKey = text.parse().ok()?;
            if keys.contains(&key) || keys.len() >= MAX_WITNESSES {
                return None;
            }
            keys.push(key);
        }
        Some(keys)
    }
}

/// Changes of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Changes {
    /// Bytes of what changes replace that are kept for taking them back.
    pub(crate) keep_bytes: u64,
    /// Minutes that a change waits for a yes.
    pub(crate) expire_minutes: u32,
    /// Seconds within which a change that may lock the person out has to be confirmed. 0: it need not be.
    pub(crate) confirm_seconds: u32,
    /// From what a confirmation has to come.
    pub(crate) confirm: Confirm,
}

/// From what the confirmation of a change that may lock the person out has to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Confirm {
    /// A login that began after the change.
    #[default]
    NewLogin,
    /// A connection to agentd that was made after the change.
    NewConnection,
}

/// How a person learns that something waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Approvals {
    /// A program, by its absolute path, and its arguments; run as agentd's user when a change begins to wait.
    pub(crate) notify: Vec<PathBuf>,
    /// Whether the terminals of those who may say yes get a line as well.
    pub(crate) notify_terminals: bool,
    /// Whether a yes may also come through the agent's chat, with a code.
    pub(crate) chat: bool,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            keep_bytes: 1 << 30,
            expire_minutes: 24 * 60,
            confirm_seconds: 120,
            confirm: Confirm::NewLogin,
        }
    }
}

impl Changes {
    pub(crate) fn expire_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.expire_minutes) * 60)
    }

    pub(crate) fn confirm_within(&self) -> Duration {
        Duration::from_secs(self.confirm_seconds.into())
    }
}

/// The memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    /// Where the markdown files are; left out: `memory` in the state directory.
    pub(crate) directory: Option<PathBuf>,
}

/// What bounds the work that callers can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
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
            policy: PathBuf::from(DEFAULT_POLICY),
            sockets: Sockets::default(),
            ledger: Ledger::default(),
            memory: Memory::default(),
            limits: Limits::default(),
            changes: Changes::default(),
            approvals: Approvals::default(),
            file: None,
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

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
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

impl Config {
    /// The key whose value cannot work, though it is of the right type, and what it must be.
    fn impossible(&self) -> Option<(&'static str, &'static str)> {
        let absolute: [(&'static str, Option<&Path>); 6] = [
            ("state_directory", Some(&self.state_directory)),
            ("policy", Some(&self.policy)),
            ("sockets.agent.path", Some(&self.sockets.agent.path)),
            ("sockets.operator.path", Some(&self.sockets.operator.path)),
            ("ledger.checkpoint_file", self.ledger.checkpoint_file.as_deref()),
            ("memory.directory", self.memory.directory.as_deref()),
        ];
        if let Some((key, _)) =
            absolute.into_iter().find(|(_, path)| path.is_some_and(|path| !path.is_absolute()))
        {
            return Some((key, "an absolute path"));
        }
        if self.sockets.agent.path == self.sockets.operator.path {
            let other = "another path than the agent's: the two sockets tell who is calling";
            return Some(("sockets.operator.path", other));
        }
        if self.ledger.checkpoint_file.as_ref().is_some_and(|file| file.starts_with(&self.state_directory)) {
            return Some((
                "ledger.checkpoint_file",
                "outside state_directory: it is there to survive its loss",
            ));
        }
        if self.ledger.witness_keys().is_none() {
            return Some((
                "ledger.witnesses",
                "at most 16 different keys of witnesses, as `agentctl witness show` prints them",
            ));
        }
        let limits = &self.limits;
        let counts = [
            ("limits.connections", limits.connections),
            ("limits.running_queries", limits.running_queries),
            ("limits.request_seconds", limits.request_seconds),
            ("limits.query_seconds", limits.query_seconds),
            ("limits.streams", limits.streams),
        ];
        let outside = counts.into_iter().find(|(_, count)| !(1..=Limits::MOST).contains(count));
        outside.map(|(key, _)| (key, "from 1 to 4096"))
    }

    /// Each key that has another value than in `other`, dotted (`limits.connections`), with its value here.
    pub(crate) fn differences(&self, other: &Self) -> BTreeMap<String, Value> {
        let (ours, mut theirs) = (leaves(self), leaves(other));
        let mut different = BTreeMap::new();
        for (key, value) in ours {
            if theirs.remove(&key).as_ref() != Some(&value) {
                different.insert(key, value);
            }
        }
        different.extend(theirs.into_keys().map(|key| (key, Value::Null)));
        different
    }

    /// Where the memory's markdown files are.
    pub(crate) fn memory_directory(&self) -> PathBuf {
        self.memory.directory.clone().unwrap_or_else(|| self.state_directory.join("memory"))
    }
}

impl Limits {
    /// The largest value of each.
    pub(crate) const MOST: u16 = 4096;

    /// How long a request's head, and then its body, may take to arrive.
    pub(crate) fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_seconds.into())
    }

    /// How long a query may run before its caller gets an answer without it.
    pub(crate) fn query_time(&self) -> Duration {
        Duration::from_secs(self.query_seconds.into())
    }
}

/// Every value of a configuration under its dotted key.
fn leaves(config: &Config) -> BTreeMap<String, Value> {
    fn collect(prefix: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                    collect(&key, value, leaves);
                }
            }
            value => {
                leaves.insert(prefix.to_owned(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    // Paths that are not UTF-8 cannot come out of a TOML file, so there is always a value.
    collect("", serde_json::to_value(config).unwrap_or_default(), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(Path::new("agentd.toml"), text).unwrap()
    }

    #[test]
    fn the_packaged_file_documents_each_default() {
        // Keys that have no fixed default stand commented out in it; all others must say what the code says.
        let packaged = parse(include_str!("../../../../packaging/etc/agentd.toml"));
        assert_eq!(packaged, Config::default());
    }

    #[test]
    fn differences_are_named_by_their_keys() {
        let before = parse("[limits]\nstreams = 4\n[ledger]\norigin = \"a\"");
        let after = parse("state_directory = \"/b\"\n[limits]\nstreams = 5");
        let different = after.differences(&before);
        let named: Vec<(&str, String)> =
            different.iter().map(|(key, value)| (key.as_str(), value.to_string())).collect();
        assert_eq!(
            named,
            [
                ("ledger.origin", "null".to_owned()),
                ("limits.streams", "5".to_owned()),
                ("state_directory", "\"/b\"".to_owned())
            ]
        );
        assert!(after.differences(&after).is_empty());
    }
}
