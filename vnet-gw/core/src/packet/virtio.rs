//! The header in front of each packet of a TAP with `IFF_VNET_HDR` (virtio 1.2, 5.1.6).

/// Without `num_buffers`, as the kernel's default is.
pub const VIRTIO_HEADER_LEN: usize = 10;

/// What a segment of a super-packet is made of; see [`Segments`](super::Segments).
pub mod gso {
    pub const NONE: u8 = 0;
    pub const TCP_V4: u8 = 1;
    pub const TCP_V6: u8 = 4;
    pub const UDP_L4: u8 = 5;
    /// A flag beside TCP's: the packet has CWR set.
    pub const ECN: u8 = 0x80;
}

/// The checksum at `csum_start + csum_offset` holds the pseudo-header's sum only.
pub const NEEDS_CSUM: u8 = 1;
/// The checksum was verified.
pub const DATA_VALID: u8 = 2;

/// `struct virtio_net_hdr` in the machine's byte order. Here, offsets count from the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    pub flags: u8,
    pub gso_type: u8,
    /// Link, IP and transport headers together; a hint that is not relied on.
    pub hdr_len: u16,
    /// Bytes of payload of each segment.
    pub gso_size: u16,
    pub csum_start: u16,
    pub csum_offset: u16,
}

impl VirtioHeader {
    pub const fn from_bytes(bytes: &[u8; VIRTIO_HEADER_LEN]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }

    pub const fn to_bytes(&self) -> [u8; VIRTIO_HEADER_LEN] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }

    /// Several segments of TCP in one.
    pub const fn is_tcp_super(&self) -> bool {
        matches!(self.gso_type & !gso::ECN, gso::TCP_V4 | gso::TCP_V6)
    }

    pub const fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// Of what a frame with a link header of that length carries. `None` when the checksum would
    /// begin within the link header.
    pub fn without_link(mut self, link: u16) -> Option<Self> {
        if self.needs_checksum() {
            self.csum_start = self.csum_start.checked_sub(link)?;
        }
        self.hdr_len = self.hdr_len.saturating_sub(link);
        Some(self)
    }

    /// Of the packet with a link header of that length in front.
    pub fn with_link(mut self, link: u16) -> Self {
        if self.needs_checksum() {
            self.csum_start = self.csum_start.saturating_add(link);
        }
        if self.gso_type != gso::NONE {
            self.hdr_len = self.hdr_len.saturating_add(link);
        }
        self
    }
}
