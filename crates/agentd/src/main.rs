//! The AgentOS daemon: the machine, behind a ledger and a policy.
fn main() {}
