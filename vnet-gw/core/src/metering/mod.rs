//! What is metered, for whom, and over which time (rule A28).
//!
//! | class | counted | billed |
//! |---|---|---|
//! | `peering`, `globalPeering` | where a packet is handed over from one VNet into a peered one, appliances there included | egress to the one, ingress to the other |
//! | `gatewayTransit` | where a spoke's packet is handed to the gateway of the hub, and where one that came out of it is handed to the spoke: no peering | to the spoke |
//! | `vnetToVnet`, `vnetToVnetInterRegion` | inner packets of a tunnel, transit included | within a region nothing; across regions egress, by the source's region |
//! | `siteToSite` | the same | egress |
//! | `internet` | where a packet is handed to the internet port | egress |
//!
//! Packets that something refuses (a route, an NSG, a device that is too narrow) are in no class.

mod class;
mod key;
mod period;
#[cfg(test)]
mod tests;

pub use class::{Class, Direction, Metered, Row};
pub use key::{Crossing, MeterKey};
pub use period::{Period, TIERS, Tier};
