//! Memory over markdown files, indexed for recall.
