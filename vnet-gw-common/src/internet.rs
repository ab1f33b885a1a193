//! How a packet that crosses the internet port says of which VNet it is.
//!
//! On the way out it is its source MAC address, which both hooks can write: the host end's own MAC
//! address with the VNet's number in its last 13 bits. On the way back it is the mark that the host's
//! firewall kept with the connection: the last 32 bits of that address, and [`RETURNING`].

use crate::maps::MAX_SCOPES;

/// Instances of one network namespace, each with zones, marks, rules and a routing table of its own.
pub const SLOTS: u32 = 8;
/// In a mark: the packet is on its way to a VNet.
pub const RETURNING: u32 = 1 << 31;
/// The bits of a mark that are the VNet's number. All of the lower 16 are the conntrack zone.
pub const SCOPE_MASK: u32 = MAX_SCOPES - 1;
const MAC: u64 = 0x0247_5647_0000;

const _: () = assert!(MAX_SCOPES.is_power_of_two() && SLOTS * MAX_SCOPES == 1 << 16);

/// The MAC address of the host end in a slot: locally administered, and no sender's.
pub const fn host_mac(slot: u32) -> u64 {
    MAC | ((slot as u64 & (SLOTS as u64 - 1)) * MAX_SCOPES as u64)
}

/// The source MAC address of what the VNet `scope` sends to the host end.
#[inline(always)]
pub const fn sender_mac(host_mac: u64, scope: u32) -> u64 {
    host_mac | (scope & SCOPE_MASK) as u64
}

/// The mark of a VNet's connections, without [`RETURNING`].
pub const fn mark(host_mac: u64, scope: u32) -> u32 {
    sender_mac(host_mac, scope) as u32
}

/// The VNet of a packet that comes back; 0 where the mark is none of this port's.
#[inline(always)]
pub const fn scope_of(mark: u32, host_mac: u64) -> u32 {
    if mark & !SCOPE_MASK == host_mac as u32 | RETURNING {
        mark & SCOPE_MASK
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_one_vnet_of_one_instance() {
        for slot in 0..SLOTS {
            let host = host_mac(slot);
            for scope in [1, 2, 4_097, MAX_SCOPES - 1] {
                let sent = mark(host, scope);
                assert_eq!(scope_of(sent | RETURNING, host), scope);
                assert_eq!(scope_of(sent, host), 0, "on its way out");
                let other = host_mac((slot + 1) % SLOTS);
                assert_eq!(scope_of(sent | RETURNING, other), 0);
                assert_ne!(sender_mac(host, scope), host);
                assert_eq!(sent & 0xffff, slot * MAX_SCOPES + scope, "the zone");
            }
        }
        assert_eq!(host_mac(0) >> 40 & 3, 2, "unicast, locally administered");
    }
}
