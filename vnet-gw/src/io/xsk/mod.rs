//! The engine of AF_XDP sockets: on the underlay's device, with zero-copy where its driver has it, and
//! at the far end of a veth pair whose near end is the gateway's port.
//!
//! A program on the underlay's device sends ESP for the gateway to the socket and leaves all else to
//! the kernel; on the far end of the pair everything is the socket's. Packets stand in frames whose
//! owner the types tell ([`area`]). The kernel is called once for a batch, and only where a ring says
//! that it sleeps.
//!
//! The kernel's sockets of the engine `gso` stay open beside it. They have IKE, and what the rings
//! cannot do: see [`Rings`].

mod area;
mod device;
mod headers;
mod paths;
mod port;
mod program;
mod ring;
mod socket;
mod underlay;

use std::net::IpAddr;

pub(in crate::io) use port::Pair;
pub(in crate::io) use underlay::Rings;

use self::socket::Mode;
use super::Underlay;

/// Which devices will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum Wanted {
    /// Only with zero-copy: without it the engine `gso` is faster.
    ZeroCopy,
    Any,
}

/// Opens the underlay beside the kernel's sockets `kernel`, which are configured for `addresses`.
/// With it, in words, what it runs on. The error is in words, too.
pub(in crate::io) fn open(
    kernel: Box<dyn Underlay>,
    addresses: &[IpAddr],
    wanted: Wanted,
) -> Result<(Rings, String), String> {
    let modes: &[Mode] = match wanted {
        Wanted::ZeroCopy if addresses.is_empty() => {
            return Err("none of the gateway's public addresses is on this host".to_owned());
        }
        Wanted::ZeroCopy => &[Mode::ZeroCopy],
        Wanted::Any => &[Mode::ZeroCopy, Mode::Copy],
    };
    let rings = Rings::open(kernel, addresses, modes)?;
    let runs_on = match rings.device() {
        Some((device, Mode::ZeroCopy)) => format!("{device} has AF_XDP with zero-copy"),
        Some((device, Mode::Copy)) => format!("the kernel copies: {device} has no zero-copy"),
        None if wanted == Wanted::ZeroCopy => {
            return Err("no device of this host has the gateway's public addresses".to_owned());
        }
        None => "no device has the gateway's public addresses yet".to_owned(),
    };
    Ok((rings, runs_on))
}

/// Makes the gateway's port.
pub(in crate::io) fn create_port(
    device: &str,
    mac: [u8; 6],
) -> Result<Pair, (&'static str, std::io::Error)> {
    Pair::create(device, mac)
}
