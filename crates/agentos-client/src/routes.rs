//! One method per route.

use agentos_api::catalog::Catalog;
use agentos_api::change::{
    Change, ChangeFilter, ChangeOutput, ChangePage, ConfirmRequest, DecideRequest, GrantList, LiftRequest,
    MutateRequest, OutputFilter, UndoRequest,
};
use agentos_api::event::{EventFilter, EventPage};
use agentos_api::health::HealthReport;
use agentos_api::ledger::{
    Checkpoint, ConsistencyFilter, ConsistencyProof, CosignRequest, CosignResponse, Diagnosis, InclusionProof,
};
use agentos_api::memory::{
    IngestRequest, MemoryHealth, RecallRequest, RecallResponse, StoreRequest, StoreResponse,
};
use agentos_api::query::Query;
use agentos_api::question::{ApprovalList, Question};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::Client;
use crate::error::ClientError;

#[derive(Serialize)]
struct QueryBody<'a, A> {
    query: &'a str,
    args: &'a A,
}

/// Each method sends one request; its errors are those of [`ClientError`].
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
impl Client {
    /// `GET /health`: the machine at a glance and whether agentd can do its work. Not an event.
    pub async fn health(&self) -> Result<HealthReport, ClientError> {
        self.get("/health").await
    }

    /// `POST /system/query` with the types of the query `Q`.
    pub async fn query<Q: Query>(&self, args: &Q::Args) -> Result<Q::Output, ClientError> {
        self.post("/system/query", &QueryBody { query: Q::NAME, args }).await
    }

    /// `POST /system/query` for a query that is named at run time; `args` is its JSON object of arguments.
    pub async fn query_value(
        &self,
        name: &str,
        args: &serde_json::Map<String, Value>,
    ) -> Result<Value, ClientError> {
        self.query_named(name, args).await
    }

    /// [`Client::query_value`], parsed as whatever the caller takes: a type that keeps the order of fields, say.
    pub async fn query_named<T: DeserializeOwned>(
        &self,
        name: &str,
        args: &serde_json::Map<String, Value>,
    ) -> Result<T, ClientError> {
        self.post("/system/query", &QueryBody { query: name, args }).await
    }

    /// `GET /events/log`: one page of events. Ask again with `after` or `before` set to its `next`.
    pub async fn events_page(&self, filter: &EventFilter) -> Result<EventPage, ClientError> {
        let path = self.path_with("/events/log", filter)?;
        self.get(path).await
    }

    /// `GET /events/{id}/proof`: shows that the event is in the ledger's tree.
    pub async fn proof(&self, id: u64) -> Result<InclusionProof, ClientError> {
        self.get(format!("/events/{id}/proof")).await
    }

    /// `GET /ledger/checkpoint`: the ledger's signed size and root, as of now.
    pub async fn checkpoint(&self) -> Result<Checkpoint, ClientError> {
        self.get("/ledger/checkpoint").await
    }

    /// `GET /ledger/consistency`: shows that the ledger only grew from the size `from` to the size `to`.
    pub async fn consistency(&self, from: u64, to: Option<u64>) -> Result<ConsistencyProof, ClientError> {
        let path = self.path_with("/ledger/consistency", &ConsistencyFilter { from, to })?;
        self.get(path).await
    }

    /// `POST /ledger/cosignatures`: gives agentd a checkpoint that a witness cosigned. The operator's socket only.
    pub async fn cosign(&self, note: &str) -> Result<CosignResponse, ClientError> {
        self.post("/ledger/cosignatures", &CosignRequest { note: note.to_owned() }).await
    }

    /// `GET /ledger/diagnosis`: whether the ledger can be used; if not, what was found and what to do. Not an event.
    pub async fn diagnosis(&self) -> Result<Diagnosis, ClientError> {
        self.get("/ledger/diagnosis").await
    }

    /// `GET /catalog`: the queries and tools of this agentd, with their schemas. Not an event.
    pub async fn catalog(&self) -> Result<Catalog, ClientError> {
        self.get("/catalog").await
    }

    /// `GET /openapi.json`: the API's description. Not an event.
    pub async fn openapi(&self) -> Result<Value, ClientError> {
        self.get("/openapi.json").await
    }

    /// `POST /memory/store`: writes down something worth remembering.
    pub async fn memory_store(&self, request: &StoreRequest) -> Result<StoreResponse, ClientError> {
        self.post("/memory/store", request).await
    }

    /// `POST /memory/ingest`: keeps something that happened, as it is told.
    pub async fn memory_ingest(&self, request: &IngestRequest) -> Result<StoreResponse, ClientError> {
        self.post("/memory/ingest", request).await
    }

    /// `POST /memory/recall`: finds what was remembered.
    pub async fn memory_recall(&self, request: &RecallRequest) -> Result<RecallResponse, ClientError> {
        self.post("/memory/recall", request).await
    }

    /// `GET /memory/health`: what the memory holds and which model searches it.
    pub async fn memory_health(&self) -> Result<MemoryHealth, ClientError> {
        self.get("/memory/health").await
    }

    /// `POST /system/mutate`: plans a change and, unless `dry_run` is set, makes it. Where the policy wants a person's yes,
    /// it waits: see [`Change::status`].
    pub async fn mutate(&self, request: &MutateRequest) -> Result<Change, ClientError> {
        self.post("/system/mutate", request).await
    }

    /// `GET /changes`: one page of changes, the newest first. Ask again with `before` set to its `next`.
    pub async fn changes(&self, filter: &ChangeFilter) -> Result<ChangePage, ClientError> {
        let path = self.path_with("/changes", filter)?;
        self.get(path).await
    }

    /// `GET /changes/{id}`: one change with its plan and where it stands.
    pub async fn change(&self, id: u64) -> Result<Change, ClientError> {
        self.get(format!("/changes/{id}")).await
    }

    /// `GET /changes/{id}/output`: what a command of a change wrote. While it runs, ask again from where the answer ends.
    pub async fn change_output(&self, id: u64, filter: &OutputFilter) -> Result<ChangeOutput, ClientError> {
        let path = self.path_with(&format!("/changes/{id}/output"), filter)?;
        self.get(path).await
    }

    /// `POST /changes/{id}/undo`: plans taking a change back and, unless `dry_run` is set, does it or has it wait. The
    /// answer is the change that takes it back.
    pub async fn undo(&self, id: u64, request: &UndoRequest) -> Result<Change, ClientError> {
        self.post(&format!("/changes/{id}/undo"), request).await
    }

    /// `POST /changes/{id}/confirm`: keeps a change that would be taken back by itself. Always over a new connection, as
    /// agentd wants it: the change may have cut off those that were open.
    pub async fn confirm(&self, id: u64) -> Result<Change, ClientError> {
        let fresh = Self::with_options(self.options().clone());
        fresh.post(&format!("/changes/{id}/confirm"), &ConfirmRequest {}).await
    }

    /// `GET /approvals`: the changes and questions that wait for a yes.
    pub async fn approvals(&self) -> Result<ApprovalList, ClientError> {
        self.get("/approvals").await
    }

    /// `POST /approvals/{id}`: says yes or no to a change that waits. A yes makes it before this returns.
    pub async fn decide(&self, id: u64, request: &DecideRequest) -> Result<Change, ClientError> {
        self.post(&format!("/approvals/{id}"), request).await
    }

    /// `GET /questions/{id}`: one question that a rule asks about.
    pub async fn question(&self, id: u64) -> Result<Question, ClientError> {
        self.get(format!("/questions/{id}")).await
    }

    /// `POST /questions/{id}`: says yes or no to a question that waits. A yes answers it once, when it is asked again.
    pub async fn decide_question(&self, id: u64, request: &DecideRequest) -> Result<Question, ClientError> {
        self.post(&format!("/questions/{id}"), request).await
    }

    /// `GET /grants`: what was allowed for a while.
    pub async fn grants(&self) -> Result<GrantList, ClientError> {
        self.get("/grants").await
    }

    /// `POST /grants`: lifts a quota for a while. The answer is all that is allowed for a while.
    pub async fn lift_quota(&self, request: &LiftRequest) -> Result<GrantList, ClientError> {
        self.post("/grants", request).await
    }

    /// `POST /grants/{id}/revoke`: ends one of them. The answer is those that still hold.
    pub async fn revoke_grant(&self, id: u64) -> Result<GrantList, ClientError> {
        self.post(&format!("/grants/{id}/revoke"), &serde_json::json!({})).await
    }

    /// `path` with `query` behind it, percent-encoded.
    pub(crate) fn path_with(&self, path: &str, query: &impl Serialize) -> Result<String, ClientError> {
        let encoded = serde_urlencoded::to_string(query).map_err(|error| {
            self.protocol(path, format!("the filter cannot be written as a query: {error}"))
        })?;
        Ok(if encoded.is_empty() { path.to_owned() } else { format!("{path}?{encoded}") })
    }
}
