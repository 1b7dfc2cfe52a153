//! Which method calls operate services, beside those that read.
//!
//! What systemctl(1) needs to start, stop and enable units by name, and to have the manager read its files anew; and what the small
//! services of systemd's set. Not: a unit that is made up on the spot (`StartTransientUnit`) or altered (`SetUnitProperties`), for it
//! would run as root outside, and nothing of it would be in a file; agentd's own units; what ends the machine; and every service
//! that runs programs for others.

use super::message::Message;
use crate::change::{ends_the_machine, is_another_name_of_own, is_own_name};

/// systemd's manager.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Stopping these stops agentd with them.
const UNDER_ALL: [&str; 4] = ["-.mount", "basic.target", "init.scope", "sysinit.target"];

/// Whether such a call is passed on.
pub(super) fn allows(call: &Message<'_>) -> bool {
    let (Some(destination), Some(interface), Some(member)) = (call.destination, call.interface, call.member)
    else {
        return false;
    };
    match (destination, interface) {
        (SYSTEMD, "org.freedesktop.systemd1.Manager") => of_systemd(call, member),
        ("org.freedesktop.hostname1", "org.freedesktop.hostname1") => {
            matches!(member, "SetHostname" | "SetStaticHostname" | "SetPrettyHostname")
        }
        ("org.freedesktop.timedate1", "org.freedesktop.timedate1") => {
            matches!(member, "SetTimezone" | "SetNTP")
        }
        ("org.freedesktop.locale1", "org.freedesktop.locale1") => {
            matches!(member, "SetLocale" | "SetVConsoleKeyboard")
        }
        ("org.freedesktop.network1", "org.freedesktop.network1.Manager") => {
            matches!(member, "Reload" | "ReconfigureLink" | "RenewLink")
        }
        ("org.freedesktop.resolve1", "org.freedesktop.resolve1.Manager") => matches!(
            member,
            "ResolveHostname" | "ResolveAddress" | "ResolveRecord" | "ResolveService" | "FlushCaches"
        ),
        _ => false,
    }
}

fn of_systemd(call: &Message<'_>, member: &str) -> bool {
    match member {
        "Reload" | "Subscribe" | "Unsubscribe" | "ResetFailed" => true,
        "StartUnit" => {
            is_plain(call) && units(call, |unit| !ends_the_machine(unit) && !unit.starts_with("runlevel"))
        }
        "StopUnit" | "RestartUnit" | "TryRestartUnit" | "ReloadOrRestartUnit" | "ReloadOrTryRestartUnit" => {
            is_plain(call) && units(call, |unit| may_stop(unit) && !ends_the_machine(unit))
        }
        "ReloadUnit" => is_plain(call) && units(call, |_| true),
        "KillUnit" => units(call, may_stop),
        "ResetFailedUnit" => units(call, |_| true),
        "EnableUnitFiles"
        | "DisableUnitFiles"
        | "ReenableUnitFiles"
        | "EnableUnitFilesWithFlags"
        | "DisableUnitFilesWithFlags"
        | "DisableUnitFilesWithFlagsAndInstallInfo"
        | "MaskUnitFiles"
        | "UnmaskUnitFiles" => units(call, |_| true),
        _ => false,
    }
}

/// Whether every unit that the call names is allowed, and none is agentd's. By a path, too, it is that unit.
fn units(call: &Message<'_>, allowed: impl Fn(&str) -> bool) -> bool {
    call.first_texts().is_some_and(|units| {
        units.iter().all(|unit| {
            let name = unit.rsplit('/').next().unwrap_or_default();
            !name.is_empty() && !is_own_name(name) && !is_another_name_of_own(name) && allowed(name)
        })
    })
}

/// The mode in which a job is queued does nothing to units that are not named: `isolate` would stop all others.
fn is_plain(call: &Message<'_>) -> bool {
    call.second_text().is_some_and(|mode| matches!(mode, "replace" | "fail" | "ignore-dependencies"))
}

fn may_stop(unit: &str) -> bool {
    !UNDER_ALL.contains(&unit) && unit.rsplit('.').next() != Some("slice")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(
        destination: &str,
        interface: &str,
        member: &str,
        body: &(impl serde::Serialize + zbus::zvariant::DynamicType),
    ) -> bool {
        let call = zbus::Message::method_call("/org/freedesktop/x", member)
            .destination(destination)
            .interface(interface)
            .build(body)
            .unwrap();
        allows(&Message::parse(call.data().bytes()).unwrap())
    }

    fn manager(member: &str, body: &(impl serde::Serialize + zbus::zvariant::DynamicType)) -> bool {
        allowed(SYSTEMD, "org.freedesktop.systemd1.Manager", member, body)
    }

    #[test]
    fn services_are_started_stopped_and_enabled() {
        for member in
            ["StartUnit", "StopUnit", "RestartUnit", "ReloadUnit", "ReloadOrRestartUnit", "TryRestartUnit"]
        {
            assert!(manager(member, &("nginx.service", "replace")), "{member}");
            assert!(!manager(member, &("nginx.service", "isolate")), "{member}");
            for own in [
                "agentd.service",
                "agentd-operator.socket",
                "agentos-packages.service",
                "openclaw-gateway.service",
            ] {
                assert!(!manager(member, &(own, "replace")), "{member} {own}");
            }
            assert!(!manager(member, &"nginx.service") && !manager(member, &(7_u32, "replace")), "{member}");
        }
        assert!(manager("EnableUnitFiles", &(vec!["a.service", "b.timer"], false, false)));
        assert!(manager("DisableUnitFilesWithFlags", &(vec!["a.service"], 0_u64)));
        assert!(!manager("DisableUnitFilesWithFlags", &(vec!["a.service", "agentd.service"], 0_u64)));
        assert!(!manager("MaskUnitFiles", &(vec!["/etc/systemd/system/agentd.service"], false, false)));
        assert!(manager("Reload", &()) && manager("KillUnit", &("nginx.service", "all", 15_i32)));
        assert!(!manager("KillUnit", &("agentd.service", "all", 9_i32)));
    }

    #[test]
    fn what_would_run_outside_or_end_the_machine_is_not_called() {
        for unit in [
            "poweroff.target",
            "reboot.target",
            "rescue.target",
            "runlevel0.target",
            "systemd-reboot.service",
        ] {
            assert!(!manager("StartUnit", &(unit, "replace")), "{unit}");
        }
        for unit in ["-.mount", "system.slice", "sysinit.target", "init.scope", "-.slice"] {
            assert!(
                !manager("StopUnit", &(unit, "replace")) && !manager("KillUnit", &(unit, "all", 9)),
                "{unit}"
            );
        }
        for member in [
            "StartTransientUnit",
            "SetUnitProperties",
            "Reexecute",
            "Exit",
            "PowerOff",
            "Reboot",
            "SwitchRoot",
            "SetEnvironment",
            "LinkUnitFiles",
            "AttachProcessesToUnit",
            "BindMountUnit",
            "FreezeUnit",
            "Dump",
        ] {
            assert!(!manager(member, &("a.service", "replace")), "{member}");
        }
        assert!(!allowed(SYSTEMD, "org.freedesktop.systemd1.Unit", "Stop", &"replace"));
        assert!(!allowed(
            "org.freedesktop.machine1",
            "org.freedesktop.machine1.Manager",
            "OpenMachineShell",
            &"x"
        ));
        assert!(!allowed("org.freedesktop.login1", "org.freedesktop.login1.Manager", "PowerOff", &false));
        assert!(!allowed(
            "org.freedesktop.PackageKit",
            "org.freedesktop.PackageKit",
            "CreateTransaction",
            &()
        ));
    }

    proptest! {
        #[test]
        fn whatever_the_arguments_are_agentds_units_are_never_named(
            body in proptest::collection::vec(any::<u8>(), 0..80),
            signature in prop_oneof![Just("ss"), Just("s"), Just("as"), Just("asbb"), Just("u")],
        ) {
            let call = Message {
                big: false, kind: super::super::message::Kind::MethodCall, flags: 0, serial: 1, path: Some("/x"),
                interface: None, member: None, destination: None, signature: Some(signature), body: &body,
            };
            if let Some(texts) = call.first_texts() {
                prop_assert!(signature != "u" && texts.iter().map(|text| text.len()).sum::<usize>() <= body.len());
            }
        }
    }
}
