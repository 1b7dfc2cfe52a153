//! The `OpenAPI` 3.1 document of the whole API, generated from the types that the daemon and the client share.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::catalog::Catalog;
use crate::change::{
    Change, ChangeFilter, ChangeOutput, ChangePage, ChatDecideRequest, ChatDecided, ConfirmRequest,
    DecideRequest, GrantList, LiftRequest, MutateRequest, OutputFilter, UndoRequest,
};
use crate::event::{EventFilter, EventPage};
use crate::health::HealthReport;
use crate::ledger::{
    Checkpoint, ConsistencyFilter, ConsistencyProof, CosignRequest, CosignResponse, Diagnosis, InclusionProof,
};
use crate::memory::{
    IngestRequest, MemoryHealth, RecallRequest, RecallResponse, StoreRequest, StoreResponse,
};
use crate::problem::{Code, Problem};
use crate::query::{self, QueryRequest};
use crate::question::{ApprovalList, Question};
use crate::schema;
use crate::shell::ExecRequest;

/// The document. It is the same for each call of one version.
pub fn document() -> Value {
    let mut paths = Paths::new();
    paths.get("/health", "The machine at a glance, and whether agentd can work. Not an event.", |document| {
        document.answers::<HealthReport>();
    });
    paths.get("/catalog", "Queries and tools with their schemas. Not an event.", |document| {
        document.answers::<Catalog>();
    });
    paths.get("/openapi.json", "This document. Not an event.", |document| {
        let content = json_of(&json!({ "type": "object" }));
        document.with("200", &json!({ "description": "The document", "content": content }));
    });
    paths.post(
        "/system/query",
        "One question about the machine; an event, durable before it is read.",
        |document| {
            document.takes::<QueryRequest>();
            let answers: Vec<Value> = query::descriptions()
                .into_iter()
                .map(|query| {
                    let mut result = query.result;
                    result["title"] = query.name.into();
                    result
                })
                .collect();
            let headers = json!({ "X-AgentOS-Masked": {
                "description": "How many keys, tokens and passwords are masked in the answer, `[masked: KIND]` in their \
                                places; missing where there are none. To the operator nothing is masked.",
                "schema": { "type": "integer", "minimum": 1 },
            }});
            document.with(
                "200",
                &json!({
                    "description": "The answer",
                    "headers": headers,
                    "content": json_of(&json!({ "anyOf": answers })),
                }),
            );
        },
    );
    paths.post(
        "/shell/exec",
        "Run a command: one that observes is a question and changes nothing; what a previewed one does to files is a change.",
        |document| {
            document.takes::<ExecRequest>();
            let of = |schema: schemars::Schema| schema.to_value();
            let said = of(document.generator.subschema_for::<query::shell::Output>());
            let change = of(document.generator.subschema_for::<Change>());
            document.with(
                "200",
                &json!({
                    "description": "What it said; for the mode preview, the change",
                    "content": json_of(&json!({ "anyOf": [said, change] })),
                }),
            );
            document.also_answers::<Change>("202", "It waits for a person's yes; `next_step` says what to do");
        },
    );
    describe_changes(&mut paths);
    paths.get("/events/log", "A page of the ledger.", |document| {
        document.parameters_of::<EventFilter>();
        document.answers::<EventPage>();
    });
    paths.get(
        "/events/stream",
        "Events as they are recorded: server-sent events, `id` the event's id.",
        |document| {
            document.parameters_of::<EventFilter>();
            let stream = json!({ "text/event-stream": { "schema": { "type": "string" } } });
            document.with(
                "200",
                &json!({ "description": "One Event as JSON in each `data`", "content": stream }),
            );
        },
    );
    paths.get("/events/{id}/proof", "Proof that an event is in the ledger.", |document| {
        document.number_in_path("id");
        document.answers::<InclusionProof>();
    });
    describe_ledger(&mut paths);
    paths.post("/memory/store", "Remember something.", |document| {
        document.takes::<StoreRequest>();
        document.answers::<StoreResponse>();
    });
    paths.post("/memory/ingest", "Remember an event as it is told.", |document| {
        document.takes::<IngestRequest>();
        document.answers::<StoreResponse>();
    });
    paths.post("/memory/recall", "Find what was remembered.", |document| {
        document.takes::<RecallRequest>();
        document.answers::<RecallResponse>();
    });
    paths.get("/memory/health", "The state of the memory.", |document| {
        document.answers::<MemoryHealth>();
    });
    paths.finish()
}

/// What proves that the record is whole.
fn describe_ledger(paths: &mut Paths) {
    paths.get("/ledger/checkpoint", "The signed state of the ledger now.", |document| {
        document.answers::<Checkpoint>();
    });
    paths.get(
        "/ledger/consistency",
        "Proof that the ledger only grew from one size to another. Not an event.",
        |document| {
            document.parameters_of::<ConsistencyFilter>();
            document.answers::<ConsistencyProof>();
        },
    );
    paths.post(
        "/ledger/cosignatures",
        "A checkpoint that a witness cosigned, to be kept beside the ledger. Only on the operator's socket.",
        |document| {
            document.takes::<CosignRequest>();
            document.answers::<CosignResponse>();
        },
    );
    paths.get(
        "/ledger/diagnosis",
        "Whether the ledger can be used; if not, what was found and what to do. Not an event.",
        |document| {
            document.answers::<Diagnosis>();
        },
    );
}

/// What changes the machine, and who says yes.
fn describe_changes(paths: &mut Paths) {
    paths.post(
        "/system/mutate",
        "One change, or several as one: planned, judged by the policy, made or waiting; each step an event before it happens.",
        |document| {
            document.takes::<MutateRequest>();
            document.answers::<Change>();
            document.also_answers::<Change>("202", "It waits for a person's yes; `next_step` says what to do");
        },
    );
    paths.get("/changes", "A page of changes, the newest first. Not an event.", |document| {
        document.parameters_of::<ChangeFilter>();
        document.answers::<ChangePage>();
    });
    paths.get("/changes/{id}", "One change with its plan. Not an event.", |document| {
        document.number_in_path("id");
        document.answers::<Change>();
    });
    paths.get(
        "/changes/{id}/output",
        "What a command of a change wrote, also while it runs. Not an event.",
        |document| {
            document.number_in_path("id");
            document.parameters_of::<OutputFilter>();
            document.answers::<ChangeOutput>();
        },
    );
    paths.post("/changes/{id}/undo", "Take a change back: itself a change.", |document| {
        document.number_in_path("id");
        document.takes::<UndoRequest>();
        document.answers::<Change>();
        document.also_answers::<Change>("202", "It waits for a person's yes");
    });
    paths.post(
        "/changes/{id}/confirm",
        "Keep a change that is taken back by itself otherwise. Only on the operator's socket, from a new login.",
        |document| {
            document.number_in_path("id");
            document.takes::<ConfirmRequest>();
            document.answers::<Change>();
        },
    );
    paths.get("/approvals", "The changes and questions that wait for a yes. Not an event.", |document| {
        document.answers::<ApprovalList>();
    });
    paths.post("/approvals/{id}", "Say yes or no. Only on the operator's socket.", |document| {
        document.number_in_path("id");
        document.takes::<DecideRequest>();
        document.answers::<Change>();
    });
    paths.get("/questions/{id}", "One question that a rule asks about. Not an event.", |document| {
        document.number_in_path("id");
        document.answers::<Question>();
    });
    paths.post(
        "/questions/{id}",
        "Say yes or no to a question. Only on the operator's socket. A yes answers it once, when it is asked again.",
        |document| {
            document.number_in_path("id");
            document.takes::<DecideRequest>();
            document.answers::<Question>();
        },
    );
    paths.post(
        "/approvals/{id}/chat",
        "Say yes or no as a person did in the chat, with the code that agentd sent them. Only on the agent's socket, and only \
         where approvals.chat is set.",
        |document| {
            document.number_in_path("id");
            document.takes::<ChatDecideRequest>();
            document.answers::<ChatDecided>();
        },
    );
    paths.get("/grants", "What was said yes to for a while. Only on the operator's socket.", |document| {
        document.answers::<GrantList>();
    });
    paths.post("/grants", "Lift a quota for a while. Only on the operator's socket.", |document| {
        document.takes::<LiftRequest>();
        document.answers::<GrantList>();
    });
    paths.post("/grants/{id}/revoke", "Take such a yes away. Only on the operator's socket.", |document| {
        document.number_in_path("id");
        document.answers::<GrantList>();
    });
}

/// The paths written so far, and the definitions that their schemas refer to.
struct Paths {
    paths: Map<String, Value>,
    generator: SchemaGenerator,
}

/// One operation being written.
struct Operation<'a> {
    value: Value,
    generator: &'a mut SchemaGenerator,
}

impl Paths {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { paths: Map::new(), generator: settings.into_generator() }
    }

    fn get(&mut self, path: &str, summary: &str, write: impl FnOnce(&mut Operation<'_>)) {
        self.operation(path, "get", summary, write);
    }

    fn post(&mut self, path: &str, summary: &str, write: impl FnOnce(&mut Operation<'_>)) {
        self.operation(path, "post", summary, write);
    }

    fn operation(&mut self, path: &str, method: &str, summary: &str, write: impl FnOnce(&mut Operation<'_>)) {
        let problem = self.generator.subschema_for::<Problem>();
        let value = json!({
            "summary": summary,
            "parameters": [],
            "responses": { "default": {
                "description": "A problem (RFC 9457); `code` is stable",
                "content": { crate::PROBLEM_MEDIA_TYPE: { "schema": problem } },
            }},
        });
        let mut operation = Operation { value, generator: &mut self.generator };
        write(&mut operation);
        let operations = self.paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        operations[method] = operation.value;
    }

    fn finish(mut self) -> Value {
        let codes: Vec<Value> = Code::ALL
            .iter()
            .map(|row| json!({ "code": row.code, "status": row.status, "title": row.title }))
            .collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "AgentOS",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "HTTP/1.1 over a Unix socket. Who is calling is the socket and the peer's user.",
                "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            },
            "servers": [{ "url": "http://localhost" }],
            "paths": self.paths,
            "components": { "schemas": self.generator.take_definitions(true) },
            "x-problem-codes": codes,
        })
    }
}

impl Operation<'_> {
    fn takes<T: JsonSchema>(&mut self) {
        let schema = self.generator.subschema_for::<T>().to_value();
        self.value["requestBody"] = json!({ "required": true, "content": json_of(&schema) });
    }

    fn answers<T: JsonSchema>(&mut self) {
        let schema = self.generator.subschema_for::<T>().to_value();
        self.with("200", &json!({ "description": "The answer", "content": json_of(&schema) }));
    }

    fn also_answers<T: JsonSchema>(&mut self, status: &str, what: &str) {
        let schema = self.generator.subschema_for::<T>().to_value();
        self.with(status, &json!({ "description": what, "content": json_of(&schema) }));
    }

    fn number_in_path(&mut self, name: &str) {
        self.parameter(&json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "integer", "minimum": 1 }
        }));
    }

    fn with(&mut self, status: &str, response: &Value) {
        self.value["responses"][status] = response.clone();
    }

    fn parameter(&mut self, parameter: &Value) {
        if let Some(parameters) = self.value["parameters"].as_array_mut() {
            parameters.push(parameter.clone());
        }
    }

    /// Each field of `T` as a parameter of the URL.
    fn parameters_of<T: JsonSchema>(&mut self) {
        let schema = schema::inline::<T>();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|map| map.remove("description"));
            self.parameter(
                &json!({ "name": name, "in": "query", "description": description, "schema": schema }),
            );
        }
    }
}

fn json_of(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reference_resolves() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
