//! IKEv2 (RFC 7296) as a state machine without I/O.
//!
//! [`Endpoint`] is all IKE SAs of a host. Put in: [`Endpoint::configure`], `handle_datagram`,
//! `handle_timeout`, `handle_report`. Take out after each of those, in this order: `poll_event`
//! until `None` and carry the events out (an inbound SA must be in place before the message that
//! tells the peer of it leaves), then `poll_transmit` until `None`, then `poll_timeout`.

mod api;
pub mod codec;
mod endpoint;
pub mod keys;
mod options;

pub use api::*;
pub use endpoint::Endpoint;
pub use options::EndpointOptions;
