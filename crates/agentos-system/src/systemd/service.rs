//! The query `service`: one unit of any kind, in full, with its last log lines.

use agentos_api::problem::near_matches;
use agentos_api::query::Service;
use agentos_api::query::service::{Args, Exit, Output};

use super::{Manager, SERVICE, UNIT, interface_of, nanoseconds, unit_name};
use crate::bus::{BusError, Properties, text, texts};
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::{QueryError, journal, moment};

/// Names in one list of the answer.
const MAX_NAMES: usize = 100;

/// Commands, and arguments of one.
const MAX_COMMANDS: usize = 32;
const MAX_ARGUMENTS: usize = 256;

impl Read for Service {
    fn check(args: &Args) -> Result<(), QueryError> {
        unit_name::normalise("unit", &args.unit).map(|_| ())
    }

    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let name = unit_name::normalise("unit", &args.unit)?;
        let found = super::ask(machine, &async |manager| find(manager, &name).await)?;
        let (unit, kind) = match found {
            Found::Unit { unit, kind } => (unit, kind),
            Found::Missing { near } => {
                return Err(QueryError::NotFound { what: format!("the unit {name}"), near });
            }
        };
        let mut output = output(&unit, &kind);
        match journal::tail(&output.unit, args.log_lines.as_usize()) {
            Ok(log) => output.log = log,
            Err(error) => output.log_unavailable = Some(error.to_string()),
        }
        Ok(output)
    }
}

/// A unit that was looked for.
pub(super) enum Found {
    Unit { unit: Properties, kind: Properties },
    Missing { near: Vec<String> },
}

/// The unit of that name, or names that are near to it.
pub(super) async fn find(manager: Manager<'_>, name: &str) -> Result<Found, BusError> {
    let path = match manager.load(name).await {
        Ok(path) => path,
        Err(error) if error.name().is_some_and(|name| name.ends_with(".NoSuchUnit")) => {
            return missing(manager, name).await;
        }
        Err(error) => return Err(error),
    };
    let unit = manager.peer.properties(SERVICE, path.as_str(), UNIT).await?;
    if unit.text("LoadState").as_deref() == Some("not-found") {
        return missing(manager, name).await;
    }
    let kind = match interface_of(&unit.text("Id").unwrap_or_else(|| name.to_owned())) {
        Some(interface) => manager.peer.properties(SERVICE, path.as_str(), interface).await?,
        None => Properties::default(),
    };
    Ok(Found::Unit { unit, kind })
}

async fn missing(manager: Manager<'_>, name: &str) -> Result<Found, BusError> {
    let loaded = manager.units(&[], &["*"]).await?.into_iter();
    let loaded = loaded.filter(|unit| unit.load_state != "not-found").map(|unit| unit.name);
    let installed = manager.unit_files(&["*"]).await?.into_iter().map(|(name, _)| name);
    let names: std::collections::BTreeSet<String> =
        loaded.chain(installed).filter(|name| !name.contains("@.")).collect();
    // The suffix that nearly all share would make every service look alike.
    let suffix = name.rfind('.').map_or("", |dot| &name[dot..]);
    let stem = name.strip_suffix(suffix).unwrap_or(name);
    let stems = names.iter().filter_map(|known| known.strip_suffix(suffix));
    let near = near_matches(stem, stems).into_iter().map(|stem| format!("{stem}{suffix}")).collect();
    Ok(Found::Missing { near })
}

fn output(unit: &Properties, kind: &Properties) -> Output {
    let id = unit.text("Id").unwrap_or_default();
    let load_error = unit.fields("LoadError").get(1).and_then(text).filter(|message| !message.is_empty());
    Output {
        aliases: unit.texts("Names", MAX_NAMES).into_iter().filter(|name| *name != id).collect(),
        unit: id,
        description: unit.text("Description").unwrap_or_default(),
        documentation: unit.texts("Documentation", MAX_NAMES),
        load_state: unit.text("LoadState").unwrap_or_default(),
        load_error,
        active_state: unit.text("ActiveState").unwrap_or_default(),
        sub_state: unit.text("SubState").unwrap_or_default(),
        enabled: unit.text("UnitFileState"),
        preset: unit.text("UnitFilePreset"),
        since: unit.number("StateChangeTimestamp").and_then(moment::from_micros),
        result: kind.text("Result"),
        exit: exit(kind),
        main_pid: kind.small("MainPID").filter(|&pid| pid > 0),
        restarts: kind.small("NRestarts"),
        memory_bytes: kind.number("MemoryCurrent"),
        memory_limit_bytes: kind.number("MemoryMax"),
        cpu_seconds: kind.number("CPUUsageNSec").map(nanoseconds),
        tasks: kind.number("TasksCurrent"),
        tasks_limit: kind.number("TasksMax"),
        service_type: kind.text("Type"),
        restart_policy: kind.text("Restart"),
        status_text: kind.text("StatusText"),
        user: kind.text("User"),
        commands: commands(kind),
        fragment_path: unit.text("FragmentPath"),
        drop_ins: unit.texts("DropInPaths", MAX_NAMES),
        needs_reload: unit.is("NeedDaemonReload"),
        control_group: kind.text("ControlGroup"),
        triggered_by: unit.texts("TriggeredBy", MAX_NAMES),
        requires: unit.texts("Requires", MAX_NAMES),
        required_by: unit.texts("RequiredBy", MAX_NAMES),
        wanted_by: unit.texts("WantedBy", MAX_NAMES),
        log: Vec::new(),
        log_unavailable: None,
    }
}

/// How the main process of a service ended, once it has.
pub(super) fn exit(kind: &Properties) -> Option<Exit> {
    // `CLD_EXITED`, `CLD_KILLED` and `CLD_DUMPED` of waitid(2); 0 before the first end.
    let ended = match kind.signed("ExecMainCode")? {
        1 => "exited",
        2 => "killed",
        3 => "dumped",
        _ => return None,
    };
    let status = kind.signed("ExecMainStatus")?;
    let signal = (ended != "exited").then(|| signal_name(status)).flatten();
    Some(Exit {
        kind: ended.to_owned(),
        status,
        signal,
        at: kind.number("ExecMainExitTimestamp").and_then(moment::from_micros),
    })
}

/// `SIGKILL` for 9: the signals that end services (signal(7)).
fn signal_name(number: i32) -> Option<String> {
    const NAMES: [(i32, &str); 14] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (31, "SIGSYS"),
    ];
    NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned())
}

/// What `ExecStart=` starts: its rows are the path, the arguments, and how the last run went.
fn commands(kind: &Properties) -> Vec<Vec<String>> {
    let rows = kind.rows("ExecStart", MAX_COMMANDS);
    rows.filter_map(|fields| fields.get(1)).map(|arguments| texts(arguments, MAX_ARGUMENTS)).collect()
}
