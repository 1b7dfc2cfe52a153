//! Every number that a caller may give has its bounds, and what lies outside is refused by name.

use agentos_api::query::descriptions;
use agentos_system::{Machine, MachineOptions, QueryError};
use serde_json::{Value, json};

/// Arguments that make a query complete, for those that need one.
fn required(query: &str) -> Value {
    match query {
        "service" => json!({"unit": "dbus"}),
        "process" => json!({"pid": 1}),
        "shell" => json!({"command": "true"}),
        "file" | "directory" | "find" => json!({"path": "/"}),
        _ => json!({}),
    }
}

#[test]
fn every_number_is_bounded_and_what_is_outside_is_refused_by_name() {
    let machine = Machine::new(MachineOptions::default());
    let mut bounded = 0;
    for query in descriptions() {
        let Some(properties) = query.arguments["properties"].as_object() else { continue };
        for (name, schema) in properties {
            // An optional one is the bounded one or null.
            let number = std::iter::once(schema)
                .chain(schema["anyOf"].as_array().into_iter().flatten())
                .find(|schema| schema["maximum"].is_u64());
            let Some((minimum, maximum)) =
                number.and_then(|it| Some((it["minimum"].as_u64()?, it["maximum"].as_u64()?)))
            else {
                continue;
            };
            bounded += 1;
            let mut wrong = vec![json!(-1), json!(0.5), json!("1"), json!(1e300)];
            wrong.extend(maximum.checked_add(1).map(|beyond| json!(beyond)));
            wrong.extend(minimum.checked_sub(1).map(|below| json!(below)));
            for value in wrong {
                let mut args = required(&query.name);
                args[name] = value.clone();
                match machine.check(&query.name, args.to_string().as_bytes()) {
                    Err(QueryError::InvalidArgument { field, .. }) => {
                        assert_eq!(field, *name, "{} {args}", query.name);
                    }
                    other => panic!("{} took {name} = {value}: {other:?}", query.name),
                }
            }
            for value in [minimum, maximum] {
                let mut args = required(&query.name);
                args[name] = json!(value);
                if let Err(error) = machine.check(&query.name, args.to_string().as_bytes()) {
                    panic!("{} refused {name} = {value}: {error}", query.name);
                }
            }
        }
    }
    assert!(bounded > 20, "only {bounded} bounded numbers were found");
}
