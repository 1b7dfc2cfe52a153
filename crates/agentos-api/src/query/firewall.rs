//! What the packet filter lets through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Query;
use crate::Bounded;

/// The packet filter's rules.
pub struct Firewall;

/// Which rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only the table of this name.
    pub table: Option<String>,
    /// Only the chain of this name.
    pub chain: Option<String>,
    /// Also each rule as nftables' JSON (libnftables-json(5)).
    pub json: bool,
    /// Rules at most, over all chains.
    pub limit: Bounded<1, 2000, 200>,
    /// Elements of each set at most.
    pub elements_limit: Bounded<0, 1000, 50>,
}

/// The ruleset.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// A chain hangs on a hook of the kernel and can drop packets. Without one, every packet passes.
    pub active: bool,
    /// The tables.
    pub tables: Vec<Table>,
    /// Rules that match, shown or not.
    pub rules_total: u64,
    /// Rules that match and are not shown.
    pub rules_left_out: u64,
    /// Tables of the older iptables interface that are loaded beside nftables; their rules are not shown here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legacy_tables: Vec<String>,
}

/// One table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// `ip`, `ip6`, `inet`, `arp`, `bridge` or `netdev`.
    pub family: String,
    /// Its name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// Its sets and maps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
}

/// One chain.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// For a chain on a hook: `filter`, `nat` or `route`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The hook: `input`, `output`, `forward`, `prerouting`, `postrouting`, `ingress`. Missing for a chain that others
    /// jump to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// The lower is asked earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// What happens to a packet that no rule decides: `accept` or `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Its rules, in the order they are asked.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// The kernel's number for it in its table.
    pub handle: u64,
    /// The rule as nft(8) writes it.
    pub text: String,
    /// Packets it matched, for a rule that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Bytes it matched, for a rule that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its maker's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its statements as nftables' JSON, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
}

/// A set or a map.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// What it holds: `ipv4_addr`, `inet_service`, several joined by ` . `.
    pub kind: String,
    /// What it maps to, for a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps_to: Option<String>,
    /// The elements, as text.
    pub elements: Vec<String>,
    /// Elements, shown or not.
    pub elements_total: u64,
}

impl Query for Firewall {
    const NAME: &'static str = "firewall";
    const SUMMARY: &'static str = "nftables: tables, chains with hook and policy, rules and sets";
    type Args = Args;
    type Output = Output;
}
