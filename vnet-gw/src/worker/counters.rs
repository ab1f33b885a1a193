//! Counters that one thread writes and any may read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use vnet_gw_core::sa::TunnelId;

use super::{TunnelCounters, WorkerStats};

/// A counter with one writer: no locked instruction, since nobody else changes it.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Only from the worker's thread.
    pub(super) fn add(&self, count: u64) {
        if count != 0 {
            self.set(self.get() + count);
        }
    }

    /// Only from the worker's thread.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`TunnelCounters`].
#[derive(Debug, Default)]
pub(super) struct TunnelCells {
    pub(super) packets_in: Counter,
    pub(super) bytes_in: Counter,
    pub(super) packets_out: Counter,
    pub(super) bytes_out: Counter,
    pub(super) replayed: Counter,
    pub(super) bad_integrity: Counter,
    pub(super) outside_selectors: Counter,
    pub(super) malformed: Counter,
    pub(super) too_big: Counter,
    pub(super) congested: Counter,
    /// Milliseconds since 1970; 0: never.
    pub(super) last_received: Counter,
}

impl TunnelCells {
    fn read(&self) -> TunnelCounters {
        let received = self.last_received.get();
        TunnelCounters {
            packets_in: self.packets_in.get(),
            bytes_in: self.bytes_in.get(),
            packets_out: self.packets_out.get(),
            bytes_out: self.bytes_out.get(),
            replayed: self.replayed.get(),
            bad_integrity: self.bad_integrity.get(),
            outside_selectors: self.outside_selectors.get(),
            malformed: self.malformed.get(),
            too_big: self.too_big.get(),
            congested: self.congested.get(),
            last_received: (received != 0).then(|| UNIX_EPOCH + Duration::from_millis(received)),
        }
    }

    /// Only from the worker's thread.
    pub(super) fn received_now(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.last_received
            .set(now.map_or(0, |now| now.as_millis() as u64));
    }
}

/// See [`WorkerStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    engine: (&'static str, String),
    /// Locked when a tunnel is new and when somebody reads, never for a packet.
    tunnels: Mutex<BTreeMap<TunnelId, Arc<TunnelCells>>>,
    pub(super) unknown_spi: Counter,
    pub(super) no_tunnel: Counter,
    pub(super) turned_back: Counter,
    pub(super) over_bandwidth_out: Counter,
    pub(super) over_bandwidth_in: Counter,
    pub(super) ike_overflow: Counter,
    pub(super) underlay_send_errors: Counter,
    pub(super) port_write_errors: Counter,
}

impl Counters {
    pub(super) fn new(engine: &'static str, reason: String) -> Self {
        Self {
            engine: (engine, reason),
            ..Self::default()
        }
    }

    /// Those of a tunnel: the same again for one that was away.
    pub(super) fn tunnel(&self, id: TunnelId) -> Arc<TunnelCells> {
        self.lock().entry(id).or_default().clone()
    }

    /// Forgets the tunnels that are not among those.
    pub(super) fn keep(&self, ids: &std::collections::BTreeSet<TunnelId>) {
        self.lock().retain(|id, _| ids.contains(id));
    }

    pub(super) fn read(&self) -> WorkerStats {
        let (engine, engine_reason) = self.engine.clone();
        WorkerStats {
            engine,
            engine_reason,
            tunnels: self
                .lock()
                .iter()
                .map(|(id, cells)| (*id, cells.read()))
                .collect(),
            unknown_spi: self.unknown_spi.get(),
            no_tunnel: self.no_tunnel.get(),
            turned_back: self.turned_back.get(),
            over_bandwidth_out: self.over_bandwidth_out.get(),
            over_bandwidth_in: self.over_bandwidth_in.get(),
            ike_overflow: self.ike_overflow.get(),
            underlay_send_errors: self.underlay_send_errors.get(),
            port_write_errors: self.port_write_errors.get(),
            commands_waiting: 0,
            messages_waiting: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TunnelId, Arc<TunnelCells>>> {
        // Nothing that can panic happens under the lock.
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
