//! `ntp.set`: whether the clock is kept right over the network.
//!
//! systemd-timedated's `SetNTP` enables and starts the first time service of its list and disables and stops the others. The
//! same units are found here by the same list, and enabled, started, disabled and stopped one by one: so each link is in the
//! plan, and goes back to what it was, where `SetNTP` the other way round would make it what timedated thinks best.

use agentos_api::change::Risk;
use agentos_api::mutation::ntp as api;

use super::files;
use super::service::{disable, enable, start, state, stop, unit};
use crate::QueryError;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::transition::Transition;
use crate::change::unit::{Act, Mark, UnitAct};
use crate::procfs;
use crate::systemd::control::{self, Look};
use crate::systemd::unit_name::normalise;

/// Where packages say which time services there are (systemd-timedated.service(8)); of two files with one name the first
/// counts.
const LISTS: [&str; 4] = [
    "/etc/systemd/ntp-units.d",
    "/run/systemd/ntp-units.d",
    "/usr/local/lib/systemd/ntp-units.d",
    "/usr/lib/systemd/ntp-units.d",
];
const MOST_LISTS: usize = 100;
const MOST_UNITS: usize = 20;
const TIMESYNCD: &str = "systemd-timesyncd.service";
/// Read after others, so that it holds (timesyncd.conf(5)).
const DROP_INS: &str = "/etc/systemd/timesyncd.conf.d";
const DROP_IN: &str = "/etc/systemd/timesyncd.conf.d/zz-agentos.conf";
const MOST_SERVERS: usize = 10;

fn is_server(server: &str) -> bool {
    (1..=253).contains(&server.len())
        && server
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_'))
        && !server.starts_with(['-', '.'])
}

/// The time services that timedated knows of, the preferred one first.
fn listed() -> Vec<String> {
    let mut lists: Vec<(String, &str)> = Vec::new();
    for folder in LISTS {
        for name in procfs::names(folder, MOST_LISTS) {
            if name.strip_suffix(".list").is_some() && lists.iter().all(|(known, _)| *known != name) {
                lists.push((name, folder));
            }
        }
    }
    lists.sort();
    let texts = lists.iter().filter_map(|(name, folder)| procfs::text(&format!("{folder}/{name}")));
    let mut units = Vec::new();
    for text in texts {
        for name in units_of(&text) {
            if units.len() < MOST_UNITS && !units.contains(&name) {
                units.push(name);
            }
        }
    }
    units
}

/// The units that a list names, one a line.
fn units_of(list: &str) -> Vec<String> {
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter(|line| line.strip_suffix(".service").is_some())
        .filter_map(|line| normalise("unit", line).ok())
        .collect()
}

/// Those that systemd can start.
fn installed(planner: &mut Planner<'_>) -> Result<Vec<Look>, ChangeError> {
    let mut units: Vec<Look> = Vec::new();
    for name in listed() {
        match control::look(planner.machine, &name) {
            Ok(look) if look.load_state == "loaded" && units.iter().all(|known| known.id != look.id) => {
                units.push(unit(planner, &look.id)?);
            }
            Ok(_) | Err(QueryError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(units)
}

impl Plan for api::Set {
    fn check(args: &api::SetArgs) -> Result<(), ChangeError> {
        let servers = args.servers.as_deref().unwrap_or_default();
        if servers.len() > MOST_SERVERS {
            return Err(ChangeError::invalid("servers", format!("must be at most {MOST_SERVERS}")));
        }
        match servers.iter().position(|server| !is_server(server)) {
            Some(wrong) => {
                Err(ChangeError::invalid(format!("servers.{wrong}"), "must be the name or address of a host"))
            }
            None => Ok(()),
        }
    }

    fn plan(planner: &mut Planner<'_>, args: api::SetArgs) -> Result<(), ChangeError> {
        // Without systemd this says so.
        control::last_reload(planner.machine)?;
        let units = installed(planner)?;
        let Some((first, others)) = units.split_first() else {
            return Err(ChangeError::refused(
                "no time service that timedated knows is installed, or all are masked: systemd-timesyncd and chrony are \
                 packages; service.unmask takes a mask off",
            ));
        };
        planner.risk(Risk::Medium);
        planner.summary(match (args.enabled, args.servers.as_deref()) {
            (true, None) => format!("Has {} keep the clock right over the network", first.id),
            (true, Some([])) => {
                format!("Has {} keep the clock right by the servers of the distribution", first.id)
            }
            (true, Some(servers)) => {
                format!("Has {} keep the clock right by {}", first.id, servers.join(", "))
            }
            (false, _) => "Leaves the clock to itself: no time service runs".to_owned(),
        });
        let reads_anew = match &args.servers {
            Some(servers) => set_servers(planner, first, servers)?,
            None => false,
        };
        if !args.enabled {
            planner.not_covered("the clock goes wrong in time: certificates, logs and timers depend on it");
            for look in &units {
                disable(planner, look)?;
                stop(planner, look)?;
            }
            return Ok(());
        }
        for look in others {
            disable(planner, look)?;
            stop(planner, look)?;
        }
        enable(planner, first)?;
        let (running, from) = state(planner, first)?;
        if running && reads_anew {
            let act = UnitAct { unit: first.id.clone(), act: Act::Restart, from, mark: Mark::of(first) };
            planner.add(Transition::UnitAct(act))?;
        }
        planner.not_covered(
            "whether the servers can be reached and agree: the query time says when the clock is right",
        );
        start(planner, first)
    }
}

/// Plans the file with the servers. Says whether it changes.
fn set_servers(planner: &mut Planner<'_>, unit: &Look, servers: &[String]) -> Result<bool, ChangeError> {
    if unit.id != TIMESYNCD {
        return Err(ChangeError::refused(format!(
            "{} keeps the clock here, and its servers are in its own configuration (chrony: /etc/chrony/sources.d): \
             file.write and service.restart change them; leave servers out",
            unit.id
        )));
    }
    let before = files::read(planner, DROP_IN)?;
    if servers.is_empty() {
        if before.is_some() {
            files::absent(planner, DROP_IN)?;
        }
        return Ok(before.is_some());
    }
    // The empty value takes those away that other files name.
    let text = format!("# Set by agentd (ntp.set).\n[Time]\nNTP=\nNTP={}\n", servers.join(" "));
    if before.as_ref() == Some(&text) {
        return Ok(false);
    }
    files::folder(planner, DROP_INS)?;
    files::text(planner, DROP_IN, &text)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_server_is_one_word() {
        for server in ["pool.ntp.org", "192.0.2.1", "2001:db8::1", "a_b"] {
            assert!(is_server(server), "{server}");
        }
        for server in ["", "a b", "a\nb", "-x", "%h", "a/b", "a=b", "ü", &"a".repeat(254)] {
            assert!(!is_server(server), "{server:?}");
        }
    }

    #[test]
    fn a_list_names_services() {
        assert_eq!(
            units_of("# chrony\nchrony.service\n\n ntp.service \n../x\na.timer\n"),
            ["chrony.service", "ntp.service"]
        );
    }

    proptest! {
        #[test]
        fn any_list_is_read_without_panic(list in "(#|\\n|[a-z]{1,5}\\.service|\\PC){0,30}") {
            for name in units_of(&list) {
                prop_assert!(!name.contains('/'));
            }
        }
    }
}
