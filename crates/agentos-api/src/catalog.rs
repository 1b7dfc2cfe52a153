//! What this machine can be asked, described by itself: the answer to `GET /catalog`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mutation::{self, MutationDescription};
use crate::query::{self, QueryDescription};
use crate::tool::{self, Tool};

/// The answer to `GET /catalog`. Reading it is not an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Catalog {
    /// The version of agentd that answers.
    pub version: String,
    /// Every query of `POST /system/query`, in alphabetical order.
    pub queries: Vec<QueryDescription>,
    /// Every mutation of `POST /system/mutate`, in alphabetical order.
    pub mutations: Vec<MutationDescription>,
    /// The tools a model is given.
    pub tools: Vec<Tool>,
}

/// The whole catalogue. It is the same for each call of one version; keep the result rather than calling twice.
pub fn catalog() -> Catalog {
    Catalog {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queries: query::descriptions(),
        mutations: mutation::descriptions(),
        tools: tool::tools(),
    }
}
