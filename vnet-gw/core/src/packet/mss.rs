//! TCP's maximum segment size through a tunnel.

use crate::sa::TCP_MSS;

use super::{
    checksum,
    ip::{Fragment, Outline, V4_HEADER_LEN, V6_HEADER_LEN, protocol},
    transport::{TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER_LEN, TCP_SYN, tcp_header_len},
};

/// Kinds of TCP options.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Lowers the MSS option of a SYN to [`TCP_MSS`], and further where the tunnel is narrower or IPv6's
/// header longer. The packet's checksum is complete (not left to a device). Says whether anything
/// changed; other packets, and fragments, stay as they are.
pub fn clamp_mss(packet: &mut [u8], tunnel_mtu: usize) -> bool {
    let Some(outline) = Outline::of(packet) else {
        return false;
    };
    if outline.protocol != protocol::TCP || outline.fragment != Fragment::Whole {
        return false;
    }
    let transport = &mut packet[outline.transport..outline.total];
    let header = match tcp_header_len(transport) {
        Some(length) if transport[TCP_FLAGS] & TCP_SYN != 0 => &mut transport[..length],
        _ => return false,
    };
    let headers = TCP_HEADER_LEN
        + if outline.v6 {
            V6_HEADER_LEN
        } else {
            V4_HEADER_LEN
        };
    let most = usize::from(TCP_MSS).min(tunnel_mtu.saturating_sub(headers)) as u16;
    let Some(at) = find(header) else {
        return false;
    };
    let old = [header[at], header[at + 1]];
    if u16::from_be_bytes(old) <= most {
        return false;
    }
    let new = most.to_be_bytes();
    header[at..at + 2].copy_from_slice(&new);
    if let Some(field) = header[TCP_CHECKSUM..].first_chunk_mut() {
        // At an odd place the two bytes belong to two words, each in the other half.
        if at.is_multiple_of(2) {
            checksum::update(field, old, new);
        } else {
            checksum::update(field, [old[1], old[0]], [new[1], new[0]]);
        }
    }
    true
}

/// Where the option's value is.
fn find(header: &[u8]) -> Option<usize> {
    let mut at = TCP_HEADER_LEN;
    loop {
        match *header.get(at)? {
            END => return None,
            NO_OPERATION => at += 1,
            kind => {
                let length = usize::from(*header.get(at + 1)?);
                if length < 2 || at + length > header.len() {
                    return None;
                }
                if kind == MAXIMUM_SEGMENT_SIZE && length == 4 {
                    return Some(at + 2);
                }
                at += length;
            }
        }
    }
}
