//! How much harm a change of a path can do.
//!
//! What root or an operator runs, or reads before running something, decides about everything else: who may write it has
//! the machine, and can say yes to itself. Such paths are destructive whatever is written. The list errs towards asking.

use agentos_api::change::Risk;

use crate::change::file::{FileState, Place};

/// Programs, libraries, and what boots the machine.
const CODE: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/boot", "/nix"];

/// Below /etc: who may do what, and what is run or read by what runs as root. Each is the beginning of a name.
const POWERFUL: [&str; 72] = [
    "NetworkManager",
    "X11",
    "adduser",
    "alternatives",
    "apparmor",
    "apt",
    "at.",
    "audit",
    "bash",
    "binfmt",
    "ca-certificates",
    "cloud",
    "containers",
    "cron",
    "crypttab",
    "dbus",
    "default",
    "deluser",
    "dhcp",
    "docker",
    "dpkg",
    "environment",
    "ethers",
    "exports",
    "fish",
    "fstab",
    "gdm",
    "grub",
    "gss",
    "hosts.",
    "inetd",
    "init",
    "inputrc",
    "iptables",
    "kernel",
    "krb5",
    "ld.",
    "libaudit",
    "lightdm",
    "login",
    "logrotate",
    "lvm",
    "mdadm",
    "modprobe",
    "modules",
    "network",
    "nftables",
    "nixos",
    "nsswitch",
    "pam",
    "pki",
    "polkit",
    "ppp",
    "profile",
    "rc",
    "resolvconf",
    "rsyslog",
    "security",
    "selinux",
    "shells",
    "skel",
    "ssh",
    "ssl",
    "sudo",
    "sysctl",
    "systemd",
    "tmpfiles",
    "udev",
    "update-motd",
    "vconsole",
    "xdg",
    "zsh",
];

/// Below a person's folder: what their session runs or trusts.
const SESSION: [&str; 26] = [
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".config/autostart",
    ".config/environment.d",
    ".config/fish",
    ".config/git",
    ".config/systemd",
    ".forward",
    ".gitconfig",
    ".gnupg",
    ".inputrc",
    ".local/bin",
    ".local/share/applications",
    ".login",
    ".pam_environment",
    ".profile",
    ".ssh",
    ".vimrc",
    ".xprofile",
    ".xsession",
    ".xsessionrc",
    ".zshenv",
    ".zshrc",
];

/// The risk of changing what has that path.
pub(in crate::change::mutations) fn at(place: &Place) -> Risk {
    let text = place.text();
    let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
    let Some((&first, rest)) = names.split_first() else { return Risk::Destructive };
    // What holds half of the machine.
    if rest.is_empty() {
        return Risk::Destructive;
    }
    if CODE.iter().any(|folder| folder.trim_start_matches('/') == first) {
        return Risk::Destructive;
    }
    match (first, rest) {
        ("etc", [name, ..]) if POWERFUL.iter().any(|start| name.starts_with(start)) => Risk::Destructive,
        // apt installs from its cache.
        ("var", ["spool" | "lib", ..] | ["cache"] | ["cache", "apt", ..]) => Risk::Destructive,
        ("etc" | "var", _) => Risk::Medium,
        ("root", inside) | ("home", [_, inside @ ..]) => in_home(inside),
        _ if names.contains(&".ssh") => Risk::Destructive,
        _ => Risk::Low,
    }
}

/// The risk of something new or changed with that content and those permissions there.
pub(super) fn of(place: &Place, to: &FileState) -> Risk {
    let risk = at(place);
    let Some(attributes) = to.attributes() else { return risk };
    let runs_as_owner = matches!(to, FileState::File { .. }) && attributes.mode & 0o6000 != 0;
    // A folder that all may write is no trap when only owners may delete in it.
    let open_to_all = attributes.mode & 0o002 != 0 && attributes.mode & 0o1000 == 0;
    let program_of_root = risk >= Risk::Medium
        && attributes.uid == 0
        && attributes.mode & 0o111 != 0
        && matches!(to, FileState::File { .. });
    if runs_as_owner || open_to_all || program_of_root { Risk::Destructive } else { risk }
}

fn in_home(inside: &[&str]) -> Risk {
    let path = inside.join("/");
    let is_at_or_above = |known: &str| {
        path == known
            || path.strip_prefix(known).is_some_and(|rest| rest.starts_with('/'))
            || known.strip_prefix(path.as_str()).is_some_and(|rest| path.is_empty() || rest.starts_with('/'))
    };
    if SESSION.iter().any(|known| is_at_or_above(known)) { Risk::Destructive } else { Risk::Medium }
}

#[cfg(test)]
mod tests {
    use agentos_api::query::path::AbsolutePath;

    use super::*;

    fn risk(path: &str) -> Risk {
        let path: AbsolutePath = path.parse().unwrap();
        at(&Place::of(&path, |_| true).unwrap())
    }

    #[test]
    fn what_decides_about_the_machine_is_destructive() {
        for path in [
            "/etc",
            "/home",
            "/usr/local/bin/ls",
            "/etc/sudoers.d/agent",
            "/etc/pam.d/su",
            "/etc/cron.d/job",
            "/etc/crontab",
            "/etc/profile.d/x.sh",
            "/etc/ld.so.preload",
            "/etc/systemd/system/x.service",
            "/etc/hosts.allow",
            "/etc/apt/apt.conf.d/99x",
            "/etc/nsswitch.conf/../sshd_config.d/x",
            "/etc/resolv.conf/../ssh/sshd_config",
            "/var/spool/cron/crontabs/root",
            "/var/lib/dpkg/info/x.postinst",
            "/var/cache/apt/archives/x_1_all.deb",
            "/root/.bashrc",
            "/home/pat",
            "/home/pat/.config",
            "/home/pat/.config/systemd/user/x.service",
            "/home/pat/.ssh/authorized_keys",
            "/srv/git/.ssh/authorized_keys",
        ] {
            let Ok(parsed) = path.parse::<AbsolutePath>() else { panic!("{path}") };
            // `..` after a file is what the kernel makes of it: an error.
            let Ok(place) = Place::of(&parsed, |_| true) else { continue };
            assert_eq!(at(&place), Risk::Destructive, "{path}");
        }
    }

    #[test]
    fn ordinary_files_are_not() {
        for path in ["/srv/www/index.html", "/tmp/x", "/data/x/y"] {
            assert_eq!(risk(path), Risk::Low, "{path}");
        }
        for path in
            ["/etc/motd", "/etc/nginx/nginx.conf", "/var/www/index.html", "/home/pat/notes.txt", "/var/log/x"]
        {
            assert_eq!(risk(path), Risk::Medium, "{path}");
        }
    }
}
