//! Each built-in scenario against the catalogue of agentd's tools: its arguments are what the tools take, and what it
//! says is in their answers. A field that is renamed in the API fails here.

mod example;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use agentos_api::catalog::{Catalog, catalog};
use agentos_api::change::{Change, ChangePage};
use agentos_api::event::EventPage;
use agentos_api::health::HealthReport;
use agentos_api::memory::{RecallResponse, StoreResponse};
use agentos_api::schema;
use agentos_api::tool::{Request, Tool};
use agentos_rehearsal::conversation::Message;
use agentos_rehearsal::scenario::Call;
use agentos_rehearsal::{Clock, Cue, Line, Scenario, Stage, ToolCall, check, library};
use serde_json::{Value, json};

fn tool<'a>(catalog: &'a Catalog, name: &str) -> &'a Tool {
    catalog.tools.iter().find(|tool| tool.name == name).unwrap_or_else(|| panic!("there is no tool {name}"))
}

/// The schema of the answer to a call: of the query it asks, or of its route.
fn result_schema(catalog: &Catalog, name: &str, arguments: &Value) -> Value {
    let of_query = |wanted: &str| {
        let found = catalog.queries.iter().find(|query| query.name == wanted);
        found.unwrap_or_else(|| panic!("there is no query {wanted}")).result.clone()
    };
    match &tool(catalog, name).request {
        Request::Query { query } => of_query(query),
        Request::Mutation { .. } => schema::inline::<Change>(),
        Request::Http { path, .. } => match path.as_str() {
            "/health" => schema::inline::<HealthReport>(),
            "/system/query" => of_query(arguments["query"].as_str().unwrap()),
            "/system/mutate" | "/changes/{id}" | "/changes/{id}/undo" => schema::inline::<Change>(),
            "/shell/exec" if arguments["mode"] == "preview" => schema::inline::<Change>(),
            "/shell/exec" => of_query("shell"),
            "/approvals" => schema::inline::<ChangePage>(),
            "/events/log" => schema::inline::<EventPage>(),
            "/memory/store" => schema::inline::<StoreResponse>(),
            "/memory/recall" => schema::inline::<RecallResponse>(),
            other => panic!("nobody said what {other} answers"),
        },
    }
}

/// The schemas that the arguments of a call must satisfy: the tool's, and for `system_query` and `system_mutate` those of what is named.
fn argument_schemas<'a>(catalog: &'a Catalog, call: &'a ToolCall) -> Vec<(&'a Value, &'a Value)> {
    let mut schemas = vec![(&tool(catalog, &call.tool).parameters, &call.arguments)];
    if call.tool == "system_query" {
        static NONE: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
        let query = catalog.queries.iter().find(|query| call.arguments["query"] == *query.name);
        let inner = call.arguments.get("args").unwrap_or(&NONE);
        schemas.extend(query.map(|query| (&query.arguments, inner)));
    }
    if call.tool == "system_mutate" {
        let mutation = catalog.mutations.iter().find(|mutation| call.arguments["mutation"] == *mutation.name);
        schemas.extend(mutation.map(|mutation| (&mutation.arguments, &call.arguments["args"])));
    }
    schemas
}

/// The schemas of the answers to all calls of a scenario, by the call's name.
fn results(catalog: &Catalog, scenario: &Scenario) -> BTreeMap<String, Value> {
    let empty = agentos_rehearsal::template::Scope::new();
    let schema = |call: &Call| {
        if call.refused {
            // Nothing is answered to it, so nothing can be read from it.
            return json!({ "type": "object", "properties": {} });
        }
        result_schema(catalog, &call.tool, &call.arguments.value(&empty))
    };
    scenario.calls().map(|call| (call.name.clone(), schema(call))).collect()
}

/// Plays a scenario to its end, with `answer` for the answer to each call; gives all calls and what was said.
fn play(stage: &Stage, sentence: &str, answer: impl Fn(&ToolCall) -> Value) -> (Vec<ToolCall>, String) {
    let catalog = catalog();
    let offered: HashSet<&str> = catalog.tools.iter().map(|tool| tool.name.as_str()).collect();
    let mut messages = vec![json!({ "role": "user", "content": sentence })];
    let mut made = Vec::new();
    for _ in 0..20 {
        let parsed: Vec<Message> = serde_json::from_value(messages.clone().into()).unwrap();
        match stage.next(&parsed, &offered) {
            Cue { line: Line::Say(text), .. } => return (made, text),
            Cue { line: Line::Call(calls), .. } => {
                let id = |index: usize| format!("call-{}-{index}", messages.len());
                let listed: Vec<_> = (0..calls.len()).map(|index| json!({ "id": id(index) })).collect();
                let answers: Vec<_> = calls
                    .iter()
                    .enumerate()
                    .map(|(index, call)| {
                        json!({ "role": "tool", "tool_call_id": id(index), "content": answer(call).to_string() })
                    })
                    .collect();
                messages.push(json!({ "role": "assistant", "tool_calls": listed }));
                messages.extend(answers);
                made.extend(calls);
            }
        }
    }
    panic!("{sentence}: no end after 20 steps");
}

#[test]
fn every_pointer_leads_to_something_that_tools_answer() {
    let catalog = catalog();
    for scenario in library::built_in().unwrap() {
        let findings = check::check(&scenario, &results(&catalog, &scenario));
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

#[test]
fn every_argument_is_what_the_tool_takes() {
    let catalog = catalog();
    let scenarios = library::built_in().unwrap();
    let stage = Stage::new(scenarios.clone(), Clock::System);
    for scenario in &scenarios {
        for sentence in &scenario.ask {
            // An answer with everything that the schema knows, and one with only what must be there.
            for everything in [true, false] {
                let (made, said) = play(&stage, sentence, |call| {
                    if scenario.calls().any(|known| known.refused) {
                        return json!({ "type": "urn:agentos:problem:x", "code": "x", "detail": "refused" });
                    }
                    let schema = result_schema(&catalog, &call.tool, &call.arguments);
                    let answer = example::of(&schema, everything);
                    let validator = jsonschema::validator_for(&schema).unwrap();
                    assert!(
                        validator.is_valid(&answer),
                        "the example is no answer: {:?}",
                        validator.validate(&answer)
                    );
                    answer
                });
                assert_eq!(made.len(), scenario.calls().count(), "{sentence}: {said}");
                assert!(said.contains("(scripted model)"), "{sentence}: {said}");
                // What a later call reads from an answer without any rows is not there, and the tool will say so.
                for (call, known) in made.iter().zip(scenario.calls()).filter(|_| everything) {
                    let wrong: Vec<String> = argument_schemas(&catalog, call)
                        .into_iter()
                        .filter_map(|(schema, value)| jsonschema::validate(schema, value).err())
                        .map(|error| format!("{}: {error}", error.instance_path()))
                        .collect();
                    assert_eq!(wrong.is_empty(), !known.refused, "{sentence}: {} {wrong:?}", call.arguments);
                }
            }
        }
    }
}

#[test]
fn an_answer_with_everything_leaves_nothing_unknown() {
    let catalog = catalog();
    let scenarios = library::built_in().unwrap();
    let stage = Stage::new(scenarios.clone(), Clock::System);
    for scenario in scenarios.iter().filter(|scenario| !scenario.calls().any(|call| call.refused)) {
        let (_, said) = play(&stage, &scenario.ask[0], |call| {
            example::of(&result_schema(&catalog, &call.tool, &call.arguments), true)
        });
        assert!(!said.contains("unknown"), "{}:\n{said}", scenario.name);
    }
}

#[test]
fn an_error_of_any_tool_is_told_with_its_code_and_message() {
    let scenarios = library::built_in().unwrap();
    let stage = Stage::new(scenarios.clone(), Clock::System);
    for scenario in &scenarios {
        for failing in scenario.calls() {
            let catalog = catalog();
            let (_, said) = play(&stage, &scenario.ask[0], |call| {
                let arguments = failing.arguments.value(&agentos_rehearsal::template::Scope::new());
                let same_query = call.tool != "system_query" || call.arguments["query"] == arguments["query"];
                if call.tool == failing.tool && same_query {
                    return json!({
                        "type": "urn:agentos:problem:timed_out", "title": "t", "status": 504, "code": "timed_out",
                        "detail": "The machine took 5 s and more.",
                    });
                }
                example::of(&result_schema(&catalog, &call.tool, &call.arguments), true)
            });
            let told = said.contains("timed_out") && said.contains("The machine took 5 s and more.");
            assert!(told, "{} / {}:\n{said}", scenario.name, failing.name);
        }
    }
}

#[test]
fn every_tool_is_called_by_a_scenario() {
    let called: BTreeSet<String> =
        library::built_in().unwrap().iter().flat_map(Scenario::calls).map(|call| call.tool.clone()).collect();
    let known: BTreeSet<String> = catalog().tools.into_iter().map(|tool| tool.name).collect();
    assert_eq!(called, known);
}
