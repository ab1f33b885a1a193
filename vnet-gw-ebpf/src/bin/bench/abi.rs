//! What the bench's programs and its user-space half agree on. Compiled into both.

/// Bytes of every generated frame.
pub const FRAME: usize = 64;
/// Destinations a generator can draw from; a power of two, so that drawing is a mask.
pub const DESTINATIONS: u32 = 1 << 16;
/// Addresses a lookup program can draw from.
pub const ADDRESSES: u32 = 1 << 20;
/// Routes the LPM trie takes.
pub const LPM_ROUTES: usize = 1 << 20;
/// MAC address of the receiving device.
pub const SINK_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0b];

/// The table that the lookup programs look in.
pub const TABLE: u32 = 1;
pub const TABLES: usize = 8;

/// What a generator sends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Flow {
    /// The frame with destination address 0 and, for IPv4, header checksum 0.
    pub frame: [u64; FRAME / 8],
    /// IPv4: sum of the header's 16-bit words, as they lie in memory.
    pub sum: u32,
    /// Where it goes out.
    pub ifindex: u32,
    /// Destinations in use less one; they are a power of two.
    pub mask: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Flow>() == FRAME + 16);

/// Slots of [`ARRIVED`]: frames for the receiver's MAC address with the TTL as sent, those with one
/// less, and all others.
pub const AS_SENT: u32 = 0;
pub const ROUTED: u32 = 1;
pub const FOREIGN: u32 = 2;
pub const ARRIVED_SLOTS: usize = 3;

/// TTL or hop limit of every generated frame.
pub const TTL: u8 = 64;
