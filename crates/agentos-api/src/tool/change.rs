//! The tools by which a model asks for changes.

use serde_json::{Map, Value, json};

use super::{ArgumentsIn, Effect, Request, Tool, http, tool};
use crate::change::{MutateRequest, UndoRequest};
use crate::mutation::{self, Mutation};
use crate::schema;
use crate::shell::ExecRequest;

/// What the description of every tool that changes something says.
const MAY_WAIT: &str = "A change may have to wait for the person: then the answer says status waiting and what they type \
    (agentctl approvals), nothing was changed, and you tell them and stop. Do not ask for it again, and do not try another way.";

/// The tools that change something, and those that say what became of it.
pub(super) fn tools() -> Vec<Tool> {
    vec![
        mutation_tool::<mutation::file::Write>(
            "file_write",
            "Write file",
            &format!(
                "Makes a file with this content, or replaces all of the content of one that is there. What was there is kept, \
                 and comes back with change_undo. {MAY_WAIT}"
            ),
        ),
        tool(
            "shell_exec",
            "Shell",
            &format!(
                "Runs a command as root. Begin with mode observe, which is the default and which nobody has to agree to: it may read \
                 the machine (ps, ss, ip, df, grep, journalctl, lsof …), and the kernel keeps it from changing anything; what it was \
                 kept from stands in refused. Where files are to change, mode preview: the command runs on a view of the files that \
                 keeps apart what it writes, and what it did to files becomes a change with its exact differences, made exactly so \
                 and taken back with change_undo; with dry_run you only see it. Services, other processes and the network are out of \
                 reach in both: system_mutate has them. Only where neither does, mode apply: the command runs on the machine \
                 itself, cannot be taken back, and always has the person read its words. {MAY_WAIT}"
            ),
            Effect::Write,
            schema::inline::<ExecRequest>(),
            http("POST", "/shell/exec", ArgumentsIn::Body),
        ),
        tool(
            "system_mutate",
            "Change the system",
            &format!(
                "Changes this machine by one named mutation, or by several steps that are made and taken back as one. Use it \
                 for whatever has no tool of its own; with dry_run it only says what would happen. {MAY_WAIT} Mutations: {}.",
                mutations()
            ),
            Effect::Write,
            system_mutate_parameters(),
            http("POST", "/system/mutate", ArgumentsIn::Body),
        ),
        tool(
            "change_status",
            "Change status",
            "Where a change stands, by its number: waiting for the person, applied, denied and why, failed and why, undone. \
             Look once when the person says they decided; do not call it over and over.",
            Effect::Read,
            change_parameters(&Map::new()),
            http("GET", "/changes/{id}", ArgumentsIn::None),
        ),
        tool(
            "change_undo",
            "Undo change",
            &format!(
                "Takes a change back, by its number; dry_run only says what that would do. Taking back is a change itself. \
                 {MAY_WAIT}"
            ),
            Effect::Write,
            change_parameters(&properties_of(&schema::inline::<UndoRequest>())),
            http("POST", "/changes/{id}/undo", ArgumentsIn::Body),
        ),
        tool(
            "approvals_list",
            "What waits",
            "The changes and questions that wait for the person's yes, with who asked and why. Only the person can say yes or no: with \
             `agentctl approvals`, in a terminal.",
            Effect::Read,
            json!({ "type": "object", "properties": {}, "additionalProperties": false }),
            http("GET", "/approvals", ArgumentsIn::None),
        ),
    ]
}

fn mutation_tool<M: Mutation>(name: &str, label: &str, description: &str) -> Tool {
    let request = Request::Mutation { mutation: M::NAME.to_owned() };
    let mut parameters = schema::inline::<M::Args>();
    let beside = properties_of(&schema::inline::<MutateRequest>());
    for member in BESIDE_ARGS {
        if let Some(schema) = beside.get(*member) {
            parameters["properties"][*member] = schema.clone();
        }
    }
    require(&mut parameters, "reason");
    tool(name, label, description, Effect::Write, parameters, request)
}

/// The members of a [`MutateRequest`] that stand beside `args`, and that a tool for one mutation takes among its arguments.
const BESIDE_ARGS: &[&str] = &["reason", "dry_run", "plan_hash"];

/// The parameters of a tool for one change: its number, and those `others`, of which `reason` must be there.
fn change_parameters(others: &Map<String, Value>) -> Value {
    let mut parameters = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id"],
        "properties": { "id": { "type": "integer", "minimum": 1, "description": "The number of the change." } },
    });
    for (name, schema) in others {
        parameters["properties"][name.as_str()] = schema.clone();
    }
    if others.contains_key("reason") {
        require(&mut parameters, "reason");
    }
    parameters
}

fn properties_of(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Adds `name` to what an object must have.
fn require(schema: &mut Value, name: &str) {
    match schema.get_mut("required").and_then(Value::as_array_mut) {
        Some(required) => required.push(name.into()),
        None => schema["required"] = json!([name]),
    }
}

fn system_mutate_parameters() -> Value {
    let mut parameters = schema::inline::<MutateRequest>();
    parameters["properties"]["mutation"] = json!({
        "type": "string", "enum": mutation::NAMES, "description": "Which change to make. Not together with steps.",
    });
    parameters["properties"]["args"]["description"] =
        "Its arguments. A wrong one is answered with the argument's name and what it takes.".into();
    parameters
}

/// Each mutation with what it does and the names of its arguments; those that may be left out with a question mark.
fn mutations() -> String {
    let described = mutation::descriptions().into_iter().map(|mutation| {
        let required = mutation.arguments.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
        let names: Vec<String> = properties_of(&mutation.arguments)
            .keys()
            .map(|name| format!("{name}{}", if is_required(name) { "" } else { "?" }))
            .collect();
        format!("{} ({}; args: {})", mutation.name, mutation.summary, names.join(", "))
    });
    described.collect::<Vec<_>>().join(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_for_one_mutation_takes_its_arguments_and_a_reason() {
        let tools = tools();
        let write = tools.iter().find(|tool| tool.name == "file_write").unwrap();
        let properties = properties_of(&write.parameters);
        for name in ["path", "content", "mode", "reason", "dry_run"] {
            assert!(properties[name].get("description").is_some(), "{name}");
        }
        assert_eq!(write.parameters["required"], json!(["path", "content", "reason"]));
        // What stands beside the arguments must not be the name of one of them.
        for mutation in mutation::descriptions() {
            let arguments = properties_of(&mutation.arguments);
            assert!(BESIDE_ARGS.iter().all(|name| !arguments.contains_key(*name)), "{}", mutation.name);
        }
    }

    #[test]
    fn whatever_changes_the_machine_says_that_it_may_wait() {
        for tool in tools().iter().filter(|tool| tool.effect == Effect::Write && tool.name != "memory_store")
        {
            assert!(tool.description.contains(MAY_WAIT), "{}", tool.name);
        }
    }
}
