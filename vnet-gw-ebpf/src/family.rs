//! What differs between IPv4 and IPv6; every step is written once, over this.

use vnet_gw_common::{
    Addr6, Counter,
    endpoint::{self, Bucket4, Bucket6, Buckets, Endpoint, EndpointsWord},
    port::{Port, Settings},
    table::{self, Action, Header, Leaf, TREE_LEVELS},
    verdict::Reason,
};

use crate::{
    maps::{
        Blocks, VG_BIG4, VG_BIG6, VG_COUNTERS4, VG_COUNTERS6, VG_ENDPOINTS4, VG_ENDPOINTS6,
        VG_SMALL4, VG_SMALL6,
    },
    packet::{ETH_LEN, Packet},
    verdict::Refused,
};

/// The fields of an IP header that the path needs.
#[derive(Clone, Copy)]
pub struct Ip<A> {
    pub source: A,
    pub destination: A,
    pub ttl: u8,
    /// Bytes at layer 3.
    pub len: u32,
    pub upper: Upper,
}

/// What follows the IP header. IPv6 extension headers are not followed here: routing does not need
/// them, and each would cost every packet a branch.
#[derive(Clone, Copy)]
pub struct Upper {
    /// IP protocol number, or the first extension header's.
    pub protocol: u8,
    /// An IPv4 fragment other than the first: there is no upper-layer header.
    pub later_fragment: bool,
    /// Offset from the start of the frame.
    pub at: usize,
}

/// The winning route.
#[derive(Clone, Copy)]
pub struct Route {
    pub leaf: Leaf,
    pub action: Action,
    pub stride: u32,
}

pub trait Family {
    type Addr: Copy + PartialEq;
    /// Neighbour discovery travels in IPv6 itself.
    const V6: bool;

    fn header(packet: Packet, frame_len: usize) -> Result<Ip<Self::Addr>, Refused>;
    /// The port's primary address.
    fn is_primary(port: &Port, address: Self::Addr) -> bool;
    /// Unicast, and of more than link scope.
    fn is_routable(address: Self::Addr) -> bool;
    /// Of those that are routable: the internet has no route to it (RFC 1918 and 6598; RFC 4193).
    fn is_private(address: Self::Addr) -> bool;
    fn lookup(table: u32, address: Self::Addr) -> Option<Route>;
    fn counter(table: u32, index: u32) -> Option<*mut Counter>;
    fn endpoint(settings: &Settings, scope: u32, address: Self::Addr) -> Option<Endpoint>;
    fn next_hop(action: &Action) -> Self::Addr;
    /// In network order; IPv4 in the first four.
    fn bytes(address: Self::Addr) -> [u8; 16];
    /// Decrements TTL or hop limit.
    ///
    /// # Safety
    /// [`Family::header`] has accepted the packet, and it has not changed since.
    unsafe fn decrement(packet: Packet, ttl: u8);
}

pub struct KernelBlocks<'a>(pub &'a Blocks);

impl table::Blocks for KernelBlocks<'_> {
    #[inline(always)]
    fn block(&self, index: u32) -> Option<&table::Block> {
        self.0.get(index)
    }
}

struct KernelBuckets;

impl Buckets<Bucket4> for KernelBuckets {
    #[inline(always)]
    fn bucket(&self, slot: u32, index: u32) -> Option<&Bucket4> {
        VG_ENDPOINTS4.get_value(slot, &index)
    }
}

impl Buckets<Bucket6> for KernelBuckets {
    #[inline(always)]
    fn bucket(&self, slot: u32, index: u32) -> Option<&Bucket6> {
        VG_ENDPOINTS6.get_value(slot, &index)
    }
}

pub struct V4;

impl Family for V4 {
    type Addr = u32;
    const V6: bool = false;

    #[inline(always)]
    fn header(packet: Packet, frame_len: usize) -> Result<Ip<u32>, Refused> {
        if !packet.has(ETH_LEN + 20) {
            return Err(Reason::Truncated.into());
        }
        // SAFETY: all within the 34 bytes seen above.
        let (first, fragment, ttl, protocol, source, destination) = unsafe {
            (
                u32::from_be(packet.load::<u32>(14)),
                u16::from_be(packet.load::<u16>(20)),
                packet.load::<u8>(22),
                packet.load::<u8>(23),
                u32::from_be(packet.load::<u32>(26)),
                u32::from_be(packet.load::<u32>(30)),
            )
        };
        let header_len = (first >> 24 & 0xf) * 4;
        if first >> 28 != 4 || header_len < 20 {
            return Err(Reason::BadHeader.into());
        }
        let there = (frame_len - ETH_LEN) as u32;
        // A super-packet past 64 KiB says 0.
        let len = if first & 0xffff == 0 {
            there
        } else {
            first & 0xffff
        };
        if len < header_len {
            return Err(Reason::BadHeader.into());
        }
        if len > there {
            return Err(Reason::Truncated.into());
        }
        let upper = Upper {
            protocol,
            later_fragment: fragment & 0x1fff != 0,
            at: ETH_LEN + header_len as usize,
        };
        Ok(Ip {
            source,
            destination,
            ttl,
            len,
            upper,
        })
    }

    #[inline(always)]
    fn is_primary(port: &Port, address: u32) -> bool {
        address == port.ip4 && port.flags & Port::HAS_V4 != 0
    }

    #[inline(always)]
    fn is_routable(address: u32) -> bool {
        let first = address >> 24;
        first != 0 && first != 127 && first < 224 && address >> 16 != 0xa9fe
    }

    #[inline(always)]
    fn is_private(address: u32) -> bool {
        address >> 24 == 10
            || address >> 20 == 0xac1
            || address >> 16 == 0xc0a8
            || address >> 22 == 0x6440 >> 6
    }

    #[inline(always)]
    fn lookup(table: u32, address: u32) -> Option<Route> {
        if let Some(small) = VG_SMALL4.get_value(table, &0) {
            let leaf = small.lookup(address);
            let action = small.action(leaf.action())?;
            return Some(Route {
                leaf,
                action,
                stride: small.header[Header::STRIDE],
            });
        }
        let blocks = KernelBlocks(VG_BIG4.get(table)?);
        let header = blocks.0.get(0)?;
        let leaf = table::directory_lookup(
            &blocks,
            table::header_word(header, Header::ROOT_AT),
            address,
        )?;
        let action = table::big_action(
            &blocks,
            table::header_word(header, Header::ACTIONS_AT),
            leaf.action(),
        )?;
        Some(Route {
            leaf,
            action,
            stride: table::header_word(header, Header::STRIDE),
        })
    }

    #[inline(always)]
    fn counter(table: u32, index: u32) -> Option<*mut Counter> {
        VG_COUNTERS4.get_value_ptr_mut(table, &index)
    }

    #[inline(always)]
    fn endpoint(settings: &Settings, scope: u32, address: u32) -> Option<Endpoint> {
        endpoint::lookup4(
            &KernelBuckets,
            EndpointsWord(settings.endpoints4),
            scope,
            address,
        )
    }

    #[inline(always)]
    fn next_hop(action: &Action) -> u32 {
        action.next_hop4()
    }

    #[inline(always)]
    fn bytes(address: u32) -> [u8; 16] {
        let [a, b, c, d] = address.to_be_bytes();
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    #[inline(always)]
    unsafe fn decrement(packet: Packet, ttl: u8) {
        // SAFETY: the header is there, as the caller promises. RFC 1624: TTL is the upper byte of
        // its word, so one less there is 0x0100 more in the sum, whose carry is folded in.
        unsafe {
            packet.store::<u8>(22, ttl.wrapping_sub(1));
            let sum = u32::from(packet.load::<u16>(24)) + u32::from(0x0100u16.to_be());
            packet.store::<u16>(24, (sum + u32::from(sum >= 0xffff)) as u16);
        }
    }
}

pub struct V6;

impl Family for V6 {
    type Addr = Addr6;
    const V6: bool = true;

    #[inline(always)]
    fn header(packet: Packet, frame_len: usize) -> Result<Ip<Addr6>, Refused> {
        if !packet.has(ETH_LEN + 40) {
            return Err(Reason::Truncated.into());
        }
        // SAFETY: all within the 54 bytes seen above.
        let (version, payload, next, ttl, source, destination) = unsafe {
            (
                packet.load::<u8>(14) >> 4,
                u16::from_be(packet.load::<u16>(18)),
                packet.load::<u8>(20),
                packet.load::<u8>(21),
                load6(packet, 22),
                load6(packet, 38),
            )
        };
        let upper = Upper {
            protocol: next,
            later_fragment: false,
            at: ETH_LEN + 40,
        };
        if version != 6 {
            return Err(Reason::BadHeader.into());
        }
        let there = (frame_len - ETH_LEN) as u32;
        // A super-packet past 64 KiB says 0.
        let len = if payload == 0 {
            there
        } else {
            u32::from(payload) + 40
        };
        if len > there {
            return Err(Reason::Truncated.into());
        }
        Ok(Ip {
            source,
            destination,
            ttl,
            len,
            upper,
        })
    }

    #[inline(always)]
    fn is_primary(port: &Port, address: Addr6) -> bool {
        address.lo == port.ip6.lo && address.hi == port.ip6.hi && port.flags & Port::HAS_V6 != 0
    }

    #[inline(always)]
    fn is_routable(address: Addr6) -> bool {
        let top = address.hi >> 48;
        top < 0xff00 && top & 0xffc0 != 0xfe80 && !(address.hi == 0 && address.lo <= 1)
    }

    #[inline(always)]
    fn is_private(address: Addr6) -> bool {
        address.hi >> 57 == 0xfc >> 1
    }

    #[inline(always)]
    fn lookup(table: u32, address: Addr6) -> Option<Route> {
        if let Some(small) = VG_SMALL6.get_value(table, &0) {
            let leaf = small.lookup(address);
            let action = small.action(leaf.action())?;
            return Some(Route {
                leaf,
                action,
                stride: small.header[Header::STRIDE],
            });
        }
        let blocks = KernelBlocks(VG_BIG6.get(table)?);
        let header = blocks.0.get(0)?;
        let mut levels = [0; TREE_LEVELS];
        let mut i = 0;
        while i < TREE_LEVELS {
            levels[i] = table::header_word(header, Header::LEVELS_AT + i);
            i += 1;
        }
        let leaf = table::tree_lookup(
            &blocks,
            levels,
            table::header_word(header, Header::DEPTH),
            table::header_word(header, Header::VALUES_AT),
            address,
        )?;
        let action = table::big_action(
            &blocks,
            table::header_word(header, Header::ACTIONS_AT),
            leaf.action(),
        )?;
        Some(Route {
            leaf,
            action,
            stride: table::header_word(header, Header::STRIDE),
        })
    }

    #[inline(always)]
    fn counter(table: u32, index: u32) -> Option<*mut Counter> {
        VG_COUNTERS6.get_value_ptr_mut(table, &index)
    }

    #[inline(always)]
    fn endpoint(settings: &Settings, scope: u32, address: Addr6) -> Option<Endpoint> {
        endpoint::lookup6(
            &KernelBuckets,
            EndpointsWord(settings.endpoints6),
            scope,
            address,
        )
    }

    #[inline(always)]
    fn next_hop(action: &Action) -> Addr6 {
        action.next_hop6()
    }

    #[inline(always)]
    fn bytes(address: Addr6) -> [u8; 16] {
        address.to_bits().to_be_bytes()
    }

    #[inline(always)]
    unsafe fn decrement(packet: Packet, ttl: u8) {
        // SAFETY: the header is there, as the caller promises.
        unsafe { packet.store::<u8>(21, ttl.wrapping_sub(1)) }
    }
}

/// The IPv6 address at `at`.
///
/// # Safety
/// As for [`Packet::load`], of 16 bytes.
#[inline(always)]
pub unsafe fn load6(packet: Packet, at: usize) -> Addr6 {
    // SAFETY: as the caller promises.
    unsafe {
        Addr6 {
            hi: u64::from_be(packet.load::<u64>(at)),
            lo: u64::from_be(packet.load::<u64>(at + 8)),
        }
    }
}

/// Stores an IPv6 address at `at`.
///
/// # Safety
/// As for [`Packet::store`], of 16 bytes.
#[inline(always)]
pub unsafe fn store6(packet: Packet, at: usize, address: Addr6) {
    // SAFETY: as the caller promises.
    unsafe {
        packet.store::<u64>(at, address.hi.to_be());
        packet.store::<u64>(at + 8, address.lo.to_be());
    }
}
