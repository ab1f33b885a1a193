//! What a flow is told by behind the IP header.
//!
//! Class and protocol come out of tables and arithmetic: where they came out of branches, the
//! verifier would walk all that follows once for each.

use vnet_gw_common::{flow::Class, nsg::Protocol, verdict::Reason};

use crate::{
    family::{Family, Upper},
    packet::{Hook, Packet},
    verdict::Refused,
};

pub const FIN: u32 = 1;
pub const SYN: u32 = 1 << 1;
pub const RST: u32 = 1 << 2;
pub const ACK: u32 = 1 << 4;

const TCP: u32 = Class::Tcp as u32;
const UDP: u32 = Class::Udp as u32;
const ICMP: u32 = Class::Icmp as u32;

#[derive(Clone, Copy)]
pub struct Layer4 {
    /// A [`Protocol`].
    pub protocol: u32,
    /// A [`Class`].
    pub class: u32,
    pub source: u16,
    pub destination: u16,
    /// Flags of TCP; 0 for other protocols.
    pub tcp: u32,
    /// An ICMP error, which quotes the packet it is about.
    pub is_error: bool,
}

/// By IP protocol number: [`Protocol`] (upper half) and [`Class`] (lower half).
static KINDS4: [u8; 256] = kinds(false);
static KINDS6: [u8; 256] = kinds(true);

const fn kinds(v6: bool) -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut number = 0;
    while number < 256 {
        let protocol = Protocol::of(number as u8);
        let class = match protocol {
            Protocol::Tcp => Class::Tcp,
            Protocol::Udp => Class::Udp,
            // The other family's ICMP has no messages here.
            Protocol::Icmp if (number == 58) == v6 => Class::Icmp,
            _ => Class::Other,
        };
        kinds[number] = (protocol as u8) << 4 | class as u8;
        number += 1;
    }
    kinds
}

#[inline(always)]
fn kind<F: Family>(protocol: u8) -> u32 {
    let kinds = if F::V6 { &KINDS6 } else { &KINDS4 };
    u32::from(kinds[usize::from(protocol)])
}

/// Refused is what ends before that.
#[inline(always)]
pub fn read<F: Family, H: Hook>(hook: H, upper: Upper) -> Result<Layer4, Refused> {
    let mut packet = hook.packet();
    if H::TC && packet.byte(upper.at + 13).is_none() {
        hook.linearise_more();
        packet = hook.packet();
    }
    parse::<F, true>(packet, upper).ok_or(Reason::Truncated.into())
}

/// The same of a packet as far as an ICMP error quotes it: at least 8 bytes (RFC 792), so no TCP
/// flags.
#[inline(always)]
pub fn of_quoted<F: Family>(packet: Packet, upper: Upper) -> Option<Layer4> {
    parse::<F, false>(packet, upper)
}

#[inline(always)]
fn parse<F: Family, const FLAGS: bool>(packet: Packet, upper: Upper) -> Option<Layer4> {
    let kind = kind::<F>(upper.protocol);
    let (protocol, mut class) = (kind >> 4, kind & 0xf);
    let number = u32::from(upper.protocol);
    let mut ports = number << 16 | number;
    let mut tcp = 0;
    let mut is_error = false;
    if class == TCP || class == UDP {
        ports = u32::from_be(packet.double_word(upper.at)?);
        if FLAGS && class == TCP {
            tcp = u32::from(packet.byte(upper.at + 13)?);
        }
    } else if class == ICMP {
        let head = u32::from(u16::from_be(packet.word(upper.at)?));
        let message = head >> 8;
        // An echo and its answer have one identifier, which stands for both ports.
        let echo = if F::V6 {
            zero(message & !1 ^ 128)
        } else {
            zero(message & !8)
        };
        is_error = if F::V6 {
            message < 128
        } else {
            // 3, 4, 5, 11 and 12.
            message < 32 && 0x1838 >> message & 1 != 0
        };
        let id = if is_error {
            head
        } else {
            u32::from(u16::from_be(packet.word(upper.at + 4)?))
        };
        let number = head & echo.wrapping_sub(1) | id & echo.wrapping_neg();
        class -= echo;
        ports = number << 16 | number;
    }
    Some(Layer4 {
        protocol,
        class,
        source: (ports >> 16) as u16,
        destination: ports as u16,
        tcp,
        is_error,
    })
}

const _: () = assert!(Class::Icmp as u32 - 1 == Class::Echo as u32);

/// 1 for 0, else 0.
#[inline(always)]
fn zero(x: u32) -> u32 {
    (u64::from(x).wrapping_sub(1) >> 63) as u32
}
