//! Ethernet and VLAN tags.
//!
//! Rule for tags: a port is an access port. Priority tags (VLAN id 0), up to two of them, are taken
//! off and the packet goes on; a tag with an id, or a third tag, is refused and counted `vlan`.

use vnet_gw_common::{port::Port, verdict::Reason};

use crate::{
    packet::{ETH_LEN, Hook, Packet},
    verdict::Refused,
};

pub enum EtherType {
    Ipv4,
    Ipv6,
    Arp,
    Other,
}

pub const ETH_P_IP: u16 = 0x0800;
pub const ETH_P_ARP: u16 = 0x0806;
pub const ETH_P_IPV6: u16 = 0x86dd;
pub const ETH_P_8021Q: u16 = 0x8100;
pub const ETH_P_8021AD: u16 = 0x88a8;
const VLAN_ID: u16 = 0x0fff;

/// The source MAC address and the EtherType, which one load brings together.
#[inline(always)]
fn source_and_type(packet: Packet) -> Result<(u64, u16), Refused> {
    if !packet.has(ETH_LEN) {
        return Err(Reason::Truncated.into());
    }
    // SAFETY: the comparison above covers bytes 6 to 13.
    let word = u64::from_be(unsafe { packet.load::<u64>(6) });
    Ok((word >> 16, word as u16))
}

/// Checks the source MAC address and says what the frame carries; afterwards it is untagged and
/// its headers are linear.
#[inline(always)]
pub fn ethernet<H: Hook>(hook: H, port: &Port) -> Result<EtherType, Refused> {
    hook.linearise();
    let (source, mut kind) = source_and_type(hook.packet())?;
    if source != port.mac {
        return Err(Reason::SpoofedMac.into());
    }
    if kind == ETH_P_8021Q || kind == ETH_P_8021AD || hook.stripped_tag().is_some() {
        kind = untag(hook)?;
    }
    Ok(match kind {
        ETH_P_IP => EtherType::Ipv4,
        ETH_P_IPV6 => EtherType::Ipv6,
        ETH_P_ARP => EtherType::Arp,
        _ => EtherType::Other,
    })
}

/// Takes off up to two priority tags and yields the EtherType behind them.
#[inline(always)]
fn untag<H: Hook>(hook: H) -> Result<u16, Refused> {
    for _ in 0..2 {
        let tag = match hook.stripped_tag() {
            Some(tag) => tag,
            None => {
                let packet = hook.packet();
                let (_, kind) = source_and_type(packet)?;
                if kind != ETH_P_8021Q && kind != ETH_P_8021AD {
                    return Ok(kind);
                }
                if !packet.has(ETH_LEN + 4) {
                    return Err(Reason::Truncated.into());
                }
                // SAFETY: the comparison above covers bytes 14 and 15.
                u16::from_be(unsafe { packet.load::<u16>(ETH_LEN) })
            }
        };
        if tag & VLAN_ID != 0 || !hook.pop_tag() {
            return Err(Reason::Vlan.into());
        }
        hook.linearise();
    }
    let (_, kind) = source_and_type(hook.packet())?;
    if kind == ETH_P_8021Q || kind == ETH_P_8021AD || hook.stripped_tag().is_some() {
        return Err(Reason::Vlan.into());
    }
    Ok(kind)
}
