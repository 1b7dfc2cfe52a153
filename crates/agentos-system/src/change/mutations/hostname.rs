//! `hostname.set`: the machine's name, running and at its next start.

use agentos_api::change::Risk;
use agentos_api::mutation::hostname as api;

use super::files;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::host::Hostname;
use crate::change::planner::Planner;
use crate::change::transition::Transition;

const FILE: &str = "/etc/hostname";
const HOSTS: &str = "/etc/hosts";
/// The address that Debian gives a machine's own name in `/etc/hosts`.
const OWN_ADDRESS: &str = "127.0.1.1";

/// RFC 1123: parts of letters, digits and hyphens, no hyphen at either end.
fn check(name: &str) -> Result<(), ChangeError> {
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if name.len() <= 64 && name.split('.').all(part) {
        Ok(())
    } else {
        Err(ChangeError::invalid(
            "name",
            "must be letters, digits and hyphens, in parts divided by dots, at most 64 characters",
        ))
    }
}

/// `/etc/hosts` with the new name where the line of the machine's own address has the old one.
fn renamed(hosts: &str, old: &str, new: &str) -> String {
    hosts
        .split_inclusive('\n')
        .map(|line| {
            if line.split_whitespace().next() != Some(OWN_ADDRESS) {
                return line.to_owned();
            }
            let words: Vec<&str> =
                line.split_whitespace().map(|word| if word == old { new } else { word }).collect();
            if words.iter().eq(line.split_whitespace().collect::<Vec<_>>().iter()) {
                return line.to_owned();
            }
            words.join("\t") + if line.ends_with('\n') { "\n" } else { "" }
        })
        .collect()
}

impl Plan for api::Set {
    fn check(args: &api::SetArgs) -> Result<(), ChangeError> {
        check(&args.name)
    }

    fn plan(planner: &mut Planner<'_>, args: api::SetArgs) -> Result<(), ChangeError> {
        let old = Hostname::now();
        planner.risk(Risk::Medium);
        planner.summary(format!("Names the machine {}", args.name));
        if let Some(hosts) = files::read(planner, HOSTS)? {
            let new = renamed(&hosts, &old, &args.name);
            if new != hosts {
                files::text(planner, HOSTS, &new)?;
            }
        }
        files::text(planner, FILE, &format!("{}\n", args.name))?;
        if old != args.name {
            planner.not_covered("programs that read the name when they started go on with the old one");
            planner.add(Transition::Hostname(Hostname { from: old, to: args.name }))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_hosts_are_taken() {
        for name in ["a", "web-1", "web1.example.org"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "a..b", "a b", "a\nb", "ü", &"a".repeat(65), "../x"] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_old_name_is_replaced_on_the_own_line_alone() {
        let hosts = "127.0.0.1 localhost old\n127.0.1.1 old.example.org old\n::1 old\n";
        assert_eq!(
            renamed(hosts, "old", "new"),
            "127.0.0.1 localhost old\n127.0.1.1\told.example.org\tnew\n::1 old\n"
        );
    }
}
