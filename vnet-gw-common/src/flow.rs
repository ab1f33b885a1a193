//! Flows: what was decided for the first packet of a conversation, and holds for the rest of it.
//!
//! A flow is known by protocol, both addresses, both ports of layer 4 and both ports of ours that
//! it passes, ordered so that packets of both directions find the same record. Records stand in two
//! tables for each family: flows that came about in an ordinary hash, where nothing pushes them out,
//! and those that may yet come about in an LRU hash, which a flood turns over at its leisure.

use crate::{
    Addr6,
    branchless::{le64, le128},
    maps::MAX_PORTS,
};

/// What tells flows apart besides addresses and ports.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A protocol without ports; its number stands for both.
    Other = 0,
    Tcp = 1,
    Udp = 2,
    /// ICMP echo; the identifier stands for both ports.
    Echo = 3,
    /// Any other ICMP message that is no error; type and code stand for both ports.
    Icmp = 4,
}

const ID_BITS: u32 = 14;
const _: () = assert!(1 << ID_BITS == MAX_PORTS);
const ID_MASK: u32 = MAX_PORTS - 1;

/// Key of an IPv4 flow. `low` and `high` are its ends in order: by address, then port of layer 4,
/// then port of ours.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey4 {
    pub low: u32,
    pub high: u32,
    pub l4: L4,
    pub ends: Ends,
}

/// Key of an IPv6 flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey6 {
    pub low: Addr6,
    pub high: Addr6,
    pub l4: L4,
    pub ends: Ends,
}

const _: () = assert!(size_of::<FlowKey4>() == 16);
const _: () = assert!(size_of::<FlowKey6>() == 40);

/// Ports of layer 4: the low end's in the upper half.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct L4(pub u32);

impl L4 {
    /// Of the low end and of the high one.
    pub const fn ports(self) -> [u16; 2] {
        [(self.0 >> 16) as u16, self.0 as u16]
    }
}

/// [`Class`] (bits 28 to 31) and port ids: the low end's (bits 14 to 27) and the high one's.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends(pub u32);

impl Ends {
    pub const fn class(self) -> Option<Class> {
        Some(match self.0 >> (2 * ID_BITS) {
            0 => Class::Other,
            1 => Class::Tcp,
            2 => Class::Udp,
            3 => Class::Echo,
            4 => Class::Icmp,
            _ => return None,
        })
    }

    /// Port ids of the low end and of the high one.
    pub const fn ids(self) -> [u32; 2] {
        [self.0 >> ID_BITS & ID_MASK, self.0 & ID_MASK]
    }
}

/// One end of a flow besides its address: port of layer 4 and id of our port.
#[inline(always)]
const fn end(l4: u16, id: u32) -> u64 {
    (l4 as u64) << 16 | id as u64
}

#[inline(always)]
fn l4_and_ends(class: u32, low: u64, high: u64) -> (L4, Ends) {
    let (low, high) = (low as u32, high as u32);
    (
        L4(low & 0xffff_0000 | high >> 16),
        Ends(class << (2 * ID_BITS) | (low & ID_MASK) << ID_BITS | high & ID_MASK),
    )
}

/// Where a packet comes from or goes to: address, port of layer 4, id of our port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEnd<A> {
    pub address: A,
    pub l4: u16,
    pub id: u32,
}

impl FlowKey4 {
    /// The flow of a packet, and which way it goes: 0 from the low end to the high one, 1 back.
    /// `class` is a [`Class`].
    #[inline(always)]
    pub fn new(class: u32, source: FlowEnd<u32>, destination: FlowEnd<u32>) -> (Self, usize) {
        let a = (source.address as u64) << 32 | end(source.l4, source.id);
        let b = (destination.address as u64) << 32 | end(destination.l4, destination.id);
        // All ones or none.
        let back = le64(a, b).wrapping_sub(1);
        let turn = (a ^ b) & back;
        let (low, high) = (a ^ turn, b ^ turn);
        let (l4, ends) = l4_and_ends(class, low, high);
        let key = Self {
            low: (low >> 32) as u32,
            high: (high >> 32) as u32,
            l4,
            ends,
        };
        (key, (back & 1) as usize)
    }
}

impl FlowKey6 {
    /// As [`FlowKey4::new`].
    #[inline(always)]
    pub fn new(class: u32, source: FlowEnd<Addr6>, destination: FlowEnd<Addr6>) -> (Self, usize) {
        let (a, b) = (source.address, destination.address);
        let (p, q) = (
            end(source.l4, source.id),
            end(destination.l4, destination.id),
        );
        // Where the addresses are equal, both are "not above" each other.
        let (up, down) = (le128(a, b), le128(b, a));
        let back = ((up ^ 1) | (up & down & (le64(p, q) ^ 1))).wrapping_neg();
        let turn = |x: u64, y: u64| (x ^ y) & back;
        let (hi, lo, rest) = (turn(a.hi, b.hi), turn(a.lo, b.lo), turn(p, q));
        let (l4, ends) = l4_and_ends(class, p ^ rest, q ^ rest);
        let key = Self {
            low: Addr6 {
                hi: a.hi ^ hi,
                lo: a.lo ^ lo,
            },
            high: Addr6 {
                hi: b.hi ^ hi,
                lo: b.lo ^ lo,
            },
            l4,
            ends,
        };
        (key, (back & 1) as usize)
    }
}

/// Time as flows keep it: nanoseconds of the (coarse) monotonic clock over 2^24, about 17 ms.
/// Differences are good for two years.
#[inline(always)]
pub const fn ticks(ns: u64) -> u32 {
    (ns >> TICK_SHIFT) as u32
}

pub const TICK_SHIFT: u32 = 24;
/// Timeouts count in 2^30 ns, a second and some.
pub const TIMEOUT_SHIFT: u32 = 30 - TICK_SHIFT;
/// Of a flow that may yet come about.
pub const HALF_OPEN_TIMEOUT: u16 = 28;
/// Of a TCP connection that ended by RST, or by FIN of both sides.
pub const CLOSED_TIMEOUT: u16 = 9;
/// Of a datagram in pieces.
pub const FRAGMENT_TIMEOUT: u16 = 28;

/// As a timeout.
pub const fn timeout_from_seconds(seconds: u32) -> u16 {
    // 1,000,000,000 of 2^30.
    let units = (seconds as u64 * 1_000_000_000).div_ceil(1 << 30);
    if units > u16::MAX as u64 {
        u16::MAX
    } else {
        units as u16
    }
}

/// Packets one way after which a flow of a protocol without handshake counts as come about.
pub const ONE_WAY_PACKETS: u64 = 8;

/// The record of a flow. Index 0 of what is kept for each direction is from the low end to the high
/// one.
///
/// Counts are written without locking by whatever CPU has the packet: they are exact as long as the
/// packets of one direction come in on one CPU at a time, as RSS and a veth's own queues see to.
/// Later pieces of a datagram in pieces, and ICMP errors about a flow, are not in them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Of the last packet, in [`ticks`].
    pub last: u32,
    /// How long it may be idle.
    pub timeout: u16,
    /// `Flow::*` bits.
    pub state: u16,
    /// Sum of the generations of both ports, when it was decided.
    pub generation: u32,
    /// Of the first packet, in [`ticks`].
    pub since: u32,
    /// The rules that admitted it, 0 where none was asked: outbound of the port that it began at, in
    /// the order asked, and inbound of the other. Rule set (bits 16 to 31) and, plus one, number of
    /// the rule's counter.
    pub admitted: [u32; 4],
    pub packets: [u64; 2],
    /// Of layer 3.
    pub bytes: [u64; 2],
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// It began at the high end.
    pub const FROM_HIGH: u16 = 1;
    /// FIN from the low end; one bit on for the high one.
    pub const FIN: u16 = 1 << 1;
    pub const BOTH_FIN: u16 = 3 << 1;
    pub const RST: u16 = 1 << 3;
    /// The far end has answered.
    pub const ANSWERED: u16 = 1 << 4;
    /// The connection was there before we were.
    pub const PICKED_UP: u16 = 1 << 5;

    /// Whether it has ended.
    #[inline(always)]
    pub const fn is_closed(state: u16) -> bool {
        state & Self::RST != 0 || state & Self::BOTH_FIN == Self::BOTH_FIN
    }

    /// Whether it has been idle for too long at `now` ([`ticks`]).
    #[inline(always)]
    pub const fn is_stale(&self, now: u32) -> bool {
        // The clock of another CPU may be behind by a tick.
        let idle = now.wrapping_sub(self.last) as i32;
        idle > (self.timeout as i32) << TIMEOUT_SHIFT
    }

    /// Which way its first packet went.
    #[inline(always)]
    pub const fn began(&self) -> usize {
        (self.state & Self::FROM_HIGH) as usize
    }
}

/// A rule as [`Flow::admitted`] and [`Denied::rule`] name it.
#[inline(always)]
pub const fn rule(set: u32, counter: u32) -> u32 {
    set << 16 | (counter + 1) & 0xffff
}

/// Rule set and number of the counter.
pub const fn rule_parts(rule: u32) -> Option<(u32, u32)> {
    if rule == 0 {
        None
    } else {
        Some((rule >> 16, (rule & 0xffff).wrapping_sub(1)))
    }
}

/// A flow that was refused, by its key, for the flow log.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// Of the last packet, in [`ticks`].
    pub last: u32,
    /// The rule that refused it, as in [`Flow::admitted`].
    pub rule: u32,
    /// [`Flow::FROM_HIGH`], [`Denied::INBOUND`].
    pub state: u32,
    pub packets: u32,
}

impl Denied {
    /// By inbound rules.
    pub const INBOUND: u32 = 1 << 1;
}

const _: () = assert!(size_of::<Denied>() == 16);

/// Which datagram an IPv4 fragment is a piece of. The port id stands for the VNet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey4 {
    pub source: u32,
    pub destination: u32,
    /// Identification (bits 16 to 31) and protocol.
    pub id: u32,
    /// Id of the port that it came in by.
    pub port: u32,
}

/// The same for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey6 {
    pub source: Addr6,
    pub destination: Addr6,
    pub id: u32,
    pub port: u32,
}

const _: () = assert!(size_of::<FragmentKey4>() == 16);
const _: () = assert!(size_of::<FragmentKey6>() == 40);

/// What was decided for the first piece.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// In [`ticks`].
    pub last: u32,
    /// 0, or one more than the number of the reason it was refused for.
    pub refused: u32,
}

const _: () = assert!(size_of::<Fragment>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    fn end<A>(address: A, l4: u16, id: u32) -> FlowEnd<A> {
        FlowEnd { address, l4, id }
    }

    #[test]
    fn both_directions_have_one_key() {
        let ends = [
            end(0x0a01_0004, 40_000, 1),
            end(0x0a01_0005, 443, 2),
            end(0x0a01_0004, 40_000, MAX_PORTS - 1),
            end(u32::MAX, u16::MAX, 7),
            end(0, 0, 3),
        ];
        for a in ends {
            for b in ends {
                let (there, way) = FlowKey4::new(Class::Tcp as u32, a, b);
                let (back, other) = FlowKey4::new(Class::Tcp as u32, b, a);
                assert_eq!(there, back);
                assert!(a == b || way != other, "{a:?} {b:?}");
                let from = [there.low, there.high][way];
                assert_eq!(from, a.address);
                assert_eq!(there.l4.ports()[way], a.l4);
                assert_eq!(there.ends.ids()[way], a.id);
                assert_eq!(there.l4.ports()[1 - way], b.l4);
                assert_eq!(there.ends.ids()[1 - way], b.id);
                assert_eq!(there.ends.class(), Some(Class::Tcp));

                let wide = |e: FlowEnd<u32>| {
                    end(
                        Addr6 {
                            hi: (e.address as u64) << 33,
                            lo: 1,
                        },
                        e.l4,
                        e.id,
                    )
                };
                let (there, way) = FlowKey6::new(Class::Udp as u32, wide(a), wide(b));
                let (back, other) = FlowKey6::new(Class::Udp as u32, wide(b), wide(a));
                assert_eq!(there, back);
                assert!(a == b || way != other, "{a:?} {b:?}");
                assert_eq!([there.low, there.high][way], wide(a).address);
                assert_eq!(there.l4.ports()[way], a.l4);
                assert_eq!(there.ends.ids(), [[a, b], [b, a]][way].map(|e| e.id));
            }
        }
    }

    #[test]
    fn a_flow_goes_stale_after_its_timeout() {
        let flow = Flow {
            last: u32::MAX - 10,
            timeout: timeout_from_seconds(240),
            ..Flow::default()
        };
        let seconds = |s: u64| ticks(s * 1_000_000_000);
        assert!(!flow.is_stale(flow.last.wrapping_add(seconds(240))));
        assert!(flow.is_stale(flow.last.wrapping_add(seconds(242))));
        assert!(!flow.is_stale(flow.last.wrapping_sub(1)), "a clock behind");
        assert_eq!(timeout_from_seconds(1800), 1677);
    }

    #[test]
    fn rules_are_named_by_set_and_counter() {
        assert_eq!(rule_parts(0), None);
        assert_eq!(rule_parts(rule(3, 0)), Some((3, 0)));
        assert_eq!(rule_parts(rule(65_535, 8_191)), Some((65_535, 8_191)));
    }
}
