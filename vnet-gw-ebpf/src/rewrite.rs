//! The rewrite step: MAC addresses and TTL, in place.

use vnet_gw_common::{
    port::{FABRIC_MAC, Port},
    verdict::Reason,
};

use crate::{
    family::{Family, Ip},
    packet::{ETH_LEN, Hook, Packet},
    verdict::Refused,
};

const TCP: u8 = 6;

/// Writes both MAC addresses: `to` and the fabric's.
///
/// # Safety
/// The first 14 bytes are there.
#[inline(always)]
pub unsafe fn addresses(packet: Packet, to: u64) {
    // SAFETY: as the caller promises.
    unsafe { addresses_from(packet, to, FABRIC_MAC) }
}

/// Writes both MAC addresses.
///
/// # Safety
/// The first 14 bytes are there.
#[inline(always)]
pub unsafe fn addresses_from(packet: Packet, to: u64, from: u64) {
    // SAFETY: bytes 0 to 11, as the caller promises.
    unsafe {
        packet.store::<u64>(0, (to << 16 | from >> 32).to_be());
        packet.store::<u32>(8, (from as u32).to_be());
    }
}

#[inline(always)]
pub fn rewrite<F: Family>(packet: Packet, to: u64, ttl: u8) -> Result<(), Refused> {
    let headers = ETH_LEN + if F::V6 { 40 } else { 20 };
    if !packet.has(headers) {
        return Err(Reason::Truncated.into());
    }
    // SAFETY: Ethernet and IP header are there, and `F::header` has accepted the latter.
    unsafe {
        addresses(packet, to);
        F::decrement(packet, ttl);
    }
    Ok(())
}

/// Whether the packet may go straight into the other namespace (`bpf_redirect_peer`), which is
/// quicker for single packets but slower than the device's own queue for bulk TCP. All packets of a flow
/// that must stay in order get the same answer: TCP segments with payload take the queue, and an
/// acknowledgement that overtakes them does no harm; everything else goes straight. So does all that
/// comes from a gateway: one thread writes it, which the queue would only keep longer.
#[inline(always)]
pub fn may_overtake<H: Hook>(packet: Packet, ip: &Ip<impl Copy>, from: &Port) -> bool {
    if !H::TC || ip.upper.protocol != TCP || from.flags & Port::GATEWAY != 0 {
        return true;
    }
    if ip.upper.later_fragment {
        return false;
    }
    let Some(offset) = packet.byte(ip.upper.at + 12) else {
        return false;
    };
    let headers = (ip.upper.at - ETH_LEN) as u32 + u32::from(offset >> 4) * 4;
    ip.len <= headers
}
