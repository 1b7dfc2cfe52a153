//! The mutations, one file a family: from arguments to transitions.

mod file;
