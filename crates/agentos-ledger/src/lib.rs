//! The AgentOS event ledger: SQLite, hash chain, RFC 6962 tree, signed checkpoints, verification.
