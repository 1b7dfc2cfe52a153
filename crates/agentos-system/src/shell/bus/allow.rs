//! Which method calls read.
//!
//! A call passes if destination, interface and member are all named here. Not among them, though they may look like it:
//! `Subscribe` (systemd counts its clients), `Dump*` and what answers with a file descriptor, `GetProductUUID` (asks the
//! person), `BecomeMonitor`, and whatever of resolved sends packets.

use super::message::Message;

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";

/// Services that a call may go to, beside the bus. All of them are systemd's.
const SERVICES: [&str; 8] = [
    "org.freedesktop.systemd1",
    "org.freedesktop.login1",
    "org.freedesktop.hostname1",
    "org.freedesktop.timedate1",
    "org.freedesktop.locale1",
    "org.freedesktop.network1",
    "org.freedesktop.resolve1",
    "org.freedesktop.machine1",
];

/// Whether a call changes nothing, as far as destination, interface, member and arguments tell.
///
/// A call without one of the three is none of those. Destinations are well-known names only: a unique name (`:1.5`) may
/// belong to anybody.
pub(super) fn reads(call: &Message<'_>) -> bool {
    let (Some(destination), Some(interface), Some(member)) = (call.destination, call.interface, call.member)
    else {
        return false;
    };
    let service = SERVICES.contains(&destination);
    match interface {
        "org.freedesktop.DBus.Peer" => {
            (service || destination == BUS) && matches!(member, "Ping" | "GetMachineId")
        }
        "org.freedesktop.DBus.Introspectable" => (service || destination == BUS) && member == "Introspect",
        "org.freedesktop.DBus.Properties" => {
            (service || destination == BUS) && matches!(member, "Get" | "GetAll")
        }
        "org.freedesktop.DBus.ObjectManager" => service && member == "GetManagedObjects",
        BUS => destination == BUS && of_the_bus(member) && !eavesdrops(call),
        _ => service && of_a_service(destination, interface, member),
    }
}

fn of_the_bus(member: &str) -> bool {
    matches!(
        member,
        "Hello"
            | "GetNameOwner"
            | "NameHasOwner"
            | "ListNames"
            | "ListActivatableNames"
            | "GetConnectionUnixUser"
            | "GetConnectionUnixProcessID"
            | "GetConnectionCredentials"
            | "GetId"
            | "AddMatch"
            | "RemoveMatch"
    )
}

/// A match rule with `eavesdrop` shows what others say to each other, as a monitor does. A rule in which the word only
/// occurs, in whatever place, is refused too.
fn eavesdrops(call: &Message<'_>) -> bool {
    const WORD: &[u8] = b"eavesdrop";
    call.member == Some("AddMatch") && call.body.windows(WORD.len()).any(|part| part == WORD)
}

fn of_a_service(destination: &str, interface: &str, member: &str) -> bool {
    // Every interface belongs to the service whose name it begins with.
    let Some(local) = interface.strip_prefix(destination) else { return false };
    match (destination, local) {
        ("org.freedesktop.systemd1", ".Manager") => of_systemd(member),
        ("org.freedesktop.systemd1", ".Service" | ".Scope" | ".Slice" | ".Socket" | ".Mount" | ".Swap") => {
            member == "GetProcesses"
        }
        ("org.freedesktop.login1", ".Manager") => matches!(
            member,
            "GetSession"
                | "GetSessionByPID"
                | "GetUser"
                | "GetUserByPID"
                | "GetSeat"
                | "ListSessions"
                | "ListSessionsEx"
                | "ListUsers"
                | "ListSeats"
                | "ListInhibitors"
        ),
        ("org.freedesktop.hostname1", "") | ("org.freedesktop.network1", ".Link") => member == "Describe",
        ("org.freedesktop.timedate1", "") => member == "ListTimezones",
        ("org.freedesktop.network1", ".Manager") => {
            matches!(member, "ListLinks" | "GetLinkByName" | "GetLinkByIndex" | "Describe" | "DescribeLink")
        }
        _ => false,
    }
}

/// org.freedesktop.systemd1(5). `LoadUnit` reads a unit's files into memory, from where it goes again when nothing refers
/// to it; asking for the properties of a unit's object does the same.
fn of_systemd(member: &str) -> bool {
    matches!(
        member,
        "GetUnit"
            | "GetUnitByPID"
            | "GetUnitByInvocationID"
            | "GetUnitByControlGroup"
            | "LoadUnit"
            | "GetUnitProcesses"
            | "GetJob"
            | "GetJobAfter"
            | "GetJobBefore"
            | "ListUnits"
            | "ListUnitsFiltered"
            | "ListUnitsByPatterns"
            | "ListUnitsByNames"
            | "ListJobs"
            | "ListUnitFiles"
            | "ListUnitFilesByPatterns"
            | "GetUnitFileState"
            | "GetUnitFileLinks"
            | "GetDefaultTarget"
            | "LookupDynamicUserByName"
            | "LookupDynamicUserByUID"
            | "GetDynamicUsers"
    )
}
