//! The arguments of a query as they are typed: `limit=5`, `path=/etc`, `tags=a,b`, or a JSON object.

use agentos_api::query::QueryDescription;
use serde_json::{Map, Value};

use crate::error::{CliError, Exit};

/// What the query's schema says about an argument, as far as typing it goes.
enum Wanted {
    Text,
    List,
    /// Anything that JSON can say, or a schema that is not known here.
    Other,
}

/// Turns what was typed into the query's JSON arguments.
///
/// Text where the schema wants text, a list where it wants a list; everything else is read as JSON, and as text where
/// it is none. agentd judges the result: it may be of another version.
pub(super) fn parse(
    query: Option<&QueryDescription>,
    typed: &[String],
) -> Result<Map<String, Value>, CliError> {
    let mut arguments = Map::new();
    for text in typed {
        if text.trim_start().starts_with('{') {
            let object: Map<String, Value> = serde_json::from_str(text)
                .map_err(|error| usage(format!("the argument {text} is no JSON object")).because(&error))?;
            arguments.extend(object);
            continue;
        }
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(usage(format!("the argument {text:?} has no value")).hint(
                known(query).unwrap_or_else(|| "Write it as key=value, or as a JSON object.".to_owned()),
            ));
        };
        let value = match wanted(query, key) {
            Wanted::Text => Value::String(value.to_owned()),
            Wanted::List if !value.trim_start().starts_with('[') => {
                Value::Array(value.split(',').map(|item| Value::String(item.to_owned())).collect())
            }
            Wanted::List | Wanted::Other => {
                serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
            }
        };
        arguments.insert(key.to_owned(), value);
    }
    Ok(arguments)
}

fn usage(message: String) -> CliError {
    CliError::with_exit(message, Exit::Usage)
}

fn known(query: Option<&QueryDescription>) -> Option<String> {
    let query = query?;
    let properties = query.arguments.get("properties").and_then(Value::as_object);
    let names: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    Some(if names.is_empty() {
        format!("{} takes no arguments.", query.name)
    } else {
        format!("Write it as key=value; {} takes {}.", query.name, names.join(", "))
    })
}

fn wanted(query: Option<&QueryDescription>, key: &str) -> Wanted {
    let schema = query.and_then(|query| query.arguments.get("properties")?.get(key));
    schema.map_or(Wanted::Other, wanted_by)
}

fn wanted_by(schema: &Value) -> Wanted {
    let is = |name: &str| match schema.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    };
    if is("string") || schema.get("enum").is_some() || schema.get("const").is_some_and(Value::is_string) {
        return Wanted::Text;
    }
    if is("array") {
        return Wanted::List;
    }
    // An optional argument: one of the alternatives is null.
    let alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let mut known = alternatives.map(wanted_by).filter(|wanted| !matches!(wanted, Wanted::Other));
    known.next().unwrap_or(Wanted::Other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn description(name: &str) -> QueryDescription {
        agentos_api::query::descriptions().into_iter().find(|query| query.name == name).unwrap()
    }

    fn parsed(query: Option<&str>, typed: &[&str]) -> Value {
        let query = query.map(description);
        let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
        Value::Object(parse(query.as_ref(), &typed).unwrap())
    }

    #[test]
    fn the_schema_decides_between_text_and_number() {
        assert_eq!(
            parsed(Some("processes"), &["text=123", "limit=5", "sort=memory", "without_kernel_threads=true"]),
            json!({ "text": "123", "limit": 5, "sort": "memory", "without_kernel_threads": true })
        );
        assert_eq!(parsed(Some("file"), &["path=/etc/a=b"]), json!({ "path": "/etc/a=b" }));
    }

    #[test]
    fn an_unknown_query_takes_json_or_text() {
        assert_eq!(
            parsed(None, &["a=1", "b=x y", "c=[1,2]", "d=", r#"{"e":null}"#]),
            json!({ "a": 1, "b": "x y", "c": [1, 2], "d": "", "e": null })
        );
    }

    #[test]
    fn an_argument_without_a_value_is_refused_with_those_that_there_are() {
        let error = parse(Some(&description("journal")), &["nginx".to_owned()]).unwrap_err();
        let CliError::Failed(failure, exit) = error else { panic!() };
        assert_eq!(exit, Exit::Usage);
        assert!(failure.hint.unwrap().contains("unit"));
        assert!(parse(None, &["{broken".to_owned()]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_an_argument_or_refused(typed in proptest::collection::vec(".{0,20}", 0..4)) {
            drop(parse(Some(&description("processes")), &typed));
        }
    }
}
