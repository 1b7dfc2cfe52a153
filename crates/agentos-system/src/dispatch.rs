//! From a query's name and JSON arguments to JSON bytes: one table, and nothing built in between.

use agentos_api::parse::ParseError;
use agentos_api::problem::near_matches;
use agentos_api::query::{self, Query};
use serde::de::DeserializeOwned;

use crate::QueryError;
use crate::machine::{Machine, Viewer};

/// A query that this crate knows how to answer.
pub(crate) trait Read: Query {
    /// Refuses arguments that are wrong together, where each alone is right. Reads nothing of the machine.
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`], naming the field.
    fn check(_args: &Self::Args) -> Result<(), QueryError> {
        Ok(())
    }

    /// Reads the answer off the machine. May block: up to its own time limit, which it has.
    ///
    /// # Errors
    /// [`QueryError`], as the query documents.
    fn read(machine: &Machine, viewer: Viewer, args: Self::Args) -> Result<Self::Output, QueryError>;
}

/// From arguments to an answer, both as JSON.
type Answer = fn(&Machine, Viewer, &[u8]) -> Result<Vec<u8>, QueryError>;

/// One row of the table: a query with its two functions.
struct Entry {
    name: &'static str,
    check: fn(&[u8]) -> Result<(), QueryError>,
    answer: Answer,
}

const fn entry<Q: Read>() -> Entry {
    Entry { name: Q::NAME, check: check::<Q>, answer: answer::<Q> }
}

/// Every query, in alphabetical order: it is searched by bisection, and a test compares it with the catalogue.
const TABLE: &[Entry] = &[
    entry::<query::BlockDevices>(),
    entry::<query::Boots>(),
    entry::<query::Cgroups>(),
    entry::<query::Connections>(),
    entry::<query::Directory>(),
    entry::<query::Disks>(),
    entry::<query::FailedUnits>(),
    entry::<query::File>(),
    entry::<query::Find>(),
    entry::<query::Firewall>(),
    entry::<query::Groups>(),
    entry::<query::Hardware>(),
    entry::<query::Health>(),
    entry::<query::Journal>(),
    entry::<query::Kernel>(),
    entry::<query::Listeners>(),
    entry::<query::Memory>(),
    entry::<query::Network>(),
    entry::<query::Os>(),
    entry::<query::Packages>(),
    entry::<query::Pressure>(),
    entry::<query::Process>(),
    entry::<query::Processes>(),
    entry::<query::Service>(),
    entry::<query::Services>(),
    entry::<query::Sessions>(),
    entry::<query::Shell>(),
    entry::<query::Sysctl>(),
    entry::<query::Time>(),
    entry::<query::Timers>(),
    entry::<query::Users>(),
];

impl Machine {
    /// Answers the query `name` as JSON.
    ///
    /// `args` is a JSON object; empty means all defaults. The call blocks, so it belongs on a blocking thread.
    ///
    /// # Errors
    /// [`QueryError`]; nothing was changed on the machine in any case.
    pub fn query(&self, name: &str, args: &[u8], viewer: Viewer) -> Result<Vec<u8>, QueryError> {
        (find(name)?.answer)(self, viewer, args)
    }

    /// Says whether [`Machine::query`] would accept these arguments, without reading anything of the machine.
    ///
    /// # Errors
    /// [`QueryError::UnknownQuery`] or [`QueryError::InvalidArgument`].
    pub fn check(&self, name: &str, args: &[u8]) -> Result<(), QueryError> {
        (find(name)?.check)(args)
    }
}

/// The names of all queries, in alphabetical order.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.name)
}

fn find(name: &str) -> Result<&'static Entry, QueryError> {
    match TABLE.binary_search_by(|entry| entry.name.cmp(name)) {
        Ok(index) => Ok(&TABLE[index]),
        Err(_) => Err(QueryError::UnknownQuery {
            name: name.chars().take(64).collect(),
            near: near_matches(name, names()),
        }),
    }
}

fn check<Q: Read>(args: &[u8]) -> Result<(), QueryError> {
    parse::<Q>(args).map(|_| ())
}

fn answer<Q: Read>(machine: &Machine, viewer: Viewer, args: &[u8]) -> Result<Vec<u8>, QueryError> {
    let output = Q::read(machine, viewer, parse::<Q>(args)?)?;
    let mut bytes = Vec::with_capacity(4096);
    serde_json::to_writer(&mut bytes, &output).map_err(|error| QueryError::Io {
        what: format!("the answer to {}", Q::NAME),
        source: error.into(),
    })?;
    Ok(bytes)
}

fn parse<Q: Read>(args: &[u8]) -> Result<Q::Args, QueryError> {
    let parsed = parse_arguments::<Q::Args>(args)?;
    Q::check(&parsed)?;
    Ok(parsed)
}

/// Arguments from a JSON object; empty means all defaults.
///
/// # Errors
/// [`QueryError::InvalidArgument`], naming the field.
pub(crate) fn parse_arguments<A: DeserializeOwned>(args: &[u8]) -> Result<A, QueryError> {
    let args = if args.is_empty() { b"{}" } else { args };
    agentos_api::parse::json(args).map_err(|error| match error {
        ParseError::Data { field, reason } if !field.is_empty() => {
            QueryError::InvalidArgument { field, reason }
        }
        ParseError::Data { reason, .. } | ParseError::Syntax { reason } => {
            QueryError::invalid("args", reason)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_at_fault(name: &str, args: &str) -> String {
        match Machine::new(crate::MachineOptions::default()).check(name, args.as_bytes()).unwrap_err() {
            QueryError::InvalidArgument { field, .. } => field,
            other => panic!("{args}: {other}"),
        }
    }

    #[test]
    fn the_table_is_sorted_for_bisection() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn every_query_of_the_catalogue_is_answered() {
        assert_eq!(names().collect::<Vec<_>>(), query::NAMES);
    }

    #[test]
    fn an_unknown_query_is_told_what_it_may_have_meant() {
        let machine = Machine::new(crate::MachineOptions::default());
        match machine.check("heatlh", b"{}").unwrap_err() {
            QueryError::UnknownQuery { near, .. } => assert_eq!(near, ["health"]),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_unknown_argument_is_named() {
        assert_eq!(field_at_fault("health", r#"{"colour":1}"#), "colour");
    }

    #[test]
    fn arguments_that_are_not_an_object_are_refused() {
        for args in ["[]", "[]x", "7", "nul", "{", "\"\"", "{}{}"] {
            assert_eq!(field_at_fault("health", args), "args", "{args}");
        }
    }
}
