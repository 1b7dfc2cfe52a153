//! The query `firewall`: the ruleset of nftables, as nft(8) gives it.
//!
//! The kernel's packet filter has no file to read, and its netlink messages hold compiled expressions; nft is the tool that turns them
//! back into rules. It is asked twice: for JSON, which is what this program understands, and for its own text, which is
//! what a person understands. Both name each rule by the kernel's handle.

pub(crate) mod own;
pub(crate) mod rule;
mod ruleset;
mod text;

use std::time::Duration;

use agentos_api::Bounded;
use agentos_api::query::Firewall;
use agentos_api::query::firewall::{Args, Output, Table};

use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::run::{Ended, Program};
use crate::{QueryError, procfs};

const TIME: Duration = Duration::from_secs(5);

/// Some hundred thousand set elements.
const MAX_OUTPUT_BYTES: usize = 32 << 20;

/// Longest name of a table or chain (`NFT_NAME_MAXLEN`).
const MAX_NAME_BYTES: usize = 255;

impl Read for Firewall {
    fn check(args: &Args) -> Result<(), QueryError> {
        for (field, name) in [("table", &args.table), ("chain", &args.chain)] {
            if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
                return Err(QueryError::invalid(field, format!("must be 1 to {MAX_NAME_BYTES} bytes long")));
            }
        }
        Ok(())
    }

    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let json = list(&["--json", "list", "ruleset"])?;
        let mut ruleset = ruleset::parse(&json)?;
        // Terse: the elements of sets are in the JSON already.
        let written = list(&["--handle", "--terse", "list", "ruleset"])?;
        ruleset.give_text(&text::rules(&String::from_utf8_lossy(&written)));
        let mut output = ruleset.select(&args)?;
        output.legacy_tables = legacy_tables();
        Ok(output)
    }
}

/// The whole ruleset, without the words of its rules.
///
/// # Errors
/// [`QueryError::Unavailable`] where nft is missing or does not answer.
pub(crate) fn all_tables() -> Result<Vec<Table>, QueryError> {
    let limits = Args { json: true, limit: Bounded::new(1000).unwrap_or_default(), ..Args::default() };
    Ok(ruleset::parse(&list(&["--json", "list", "ruleset"])?)?.select(&limits)?.tables)
}

/// nft, where it is installed.
fn nft() -> Result<Program, QueryError> {
    Program::find("nft").ok_or_else(|| {
        QueryError::unavailable(
            "nft_unavailable",
            "nft is not installed",
            "Install the package `nftables` (on NixOS: networking.nftables.enable, or pkgs.nftables in environment.systemPackages).",
        )
    })
}

/// What nft prints for these arguments, none of which is from outside.
fn list(arguments: &[&str]) -> Result<Vec<u8>, QueryError> {
    let nft = nft()?;
    let (ended, output) =
        arguments.iter().fold(nft, |nft, argument| nft.argument(*argument)).output(TIME, MAX_OUTPUT_BYTES)?;
    if ended.status.success() { Ok(output) } else { Err(refused(&ended)) }
}

fn refused(ended: &Ended) -> QueryError {
    if ended.stderr.contains("Operation not permitted") {
        return QueryError::Forbidden {
            reason: "the kernel shows its packet filter to root only, and this agentd does not run as root"
                .to_owned(),
        };
    }
    let said = ended.stderr.lines().next().unwrap_or("no reason given");
    QueryError::unavailable(
        "nft_unavailable",
        format!("nft failed: {said}"),
        "The kernel needs nf_tables (module nf_tables), and nft needs to be built with JSON.",
    )
}

/// The tables that the older interface has loaded. Its rules are not nftables' and nft does not show them.
pub(crate) fn legacy_tables() -> Vec<String> {
    const MAX_TABLES: usize = 32;
    [("ip", "/proc/net/ip_tables_names"), ("ip6", "/proc/net/ip6_tables_names")]
        .into_iter()
        .flat_map(|(family, path)| {
            let names = procfs::text(path).unwrap_or_default();
            names.lines().map(|name| format!("{family} {name}")).take(MAX_TABLES).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs this test again in a network namespace of its own, with `rules` loaded, and gives whether it is that run.
    /// Where nft is not installed, the answer must say so.
    fn in_namespace(test: &str, rules: &str) -> bool {
        if std::env::var_os("AGENTOS_TEST_NAMESPACE").is_some() {
            return true;
        }
        if Program::find("nft").is_none() {
            let machine = Machine::new(crate::MachineOptions::default());
            let answer = Firewall::read(&machine, Viewer::default(), Args::default());
            assert!(matches!(
                answer,
                Err(QueryError::Unavailable { code: "nft_unavailable", hint: Some(_), .. })
            ));
            return false;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rules.nft");
        std::fs::write(&file, rules).unwrap();
        // An ordinary user is root in a user namespace of its own, and so over the network namespace that belongs to it.
        let namespaces: &[&str] = if rustix::process::geteuid().is_root() {
            &["--net"]
        } else {
            &["--user", "--map-root-user", "--net"]
        };
        let status = std::process::Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", "PATH=$PATH:/usr/sbin nft -f \"$0\" && exec \"$@\""])
            .arg(&file)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env("AGENTOS_TEST_NAMESPACE", "1")
            .status()
            .unwrap();
        assert!(status.success());
        false
    }

    const RULES: &str = r#"
table inet filter {
    set bad { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 1.2.3.4, 5.6.7.8-5.6.7.10 } }
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept comment "local # handle 9"
        tcp dport { 22, 80, 443, 8080, 8081, 8082, 8083, 8084, 8085, 8086, 8087, 8088 } counter accept
        ip saddr @bad drop
        jump other
    }
    chain other { counter log prefix "x " drop
    }
}
table ip nat {
    chain out { type nat hook postrouting priority 100; oifname "eth0" masquerade
    }
}
"#;

    #[test]
    fn the_rules_of_a_namespace_are_read() {
        if !in_namespace("firewall::tests::the_rules_of_a_namespace_are_read", RULES) {
            return;
        }
        let machine = Machine::new(crate::MachineOptions::default());
        let ask = |args: Args| Firewall::read(&machine, Viewer::default(), args);
        let output = ask(Args { json: true, ..Args::default() }).unwrap();
        assert!(output.active);
        assert_eq!((output.tables.len(), output.rules_total, output.rules_left_out), (2, 6, 0));
        let filter = &output.tables[0];
        assert_eq!((filter.family.as_str(), filter.name.as_str()), ("inet", "filter"));
        let input = &filter.chains[0];
        assert_eq!(
            (input.hook.as_deref(), input.policy.as_deref(), input.priority),
            (Some("input"), Some("drop"), Some(0))
        );
        assert_eq!(input.rules[0].text, r#"iif "lo" accept comment "local # handle 9""#);
        assert_eq!(input.rules[0].comment.as_deref(), Some("local # handle 9"));
        assert_eq!(input.rules[1].packets, Some(0));
        assert!(input.rules[1].text.starts_with("tcp dport {"), "{}", input.rules[1].text);
        assert!(input.rules[2].json.is_some());
        assert_eq!(filter.sets[0].elements_total, 3);
        assert!(filter.sets[0].elements.contains(&"5.6.7.8-5.6.7.10".to_owned()));
        let small = ask(Args { limit: agentos_api::Bounded::new(2).unwrap(), ..Args::default() }).unwrap();
        assert_eq!((small.rules_total, small.rules_left_out), (6, 4));
        let nat = ask(Args { table: Some("nat".to_owned()), ..Args::default() }).unwrap();
        assert_eq!((nat.tables.len(), nat.rules_total), (1, 1));
        assert!(ask(Args { chain: Some("imput".to_owned()), ..Args::default() }).is_err_and(
            |error| matches!(
                error, QueryError::NotFound { near, .. } if near == ["input"]
            )
        ));
    }

    #[test]
    fn without_rules_nothing_is_active() {
        if !in_namespace("firewall::tests::without_rules_nothing_is_active", "") {
            return;
        }
        let machine = Machine::new(crate::MachineOptions::default());
        let output = Firewall::read(&machine, Viewer::default(), Args::default()).unwrap();
        assert!(!output.active && output.tables.is_empty());
    }
}
