//! A scripted OpenAI-compatible model, for tests and for the tour without a key.
