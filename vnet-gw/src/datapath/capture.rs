//! Copies of packets: which ports make them, and the rings they come by.
//!
//! A port without a wish has no flag, and pays nothing. The flag goes before the entry that says
//! what is copied, and comes after it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::maps::{
    Map as AyaMap, MapData, PerfEventArray,
    perf::{PerfEvent, PerfEventArrayBuffer},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{SysconfVar, sysconf},
};
use vnet_gw_common::{
    capture::{Capture, Event},
    maps,
};
use vnet_gw_core::model::ResourceId;

use super::{Datapath, DatapathError, load::Maps, map::Map, sys};

/// Memory of all rings together, and the bounds of one; a ring is a power of two of pages.
const RINGS: usize = 32 << 20;
const RING: std::ops::RangeInclusive<usize> = 256 << 10..=4 << 20;

impl Datapath {
    /// Says what is copied of a port's packets, or that nothing is. Not remembered across restarts.
    ///
    /// # Errors
    /// No such port; more ports at once than [`maps::MAX_CAPTURES`].
    pub fn set_capture(
        &mut self,
        nic: &ResourceId,
        wanted: Option<Capture>,
    ) -> Result<(), DatapathError> {
        self.ports.set_capture(&self.maps, nic, wanted)
    }

    /// Copies of a port's packets that found no room since it was last without a wish.
    pub fn lost_copies(&self, nic: &ResourceId) -> Result<u64, DatapathError> {
        self.ports.lost_copies(&self.maps, nic)
    }

    /// The rings that copies come by. There is one reader at a time; without one, every copy is
    /// counted as lost.
    pub fn packet_rings(&self) -> Result<PacketRings, DatapathError> {
        let path = self.directory.map(maps::PACKETS);
        let failed = |source: io::Error| DatapathError::Map {
            map: maps::PACKETS,
            operation: "opening the rings of copied packets".to_owned(),
            source,
        };
        let fd = sys::object_get(&path).map_err(failed)?;
        let captures = sys::object_get(&self.directory.map(maps::CAPTURES))
            .and_then(|fd| Map::new(fd, 1))
            .map_err(failed)?;
        PacketRings::open(fd, captures).map_err(failed)
    }
}

/// What an earlier daemon wished for is nobody's wish now.
pub(super) fn forget_all(maps: &Maps) -> Result<(), DatapathError> {
    for port in maps.captures.keys()? {
        maps.captures.delete(port)?;
    }
    Ok(())
}

pub(super) fn write(maps: &Maps, port: u32, wanted: &Capture) -> Result<(), DatapathError> {
    let lost = lost(maps, port)?;
    maps.captures.set(port, Capture { lost, ..*wanted })
}

pub(super) fn lost(maps: &Maps, port: u32) -> Result<u64, DatapathError> {
    let mut held = [Capture::ALL];
    let there = maps.captures.get_into(port, &mut held)?;
    Ok(if there { held[0].lost } else { 0 })
}

/// A ring for each CPU. Dropping them ends it.
pub struct PacketRings {
    rings: Vec<PerfEventArrayBuffer<MapData>>,
    captures: Map,
    /// For a packet that goes round the end of a ring.
    whole: Vec<u8>,
}

impl std::fmt::Debug for PacketRings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rings", self.rings.len())
    }
}

impl PacketRings {
    fn open(fd: OwnedFd, captures: Map) -> io::Result<Self> {
        let map = MapData::from_fd(fd).map_err(io::Error::other)?;
        let mut array =
            PerfEventArray::try_from(AyaMap::PerfEventArray(map)).map_err(io::Error::other)?;
        let cpus = aya::util::online_cpus().map_err(|(_, error)| error)?;
        let page = sysconf(SysconfVar::PAGE_SIZE)?
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(4096);
        let size = (RINGS / cpus.len().max(1)).clamp(*RING.start(), *RING.end());
        let pages = (size / page).max(1);
        // Rounded down.
        let pages = 1 << pages.ilog2();
        let open = |cpu| array.open(cpu, Some(pages)).map_err(io::Error::other);
        let rings = cpus.into_iter().map(open).collect::<io::Result<_>>()?;
        Ok(Self {
            rings,
            captures,
            whole: Vec::new(),
        })
    }

    /// Waits until there is something, or the time is over.
    pub fn wait(&self, milliseconds: u16) {
        let mut fds: Vec<PollFd<'_>> = self
            .rings
            .iter()
            .map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN))
            .collect();
        // An interruption is a reason to look again, no more.
        let _ = poll(&mut fds, PollTimeout::from(milliseconds));
    }

    /// Copies of a port that found no room; nothing where none are made of it.
    pub fn lost(&self, port: u32) -> Option<u64> {
        let mut held = [Capture::ALL];
        let there = self.captures.get_into(port, &mut held).ok()?;
        there.then_some(held[0].lost)
    }

    /// Takes what is there: by ring, in the order in which that CPU told it. Copies that were lost
    /// are counted by port ([`Self::lost`]).
    pub fn drain(&mut self, mut take: impl FnMut(usize, &Event, &[u8])) {
        let Self { rings, whole, .. } = self;
        for (cpu, ring) in rings.iter_mut().enumerate() {
            ring.for_each(|event| {
                let PerfEvent::Sample { head, tail } = event else {
                    return;
                };
                let bytes = if tail.is_empty() {
                    head
                } else {
                    whole.clear();
                    whole.extend_from_slice(head);
                    whole.extend_from_slice(tail);
                    whole.as_slice()
                };
                if let Some((event, packet)) = split(bytes) {
                    take(cpu, &event, packet);
                }
            });
        }
    }
}

/// The event, and the bytes that it says follow.
fn split(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let (head, rest) = bytes.split_at_checked(size_of::<Event>())?;
    let long = |at: usize| {
        let word = head.get(at..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u64::from_ne_bytes(*word))
    };
    let word = |at: usize| {
        let word = head.get(at..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    };
    let event = Event {
        time: long(0),
        port: word(8),
        kind: word(12),
        len: word(16),
        copied: word(20),
        reason: word(24),
        reserved: 0,
    };
    Some((event, rest.get(..event.copied as usize)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_an_event_and_its_bytes() {
        let mut bytes = Vec::new();
        bytes.extend(7u64.to_ne_bytes());
        for word in [3u32, Event::DELIVERED, 1500, 2, 0, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        // Two of the packet, and padding.
        bytes.extend([0xaa, 0xbb, 0, 0]);
        let (event, packet) = split(&bytes).unwrap();
        assert_eq!((event.time, event.port, event.len), (7, 3, 1500));
        assert_eq!(event.kind, Event::DELIVERED);
        assert_eq!(packet, [0xaa, 0xbb]);
        for length in 0..34 {
            assert!(split(&bytes[..length]).is_none());
        }
    }
}
