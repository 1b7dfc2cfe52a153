//! The package's life on a machine: installed, set up, used, disturbed, upgraded, booted again, removed. The statements
//! build on one another, in the order in which an administrator would come across them.

mod changes;
mod gateway;
mod install;
mod load;
mod machine;
mod removal;
mod script;
mod trouble;
mod units;
mod upgrade;

use std::path::Path;

use anyhow::Result;

use self::machine::Machine;
use super::tally::Tally;

/// A statement about the machine, and the test of it.
type Check = (&'static str, fn(&mut Machine) -> Result<()>);

/// All of them, in order.
const CHECKS: &[Check] = &[
    ("the package is installed without a network, says so, and agentd works", install::without_a_network),
    ("the machine is running, and no unit failed", install::nothing_failed),
    ("the installed files are those of the package", install::files_are_as_packaged),
    ("installing it again changes nothing", install::again),
    ("no unit but agentd's is exposed", units::are_not_exposed),
    ("users, groups, sockets and folders are as declared", units::owners_and_modes),
    ("the gateway is set up from a mirror", gateway::set_up_from_a_mirror),
    ("systemd has nothing to say about the units", units::are_verified),
    ("setting it up again downloads nothing", gateway::set_up_again),
    ("agentd is ready before the gateway starts", gateway::starts_after_agentd),
    ("the gateway is confined", gateway::is_confined),
    ("a person in the operators' group has a turn with the agent, on the record", gateway::turn),
    ("a change of the agent's waits, is made by a person's yes, and is taken back", changes::approved),
    (
        "what may lock somebody out is taken back by itself, also when agentd hangs",
        changes::taken_back_by_itself,
    ),
    ("what is confirmed stays", changes::confirmed),
    ("a gateway that is killed is back", gateway::killed_and_back),
    ("agentd is stopped and started, and the gateway goes on", trouble::stopped_and_started),
    ("an agentd that is killed is back, and its ledger goes on", trouble::killed_and_back),
    ("an agentd that hangs is ended and started again", trouble::hung_and_back),
    ("an agentd that keeps being killed is left stopped, and starts when told to", trouble::crash_loop),
    (
        "a broken configuration is refused with its line, and the daemon goes on with the one it has",
        trouble::broken_configuration,
    ),
    ("a full disk is refused, and agentd goes on by itself when there is room", trouble::full_disk),
    ("a state folder that was opened or given away is mended or refused", trouble::state_folder),
    ("a damaged ledger is not written to, and the answer says how to go on", trouble::damaged_ledger),
    ("a journal that is rotated and cut is read on", trouble::journal_rotation),
    ("an upgrade under load loses nothing and keeps what the administrator changed", upgrade::under_load),
    ("a reboot continues the ledger", upgrade::reboot),
    ("an upgrade that dpkg was cut off in is completed", upgrade::cut_off),
    ("removing keeps the configuration, the ledger and the memory", removal::keeps),
    ("installing again continues the ledger", removal::installed_again),
    ("purging keeps the ledger and nothing else", removal::purge),
];

/// Whether anything of this is asked for.
pub(super) fn is_asked(tally: &Tally) -> bool {
    [CHECKS, script::CHECKS].iter().any(|checks| checks.iter().any(|(statement, _)| tally.takes(statement)))
}

/// Boots a machine and goes through its life; then another, for the script that people install with.
///
/// # Errors
/// When it cannot be booted or ended. What does not hold is counted in `tally`.
pub(super) fn run(image: &Path, package: &Path, newer: &Path, tally: &mut Tally) -> Result<()> {
    for checks in [CHECKS, script::CHECKS] {
        live(checks, image, package, newer, tally)?;
    }
    Ok(())
}

fn live(checks: &[Check], image: &Path, package: &Path, newer: &Path, tally: &mut Tally) -> Result<()> {
    // They build on one another: with one of them, all before it.
    let Some(last) = checks.iter().rposition(|(statement, _)| tally.takes(statement)) else { return Ok(()) };
    let mut machine = Machine::boot(image, package, newer)?;
    let cost = machine.guest().cost();
    println!(
        "nspawn: running after {:.2} s, {:.2} s of CPU",
        cost.elapsed.as_secs_f64(),
        cost.processor.as_secs_f64()
    );
    for (statement, check) in checks.iter().take(last + 1) {
        if !tally.test_in_turn(statement, || check(&mut machine)) {
            println!("! what follows builds on it, and is not tested");
            break;
        }
    }
    machine.power_off()
}
