//! The ABI between the data path in the kernel and the daemon.
//!
//! Everything both sides must agree on lives here once: map names and capacities ([`maps`]), the
//! layout of every value ([`port`], [`table`], [`endpoint`], [`nsg`], [`flow`], [`meter`],
//! [`verdict`]) and the lookups themselves, so that what a test proves in user space is the code
//! that runs in the kernel.
//!
//! Addresses are host-order integers (`u32` for IPv4, [`Addr6`] for IPv6); whoever reads a packet
//! converts once, at the edge. A MAC address is a `u64` holding its six bytes in transmission
//! order as a 48-bit big-endian number.
#![no_std]
// The barrier of [`branchless`] is inline assembly, which is not stable for BPF; the BPF build is
// made with unstable features on anyway.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod branchless;
pub mod capture;
pub mod endpoint;
pub mod flow;
pub mod internet;
pub mod maps;
pub mod meter;
pub mod nsg;
pub mod port;
pub mod table;
pub mod verdict;
pub mod xsk;

/// An IPv6 address as two host-order halves, most significant first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr6 {
    pub hi: u64,
    pub lo: u64,
}

impl Addr6 {
    pub const LAST: Self = Self {
        hi: u64::MAX,
        lo: u64::MAX,
    };

    /// An IPv4 address as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
    pub const fn from_v4(address: u32) -> Self {
        Self {
            hi: 0,
            lo: 0xffff_0000_0000 | address as u64,
        }
    }

    /// From the 128-bit number that `Ipv6Addr::to_bits` gives.
    pub const fn from_bits(bits: u128) -> Self {
        Self {
            hi: (bits >> 64) as u64,
            lo: bits as u64,
        }
    }

    /// As the 128-bit number that `Ipv6Addr::from_bits` takes.
    pub const fn to_bits(self) -> u128 {
        ((self.hi as u128) << 64) | self.lo as u128
    }
}

/// A MAC address as the 48-bit number used in every structure of this crate.
pub const fn mac_to_u64(mac: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]])
}

/// The six bytes of a MAC address in transmission order.
pub const fn mac_from_u64(mac: u64) -> [u8; 6] {
    let b = mac.to_be_bytes();
    [b[2], b[3], b[4], b[5], b[6], b[7]]
}

/// Packets and bytes of one route, or of one reason, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub packets: u64,
    /// Bytes of the layer-3 packets, Ethernet headers left out.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, made of integers only, every bit pattern valid, and without padding: the
    // size assertion next to the type leaves no room for any.
    unsafe impl aya::Pod for crate::Counter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::meter::MeterKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::capture::Capture {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::port::Port {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::port::Subnet {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::port::Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::port::RateState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::table::Block {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::table::SmallTable4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::table::SmallTable6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::endpoint::Bucket4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::endpoint::Bucket6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::nsg::RuleCounter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::nsg::Security {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::FlowKey4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::FlowKey6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::Flow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::Denied {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::FragmentKey4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::FragmentKey6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::flow::Fragment {}
}
