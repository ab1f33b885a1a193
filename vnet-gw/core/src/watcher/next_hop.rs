//! Network Watcher's `nextHop`.

use std::net::IpAddr;

use crate::{
    effective::{self, EffectiveError, NextHopResult, NextHopType, is_routable},
    model::{ResourceId, Topology},
};

/// The next hop of what the NIC sends to the destination. What is never routed has none.
///
/// # Errors
///
/// Where there is no such NIC.
pub fn next_hop(
    topology: &Topology,
    nic: &ResourceId,
    destination: IpAddr,
) -> Result<NextHopResult, EffectiveError> {
    let result = effective::next_hop(topology, nic, destination)?;
    Ok(match is_routable(destination) {
        true => result,
        false => NextHopResult {
            next_hop_type: NextHopType::None,
            next_hop_ip_address: None,
            route_table_id: NextHopResult::SYSTEM_ROUTE.to_owned(),
        },
    })
}
