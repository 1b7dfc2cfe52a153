//! The typed changes of the machine: `POST /system/mutate { "mutation": NAME, "args": …, "reason": … }`.
//!
//! One file per family holds the names and arguments. The doc comments of the fields become the descriptions in the JSON
//! Schemas, which is what a model reads before it asks.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

/// A typed change: it can be planned without being made, and knows how it is taken back.
pub trait Mutation: 'static {
    /// The name a caller uses: a family and a verb, `file.write`.
    const NAME: &'static str;
    /// One sentence on what it does, for a person or a model choosing one.
    const SUMMARY: &'static str;
    /// The arguments. Unknown ones are refused.
    type Args: DeserializeOwned + Serialize + JsonSchema + Send;
}

/// A mutation as the catalogue shows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MutationDescription {
    /// The name a caller uses.
    pub name: String,
    /// What it does.
    pub summary: String,
    /// The JSON Schema of `args`.
    pub arguments: Value,
}

impl MutationDescription {
    /// The description of the mutation `M`.
    pub fn of<M: Mutation>() -> Self {
        Self {
            name: M::NAME.to_owned(),
            summary: M::SUMMARY.to_owned(),
            arguments: schema::inline::<M::Args>(),
        }
    }
}

/// Declares the type of each mutation of a family: a marker that names its arguments.
macro_rules! mutation {
    ($(#[$doc:meta])* $mutation:ident($args:ty) = $name:literal, $summary:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $mutation;

        impl crate::mutation::Mutation for $mutation {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = $summary;
            type Args = $args;
        }
    };
}

pub mod file;
pub mod firewall;
pub mod group;
pub mod hostname;
pub mod journal;
pub mod mount;
pub mod network;
pub mod ntp;
pub mod package;
pub mod power;
pub mod process;
pub mod service;
pub mod shell;
pub mod ssh_key;
pub mod swap;
pub mod sysctl;
pub mod timer;
pub mod timezone;
pub mod user;

/// Lists all mutations, for the catalogue and for the dispatcher that is checked against it.
macro_rules! mutations {
    ($($family:ident::$mutation:ident,)*) => {
        /// The names of all mutations, in alphabetical order.
        pub const NAMES: &[&str] = &[$($family::$mutation::NAME),*];

        /// Each mutation's name and summary, in alphabetical order.
        pub const SUMMARIES: &[(&str, &str)] = &[$(($family::$mutation::NAME, $family::$mutation::SUMMARY)),*];

        /// All mutations with their schemas, in alphabetical order. Built on each call: keep the result.
        pub fn descriptions() -> Vec<MutationDescription> {
            vec![$(MutationDescription::of::<$family::$mutation>()),*]
        }
    };
}

// In alphabetical order of their names, one line each.
mutations! {
    file::Append,
    file::Chmod,
    file::Chown,
    file::Copy,
    file::Delete,
    file::Mkdir,
    file::Move,
    file::Symlink,
    file::Write,
    firewall::Block,
    firewall::Close,
    firewall::Open,
    group::AddMember,
    group::Create,
    group::Delete,
    group::RemoveMember,
    hostname::Set,
    journal::Vacuum,
    mount::Mount,
    mount::Unmount,
    network::Address,
    network::Dns,
    network::Link,
    network::Route,
    ntp::Set,
    package::Install,
    package::Remove,
    package::Upgrade,
    power::Reboot,
    power::Shutdown,
    process::Signal,
    service::Disable,
    service::Enable,
    service::Mask,
    service::Reload,
    service::Restart,
    service::Start,
    service::Stop,
    service::Unmask,
    shell::Apply,
    shell::Preview,
    ssh_key::Add,
    ssh_key::Remove,
    swap::Off,
    swap::On,
    sysctl::Set,
    timer::Create,
    timer::Remove,
    timezone::Set,
    user::Create,
    user::Delete,
    user::Modify,
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
        for mutation in descriptions() {
            assert_eq!(mutation.arguments["type"], "object", "{}", mutation.name);
            assert_eq!(
                mutation.arguments["additionalProperties"], false,
                "{} takes unknown arguments",
                mutation.name
            );
            let properties = mutation.arguments["properties"].as_object();
            for (name, schema) in properties.into_iter().flatten() {
                assert!(schema.get("description").is_some(), "{}.{name} has no description", mutation.name);
            }
        }
    }
}
