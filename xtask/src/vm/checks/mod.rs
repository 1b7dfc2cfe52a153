//! What agentd must answer about the machine that [`super::fixtures`] set up.

mod incidents;
mod inventory;
mod log;
mod network;
mod shell;
mod units;

use anyhow::Result;

use super::ask::Ask;
use super::nspawn::Guest;

/// A statement about the answers, and the test of it.
pub(super) type Check = (&'static str, fn(&Ask, &Guest) -> Result<()>);

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    ("the services are listed with their states", units::services_are_listed),
    ("services are sorted, paged and filtered", units::services_are_paged),
    ("one service is given in full", units::one_service),
    ("a unit that is not there is told from its neighbours", units::unknown_unit),
    ("a failed unit says why and what it said last", units::failed_units),
    ("restarts are counted", units::restarts),
    ("timers say when next", units::timers),
    ("the journal is paged without gap or repetition", log::journal_pages),
    ("the journal is filtered by severity, text, time and boot", log::journal_filters),
    ("log lines with any bytes are given", log::journal_bytes),
    ("wrong questions to the journal name the argument", log::journal_refuses),
    ("listeners have their process and unit", network::listeners_have_owners),
    ("connections are found at both ends", network::connections),
    ("the network is as ip says", network::network),
    ("the firewall is as nft says", network::firewall),
    ("a session is known to logind", inventory::sessions_of_logind),
    ("the packages are as dpkg says", inventory::packages),
    ("the boots are as journalctl says", log::boots),
    ("a command that observes reads what root reads", shell::reads_what_root_reads),
    ("a command that observes reaches no service", shell::reaches_no_service),
    ("a command that observes takes no more than it may", shell::takes_no_more_than_it_may),
    ("a command that is applied operates services", shell::applied_operates_services),
    ("a command that is applied leaves agentd alone", shell::applied_leaves_agentd_alone),
    ("an incident: the agent does not stop what it acts through", incidents::own_service),
    ("an incident: a service is stopped once exactly that is approved", incidents::stopped),
    ("an incident: the machine ends once exactly that is approved", incidents::ended),
    (
        "an incident: a package takes others with it only where they were named and approved",
        incidents::dragged,
    ),
    ("a bus that was started again is found again", units::bus_restarts),
    ("without a bus the answer says what is missing", units::no_bus),
    ("a systemd that hangs is given up on, and asked again when it is back", units::systemd_hangs),
];
