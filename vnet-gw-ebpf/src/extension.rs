//! IPv6 extension headers (RFC 8200, section 4), followed where an ICMP error is about to be sent:
//! none may answer an error, or a fragment other than the first.

use crate::{family::Upper, packet::Packet};

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// As many as are followed; behind more, or a cut one, no upper layer is found.
const MAX: usize = 8;

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility.
const fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | FRAGMENT | AUTHENTICATION | 60 | 135)
}

/// 1 where they are equal, else 0, as a number: a branch here would double the paths that the
/// verifier walks with every header.
#[inline(always)]
fn equal(a: u8, b: u8) -> usize {
    (u64::from(a ^ b).wrapping_sub(1) >> 63) as usize
}

/// The upper layer behind the extension headers.
#[inline(always)]
pub fn follow(packet: Packet, mut upper: Upper) -> Option<Upper> {
    let mut later_fragment = 0;
    for _ in 0..MAX {
        if !is_extension(upper.protocol) {
            return Some(Upper {
                later_fragment: later_fragment != 0,
                ..upper
            });
        }
        // Four bytes: next header, length, and the fragment offset where it is one.
        let head = u32::from_be(packet.double_word(upper.at)?);
        let fragment = equal(upper.protocol, FRAGMENT);
        let authentication = equal(upper.protocol, AUTHENTICATION);
        later_fragment |= head as usize & 0xfff8 & fragment.wrapping_neg();
        // In units of 8 bytes, the first not counted; 8 bytes; in units of 4, two not counted.
        let length = (head >> 16 & 0xff) as usize & fragment.wrapping_sub(1);
        let next = upper.at + ((length + 1 + authentication) << (3 - authentication));
        // Eight headers of 2 KiB at most; the bound is for the verifier.
        upper.at = next & 0x7fff;
        upper.protocol = (head >> 24) as u8;
    }
    None
}
