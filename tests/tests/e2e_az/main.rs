//! The Azure CLI and the Python SDK, as they are, build networks, look at them and remove them,
//! while real packets cross.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod effective;
mod exported;
mod host;
mod refusals;
mod shapes;
mod tutorial;
mod upkeep;
mod watched;
mod watcher;
