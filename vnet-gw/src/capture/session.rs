//! One capture: which packets, for how long, and how far it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use tokio::sync::oneshot;
use vnet_gw_common::capture::{Capture, MAX_FILTERS, MAX_SNAP, MIN_SNAP};
use vnet_gw_core::{
    capture::{Filter, Key, Limits, Side},
    model::ResourceId,
};

use super::{Direction, Packet, Sink};

pub type SessionId = u64;

/// What a packet takes in a file besides its bytes: its block and its options, rounded up.
const BLOCK: u64 = 64;

/// A port whose packets are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub nic: ResourceId,
    pub device: String,
    pub port: u32,
    pub mac: [u8; 6],
    pub addresses: Vec<std::net::IpAddr>,
}

/// What a session is to do.
pub struct Spec {
    pub interfaces: Vec<Interface>,
    pub filters: Vec<Filter>,
    pub limits: Limits,
    pub sink: Box<dyn Sink>,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody ended it.
    Stopped,
    TimeExceeded,
    BytesExceeded,
    /// Whoever read it is gone.
    Closed,
    /// Its port, or all of them, are none of this host's any more.
    PortGone,
    /// What could not be written, and why.
    Failed(String),
    DaemonEnded,
}

impl Why {
    /// As Azure's `stopReason`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "Manual",
            Self::TimeExceeded => "TimeExceeded",
            Self::BytesExceeded => "MaxBytesExceeded",
            Self::Closed => "Closed",
            Self::PortGone => "TargetGone",
            Self::Failed(_) => "InternalError",
            Self::DaemonEnded => "DaemonEnded",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at: SystemTime,
    pub why: Why,
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub started: SystemTime,
    pub packets: u64,
    /// Of the packets, on the wire.
    pub bytes: u64,
    /// Written, with everything around the packets.
    pub written: u64,
    /// Packets of its ports that found no room on the way here, whether or not they fit a filter.
    pub lost: u64,
    pub ended: Option<Ended>,
}

/// A session in the hub.
pub struct Session {
    pub(super) interfaces: Vec<Interface>,
    filters: Vec<Filter>,
    snap: usize,
    total_bytes: u64,
    pub(super) until: Instant,
    sink: Box<dyn Sink>,
    progress: Arc<Mutex<Progress>>,
    /// What the ports had lost when it began.
    pub(super) lost_before: u64,
    pub(super) ending: Option<Why>,
    pub(super) told: Vec<oneshot::Sender<Progress>>,
}

impl Session {
    pub(super) fn new(spec: Spec, lost_before: u64) -> Self {
        let progress = Progress {
            started: SystemTime::now(),
            packets: 0,
            bytes: 0,
            written: spec.sink.written(),
            lost: 0,
            ended: None,
        };
        let snap = match spec.limits.bytes_per_packet {
            0 => MAX_SNAP,
            bytes => bytes.min(MAX_SNAP),
        };
        Self {
            interfaces: spec.interfaces,
            filters: spec.filters,
            snap: snap as usize,
            total_bytes: spec.limits.total_bytes,
            until: Instant::now() + spec.limits.time,
            sink: spec.sink,
            progress: Arc::new(Mutex::new(progress)),
            lost_before,
            ending: None,
            told: Vec::new(),
        }
    }

    pub(super) fn progress(&self) -> Arc<Mutex<Progress>> {
        Arc::clone(&self.progress)
    }

    /// What the kernel is to copy for it, into what it copies for others.
    pub(super) fn widen(&self, capture: &mut Option<Capture>) {
        let snap = (self.snap as u32).max(MIN_SNAP);
        let first = capture.is_none();
        let wanted = capture.get_or_insert(Capture {
            snap,
            ..Capture::ALL
        });
        wanted.snap = wanted.snap.max(snap);
        let used = wanted.filters_used as usize;
        // Nobody before it wants less than everything, or there is no room for what it wants.
        let everything = self.filters.is_empty()
            || (!first && used == 0)
            || used + self.filters.len() > MAX_FILTERS;
        if everything {
            wanted.filters_used = 0;
            return;
        }
        for (place, filter) in wanted.filters.iter_mut().skip(used).zip(&self.filters) {
            *place = filter.hull();
        }
        wanted.filters_used += self.filters.len() as u32;
    }

    /// Takes a packet of port `port`, if it is for this session.
    pub(super) fn offer(&mut self, port: u32, packet: &Packet<'_>) {
        let place = self.interfaces.iter().position(|one| one.port == port);
        let Some(place) = place else { return };
        if self.ended() || !self.fits(packet) {
            return;
        }
        let cut = packet.bytes.len().min(self.snap);
        let packet = Packet {
            interface: place as u32,
            bytes: packet.bytes.get(..cut).unwrap_or_default(),
            ..*packet
        };
        let room = cut as u64 + BLOCK;
        if self.sink.written().saturating_add(room) > self.total_bytes {
            self.ending = Some(Why::BytesExceeded);
            return;
        }
        match self.sink.packet(&packet) {
            Ok(()) => {
                let mut progress = lock(&self.progress);
                progress.packets += 1;
                progress.bytes += u64::from(packet.length);
                progress.written = self.sink.written();
            }
            Err(why) => self.ending = Some(why),
        }
    }

    fn fits(&self, packet: &Packet<'_>) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let local = match packet.direction {
            Direction::Sent => Side::Source,
            Direction::Delivered => Side::Destination,
        };
        Key::of(packet.bytes, local)
            .is_some_and(|key| self.filters.iter().any(|filter| filter.fits(&key)))
    }

    pub(super) fn flush(&mut self) {
        if let Err(why) = self.sink.flush() {
            self.ending.get_or_insert(why);
        }
    }

    pub(super) fn note_lost(&self, lost: u64) {
        let mut progress = lock(&self.progress);
        progress.lost = progress.lost.max(lost.saturating_sub(self.lost_before));
    }

    pub(super) fn end(mut self, why: Why) {
        let progress = lock(&self.progress).clone();
        self.sink.end(&progress, &why);
        let mut progress = lock(&self.progress);
        progress.written = self.sink.written();
        progress.ended = Some(Ended {
            at: SystemTime::now(),
            why,
        });
        let progress = progress.clone();
        for told in self.told.drain(..) {
            // Whoever does not wait any more is no concern of ours.
            let _ = told.send(progress.clone());
        }
    }

    fn ended(&self) -> bool {
        // One that is being stopped by hand still takes what is in the rings.
        self.ending
            .as_ref()
            .is_some_and(|why| !matches!(why, Why::Stopped))
    }
}

/// What is in there stays whole at every point where it could panic.
pub(super) fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
