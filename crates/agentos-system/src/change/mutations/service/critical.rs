//! Units without which the machine cannot be reached or operated any more.

use agentos_api::change::Risk;

use crate::change::error::ChangeError;
use crate::change::planner::Planner;

/// By how their names begin.
const CRITICAL: [&str; 30] = [
    "NetworkManager",
    "agentd",
    "agentos",
    "basic.target",
    "connman",
    "dbus",
    "dhcpcd",
    "dropbear",
    "getty",
    "graphical.target",
    "ifup@",
    "init.scope",
    "iwd",
    "local-fs.target",
    "multi-user.target",
    "network",
    "openclaw-gateway",
    "openvpn",
    "polkit",
    "rpcbind",
    "serial-getty",
    "ssh",
    "sysinit.target",
    "system.slice",
    "systemd-",
    "tailscaled",
    "user-",
    "user@",
    "wg-quick@",
    "wpa_supplicant",
];
/// Of systemd's own, those that can stop without harm.
const HARMLESS: [&str; 12] = [
    "systemd-ask-password",
    "systemd-boot-",
    "systemd-coredump",
    "systemd-hostnamed",
    "systemd-localed",
    "systemd-machined",
    "systemd-nspawn@",
    "systemd-oomd",
    "systemd-rfkill",
    "systemd-timedated",
    "systemd-timesyncd",
    "systemd-tmpfiles-clean",
];
/// Starting these ends, or as good as ends, the machine.
const POWER: [&str; 18] = [
    "ctrl-alt-del.target",
    "default.target",
    "emergency.service",
    "emergency.target",
    "exit.target",
    "final.target",
    "halt.target",
    "hibernate.target",
    "hybrid-sleep.target",
    "kexec.target",
    "poweroff.target",
    "reboot.target",
    "rescue.service",
    "rescue.target",
    "shutdown.target",
    "sleep.target",
    "soft-reboot.target",
    "suspend.target",
];
const POWER_SERVICES: [&str; 9] = [
    "suspend",
    "hibernate",
    "hybrid-sleep",
    "suspend-then-hibernate",
    "halt",
    "kexec",
    "poweroff",
    "reboot",
    "soft-reboot",
];

/// Without it the machine may not be reached any more, or not work.
pub(in crate::change::mutations) fn is_critical(unit: &str) -> bool {
    CRITICAL.iter().any(|start| unit.starts_with(start))
        && !HARMLESS.iter().any(|start| unit.starts_with(start))
}

/// Makes a step that takes such a unit away destructive.
pub(super) fn warn(planner: &mut Planner<'_>, unit: &str, what: &str) {
    if is_critical(unit) {
        planner.risk(Risk::Destructive);
        planner.can_lock_out();
        planner.not_covered(format!(
            "whoever reaches this machine through {unit} may not any more once it is {what}"
        ));
    }
}

/// Starting it ends, or as good as ends, the machine.
pub(crate) fn ends_the_machine(unit: &str) -> bool {
    let service = unit.strip_prefix("systemd-").and_then(|rest| rest.strip_suffix(".service"));
    POWER.contains(&unit) || service.is_some_and(|name| POWER_SERVICES.contains(&name))
}

/// Refuses to start what ends the machine.
///
/// # Errors
/// [`ChangeError::Refused`], with what does it on the record.
pub(super) fn refuse_power(unit: &str) -> Result<(), ChangeError> {
    if ends_the_machine(unit) {
        return Err(ChangeError::refused(format!(
            "starting {unit} would end or halt the machine; power.reboot and power.shutdown do that so that it can still be taken back"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_is_reached_through_is_critical() {
        for unit in [
            "ssh.service",
            "sshd.service",
            "ssh.socket",
            "NetworkManager.service",
            "networking.service",
            "systemd-networkd.service",
            "systemd-logind.service",
            "dbus.service",
            "dbus.socket",
            "user@1000.service",
        ] {
            assert!(is_critical(unit), "{unit}");
        }
        for unit in ["nginx.service", "cron.service", "systemd-timesyncd.service", "job-backup.timer"] {
            assert!(!is_critical(unit), "{unit}");
        }
    }

    #[test]
    fn a_power_off_by_the_back_door_is_refused() {
        for unit in ["poweroff.target", "systemd-reboot.service", "rescue.target", "systemd-suspend.service"]
        {
            assert!(refuse_power(unit).is_err(), "{unit}");
        }
        assert!(refuse_power("systemd-networkd.service").is_ok());
    }
}
