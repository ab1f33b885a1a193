//! From the gateway's port to the underlay: choose a tunnel, cut, seal, send. What is for the
//! gateway's own side goes back into the port.

use vnet_gw_core::{
    esp::outer_len,
    packet::{
        Flow, Fragments, Segments, VirtioHeader, clamp_mss, dont_fragment, ecn,
        icmp::LONGEST_ERROR, too_big,
    },
    sa::TUNNEL_MTU,
};

use super::{
    bucket::Bucket,
    counters::Counters,
    tunnels::{Choice, Outbound, Tunnels},
};
use crate::io::{MESSAGE_BYTES, Outgoing, PathId, SendFailure, Underlay};

/// What every link of IPv6 takes, and every host of IPv4 (RFC 8200, 5; RFC 791, 3.1): who sends
/// no more than that is never told to send less, but fragmented outside.
const LEAST6: usize = 1280;
const LEAST4: usize = 576;
/// The longest packet there is.
const LONGEST: usize = 65_535;
/// Failures of one batch that are looked at.
const FAILURES: usize = 64;

/// What is to be written into the port.
pub(super) struct Back<'a> {
    pub(super) offload: VirtioHeader,
    pub(super) packet: &'a [u8],
}

/// What sealing needs beside the tunnels.
pub(super) struct Sealer {
    pub(super) bucket: Bucket,
    /// Answers to packets that were too big.
    pub(super) errors: Bucket,
    /// For packets that are cut in two steps, or turned back.
    scratch: Box<[u8]>,
    /// The answer to a packet that was too big.
    reply: Box<[u8]>,
    failures: Failures,
}

/// What the underlay did not take.
struct Failures {
    /// Paths that may have become narrower.
    narrowed: Vec<PathId>,
    packets: u64,
}

impl Failures {
    fn note(&mut self, failure: &SendFailure) {
        log::debug!("sending ESP: {}", failure.error);
        self.packets += failure.packets as u64;
        if failure.too_big() && self.narrowed.len() < FAILURES {
            self.narrowed.push(failure.path);
        }
    }
}

/// Where packets go.
struct Way<'a> {
    underlay: &'a mut dyn Underlay,
    pair: &'a mut Outbound,
    to: Outgoing,
    /// What fits into one packet of the underlay.
    fits: usize,
    /// It may be TCP's first packet, which comes alone.
    clamp: bool,
    failures: &'a mut Failures,
    packets: u64,
    bytes: u64,
}

impl Way<'_> {
    /// Seals the packet that `write` makes, of at most `length` bytes.
    fn send(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let offset = self.pair.sa.payload_offset();
        let room = self.pair.sa.sealed_len(length);
        // What fills a message goes without a look for more: the other end can begin. It goes before
        // it is exceeded, or each message is followed by one of a single packet.
        let full = self.underlay.pending() + room > MESSAGE_BYTES;
        if full || self.underlay.slot(&self.to, room).is_none() {
            self.flush();
        }
        let Some(slot) = self.underlay.slot(&self.to, room) else {
            self.failures.packets += 1;
            return;
        };
        let Some(length) = write(&mut slot[offset..]) else {
            return;
        };
        if self.clamp {
            clamp_mss(&mut slot[offset..offset + length], self.fits);
        }
        // Fails when the SA is used up, which `choose` has looked at.
        if let Ok(sealed) = self.pair.sa.seal(slot, length) {
            self.underlay.commit(sealed);
            self.packets += 1;
            self.bytes += length as u64;
        }
    }

    fn flush(&mut self) {
        self.underlay
            .flush(&mut |failure| self.failures.note(&failure));
    }
}

impl Sealer {
    pub(super) fn new(bucket: Bucket, errors: Bucket) -> Self {
        Self {
            bucket,
            errors,
            scratch: vec![0; LONGEST].into_boxed_slice(),
            reply: vec![0; LONGEST_ERROR].into_boxed_slice(),
            failures: Failures {
                narrowed: Vec::with_capacity(FAILURES),
                packets: 0,
            },
        }
    }

    /// Seals what came from the port. What comes back is to be written into the port: the answer
    /// to a packet that was too big, or what is for the gateway's own side.
    pub(super) fn seal(
        &mut self,
        offload: &VirtioHeader,
        packet: &[u8],
        tunnels: &mut Tunnels,
        underlay: &mut dyn Underlay,
        counters: &Counters,
    ) -> Option<Back<'_>> {
        let segments = Segments::new(offload, packet).ok();
        let to = Flow::of(packet).and_then(|flow| tunnels.choose(&flow));
        let (Some(to), Some(segments)) = (to, segments) else {
            counters.no_tunnel.add(1);
            return None;
        };
        if !self.bucket.take(segments.total_len()) {
            counters.over_bandwidth_out.add(segments.len() as u64);
            return None;
        }
        let (number, pair) = match to {
            Choice::Tunnel(number, pair) => (number, pair),
            Choice::Back => {
                counters.turned_back.add(segments.len() as u64);
                return self.turn_back(offload, packet, &segments);
            }
        };
        let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let source = tunnels.error_source(v6);
        let tunnel = &mut tunnels.all[number];
        let (path, pair) = (tunnel.path?, tunnel.outbound.get_mut(pair)?);
        let room = usize::from(path.mtu).saturating_sub(outer_len(&path.encapsulation));
        let fits = pair.sa.inner_len(room).min(usize::from(TUNNEL_MTU));
        let most = fits.max(if v6 { LEAST6 } else { LEAST4 });
        let longest = segments.segment_len(0);
        let mut way = Way {
            underlay,
            pair,
            to: Outgoing {
                path: path.id,
                tos: ecn::outer(packet),
                dont_fragment: longest.min(most) <= fits,
            },
            fits,
            clamp: segments.len() == 1,
            failures: &mut self.failures,
            packets: 0,
            bytes: 0,
        };
        let mut reply = None;
        if longest <= most {
            for index in 0..segments.len() {
                way.send(segments.segment_len(index), |out| {
                    segments.write(index, out)
                });
            }
        } else {
            tunnel.cells.too_big.add(segments.len() as u64);
            for index in 0..segments.len() {
                let length = segments.write(index, &mut self.scratch)?;
                let packet = &self.scratch[..length];
                if dont_fragment(packet) {
                    if self.errors.take(1) {
                        reply = too_big(packet, source, most as u16, &mut self.reply);
                    }
                    break;
                }
                let fragments = Fragments::new(packet, most)?;
                for index in 0..fragments.len() {
                    way.send(most, |out| fragments.write(index, out));
                }
            }
        }
        let (packets, bytes) = (way.packets, way.bytes);
        tunnel.seen.sent |= packets > 0;
        tunnel.cells.packets_out.add(packets);
        tunnel.cells.bytes_out.add(bytes);
        reply.map(|length| Back {
            offload: VirtioHeader::default(),
            packet: &self.reply[..length],
        })
    }

    /// The packet as it goes into the port again: a super-packet whole. One alone may be TCP's
    /// first, which learns what the port takes as those in tunnels do.
    fn turn_back(
        &mut self,
        offload: &VirtioHeader,
        packet: &[u8],
        segments: &Segments<'_>,
    ) -> Option<Back<'_>> {
        if segments.len() == 1 {
            let length = segments.write(0, &mut self.scratch)?;
            let packet = self.scratch.get_mut(..length)?;
            clamp_mss(packet, usize::from(TUNNEL_MTU));
            let offload = VirtioHeader::default();
            return Some(Back { offload, packet });
        }
        let copy = self.scratch.get_mut(..packet.len())?;
        copy.copy_from_slice(packet);
        Some(Back {
            offload: *offload,
            packet: copy,
        })
    }

    /// Sends what waits, and takes note of what failed since the last call.
    pub(super) fn flush(
        &mut self,
        tunnels: &mut Tunnels,
        underlay: &mut dyn Underlay,
        counters: &Counters,
    ) {
        underlay.flush(&mut |failure| self.failures.note(&failure));
        counters.underlay_send_errors.add(self.failures.packets);
        self.failures.packets = 0;
        for path in self.failures.narrowed.drain(..) {
            tunnels.narrowed(path);
        }
    }
}
