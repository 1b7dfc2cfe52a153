//! From a mutation's name and JSON arguments to a plan of it: one table.

use agentos_api::mutation::{self, Mutation};
use agentos_api::problem::near_matches;

use super::error::ChangeError;
use super::planner::Planner;
use crate::dispatch::parse_arguments;

/// A mutation that this crate knows how to plan.
pub(crate) trait Plan: Mutation {
    /// Refuses arguments that are wrong by themselves or together. Reads nothing of the machine.
    ///
    /// # Errors
    /// [`ChangeError::Reading`], naming the field.
    fn check(_args: &Self::Args) -> Result<(), ChangeError> {
        Ok(())
    }

    /// Adds what it would do to the planner: transitions, a sentence, a risk. Reads the machine and changes nothing.
    ///
    /// # Errors
    /// [`ChangeError`], as the mutation documents.
    fn plan(planner: &mut Planner<'_>, args: Self::Args) -> Result<(), ChangeError>;
}

struct Entry {
    name: &'static str,
    check: fn(&[u8]) -> Result<(), ChangeError>,
    plan: fn(&mut Planner<'_>, &[u8]) -> Result<(), ChangeError>,
}

const fn entry<M: Plan>() -> Entry {
    Entry { name: M::NAME, check: check_one::<M>, plan: plan_one::<M> }
}

/// Every mutation, in alphabetical order: it is searched by bisection, and a test compares it with the catalogue.
const TABLE: &[Entry] = &[
    entry::<mutation::file::Append>(),
    entry::<mutation::file::Chmod>(),
    entry::<mutation::file::Chown>(),
    entry::<mutation::file::Copy>(),
    entry::<mutation::file::Delete>(),
    entry::<mutation::file::Mkdir>(),
    entry::<mutation::file::Move>(),
    entry::<mutation::file::Symlink>(),
    entry::<mutation::file::Write>(),
    entry::<mutation::firewall::Block>(),
    entry::<mutation::firewall::Close>(),
    entry::<mutation::firewall::Open>(),
    entry::<mutation::group::AddMember>(),
    entry::<mutation::group::Create>(),
    entry::<mutation::group::Delete>(),
    entry::<mutation::group::RemoveMember>(),
    entry::<mutation::hostname::Set>(),
    entry::<mutation::journal::Vacuum>(),
    entry::<mutation::mount::Mount>(),
    entry::<mutation::mount::Unmount>(),
    entry::<mutation::network::Address>(),
    entry::<mutation::network::Dns>(),
    entry::<mutation::network::Link>(),
    entry::<mutation::network::Route>(),
    entry::<mutation::ntp::Set>(),
    entry::<mutation::package::Install>(),
    entry::<mutation::package::Remove>(),
    entry::<mutation::package::Upgrade>(),
    entry::<mutation::power::Reboot>(),
    entry::<mutation::power::Shutdown>(),
    entry::<mutation::process::Signal>(),
    entry::<mutation::service::Disable>(),
    entry::<mutation::service::Enable>(),
    entry::<mutation::service::Mask>(),
    entry::<mutation::service::Reload>(),
    entry::<mutation::service::Restart>(),
    entry::<mutation::service::Start>(),
    entry::<mutation::service::Stop>(),
    entry::<mutation::service::Unmask>(),
    entry::<mutation::shell::Apply>(),
    entry::<mutation::shell::Preview>(),
    entry::<mutation::ssh_key::Add>(),
    entry::<mutation::ssh_key::Remove>(),
    entry::<mutation::swap::Off>(),
    entry::<mutation::swap::On>(),
    entry::<mutation::sysctl::Set>(),
    entry::<mutation::timer::Create>(),
    entry::<mutation::timer::Remove>(),
    entry::<mutation::timezone::Set>(),
    entry::<mutation::user::Create>(),
    entry::<mutation::user::Delete>(),
    entry::<mutation::user::Modify>(),
];

/// The names of all mutations, in alphabetical order.
pub fn mutation_names() -> impl ExactSizeIterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.name)
}

pub(super) fn check(name: &str, args: &[u8]) -> Result<(), ChangeError> {
    (find(name)?.check)(args)
}

pub(super) fn plan(planner: &mut Planner<'_>, name: &str, args: &[u8]) -> Result<(), ChangeError> {
    (find(name)?.plan)(planner, args)
}

fn find(name: &str) -> Result<&'static Entry, ChangeError> {
    match TABLE.binary_search_by(|entry| entry.name.cmp(name)) {
        Ok(index) => Ok(&TABLE[index]),
        Err(_) => Err(ChangeError::UnknownMutation {
            name: name.chars().take(64).collect(),
            near: near_matches(name, mutation_names()),
        }),
    }
}

fn check_one<M: Plan>(args: &[u8]) -> Result<(), ChangeError> {
    M::check(&parse_arguments::<M::Args>(args)?)
}

fn plan_one<M: Plan>(planner: &mut Planner<'_>, args: &[u8]) -> Result<(), ChangeError> {
    let args = parse_arguments::<M::Args>(args)?;
    M::check(&args)?;
    M::plan(planner, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_bisection() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn every_mutation_of_the_catalogue_is_planned() {
        assert_eq!(mutation_names().collect::<Vec<_>>(), mutation::NAMES);
    }

    #[test]
    fn an_unknown_mutation_is_told_what_it_may_have_meant() {
        match check("file.wirte", b"{}").unwrap_err() {
            ChangeError::UnknownMutation { near, .. } => {
                assert!(near.contains(&"file.write".to_owned()), "{near:?}");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_unknown_argument_is_named() {
        let error = check("file.mkdir", br#"{"path":"/x","colour":1}"#).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }
}
