//! Typed client of the AgentOS API over a Unix socket.
