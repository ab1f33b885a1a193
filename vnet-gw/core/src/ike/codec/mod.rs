//! The messages of IKEv2 as bytes and as values (RFC 7296, section 3).
//!
//! A datagram is looked at in steps, each no more trusting than what is known by then:
//!
//! 1. [`Packet::parse`] reads the header and finds out how the payloads are protected.
//! 2. [`Packet::payloads`] reads those of a message in the clear (IKE_SA_INIT), or
//!    [`SkCipher::open`] and [`SkCipher::open_fragment`] prove and decrypt those of any other.
//! 3. [`Inner::payloads`] reads what was inside. Fragments go through a [`Reassembler`] first.
//!
//! The way out: [`encode`] for messages in the clear; [`Inner::encode`], then [`SkCipher::seal`]
//! or [`SkCipher::seal_fragments`] for the rest.
//!
//! Nothing here allocates more than a small multiple of the datagram's length, and nothing panics
//! whatever the bytes are.

mod error;
mod fragment;
mod header;
mod inner;
mod message;
mod notify;
mod offer;
mod payload;
mod proposal;
mod reader;
mod selector;
mod sk;
mod suite;
mod transform;

#[cfg(test)]
mod tests;

pub use error::*;
pub use fragment::*;
pub use header::*;
pub use inner::*;
pub use message::*;
pub use notify::*;
pub use offer::*;
pub use payload::*;
pub use proposal::*;
pub use selector::MAX_SELECTORS;
pub use sk::*;
pub use transform::*;
