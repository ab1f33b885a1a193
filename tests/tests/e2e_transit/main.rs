//! Gateway transit, with packets: spokes that use the gateway of a hub.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gateway;
mod subnets;
