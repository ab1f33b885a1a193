//! IPv6 extension headers (RFC 8200, section 4). They are followed where an ICMP error is about to be
//! sent, since none may answer an error or a fragment other than the first, and where security groups
//! hold, since their rules ask for what is behind.

use vnet_gw_common::branchless::opaque;

use crate::{family::Upper, packet::Packet};

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// As many as are followed; behind more, or a cut one, no upper layer is found.
const MAX: usize = 8;
/// Eight headers have 2 KiB each at most. The bound is for the verifier, which knows nothing of a
/// number that was shifted by another.
const BOUND: usize = 0x7fff;

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility.
const fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | FRAGMENT | AUTHENTICATION | 60 | 135)
}

/// Whether rules ask for what is behind it: an authentication header is what they ask for.
#[inline(always)]
pub const fn is_followed(next: u8) -> bool {
    is_extension(next) && next != AUTHENTICATION
}

/// 1 where they are equal, else 0, as a number: a branch here would double the paths that the
/// verifier walks with every header.
#[inline(always)]
fn equal(a: u8, b: u8) -> usize {
    (u64::from(a ^ b).wrapping_sub(1) >> 63) as usize
}

/// What is behind the extension headers.
#[derive(Clone, Copy)]
pub struct Followed {
    /// `None` behind too many, a cut one, or in a fragment other than the first.
    pub upper: Option<Upper>,
    /// Where the fragment header is, the last one if there are several; 0 for none.
    pub fragment_at: usize,
}

/// The upper layer behind the extension headers; `AUTHENTICATED`: also behind an authentication
/// header, which else is an upper layer itself.
#[inline(always)]
pub fn follow<const AUTHENTICATED: bool>(packet: Packet, mut upper: Upper) -> Followed {
    let mut fragment_at = 0;
    for _ in 0..MAX {
        if !is_extension(upper.protocol) || !AUTHENTICATED && upper.protocol == AUTHENTICATION {
            return Followed {
                upper: Some(upper),
                fragment_at,
            };
        }
        // Four bytes: next header, length, and the fragment offset where it is one.
        let Some(head) = packet.double_word(upper.at) else {
            break;
        };
        let head = u32::from_be(head);
        let fragment = equal(upper.protocol, FRAGMENT);
        let authentication = equal(upper.protocol, AUTHENTICATION);
        // The bound is for the verifier, which else knows none of it before 6.12.
        let other = fragment.wrapping_sub(1);
        let at = fragment_at & other | upper.at & !other;
        fragment_at = opaque(at as u64) as usize & BOUND;
        if head as usize & 0xfff8 & fragment.wrapping_neg() != 0 {
            // What follows is no header.
            break;
        }
        // In units of 8 bytes, the first not counted; 8 bytes; in units of 4, two not counted.
        let length = (head >> 16 & 0xff) as usize & fragment.wrapping_sub(1);
        let next = upper.at + ((length + 1 + authentication) << (3 - authentication));
        upper.at = opaque(next as u64) as usize & BOUND;
        upper.protocol = (head >> 24) as u8;
    }
    Followed {
        upper: None,
        fragment_at,
    }
}
