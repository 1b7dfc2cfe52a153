//! Holds a scenario against the JSON Schemas of what tools answer: each pointer in its templates must lead somewhere,
//! to a value of the kind it is used as. So a field that is renamed breaks a test and not a demonstration.
//!
//! Schemas must be self-contained (no `$ref`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::scenario::Scenario;
use crate::template::{Comparison, Condition, Expression, Filter, Node, Operand, Path, Template};

/// What a value can be: one of these schemas. An empty list means that nothing can be there.
#[derive(Clone, Debug)]
struct Shape(Vec<Value>);

/// Everything in the scenario's templates that does not fit `results`: the schema of the answer to each call, by the
/// call's name. An empty list means that it fits.
pub fn check(scenario: &Scenario, results: &BTreeMap<String, Value>) -> Vec<String> {
    let mut checker = Checker { names: BTreeMap::new(), findings: Vec::new() };
    checker.names.insert("said".to_owned(), Shape(vec![captures_schema(scenario)]));
    checker.names.insert("clock".to_owned(), Shape(vec![clock_schema()]));
    let optional = scenario.calls().filter(|call| call.optional);
    let errors: serde_json::Map<_, _> = optional.map(|call| (call.name.clone(), error_schema())).collect();
    checker.names.insert("errors".to_owned(), Shape(vec![json!({ "type": "object", "properties": errors })]));
    for call in scenario.calls() {
        match results.get(&call.name) {
            Some(schema) => drop(checker.names.insert(call.name.clone(), Shape(vec![schema.clone()]))),
            None => checker.findings.push(format!("the result of `{}` is not known", call.name)),
        }
    }
    for call in scenario.calls() {
        call.arguments.templates().into_iter().for_each(|template| checker.template(template));
    }
    checker.template(&scenario.say);
    checker.names.insert("error".to_owned(), Shape(vec![error_schema()]));
    checker.template(&scenario.on_error);
    let name = &scenario.name;
    checker.findings.into_iter().map(|finding| format!("{name}: {finding}")).collect()
}

fn captures_schema(scenario: &Scenario) -> Value {
    // Only what every way of asking captures is always there.
    let sets = scenario.matchers.iter().map(|matcher| matcher.capture_names().collect::<BTreeSet<_>>());
    let common = sets.reduce(|left, right| &left & &right).unwrap_or_default();
    let properties: serde_json::Map<_, _> =
        common.into_iter().map(|name| (name.to_owned(), json!({ "type": "string" }))).collect();
    json!({ "type": "object", "properties": properties })
}

fn clock_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": { "now": text, "today": text, "last_night_from": text, "last_night_to": text },
    })
}

fn error_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "tool": text, "code": text, "message": text, "hint": { "type": ["string", "null"] },
            "field": { "type": ["string", "null"] }, "near": { "type": "array", "items": text },
        },
    })
}

struct Checker {
    names: BTreeMap<String, Shape>,
    findings: Vec<String>,
}

impl Checker {
    fn template(&mut self, template: &Template) {
        self.nodes(template.nodes());
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Show(expression) => {
                    let shape = self.expression(expression);
                    if shape.only(&["object"]) {
                        self.findings.push(format!("{} is shown, and is an object", describe(expression)));
                    }
                }
                Node::For { variable, list, body, .. } => {
                    let shape = self.expression(list);
                    self.expect(&shape, &["array"], &describe(list), "is looped over");
                    let shadowed = self.names.insert(variable.clone(), shape.items());
                    self.nodes(body);
                    match shadowed {
                        Some(shape) => self.names.insert(variable.clone(), shape),
                        None => self.names.remove(variable),
                    };
                }
                Node::If { branches, otherwise } => {
                    for (condition, body) in branches {
                        self.condition(condition);
                        self.nodes(body);
                    }
                    self.nodes(otherwise);
                }
            }
        }
    }

    fn condition(&mut self, condition: &Condition) {
        let shape = self.expression(&condition.expression);
        let Some((comparison, literal)) = &condition.comparison else { return };
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        self.comparable(&shape, literal, &describe(&condition.expression));
        if ordered {
            self.expect(&shape, &["number", "integer"], &describe(&condition.expression), "is ordered");
        }
    }

    /// The literal must be a value that can stand there.
    fn comparable(&mut self, shape: &Shape, literal: &Value, what: &str) {
        if !shape.0.is_empty() && !shape.0.iter().any(|schema| admits(schema, literal)) {
            self.findings.push(format!("{what} is compared with {literal}, which it can never be"));
        }
    }

    fn expression(&mut self, expression: &Expression) -> Shape {
        let mut shape = match &expression.operand {
            Operand::Literal(literal) => Shape(vec![json!({ "const": literal })]),
            Operand::Path(path) => self.path(path),
        };
        for filter in &expression.filters {
            shape = self.filter(filter, shape, &describe(expression));
        }
        shape
    }

    fn path(&mut self, path: &Path) -> Shape {
        let start = self.names.get(&path.root).cloned().unwrap_or(Shape(Vec::new()));
        self.below(&start, &path.pointer, &path.root)
    }

    /// What stands at `pointer` below `shape`; a finding when nothing can.
    fn below(&mut self, shape: &Shape, pointer: &str, what: &str) -> Shape {
        let mut current = shape.clone();
        for segment in pointer.split('/').skip(1) {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let next = current.member(&name);
            // One finding for one mistake: what was already reported is not reported again.
            if next.0.is_empty() && !current.0.is_empty() {
                self.findings.push(format!("{what}{pointer}: there is no `{name}`"));
            }
            current = next;
        }
        current
    }

    fn expect(&mut self, shape: &Shape, kinds: &[&str], what: &str, used: &str) {
        if !shape.0.is_empty() && !shape.can_be(kinds) {
            self.findings.push(format!("{what} {used}, and is never {}", kinds.join(" or ")));
        }
    }

    fn filter(&mut self, filter: &Filter, shape: Shape, what: &str) -> Shape {
        let used = format!("goes into {filter:?}");
        let number = ["number", "integer"];
        let text = || Shape(vec![json!({ "type": "string" })]);
        match filter {
            Filter::Count => {
                self.expect(&shape, &["array", "object", "string"], what, &used);
                Shape(vec![json!({ "type": "integer" })])
            }
            Filter::First | Filter::Last => {
                self.expect(&shape, &["array"], what, &used);
                shape.items()
            }
            Filter::MaxBy(pointer) | Filter::MinBy(pointer) | Filter::Sum(pointer) => {
                self.expect(&shape, &["array"], what, &used);
                let measured = self.below(&shape.items(), pointer, what);
                self.expect(&measured, &number, what, &used);
                if matches!(filter, Filter::Sum(_)) { measured } else { shape.items() }
            }
            Filter::At(pointer) => self.below(&shape, pointer, what),
            Filter::Where(pointer, literal) | Filter::WhereNot(pointer, literal) => {
                self.expect(&shape, &["array"], what, &used);
                let compared = self.below(&shape.items(), pointer, what);
                self.comparable(&compared, literal, what);
                shape
            }
            Filter::Join(_) => {
                self.expect(&shape, &["array"], what, &used);
                text()
            }
            Filter::Number => {
                self.expect(&shape, &["string"], what, &used);
                Shape(vec![json!({ "type": "integer" })])
            }
            Filter::PercentOf(path) => {
                let whole = self.path(path);
                self.expect(&whole, &number, &path.root, &used);
                self.expect(&shape, &number, what, &used);
                Shape(vec![json!({ "type": "number" })])
            }
            Filter::Bytes
            | Filter::Gib
            | Filter::Percent
            | Filter::Round(_)
            | Filter::Duration
            | Filter::Plural(..) => {
                self.expect(&shape, &number, what, &used);
                text()
            }
            Filter::Lines(_) => {
                self.expect(&shape, &["string"], what, &used);
                text()
            }
            Filter::Choose(..) | Filter::Clip(_) => text(),
            Filter::Default(literal) => {
                let mut schemas = shape.0;
                schemas.push(json!({ "const": literal }));
                Shape(schemas)
            }
        }
    }
}

impl Shape {
    fn member(&self, name: &str) -> Self {
        let mut found = Vec::new();
        self.0.iter().for_each(|schema| member(schema, name, &mut found));
        Self(found)
    }

    fn items(&self) -> Self {
        let mut found = Vec::new();
        for schema in self.0.iter().flat_map(alternatives) {
            if kinds(&schema).contains("array") {
                found.push(schema.get("items").cloned().unwrap_or(Value::Bool(true)));
            }
        }
        Self(found)
    }

    fn can_be(&self, wanted: &[&str]) -> bool {
        self.0
            .iter()
            .flat_map(alternatives)
            .any(|schema| wanted.iter().any(|kind| kinds(&schema).contains(*kind)))
    }

    fn only(&self, wanted: &[&str]) -> bool {
        let mut all = self.0.iter().flat_map(alternatives).flat_map(|schema| kinds(&schema)).peekable();
        all.peek().is_some() && all.all(|kind| wanted.contains(&kind))
    }
}

/// The schema itself, or each schema of which one holds.
fn alternatives(schema: &Value) -> Vec<Value> {
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array());
    let found: Vec<Value> = choices.flatten().flat_map(alternatives).collect();
    if found.is_empty() { vec![schema.clone()] } else { found }
}

fn member(schema: &Value, name: &str, found: &mut Vec<Value>) {
    let parts = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array());
    parts.flatten().for_each(|part| member(part, name, found));
    let kinds = kinds(schema);
    if name.parse::<usize>().is_ok() && kinds.contains("array") {
        found.extend(schema.get("items").cloned());
    }
    let own = schema.get("properties").and_then(|properties| properties.get(name));
    let additional =
        schema.get("additionalProperties").filter(|additional| *additional != &Value::Bool(false));
    // An object whose members no schema names can have any: what happened, in an event.
    let open =
        (schema.get("properties").is_none() && kinds.contains("object") && schema.get("type").is_some())
            .then_some(&Value::Bool(true));
    found.extend(own.or(additional).or(open).cloned());
    if schema == &Value::Bool(true) {
        found.push(Value::Bool(true));
    }
}

/// The kinds of value the schema admits, without looking into its alternatives.
fn kinds(schema: &Value) -> BTreeSet<&'static str> {
    const ALL: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let named = |name: &str| ALL.into_iter().find(|kind| *kind == name);
    let of_value = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if let Some(constant) = schema.get("const") {
        return [of_value(constant)].into();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(of_value).collect();
    }
    match schema.get("type") {
        Some(Value::String(name)) => named(name).into_iter().collect(),
        Some(Value::Array(several)) => several.iter().filter_map(|kind| named(kind.as_str()?)).collect(),
        _ => ALL.into(),
    }
}

/// Whether the schema admits the literal, as far as kinds and enumerated values tell.
fn admits(schema: &Value, literal: &Value) -> bool {
    alternatives(schema).iter().any(|schema| match (schema.get("const"), schema.get("enum")) {
        (Some(constant), _) => constant == literal,
        (None, Some(Value::Array(values))) => values.contains(literal),
        _ => {
            let kinds = kinds(schema);
            match literal {
                Value::Null => kinds.contains("null"),
                Value::Bool(_) => kinds.contains("boolean"),
                Value::Number(_) => kinds.contains("number") || kinds.contains("integer"),
                Value::String(_) => kinds.contains("string"),
                Value::Array(_) | Value::Object(_) => false,
            }
        }
    })
}

fn describe(expression: &Expression) -> String {
    match &expression.operand {
        Operand::Literal(literal) => literal.to_string(),
        Operand::Path(path) => format!("{}{}", path.root, path.pointer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(template: &str) -> Vec<String> {
        let text = format!(
            "ask = ['q']\nsay = '{template}'\n[[match]]\npattern = 'q(?<word>.*)'\n\
             [[step]]\n[[step.call]]\nname = 'r'\ntool = 't'\noptional = true\n"
        );
        let scenario = Scenario::parse("s.toml", &text).unwrap();
        let result = json!({
            "type": "object",
            "properties": {
                "rows": { "type": "array", "items": {
                    "type": "object", "additionalProperties": false,
                    "properties": {
                        "name": { "type": "string" },
                        "bytes": { "type": ["integer", "null"] },
                        "state": { "oneOf": [{ "const": "running" }, { "enum": ["idle", "stopped"] }] },
                        "limit": { "anyOf": [{ "type": "object", "properties": { "n": { "type": "number" } } }, { "type": "null" }] },
                    },
                } },
                "by_name": { "type": "object", "additionalProperties": { "type": "number" } },
                "data": { "type": "object" },
            },
        });
        check(&scenario, &BTreeMap::from([("r".to_owned(), result)]))
    }

    #[test]
    fn what_fits_is_not_found_fault_with() {
        for template in [
            "{{ r/rows | count }} {{ r/rows/0/bytes | bytes }} {{ said/word }} {{ clock/now }} {{ errors/r/code }}",
            "{% for row in r/rows %}{{ row/name }} {{ row/limit/n | round(1) }}{% if row/state == \"idle\" %}x{% end %}{% end %}",
            "{{ r/rows | max_by(/bytes) | at(/name) }} {{ r/rows | where(/state, \"running\") | count }}",
            "{{ r/by_name/anything | percent }} {{ r/data/anything/below }} {{ r/rows/0/bytes | default(0) | bytes }}",
        ] {
            assert_eq!(findings(template), Vec::<String>::new(), "{template}");
        }
    }

    #[test]
    fn each_kind_of_rot_is_found_once() {
        for (template, word) in [
            ("{{ r/row }}", "there is no `row`"),
            ("{{ r/row/0/name }}", "there is no `row`"),
            ("{{ r/rows/0/size | bytes }}", "there is no `size`"),
            ("{% for row in r/rows %}{{ row/nam }}{% end %}", "there is no `nam`"),
            ("{% for x in r/by_name %}{% end %}", "never array"),
            ("{{ r/rows/0/name | bytes }}", "never number"),
            ("{{ r/rows | max_by(/size) | at(/name) }}", "there is no `size`"),
            ("{{ r/rows | max_by(/name) | at(/name) }}", "never number"),
            ("{{ r/rows | first | at(/nam) }}", "there is no `nam`"),
            ("{{ r/rows | where(/state, \"gone\") | count }}", "can never be"),
            ("{% if r/rows/0/state == \"gone\" %}{% end %}", "can never be"),
            ("{% if r/rows/0/name > 3 %}{% end %}", "can never be"),
            ("{{ r/rows/0 }}", "is an object"),
            ("{{ said/other }}", "there is no `other`"),
            ("{{ errors/r/reason }}", "there is no `reason`"),
        ] {
            let found = findings(template);
            assert!(found.iter().any(|finding| finding.contains(word)), "{template}: {found:?}");
        }
    }
}
