//! Against strongSwan, in namespaces.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod algorithms;
mod negotiation;
mod paths;
mod refusals;
mod traffic;
