//! UDP datagrams that carry a mark, counted at the receiver.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{PacketSocket, frame::Packet};
use crate::Netns;

/// Watches a device for UDP packets that carry a mark, whatever addresses they have.
pub struct Arrival {
    socket: PacketSocket,
    mark: [u8; 16],
}

impl Arrival {
    /// Watches `device` of `netns`; `mark` is what the datagrams begin with.
    pub fn watch(netns: &Netns, device: &str, mark: [u8; 16]) -> Result<Self> {
        Ok(Self {
            socket: PacketSocket::open(netns, device)?,
            mark,
        })
    }

    /// How many arrive from the opening of the watch until `patience` from now.
    pub fn count(&self, patience: Duration) -> Result<u64> {
        self.socket.count(patience, |frame| self.carries(frame))
    }

    /// The first to arrive, as a whole frame.
    pub fn first(&self, patience: Duration) -> Result<Option<Vec<u8>>> {
        self.socket.find(patience, |frame| {
            self.carries(frame).then(|| frame.to_vec())
        })
    }

    /// The mark is looked for at any place: extension headers may stand before it.
    fn carries(&self, frame: &[u8]) -> bool {
        Packet::parse(frame)
            .is_some_and(|packet| packet.payload.windows(16).any(|window| window == self.mark))
    }
}

/// Sends `count` datagrams with `mark` from `netns` through its stack.
pub fn send_marked(netns: &Netns, to: IpAddr, mark: [u8; 16], count: u32) -> Result<()> {
    let any: SocketAddr = match to {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = netns
        .enter(|| UdpSocket::bind(any))?
        .context("binding a UDP socket")?;
    for _ in 0..count {
        if let Err(error) = socket.send_to(&mark, (to, 9)) {
            // An ICMP error for the datagram before is told on the next one.
            let told = matches!(
                error.raw_os_error(),
                Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ECONNREFUSED)
            );
            if !told {
                return Err(error).with_context(|| format!("sending to {to}"));
            }
        }
    }
    Ok(())
}
