//! What the bench's programs and its user-space half agree on. Compiled into both.

/// Bytes of every generated frame.
pub(crate) const FRAME: usize = 64;
/// Destinations a generator can draw from; a power of two, so that drawing is a mask.
pub(crate) const DESTINATIONS: u32 = 1 << 16;
/// Addresses a lookup program can draw from.
pub(crate) const ADDRESSES: u32 = 1 << 20;
/// MAC address of the receiving device.
pub(crate) const SINK_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0b];

/// The table that the lookup programs look in.
pub(crate) const TABLE: u32 = 1;

/// What a generator sends.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    /// The frame with destination address 0 and, for IPv4, header checksum 0.
    pub(crate) frame: [u64; FRAME / 8],
    /// IPv4: sum of the header's 16-bit words, as they lie in memory.
    pub(crate) sum: u32,
    /// Where it goes out.
    pub(crate) ifindex: u32,
    /// Destinations in use less one; they are a power of two.
    pub(crate) mask: u32,
    /// Bits of `mask`: of a flow's number, those above say its source port.
    pub(crate) shift: u32,
    /// Flows to draw from less one; they are a power of two.
    pub(crate) flows: u32,
    pub(crate) reserved: u32,
}

const _: () = assert!(size_of::<Flow>() == FRAME + 24);

/// Slots of the map of arrivals: frames for the receiver's MAC address with the TTL as sent, those with one
/// less, and all others.
pub(crate) const AS_SENT: u32 = 0;
pub(crate) const ROUTED: u32 = 1;
pub(crate) const FOREIGN: u32 = 2;

/// TTL or hop limit of every generated frame: pktgen's, which cannot be told another.
pub(crate) const TTL: u8 = 32;

/// Destination of every generated UDP packet: discard (RFC 863).
pub(crate) const UDP_PORT: u16 = 9;
