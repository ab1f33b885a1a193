//! Opening: the peer's half of a pair of SAs.

use std::ops::Range;

use thiserror::Error;

use crate::{
    packet::{Flow, Outline},
    sa::{ChildSa, Spi},
};

use super::{
    NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, NEXT_HEADER_NONE, SaError,
    layout::{Layout, TRAILER_LEN},
    limits::Limits,
    replay::ReplayWindow,
    selectors::Selectors,
    spi_of,
    transform::Transform,
};

/// Why nothing came out of an ESP packet. The first four have a counter of the tunnel each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Seen before, or too far behind to tell.
    #[error("replayed, or older than the window")]
    Replayed,
    /// Forged or damaged, or made with another key.
    #[error("the integrity check failed")]
    Integrity,
    /// True, but the inner packet is none that the SA was made for (RFC 4301, 5.2, step 4).
    #[error("outside the traffic selectors")]
    OutsideSelectors,
    /// Too short, a part of a block, or true with contents that make no sense.
    #[error("malformed")]
    Malformed,
    /// True, and meant to be dropped (RFC 4303, 2.6).
    #[error("a dummy packet")]
    Dummy,
    /// The SA has taken all the bytes that it may.
    #[error("the SA is used up")]
    Expired,
}

/// What the peer sends with.
pub struct InboundSa {
    spi: Spi,
    esn: bool,
    layout: Layout,
    transform: Transform,
    window: ReplayWindow,
    selectors: Selectors,
    limits: Limits,
    packets: u64,
}

impl InboundSa {
    /// Fails when the key material is not as long as the suite asks for.
    pub fn new(child: &ChildSa) -> Result<Self, SaError> {
        let sa = &child.inbound;
        Ok(Self {
            spi: sa.spi,
            esn: sa.esn,
            layout: Layout::of(sa.suite),
            transform: Transform::new(sa)?,
            window: ReplayWindow::new(),
            selectors: Selectors::new(&child.local_selectors, &child.remote_selectors),
            limits: Limits::new(child, sa.esn),
            packets: 0,
        })
    }

    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// Opens an ESP packet (from the SPI to the end of the ICV) in place and returns where in it
    /// the inner packet lies. Only a packet that proves true changes the SA; one that does not
    /// is of no use any more.
    #[inline]
    pub fn open(&mut self, packet: &mut [u8]) -> Result<Range<usize>, OpenError> {
        let encrypted = self
            .layout
            .encrypted_of(packet.len())
            .ok_or(OpenError::Malformed)?;
        if spi_of(packet) != Some(self.spi) {
            return Err(OpenError::Malformed);
        }
        let low = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let sequence = if self.esn {
            self.window.extend(low)
        } else {
            Some(u64::from(low))
        };
        let sequence = sequence
            .filter(|sequence| self.window.admits(*sequence))
            .ok_or(OpenError::Replayed)?;
        if !self.limits.has_room(encrypted) {
            return Err(OpenError::Expired);
        }
        self.transform
            .open(&self.layout, self.esn, sequence, packet)
            .map_err(|_| OpenError::Integrity)?;
        self.window.mark(sequence);

        let start = self.layout.payload_offset();
        let inner = self.inspect(&packet[start..start + encrypted])?;
        self.packets += 1;
        self.limits.count(inner);
        Ok(start..start + inner)
    }

    /// The length of the inner packet in what was decrypted, if it is one that may be there.
    #[inline]
    fn inspect(&self, plain: &[u8]) -> Result<usize, OpenError> {
        let (data, trailer) = plain.split_at(plain.len() - TRAILER_LEN);
        let padding = usize::from(trailer[0]);
        let (payload, padding) = data
            .len()
            .checked_sub(padding)
            .map(|at| data.split_at(at))
            .ok_or(OpenError::Malformed)?;
        let version = match trailer[1] {
            NEXT_HEADER_NONE => return Err(OpenError::Dummy),
            NEXT_HEADER_IPV4 => 4,
            NEXT_HEADER_IPV6 => 6,
            _ => return Err(OpenError::Malformed),
        };
        // Counting up by one, as the sender must (2.4): what is anything else was no sender's.
        if padding.iter().zip(1..).any(|(byte, count)| *byte != count) {
            return Err(OpenError::Malformed);
        }
        if payload.first().map(|byte| byte >> 4) != Some(version) {
            return Err(OpenError::Malformed);
        }
        // The payload may be longer than the packet: padding for traffic flow confidentiality (2.7).
        let outline = Outline::of(payload).ok_or(OpenError::Malformed)?;
        let flow = Flow::with(payload, &outline).ok_or(OpenError::Malformed)?;
        if self.selectors.fits_inbound(&flow) {
            Ok(outline.total)
        } else {
            Err(OpenError::OutsideSelectors)
        }
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, sequence: u64) {
        self.window.mark(sequence);
    }

    #[cfg(test)]
    pub(super) fn top(&self) -> u64 {
        self.window.top()
    }

    /// The SA needs a successor soon: bytes or sequence numbers run out.
    pub fn wants_rekey(&self) -> bool {
        self.limits.wants_rekey(self.window.top())
    }

    /// Inner packets that came out.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.limits.bytes()
    }
}
