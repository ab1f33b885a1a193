//! The one place where a reason becomes a counter and a verdict, and the ICMP errors.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use vnet_gw_common::{
    Addr6,
    port::{Port, Subnet},
    verdict::Reason,
};

use crate::{
    extension,
    family::{Family, Ip, V4, V6, store6},
    maps::{self, VG_ICMP_RATE, VG_REASONS, VG_SETTINGS, VG_SUBNETS},
    packet::{ETH_LEN, Hook},
    parse::{ETH_P_IP, ETH_P_IPV6},
    rewrite::addresses,
};

/// Bytes of the refused packet that an error quotes, from its IP header on: headers and the start
/// of the payload (at least 8 bytes, RFC 792), few enough to be summed here.
const QUOTE: usize = 128;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// TTL of what the fabric sends.
const TTL: u8 = 64;

const TTL_EXPIRED: u32 = Reason::TtlExpired as u32;
const ENDPOINT_UNREACHABLE: u32 = Reason::EndpointUnreachable as u32;
const APPLIANCE_UNREACHABLE: u32 = Reason::ApplianceUnreachable as u32;
const TOO_BIG: u32 = Reason::TooBig as u32;

#[inline(always)]
pub fn count(reason: u32, packets: u64, bytes: u64) {
    if let Some(counter) = VG_REASONS.get_ptr_mut(reason) {
        maps::add(counter, packets, bytes);
    }
}

/// Counts and drops a frame on an interface that is no port.
#[inline(always)]
pub fn no_port<H: Hook>(hook: H) -> u32 {
    count(
        Reason::UnknownPort as u32,
        hook.segments(),
        layer3_len(hook),
    );
    H::drop()
}

#[inline(always)]
fn layer3_len<H: Hook>(hook: H) -> u64 {
    hook.frame_len().saturating_sub(ETH_LEN) as u64
}

/// Counts a refused packet and drops it, or turns it into the ICMP error its sender should get.
#[inline(never)]
pub fn refuse<H: Hook>(hook: H, id: u32, reason: u32, mtu: u32) -> u32 {
    count(reason, hook.segments(), layer3_len(hook));
    if !matches!(
        reason,
        TTL_EXPIRED | ENDPOINT_UNREACHABLE | APPLIANCE_UNREACHABLE | TOO_BIG
    ) {
        return H::drop();
    }
    match icmp_error(hook, id, reason, mtu) {
        Some(event) => {
            count(event as u32, 1, layer3_len(hook));
            if matches!(event, Reason::IcmpRateLimited | Reason::AnswerFailed) {
                H::drop()
            } else {
                hook.reflect(id)
            }
        }
        None => H::drop(),
    }
}

/// What was done, or `None` where an error is not due.
#[inline(always)]
fn icmp_error<H: Hook>(hook: H, id: u32, reason: u32, mtu: u32) -> Option<Reason> {
    let port = maps::port(id)?;
    let subnet = VG_SUBNETS.get(port.table)?;
    let packet = hook.packet();
    if !packet.has(ETH_LEN) {
        return None;
    }
    // SAFETY: 14 bytes are there.
    let kind = u16::from_be(unsafe { packet.load::<u16>(12) });
    let event = match reason {
        TTL_EXPIRED => Reason::SentTimeExceeded,
        TOO_BIG => Reason::SentTooBig,
        _ => Reason::SentUnreachable,
    };
    match kind {
        ETH_P_IP => {
            let ip = V4::header(packet, hook.frame_len()).ok()?;
            error4(hook, id, port, subnet, &ip, reason, mtu, event)
        }
        ETH_P_IPV6 => {
            let ip = V6::header(packet, hook.frame_len()).ok()?;
            error6(hook, id, port, subnet, &ip, reason, mtu, event)
        }
        _ => None,
    }
}

/// A token of the port's bucket.
#[inline(always)]
fn admitted(id: u32) -> bool {
    let (Some(settings), Some(state)) = (VG_SETTINGS.get(0), VG_ICMP_RATE.get_ptr_mut(id)) else {
        return false;
    };
    // SAFETY: plain helper; the state is a live element, and two CPUs that race on it miscount by
    // one error at worst.
    unsafe {
        let now = bpf_ktime_get_ns();
        match (*state).take(now, settings.icmp_interval_ns, settings.icmp_burst) {
            Some(next) => {
                *state = next;
                true
            }
            None => false,
        }
    }
}

/// Cuts the frame to what is quoted and makes room before it: the bytes quoted.
#[inline(always)]
fn make_room<H: Hook>(hook: H, len: u32, room: usize) -> Option<usize> {
    let quote = if (len as usize) < QUOTE {
        len as usize & !1
    } else {
        QUOTE
    };
    if !hook.truncate(ETH_LEN + quote) || !hook.grow_head(room) {
        return None;
    }
    Some(quote)
}

/// The sum of the 16-bit words from `at` to the end of the frame.
#[inline(always)]
fn sum_from<H: Hook>(hook: H, at: usize) -> u64 {
    let packet = hook.packet();
    let mut sum = 0;
    for i in 0..(QUOTE + 8) / 2 {
        let Some(word) = packet.word(at + 2 * i) else {
            break;
        };
        sum += u64::from(u16::from_be(word));
    }
    sum
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined; a struct would be built for nothing"
)]
fn error4<H: Hook>(
    hook: H,
    id: u32,
    port: &Port,
    subnet: &Subnet,
    ip: &Ip<u32>,
    reason: u32,
    mtu: u32,
    event: Reason,
) -> Option<Reason> {
    const AT: usize = ETH_LEN + 20;
    // RFC 1122, section 3.2.2: no error about an error, nor about a later fragment.
    if subnet.gateway4 == 0 || ip.upper.later_fragment {
        return None;
    }
    if ip.upper.protocol == ICMP
        && hook
            .packet()
            .byte(ip.upper.at)
            .is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12))
    {
        return None;
    }
    if !admitted(id) {
        return Some(Reason::IcmpRateLimited);
    }
    let (kind, rest): (u32, u32) = match reason {
        TTL_EXPIRED => (0x0b00, 0),
        TOO_BIG => (0x0304, mtu & 0xffff),
        _ => (0x0301, 0),
    };
    let Some(quote) = make_room(hook, ip.len, 28) else {
        return Some(Reason::AnswerFailed);
    };
    let packet = hook.packet();
    if !packet.has(AT + 8) {
        return Some(Reason::AnswerFailed);
    }
    let total = (28 + quote) as u32;
    let first = 0x45c0 << 16 | total;
    // Do not fragment, TTL and protocol.
    let second = u64::from(0x4000u32) << 32 | u64::from(TTL) << 24 | u64::from(ICMP) << 16;
    let header_sum = sum64(u64::from(first))
        + sum64(second)
        + sum64(u64::from(subnet.gateway4))
        + sum64(u64::from(ip.source));
    // SAFETY: all within the 42 bytes seen above.
    unsafe {
        addresses(packet, port.mac);
        packet.store::<u16>(12, ETH_P_IP.to_be());
        packet.store::<u32>(14, first.to_be());
        packet.store::<u64>(18, (second | u64::from(fold(header_sum))).to_be());
        packet.store::<u32>(26, subnet.gateway4.to_be());
        packet.store::<u32>(30, ip.source.to_be());
        packet.store::<u32>(AT, (kind << 16).to_be());
        packet.store::<u32>(AT + 4, rest.to_be());
    }
    let sum = fold(sum_from(hook, AT));
    // SAFETY: as above.
    unsafe { packet.store::<u16>(AT + 2, sum.to_be()) };
    Some(event)
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined; a struct would be built for nothing"
)]
fn error6<H: Hook>(
    hook: H,
    id: u32,
    port: &Port,
    subnet: &Subnet,
    ip: &Ip<Addr6>,
    reason: u32,
    mtu: u32,
    event: Reason,
) -> Option<Reason> {
    const AT: usize = ETH_LEN + 40;
    // RFC 4443, section 2.4 (e).
    let upper = extension::follow::<true>(hook.packet(), ip.upper).upper?;
    if (subnet.gateway6 == Addr6 { hi: 0, lo: 0 }) {
        return None;
    }
    if upper.protocol == ICMPV6 && hook.packet().byte(upper.at).is_none_or(|kind| kind < 128) {
        return None;
    }
    if !admitted(id) {
        return Some(Reason::IcmpRateLimited);
    }
    let (kind, rest): (u32, u32) = match reason {
        TTL_EXPIRED => (0x0300, 0),
        TOO_BIG => (0x0200, mtu),
        _ => (0x0103, 0),
    };
    let Some(quote) = make_room(hook, ip.len, 48) else {
        return Some(Reason::AnswerFailed);
    };
    let packet = hook.packet();
    if !packet.has(AT + 8) {
        return Some(Reason::AnswerFailed);
    }
    let len = (8 + quote) as u32;
    // SAFETY: all within the 62 bytes seen above.
    unsafe {
        addresses(packet, port.mac);
        packet.store::<u16>(12, ETH_P_IPV6.to_be());
        packet.store::<u32>(14, 0x6000_0000u32.to_be());
        packet.store::<u32>(
            18,
            (len << 16 | u32::from(ICMPV6) << 8 | u32::from(TTL)).to_be(),
        );
        store6(packet, 22, subnet.gateway6);
        store6(packet, 38, ip.source);
        packet.store::<u32>(AT, (kind << 16).to_be());
        packet.store::<u32>(AT + 4, rest.to_be());
    }
    let sum = pseudo_header6(subnet.gateway6, ip.source, len, ICMPV6) + sum_from(hook, AT);
    // SAFETY: as above.
    unsafe { packet.store::<u16>(AT + 2, fold(sum).to_be()) };
    Some(event)
}

/// The four 16-bit words of a number, added up.
#[inline(always)]
pub fn sum64(x: u64) -> u64 {
    (x >> 48) + (x >> 32 & 0xffff) + (x >> 16 & 0xffff) + (x & 0xffff)
}

/// RFC 8200, section 8.1.
#[inline(always)]
pub fn pseudo_header6(source: Addr6, destination: Addr6, len: u32, next: u8) -> u64 {
    sum64(source.hi)
        + sum64(source.lo)
        + sum64(destination.hi)
        + sum64(destination.lo)
        + sum64(u64::from(len))
        + u64::from(next)
}

/// The internet checksum of a sum of words (RFC 1071).
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
