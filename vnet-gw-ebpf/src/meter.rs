//! The meter step: what crosses between virtual networks, counted when it is handed over (rule A28).

use vnet_gw_common::meter::METER_NONE;

use crate::{
    family::Ip,
    maps::{self, VG_METERS},
    packet::{ETH_LEN, Hook, Packet},
};

const TCP: u8 = 6;
const UDP_HEADER: u64 = 8;

/// What counts a packet that nothing refuses any more.
#[derive(Clone, Copy)]
pub struct Meter {
    /// A meter, or [`METER_NONE`].
    pub of: u32,
    /// Packets on the wire that it stands for.
    pub segments: u64,
}

impl Meter {
    #[inline(always)]
    pub const fn none(segments: u64) -> Self {
        Self {
            of: METER_NONE,
            segments,
        }
    }

    #[inline(always)]
    pub fn count<H: Hook>(self, packet: Packet, ip: &Ip<impl Copy>) {
        if self.of == METER_NONE {
            return;
        }
        if let Some(counter) = VG_METERS.get_ptr_mut(self.of) {
            let bytes = bytes::<H>(packet, ip, self.segments);
            maps::add(counter, self.segments, bytes);
        }
    }
}

/// At layer 3, as it is on the wire: every segment of a super-packet has headers of its own there.
/// What is metered does not depend on who cuts it up.
#[inline(always)]
fn bytes<H: Hook>(packet: Packet, ip: &Ip<impl Copy>, segments: u64) -> u64 {
    let once = u64::from(ip.len);
    if !H::TC || segments <= 1 {
        return once;
    }
    let transport = match ip.upper.protocol {
        TCP => match packet.byte(ip.upper.at + 12) {
            Some(offset) => u64::from(offset >> 4) * 4,
            None => 0,
        },
        _ => UDP_HEADER,
    };
    let headers = (ip.upper.at - ETH_LEN) as u64 + transport;
    once.wrapping_add((segments - 1).wrapping_mul(headers))
}
