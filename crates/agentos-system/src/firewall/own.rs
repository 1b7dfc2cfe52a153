//! The table that is AgentOS' own: read through nft's JSON, written in one transaction of the kernel's.

use serde_json::Value;

use super::rule::Rule;
use super::{MAX_OUTPUT_BYTES, TIME, list, nft, refused};
use crate::QueryError;

/// The table, without the rules in it, as the unit loads it at the start of the machine.
const SKELETON: &str = include_str!("../../../../packaging/nftables/firewall.nft");

/// The table as it stands in the kernel.
#[derive(Debug, Default)]
pub(crate) struct Own {
    there: bool,
    /// The rules of AgentOS' with the kernel's numbers for them.
    rules: Vec<(Rule, u64)>,
    /// Rules that somebody else put into its chains.
    foreign: usize,
}

impl Own {
    /// Reads it.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] where nft is missing or does not answer.
    pub(crate) fn read() -> Result<Self, QueryError> {
        let tables = list(&["--json", "list", "tables", "inet"])?;
        let has =
            |object: &Value| object["table"]["name"] == "agentos" && object["table"]["family"] == "inet";
        if !objects(&tables)?.iter().any(has) {
            return Ok(Self::default());
        }
        let mut own = Self { there: true, ..Self::default() };
        for object in objects(&list(&["--json", "list", "table", "inet", "agentos"])?)? {
            let rule = &object["rule"];
            let Some(chain) = rule["chain"].as_str().filter(|chain| *chain != "input") else { continue };
            let known = rule["comment"].as_str().and_then(|comment| comment.parse::<Rule>().ok());
            match (known, rule["handle"].as_u64()) {
                (Some(known), Some(handle)) if known.verdict.chain() == chain => {
                    own.rules.push((known, handle));
                }
                _ => own.foreign += 1,
            }
        }
        Ok(own)
    }

    /// The rule is in it.
    pub(crate) fn has(&self, rule: &Rule) -> bool {
        self.rules.iter().any(|(known, _)| known == rule)
    }

    /// Puts a rule into it; makes the table where it is missing.
    ///
    /// # Errors
    /// What nft says.
    pub(crate) fn add(&self, rule: &Rule) -> Result<(), QueryError> {
        let mut script = String::new();
        if !self.there {
            // The rules of the next start are none of this one's.
            script.extend(
                SKELETON.lines().filter(|line| !line.starts_with("include")).flat_map(|line| [line, "\n"]),
            );
        }
        load(&format!("{script}{}\n", rule.line()))
    }

    /// Takes a rule out of it; the table goes with its last rule.
    ///
    /// # Errors
    /// What nft says.
    pub(crate) fn remove(&self, rule: &Rule) -> Result<(), QueryError> {
        let (gone, left): (Vec<_>, Vec<_>) = self.rules.iter().partition(|(known, _)| known == rule);
        if left.is_empty() && self.foreign == 0 {
            return load("delete table inet agentos\n");
        }
        let lines: Vec<String> = gone
            .iter()
            .map(|(rule, handle)| {
                format!("delete rule inet agentos {} handle {handle}\n", rule.verdict.chain())
            })
            .collect();
        load(&lines.concat())
    }
}

fn objects(json: &[u8]) -> Result<Vec<Value>, QueryError> {
    let failed = |source| QueryError::Io { what: "the output of nft".to_owned(), source };
    let mut document: Value = serde_json::from_slice(json).map_err(|error| failed(error.into()))?;
    match document.get_mut("nftables").map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Err(failed(std::io::Error::other("it has no list of objects"))),
    }
}

/// Hands commands to nft, all of which the kernel takes, or none.
fn load(script: &str) -> Result<(), QueryError> {
    let nft = nft()?.argument("-f").argument("-").input(script.as_bytes().to_vec())?;
    let (ended, _) = nft.output(TIME, MAX_OUTPUT_BYTES)?;
    if ended.status.success() { Ok(()) } else { Err(refused(&ended)) }
}
