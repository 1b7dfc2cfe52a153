//! `cargo xtask bench`: every hot path, each as a ratio against a limit or a peer within the same run.

use anyhow::{Result, bail};

use crate::command::{cargo, run};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only these: ledger, machine, memory, policy, http, changes, files, shell.
    #[arg(value_name = "BENCH")]
    names: Vec<String>,
}

/// A benchmark: its name here, its package and its target.
const BENCHES: [(&str, &str, &str); 8] = [
    ("ledger", "agentos-ledger", "limits"),
    ("machine", "agentos-system", "processes"),
    ("memory", "agentos-memory", "recall"),
    ("policy", "agentos-policy", "mask"),
    ("http", "agentd", "http"),
    ("changes", "agentd", "changes"),
    ("files", "agentos-system", "changes"),
    ("shell", "agentd", "shell"),
];

/// Runs the benchmarks one after the other: two at once would measure each other.
///
/// # Errors
/// When one does not build or does not run. A ratio never fails: `docs/SPECIFICATION.md` says what is wanted.
pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments.names.iter().find(|name| BENCHES.iter().all(|bench| bench.0 != **name)) {
        bail!("there is no benchmark {unknown}; there are: {}", BENCHES.map(|bench| bench.0).join(", "));
    }
    for (name, package, target) in BENCHES {
        if arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name) {
            println!("── {name}");
            run(cargo().args(["bench", "--locked", "--quiet", "--package", package, "--bench", target]))?;
        }
    }
    Ok(())
}
