//! Azure resources: their types, reading them from a template, and their rules.

mod types;

pub use types::*;
