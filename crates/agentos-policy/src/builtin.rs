//! The rules that no file takes away from the agent: what would let it read agentd's own secrets, the secrets of the
//! gateway it runs in, or the memory that holds all others.

/// In the form of the file. They stand before its rules.
pub(crate) const RULES: &str = r#"
[[rule]]
name = "agentd's own files"
principal = "agent"
query = "file"
path = ["/var/lib/agentos/**", "/run/agentos/**", "/etc/agentos/policy.toml", "/etc/agentos/tls/**"]
then = "deny"
reason = "It belongs to agentd itself: its ledger, its key, its policy."

[[rule]]
name = "the gateway's secrets"
principal = "agent"
query = "file"
path = ["/etc/agentos/model.env", "/var/lib/agentos-gateway/environment", "/var/lib/agentos-gateway/operator.json"]
then = "deny"
reason = "With it the agent could speak as the person, or use the model's key elsewhere."

[[rule]]
name = "memory"
principal = "agent"
query = "file"
path = ["/proc/kcore", "/proc/vmcore", "/proc/*/mem", "/proc/*/task/*/mem", "/proc/*/pagemap", "/proc/*/task/*/pagemap", "/dev/mem", "/dev/kmem", "/dev/port"]
then = "deny"
reason = "It is memory, which holds every secret of the machine."

[[rule]]
name = "environments"
principal = "agent"
query = "file"
path = ["/proc/*/environ", "/proc/*/task/*/environ"]
then = "deny"
reason = "The values of an environment often are secrets; the query process has its names."
"#;
