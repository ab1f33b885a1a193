//! Traffic of known content, counted where it arrives.

pub mod arrival;
pub mod capture;
pub mod flow;
pub mod frame;
pub mod packet_socket;
pub mod ping;
pub mod tcp;

pub use arrival::Arrival;
pub use capture::{Capture, Captured};
pub use flow::{Flow, FlowReport};
pub use packet_socket::PacketSocket;
pub use ping::{Outcome, Ping};
