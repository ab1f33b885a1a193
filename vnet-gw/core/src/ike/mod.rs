//! IKEv2 (RFC 7296) as a state machine without I/O.
//!
//! [`Endpoint`] is all IKE SAs of a host. Put in: [`Endpoint::configure`], `handle_datagram`,
//! `handle_timeout`, `handle_report`. Take out after each of those, in this order: `poll_event`
//! until `None` and carry the events out (an inbound SA must be in place before the message that
//! tells the peer of it leaves), then `poll_transmit` until `None`, then `poll_timeout`.

mod api;
mod channel;
mod child;
pub mod codec;
mod context;
mod cookies;
mod endpoint;
mod established;
mod initiator;
pub mod keys;
mod limits;
mod narrow;
mod nat;
mod negotiated;
mod options;
mod rekey;
mod responder;
mod retransmit;
#[cfg(test)]
mod tests;
mod timers;
mod tunnel;

pub use api::*;
pub use endpoint::Endpoint;
pub use options::EndpointOptions;
