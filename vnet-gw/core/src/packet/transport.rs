//! Places in TCP's and UDP's headers (RFC 9293, 3.1; RFC 768).

pub(super) const TCP_HEADER_LEN: usize = 20;
pub(super) const TCP_SEQUENCE: usize = 4;
pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const UDP_HEADER_LEN: usize = 8;
pub(super) const UDP_CHECKSUM: usize = 6;

pub(super) const TCP_FIN: u8 = 0x01;
pub(super) const TCP_SYN: u8 = 0x02;
pub(super) const TCP_PSH: u8 = 0x08;
pub(super) const TCP_ACK: u8 = 0x10;
pub(super) const TCP_ECE: u8 = 0x40;
pub(super) const TCP_CWR: u8 = 0x80;

/// With options; `None` when it is not all there.
#[inline]
pub(super) fn tcp_header_len(transport: &[u8]) -> Option<usize> {
    let length = usize::from(transport.get(12)? >> 4) * 4;
    (length >= TCP_HEADER_LEN && length <= transport.len()).then_some(length)
}
