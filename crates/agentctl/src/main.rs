//! The AgentOS command line.
fn main() {}
