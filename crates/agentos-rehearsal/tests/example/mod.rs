//! Examples of what a JSON Schema admits, as far as the schemas of this project go.

use serde_json::{Map, Value, json};

/// A value that `schema` admits: with every member it knows, or with only those it requires.
pub(crate) fn of(schema: &Value, everything: bool) -> Value {
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.first().cloned().unwrap_or(Value::Null);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(keyword).and_then(Value::as_array) {
            let is_null = |choice: &&Value| choice.get("type") == Some(&json!("null"));
            // Absent means null here: a schema that admits null is asked for the smaller example.
            let null = choices.iter().find(is_null).filter(|_| !everything);
            let chosen = null.or_else(|| choices.iter().find(|choice| !is_null(choice)));
            let mut example = chosen.map_or(Value::Null, |chosen| of(chosen, everything));
            // The choices of a flattened enum stand beside the members that there are in any case.
            if let Some(members) = example.as_object_mut()
                && let Value::Object(others) = object(schema, everything)
            {
                members.extend(others);
            }
            return example;
        }
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec!["object"],
    };
    let filled = kinds.iter().copied().find(|kind| *kind != "null").unwrap_or("null");
    let kind = if kinds.contains(&"null") && !everything { "null" } else { filled };
    match kind {
        "object" => object(schema, everything),
        "array" => {
            let items = schema.get("items").map(|items| of(items, everything));
            let fewest = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
            let count = if everything { fewest.max(2) } else { fewest };
            items.into_iter().cycle().take(usize::try_from(count).unwrap()).collect()
        }
        "string" => ["2026-01-02T03:04:05Z", "example", "/example"]
            .map(Value::from)
            .into_iter()
            .find(|text| jsonschema::is_valid(schema, text))
            .unwrap_or_else(|| panic!("no example for {schema}")),
        "integer" => {
            let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_i64);
            json!(bound("maximum").unwrap_or(7).min(bound("minimum").unwrap_or(7).max(7)))
        }
        "number" => json!(12.5),
        "boolean" => json!(everything),
        _ => Value::Null,
    }
}

fn object(schema: &Value, everything: bool) -> Value {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let members: Map<_, _> = properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| everything || required.contains(&name.as_str()))
        .map(|(name, schema)| (name.clone(), of(schema, everything)))
        .collect();
    members.into()
}
