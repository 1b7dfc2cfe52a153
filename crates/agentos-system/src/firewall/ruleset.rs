//! nftables' JSON (libnftables-json(5)): a list of objects, each a table, a chain, a rule, a set …

use std::collections::HashMap;

use agentos_api::problem::near_matches;
use agentos_api::query::firewall::{Args, Chain, Output, Rule, Set, Table};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::text::Place;
use crate::QueryError;

/// Longest text of one element or rule that is given.
const MAX_TEXT_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Document<'d> {
    #[serde(borrow)]
    nftables: Vec<HashMap<&'d str, &'d RawValue>>,
}

#[derive(Deserialize)]
struct TableObject {
    family: String,
    name: String,
}

#[derive(Deserialize)]
struct ChainObject {
    family: String,
    table: String,
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    hook: Option<String>,
    prio: Option<i64>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct RuleObject {
    family: String,
    table: String,
    chain: String,
    handle: u64,
    comment: Option<String>,
    #[serde(default)]
    expr: Vec<Value>,
}

#[derive(Deserialize)]
struct SetObject {
    family: String,
    table: String,
    name: String,
    #[serde(rename = "type")]
    kind: Value,
    map: Option<Value>,
    #[serde(default)]
    elem: Vec<Value>,
}

/// The whole ruleset.
#[derive(Debug, Default)]
pub(super) struct Ruleset {
    tables: Vec<Table>,
    /// The elements of the sets, at the places of the sets in their tables.
    elements: HashMap<(String, String, String), Vec<Value>>,
}

/// Takes nft's JSON apart. Objects of kinds that are not shown (flow tables, quotas …) are passed over.
///
/// # Errors
/// [`QueryError::Io`] where it is not what libnftables-json(5) says.
pub(super) fn parse(json: &[u8]) -> Result<Ruleset, QueryError> {
    let failed = |error: serde_json::Error| QueryError::Io {
        what: "the output of nft".to_owned(),
        source: error.into(),
    };
    let document: Document<'_> = serde_json::from_slice(json).map_err(failed)?;
    let mut ruleset = Ruleset::default();
    for object in &document.nftables {
        for (kind, value) in object {
            let value = value.get();
            match *kind {
                "table" => ruleset.add_table(serde_json::from_str(value).map_err(failed)?),
                "chain" => ruleset.add_chain(serde_json::from_str(value).map_err(failed)?),
                "rule" => ruleset.add_rule(serde_json::from_str(value).map_err(failed)?),
                "set" | "map" => ruleset.add_set(serde_json::from_str(value).map_err(failed)?),
                _ => {}
            }
        }
    }
    Ok(ruleset)
}

impl Ruleset {
    fn table(&mut self, family: &str, name: &str) -> Option<&mut Table> {
        self.tables.iter_mut().find(|table| table.family == family && table.name == name)
    }

    fn add_table(&mut self, object: TableObject) {
        let TableObject { family, name } = object;
        self.tables.push(Table { family, name, chains: Vec::new(), sets: Vec::new() });
    }

    fn add_chain(&mut self, object: ChainObject) {
        if let Some(table) = self.table(&object.family, &object.table) {
            table.chains.push(Chain {
                name: object.name,
                kind: object.kind,
                hook: object.hook,
                priority: object.prio,
                policy: object.policy,
                rules: Vec::new(),
            });
        }
    }

    fn add_rule(&mut self, object: RuleObject) {
        let chain = self
            .table(&object.family, &object.table)
            .and_then(|table| table.chains.iter_mut().find(|chain| chain.name == object.chain));
        let Some(chain) = chain else { return };
        let counter = object.expr.iter().find_map(|statement| statement.get("counter"));
        let count = |name: &str| counter.and_then(|counter| counter.get(name)).and_then(Value::as_u64);
        chain.rules.push(Rule {
            handle: object.handle,
            text: String::new(),
            packets: count("packets"),
            bytes: count("bytes"),
            comment: object.comment,
            json: Some(Value::Array(object.expr)),
        });
    }

    fn add_set(&mut self, object: SetObject) {
        let SetObject { family, table: table_name, name, kind, map, elem } = object;
        let Some(table) = self.table(&family, &table_name) else { return };
        table.sets.push(Set {
            name: name.clone(),
            kind: type_name(&kind),
            maps_to: map.as_ref().map(type_name),
            elements: Vec::new(),
            elements_total: elem.len() as u64,
        });
        self.elements.insert((family, table_name, name), elem);
    }

    /// Gives each rule the text that nft wrote for it. One that was added between the two listings keeps its JSON.
    pub(super) fn give_text(&mut self, texts: &HashMap<Place, String>) {
        for table in &mut self.tables {
            for chain in &mut table.chains {
                for rule in &mut chain.rules {
                    let place = Place {
                        family: table.family.clone(),
                        table: table.name.clone(),
                        chain: chain.name.clone(),
                        handle: rule.handle,
                    };
                    let json = || rule.json.as_ref().map(Value::to_string).unwrap_or_default();
                    rule.text = shorten(texts.get(&place).cloned().unwrap_or_else(json));
                }
            }
        }
    }

    /// What the arguments ask for.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] where there is no such table or chain.
    pub(super) fn select(mut self, args: &Args) -> Result<Output, QueryError> {
        // A chain on a filter hook is what can drop; nat and route chains only change where packets go.
        let active = self.tables.iter().flat_map(|table| &table.chains).any(|chain| chain.hook.is_some());
        if let Some(wanted) = &args.table {
            require("table", wanted, self.tables.iter().map(|table| table.name.as_str()))?;
            self.tables.retain(|table| table.name == *wanted);
        }
        if let Some(wanted) = &args.chain {
            require(
                "chain",
                wanted,
                self.tables.iter().flat_map(|table| &table.chains).map(|chain| chain.name.as_str()),
            )?;
            self.tables.retain_mut(|table| {
                table.chains.retain(|chain| chain.name == *wanted);
                !table.chains.is_empty()
            });
        }
        let limit = args.limit.as_usize();
        let (mut total, mut shown) = (0, 0);
        for table in &mut self.tables {
            for chain in &mut table.chains {
                total += chain.rules.len();
                chain.rules.truncate(limit - shown);
                shown += chain.rules.len();
                if !args.json {
                    chain.rules.iter_mut().for_each(|rule| rule.json = None);
                }
            }
            for set in &mut table.sets {
                let key = (table.family.clone(), table.name.clone(), set.name.clone());
                let elements = self.elements.remove(&key).unwrap_or_default();
                set.elements =
                    elements.iter().take(args.elements_limit.as_usize()).map(element).map(shorten).collect();
            }
        }
        Ok(Output {
            active,
            tables: self.tables,
            rules_total: total as u64,
            rules_left_out: (total - shown) as u64,
            legacy_tables: Vec::new(),
        })
    }
}

fn require<'n>(
    what: &str,
    wanted: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), QueryError> {
    if known.clone().any(|name| name == wanted) {
        return Ok(());
    }
    Err(QueryError::NotFound { what: format!("the {what} {wanted}"), near: near_matches(wanted, known) })
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A type, or several for a concatenation.
fn type_name(value: &Value) -> String {
    match value {
        Value::String(name) => name.clone(),
        Value::Array(parts) => parts.iter().map(type_name).collect::<Vec<_>>().join(" . "),
        Value::Object(_) => value.get("typeof").map_or_else(|| value.to_string(), type_name),
        other => other.to_string(),
    }
}

/// An element as nft writes it; what is unknown stays JSON.
fn element(value: &Value) -> String {
    let join = |parts: &Value, separator: &str| {
        parts.as_array().map(|parts| parts.iter().map(element).collect::<Vec<_>>().join(separator))
    };
    let written = match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) => join(value, " : "),
        Value::Object(object) => match object.iter().next() {
            Some((kind, inside)) => match kind.as_str() {
                "range" => join(inside, "-"),
                "concat" => join(inside, " . "),
                "elem" => inside.get("val").map(element),
                "prefix" => inside
                    .get("addr")
                    .zip(inside.get("len"))
                    .map(|(address, length)| format!("{}/{length}", element(address))),
                "jump" | "goto" => inside.get("target").map(|target| format!("{kind} {}", element(target))),
                _ if inside.is_null() => Some(kind.clone()),
                _ => None,
            },
            None => None,
        },
        _ => None,
    };
    written.unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_written_as_nft_does() {
        for (value, written) in [
            (json!("1.2.3.4"), "1.2.3.4"),
            (json!({"range": ["5.6.7.8", "5.6.7.10"]}), "5.6.7.8-5.6.7.10"),
            (json!({"prefix": {"addr": "10.0.0.0", "len": 8}}), "10.0.0.0/8"),
            (json!([22, {"accept": null}]), "22 : accept"),
            (json!({"elem": {"val": {"concat": ["10.0.0.1", 22]}, "timeout": 60}}), "10.0.0.1 . 22"),
            (json!([80, {"jump": {"target": "web"}}]), "80 : jump web"),
        ] {
            assert_eq!(element(&value), written);
        }
    }

    #[test]
    fn a_rule_of_a_table_that_is_not_there_is_passed_over() {
        let json = br#"{"nftables":[{"rule":{"family":"ip","table":"t","chain":"c","handle":1,"expr":[]}},{"flowtable":{"x":1}}]}"#;
        let output = parse(json).unwrap().select(&Args::default()).unwrap();
        assert!(!output.active && output.tables.is_empty());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u32>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from)
        ];
        let keys = "table|chain|rule|set|map|nftables|family|name|handle|expr|elem|range|prefix|concat|type|[a-z]{1,4}";
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map(keys, inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_without_panic(objects in proptest::collection::vec(any_json(), 0..6), limit in 1u64..5) {
            let json = json!({ "nftables": objects });
            if let Ok(mut ruleset) = parse(json.to_string().as_bytes()) {
                ruleset.give_text(&HashMap::new());
                let args = Args { limit: agentos_api::Bounded::new(limit).unwrap(), ..Args::default() };
                let output = ruleset.select(&args).unwrap();
                prop_assert!(output.rules_total - output.rules_left_out <= limit);
            }
            for object in &objects {
                let _ = (element(object), type_name(object));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
