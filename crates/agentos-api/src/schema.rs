//! JSON Schemas as they are shown to people and models: one self-contained object, nothing to resolve.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// The JSON Schema (draft 2020-12) of `T`, with every definition in place and without the `$schema` and `title` lines
/// that only a schema file needs.
///
/// Some model providers do not follow `$ref` in a tool's parameters, so there is none.
pub fn inline<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.remove("$schema");
    let mut value = schema.to_value();
    simplify(&mut value);
    value
}

/// Takes out what carries no meaning for a reader: `format: uint32` and the like (the type and the range say it).
fn simplify(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|format| {
                format.starts_with("uint")
                    || format.starts_with("int")
                    || matches!(format, "double" | "float")
            }) {
                map.remove("format");
            }
            map.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}
