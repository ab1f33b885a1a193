//! The frame that every generator sends.

use std::net::IpAddr;

use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};

use crate::{
    abi::{FRAME, TTL},
    wire::A_MAC,
};

/// Discard (RFC 863).
pub(crate) const UDP_PORT: u16 = 9;

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
            sum = frame[14..34]
                .chunks_exact(2)
                .map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])))
                .sum();
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

pub(crate) fn words(frame: [u8; FRAME]) -> [u64; FRAME / 8] {
    let mut words = [0; FRAME / 8];
    for (word, bytes) in words.iter_mut().zip(frame.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}
