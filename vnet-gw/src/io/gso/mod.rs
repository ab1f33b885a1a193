//! The engine of kernel sockets: a tap with virtio-net headers as the gateway's port, UDP sockets with
//! `UDP_SEGMENT` and `UDP_GRO`, and raw sockets for protocol 50.

mod address;
mod control;
mod path;
mod receive;
mod send;
mod socket;
mod tap;
mod transmit;
mod underlay;

pub(super) use tap::Tap;
pub(super) use underlay::Sockets;
