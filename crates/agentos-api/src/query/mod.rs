//! The questions the machine answers: `POST /system/query { "query": NAME, "args": … }`.
//!
//! One file per query holds its name, its arguments and its result. The doc comments of the fields become the
//! descriptions in the JSON Schemas, which is what a model reads before it asks.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

pub mod path;

/// A question about the machine: reading only.
pub trait Query: 'static {
    /// The name a caller uses: lower case, words joined by underscores.
    const NAME: &'static str;
    /// One sentence on what the answer holds, for a person or a model choosing a query.
    const SUMMARY: &'static str;
    /// The arguments. Each has a default where one makes sense; unknown ones are refused.
    type Args: DeserializeOwned + Serialize + JsonSchema + Send;
    /// The answer.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;
}

/// The body of `POST /system/query`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// The name of the query, from the catalogue.
    pub query: String,
    /// Its arguments, as its schema says. Left out: all defaults.
    #[serde(default)]
    pub args: serde_json::Map<String, Value>,
}

/// A query as the catalogue shows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QueryDescription {
    /// The name a caller uses.
    pub name: String,
    /// What the answer holds.
    pub summary: String,
    /// The JSON Schema of `args`.
    pub arguments: Value,
    /// The JSON Schema of the answer.
    pub result: Value,
}

impl QueryDescription {
    /// The description of the query `Q`.
    pub fn of<Q: Query>() -> Self {
        Self {
            name: Q::NAME.to_owned(),
            summary: Q::SUMMARY.to_owned(),
            arguments: schema::inline::<Q::Args>(),
            result: schema::inline::<Q::Output>(),
        }
    }
}

/// Declares the module and the type of each query, and the list the catalogue and the dispatcher are checked against.
macro_rules! queries {
    ($($module:ident::$query:ident,)*) => {
        $(pub mod $module;)*
        $(pub use $module::$query;)*

        /// The names of all queries, in alphabetical order.
        pub const NAMES: &[&str] = &[$($query::NAME),*];

        /// Each query's name and summary, in alphabetical order.
        pub const SUMMARIES: &[(&str, &str)] = &[$(($query::NAME, $query::SUMMARY)),*];

        /// All queries with their schemas, in alphabetical order. Built on each call: keep the result.
        pub fn descriptions() -> Vec<QueryDescription> {
            vec![$(QueryDescription::of::<$query>()),*]
        }
    };
}

// In alphabetical order, one line each: `processes::Processes,`.
queries! {
    block_devices::BlockDevices,
    boots::Boots,
    cgroups::Cgroups,
    connections::Connections,
    directory::Directory,
    disks::Disks,
    failed_units::FailedUnits,
    file::File,
    find::Find,
    firewall::Firewall,
    groups::Groups,
    hardware::Hardware,
    health::Health,
    journal::Journal,
    kernel::Kernel,
    listeners::Listeners,
    memory::Memory,
    network::Network,
    os::Os,
    packages::Packages,
    pressure::Pressure,
    process::Process,
    processes::Processes,
    service::Service,
    services::Services,
    sessions::Sessions,
    shell::Shell,
    sysctl::Sysctl,
    time::Time,
    timers::Timers,
    users::Users,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_and_unique() {
        assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]), "{NAMES:?}");
    }

    #[test]
    fn each_argument_is_described_and_unknown_ones_are_refused() {
        for query in descriptions() {
            assert_eq!(query.arguments["type"], "object", "{}", query.name);
            assert_eq!(
                query.arguments["additionalProperties"], false,
                "{} takes unknown arguments",
                query.name
            );
            let properties = query.arguments["properties"].as_object();
            for (name, schema) in properties.into_iter().flatten() {
                assert!(schema.get("description").is_some(), "{}.{name} has no description", query.name);
            }
        }
    }
}
