//! ESP in tunnel mode (RFC 4303).
//!
//! [`OutboundSa`] seals and [`InboundSa`] opens one packet at a time, where it lies: the caller
//! leaves [`OutboundSa::payload_offset`] bytes before an inner packet and room behind it, and many
//! packets side by side in one buffer are sealed one after the other. Neither allocates. What
//! carries ESP, UDP or IP, is the caller's; what happens to the inner packets is
//! [`packet`](crate::packet)'s.

use thiserror::Error;

use crate::{crypto::CryptoError, sa::Spi};

mod inbound;
mod layout;
mod limits;
mod mtu;
mod outbound;
mod replay;
mod selectors;
#[cfg(test)]
mod tests;
mod transform;

pub use inbound::{InboundSa, OpenError};
pub use layout::Layout;
pub use mtu::{TunnelMtu, max_inner, outer_len};
pub use outbound::{OutboundSa, SealError};
pub use replay::{ReplayWindow, WINDOW};
pub use selectors::Selectors;

/// IPv4 in a tunnel; its protocol number.
const NEXT_HEADER_IPV4: u8 = 4;
const NEXT_HEADER_IPV6: u8 = 41;
/// A dummy packet (RFC 4303, 2.6).
const NEXT_HEADER_NONE: u8 = 59;

/// An SA that cannot be: IKE and ESP disagree about its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the SA cannot be used: {0}")]
pub struct SaError(#[from] CryptoError);

/// The SPI of an ESP packet. `None` when it is too short for one, and for 0 to 255: 0 begins an
/// IKE message on port 4500 (RFC 3948, 2.2), the others are reserved.
#[inline]
pub fn spi_of(packet: &[u8]) -> Option<Spi> {
    let spi = u32::from_be_bytes(*packet.first_chunk()?);
    (spi > 255).then_some(Spi(spi))
}
