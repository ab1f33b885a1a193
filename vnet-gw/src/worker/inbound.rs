//! From the underlay to the gateway's port: open, check, put together.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use tokio::sync::mpsc;
use vnet_gw_core::{
    esp::{OpenError, spi_of},
    packet::{Coalescer, VirtioHeader, clamp_mss, ecn},
    sa::TUNNEL_MTU,
};

use super::{FromWorker, bucket::Bucket, counters::Counters, handle::REPORTS, tunnels::Tunnels};
use crate::io::{Datagram, Port, Source, Underlay};

/// Packets of one batch that are remembered without asking for memory.
const BATCH: usize = 4096;
/// In front of an IKE message on port 4500 (RFC 3948, 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// No message of IKE is longer where we listen (port 500 takes no longer one either).
const LONGEST_IKE: usize = 8192;
/// A NAT keepalive (RFC 3948, 2.3).
const KEEPALIVE: [u8; 1] = [0xff];

/// What opening needs beside the tunnels.
pub(super) struct Opener {
    pub(super) bucket: Bucket,
    coalescer: Coalescer,
    out: mpsc::Sender<FromWorker>,
}

/// What a batch was.
pub(super) struct Opened {
    /// There were super-packets of TCP in it.
    pub(super) bulk: bool,
}

impl Opener {
    pub(super) fn new(bucket: Bucket, out: mpsc::Sender<FromWorker>) -> Self {
        Self {
            bucket,
            coalescer: Coalescer::with_capacity(BATCH),
            out,
        }
    }

    /// Opens one batch of what came from the underlay, if anything did.
    pub(super) fn open(
        &mut self,
        tunnels: &mut Tunnels,
        underlay: &mut dyn Underlay,
        port: &mut dyn Port,
        counters: &Counters,
    ) -> io::Result<Option<Opened>> {
        let coalesces = port.limits().segments > 1;
        let received = underlay.receive()?;
        if received.datagrams.is_empty() {
            return Ok(None);
        }
        let mut errors = 0;
        let mut bulk = false;
        let mut write = |arena: &[u8], header: VirtioHeader, parts: &[Range<usize>]| {
            bulk |= header.is_tcp_super();
            if let Err(error) = port.write(&header, arena, parts) {
                log::debug!("writing to the gateway port: {error}");
                errors += 1;
            }
        };
        let arena = received.arena;
        for datagram in received.datagrams {
            for packet in datagram.packets() {
                let start = packet.start;
                let bytes = &mut arena[packet];
                let Some(inner) = self.open_one(datagram, bytes, tunnels, counters) else {
                    continue;
                };
                let inner = start + inner.start..start + inner.end;
                if coalesces {
                    self.coalescer.push(arena, inner);
                } else {
                    write(arena, VirtioHeader::default(), &[inner]);
                }
            }
        }
        self.coalescer.finish(arena, write);
        counters.port_write_errors.add(errors);
        Ok(Some(Opened { bulk }))
    }

    /// Where in the packet the inner one is that may go to the port.
    fn open_one(
        &mut self,
        datagram: &Datagram,
        packet: &mut [u8],
        tunnels: &mut Tunnels,
        counters: &Counters,
    ) -> Option<Range<usize>> {
        let Some(spi) = spi_of(packet) else {
            self.not_esp(datagram, packet, counters);
            return None;
        };
        let Some(entry) = tunnels.inbound.get_mut(&spi) else {
            counters.unknown_spi.add(1);
            return None;
        };
        let tunnel = &mut tunnels.all[entry.tunnel];
        let cells = &tunnel.cells;
        let inner = match entry.sa.open(packet) {
            Ok(inner) => inner,
            Err(error) => {
                let cell = match error {
                    OpenError::Replayed => &cells.replayed,
                    OpenError::Integrity => &cells.bad_integrity,
                    OpenError::OutsideSelectors => &cells.outside_selectors,
                    OpenError::Malformed | OpenError::Expired => &cells.malformed,
                    OpenError::Dummy => {
                        tunnel.seen.received = true;
                        return None;
                    }
                };
                cell.add(1);
                return None;
            }
        };
        tunnel.seen.received = true;
        if let Source::Udp { remote, .. } = datagram.from {
            tunnel.heard_from(remote);
        }
        if entry.confirms {
            entry.confirms = false;
            tunnel.send_on(spi);
        }
        let cells = &tunnel.cells;
        let bytes = &mut packet[inner.clone()];
        // Whoever is behind another connection, or behind none, cannot send from here.
        let source = source(bytes)?;
        if tunnels
            .routes
            .find(source)
            .is_none_or(|connection| Some(connection) != tunnel.connection)
        {
            cells.outside_selectors.add(1);
            return None;
        }
        if !self.bucket.take(bytes.len()) {
            counters.over_bandwidth_in.add(1);
            return None;
        }
        if ecn::decapsulate(bytes, datagram.tos).is_err() {
            cells.congested.add(1);
            return None;
        }
        clamp_mss(bytes, usize::from(TUNNEL_MTU));
        cells.packets_in.add(1);
        cells.bytes_in.add(bytes.len() as u64);
        Some(inner)
    }

    /// IKE, keepalives, and what is neither.
    fn not_esp(&self, datagram: &Datagram, packet: &[u8], counters: &Counters) {
        let Source::Udp { local, remote } = datagram.from else {
            counters.unknown_spi.add(1);
            return;
        };
        match packet.strip_prefix(&NON_ESP_MARKER) {
            Some(message) => self.hand_over(local, remote, message, counters),
            None if *packet == KEEPALIVE => {}
            None => counters.unknown_spi.add(1),
        }
    }

    fn hand_over(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
        counters: &Counters,
    ) {
        // What is left is for reports: only this thread sends, so it is still there afterwards.
        let room = self.out.capacity() > REPORTS;
        let sent = room
            && message.len() <= LONGEST_IKE
            && self
                .out
                .try_send(FromWorker::Ike {
                    local,
                    remote,
                    data: message.to_vec(),
                })
                .is_ok();
        if !sent {
            counters.ike_overflow.add(1);
        }
    }
}

/// Of a packet whose header was looked at when it was opened.
fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(*packet.get(12..)?.first_chunk::<4>()?)),
        _ => Some(IpAddr::from(*packet.get(8..)?.first_chunk::<16>()?)),
    }
}
