//! Metering: known numbers of bytes across peerings and tunnels, against what `vnet-gw usage` says,
//! through everything that may become of daemon, tables and data path.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counted;
mod lasting;
mod peerings;
mod tunnels;
