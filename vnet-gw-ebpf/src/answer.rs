//! What the fabric answers itself: ARP (RFC 826) and neighbour solicitations (RFC 4861), for every
//! address of the subnet. Workloads never see each other's layer 2.

use vnet_gw_common::{
    Addr6,
    port::{FABRIC_LINK_LOCAL, FABRIC_MAC, Port, Settings},
    verdict::Reason,
};

use crate::{
    family::{Family, Upper, V4, V6, load6, store6},
    maps::{VG_SETTINGS, VG_SUBNETS},
    packet::{ETH_LEN, Hook, Packet},
    refuse,
    rewrite::addresses,
    verdict::Refused,
};

const ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;

/// Ethernet and IPv4, six- and four-byte addresses, request.
const ARP_REQUEST: u64 = 0x0001_0800_0604_0001;
const ARP_REPLY: u64 = 0x0001_0800_0604_0002;
const ARP_LEN: usize = ETH_LEN + 28;

/// Whether the address is one of the port's own: a probe for it asks whether anybody else has it.
#[inline(always)]
fn is_own<F: Family>(settings: &Settings, id: u32, port: &Port, address: F::Addr) -> bool {
    F::is_primary(port, address)
        || F::endpoint(settings, port.scope, address).is_some_and(|owner| owner.port() == id)
}

#[inline(always)]
pub fn arp<H: Hook>(hook: H, id: u32, port: &Port) -> Result<u32, Refused> {
    let packet = hook.packet();
    if !packet.has(ARP_LEN) {
        return Err(Reason::Truncated.into());
    }
    // SAFETY: all within the 42 bytes seen above.
    let (kind, sender_mac, sender, target) = unsafe {
        (
            u64::from_be(packet.load::<u64>(14)),
            u64::from_be(packet.load::<u64>(20)) & 0xffff_ffff_ffff,
            u32::from_be(packet.load::<u32>(28)),
            u32::from_be(packet.load::<u32>(38)),
        )
    };
    let settings = VG_SETTINGS.get(0).ok_or(Reason::UnknownPort)?;
    let subnet = VG_SUBNETS.get(port.table).ok_or(Reason::UnknownPort)?;
    if kind != ARP_REQUEST
        || port.flags & (Port::GATEWAY | Port::INTERNET) != 0
        || sender_mac != port.mac
        || !subnet.contains4(target)
        || !is_own::<V4>(settings, id, port, sender)
        || is_own::<V4>(settings, id, port, target)
    {
        return Err(Reason::ArpIgnored.into());
    }
    // SAFETY: as above. Sender becomes target and the fabric the sender.
    unsafe {
        addresses(packet, sender_mac);
        packet.store::<u64>(14, ARP_REPLY.to_be());
        packet.store::<u32>(22, ((FABRIC_MAC >> 16) as u32).to_be());
        packet.store::<u16>(26, (FABRIC_MAC as u16).to_be());
        packet.store::<u32>(28, target.to_be());
        packet.store::<u32>(32, ((sender_mac >> 16) as u32).to_be());
        packet.store::<u16>(36, (sender_mac as u16).to_be());
        packet.store::<u32>(38, sender.to_be());
    }
    refuse::count(Reason::ArpAnswered as u32, 1, 28);
    Ok(hook.reflect(id))
}

/// Router and neighbour discovery, which never leave the link.
#[inline(always)]
pub fn is_neighbour_discovery(packet: Packet, upper: &Upper) -> bool {
    upper.protocol == ICMPV6
        && !upper.later_fragment
        && packet
            .byte(upper.at)
            .is_some_and(|kind| (ROUTER_SOLICITATION..=REDIRECT).contains(&kind))
}

const ND_AT: usize = ETH_LEN + 40;
const ND_LEN: usize = ND_AT + 24;
const ND_OPTION_LEN: usize = ND_LEN + 8;

#[inline(always)]
pub fn neighbour<H: Hook>(hook: H, id: u32, port: &Port) -> Result<u32, Refused> {
    let packet = hook.packet();
    if !packet.has(ND_LEN) {
        // Shorter than any solicitation for a neighbour: for a router, mostly.
        return Err(Reason::NdIgnored.into());
    }
    // SAFETY: all within the 78 bytes seen above.
    let (next, hops, source, kind, target) = unsafe {
        (
            packet.load::<u8>(20),
            packet.load::<u8>(21),
            load6(packet, 22),
            u16::from_be(packet.load::<u16>(ND_AT)),
            load6(packet, ND_AT + 8),
        )
    };
    let settings = VG_SETTINGS.get(0).ok_or(Reason::UnknownPort)?;
    let subnet = VG_SUBNETS.get(port.table).ok_or(Reason::UnknownPort)?;
    let known = target == FABRIC_LINK_LOCAL || subnet.contains6(target);
    let from_here = source.hi >> 54 == 0xfe80 >> 6 || is_own::<V6>(settings, id, port, source);
    // RFC 4861, section 7.1.1. A solicitation from the unspecified address is duplicate address
    // detection and stays unanswered: addresses are the platform's to give.
    if next != ICMPV6
        || port.flags & (Port::GATEWAY | Port::INTERNET) != 0
        || kind != u16::from(NEIGHBOUR_SOLICITATION) << 8
        || hops != 255
        || !known
        || !from_here
        || is_own::<V6>(settings, id, port, target)
    {
        return Err(Reason::NdIgnored.into());
    }
    let with_option = packet.has(ND_OPTION_LEN)
        // SAFETY: 86 bytes are there.
        && unsafe { packet.load::<u8>(ND_LEN) } == OPTION_SOURCE_LINK_LAYER;
    let len: u16 = if with_option { 32 } else { 24 };
    let router = target == FABRIC_LINK_LOCAL || target == subnet.gateway6;
    // Solicited and override, and router where it is one.
    let flags: u32 = if router { 0xe000_0000 } else { 0x6000_0000 };
    let head = u32::from(NEIGHBOUR_ADVERTISEMENT) << 24;
    // SAFETY: as above.
    unsafe {
        addresses(packet, port.mac);
        packet.store::<u16>(18, len.to_be());
        store6(packet, 22, target);
        store6(packet, 38, source);
        packet.store::<u32>(ND_AT, head.to_be());
        packet.store::<u32>(ND_AT + 4, flags.to_be());
    }
    let mut sum = refuse::pseudo_header6(target, source, u32::from(len), ICMPV6)
        + u64::from(head >> 16)
        + u64::from(flags >> 16)
        + words(target);
    if with_option && packet.has(ND_OPTION_LEN) {
        let option = u64::from(OPTION_TARGET_LINK_LAYER) << 56 | 1 << 48 | FABRIC_MAC;
        // SAFETY: 86 bytes are there.
        unsafe { packet.store::<u64>(ND_LEN, option.to_be()) };
        sum += refuse::sum64(option);
    }
    // SAFETY: within the 78 bytes seen above.
    unsafe { packet.store::<u16>(ND_AT + 2, refuse::fold(sum).to_be()) };
    refuse::count(Reason::NdAnswered as u32, 1, u64::from(len) + 40);
    Ok(hook.reflect(id))
}

#[inline(always)]
fn words(address: Addr6) -> u64 {
    refuse::sum64(address.hi) + refuse::sum64(address.lo)
}
