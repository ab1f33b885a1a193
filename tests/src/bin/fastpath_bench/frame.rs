//! The frame that every generator sends.

use std::net::{IpAddr, Ipv4Addr};

use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};

use crate::{
    abi::{FRAME, TTL, UDP_PORT},
    wire::A_MAC,
};

/// Destination of every generated TCP segment.
pub(crate) const TCP_PORT: u16 = 443;

/// A UDP packet from `source` to address 0, and the sum of its IPv4 header as words of memory.
pub(crate) fn template(source: IpAddr) -> ([u8; FRAME], u32) {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&mac_from_u64(FABRIC_MAC));
    frame[6..12].copy_from_slice(&A_MAC);
    let mut sum = 0;
    let udp = match source {
        IpAddr::V4(source) => {
            frame[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
            frame[14] = 0x45;
            frame[16..18].copy_from_slice(&(FRAME as u16 - 14).to_be_bytes());
            frame[22] = TTL;
            frame[23] = libc::IPPROTO_UDP as u8;
            frame[26..30].copy_from_slice(&source.octets());
            sum = header_sum(&frame);
            34
        }
        IpAddr::V6(source) => {
            frame[12..14].copy_from_slice(&0x86ddu16.to_be_bytes());
            frame[14] = 0x60;
            frame[18..20].copy_from_slice(&(FRAME as u16 - 54).to_be_bytes());
            frame[20] = libc::IPPROTO_UDP as u8;
            frame[21] = TTL;
            frame[22..38].copy_from_slice(&source.octets());
            54
        }
    };
    frame[udp..udp + 2].copy_from_slice(&UDP_PORT.to_be_bytes());
    frame[udp + 2..udp + 4].copy_from_slice(&UDP_PORT.to_be_bytes());
    frame[udp + 4..udp + 6].copy_from_slice(&((FRAME - udp) as u16).to_be_bytes());
    (frame, sum)
}

/// As [`template`], the first segment of a connection. Its checksum is left out: nobody on the way
/// looks at it.
pub(crate) fn syn(source: Ipv4Addr) -> ([u8; FRAME], u32) {
    let (mut frame, _) = template(source.into());
    // Without options or data, padded to the least that Ethernet has.
    frame[16..18].copy_from_slice(&40u16.to_be_bytes());
    frame[23] = libc::IPPROTO_TCP as u8;
    frame[34..].fill(0);
    frame[34..36].copy_from_slice(&TCP_PORT.to_be_bytes());
    frame[36..38].copy_from_slice(&TCP_PORT.to_be_bytes());
    frame[46] = 5 << 4;
    frame[47] = 1 << 1;
    frame[48..50].copy_from_slice(&u16::MAX.to_be_bytes());
    (frame, header_sum(&frame))
}

/// Of the IPv4 header.
fn header_sum(frame: &[u8; FRAME]) -> u32 {
    frame[14..34]
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])))
        .sum()
}

pub(crate) fn words(frame: [u8; FRAME]) -> [u64; FRAME / 8] {
    let mut words = [0; FRAME / 8];
    for (word, bytes) in words.iter_mut().zip(frame.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}
