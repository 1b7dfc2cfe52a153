//! Requests, responses, events and errors of the AgentOS API, and its catalogue of tools.
