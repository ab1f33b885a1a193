//! What IKE is told of the tunnels.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use vnet_gw_core::{ike::Report, sa::Spi};

use super::{
    FromWorker,
    tunnels::{Seen, Tunnels},
};

/// Between two reports of a tunnel.
const INTERVAL: Duration = Duration::from_millis(200);

/// Tells what was seen, a few times a second, and only if anything was.
pub(super) struct Reporter {
    out: mpsc::Sender<FromWorker>,
    last: Instant,
}

impl Reporter {
    pub(super) fn new(out: mpsc::Sender<FromWorker>, now: Instant) -> Self {
        Self { out, last: now }
    }

    /// When to be called next, if something waits.
    pub(super) fn due(&self, tunnels: &Tunnels) -> Option<Instant> {
        let waits = tunnels.all.iter().any(|tunnel| tunnel.seen.any());
        waits.then(|| self.last + INTERVAL)
    }

    pub(super) fn report(&mut self, tunnels: &mut Tunnels, now: Instant) {
        if now.saturating_duration_since(self.last) < INTERVAL {
            return;
        }
        self.last = now;
        for tunnel in &mut tunnels.all {
            if !tunnel.seen.any() {
                continue;
            }
            let wants = |spi: &Spi| {
                let inbound = tunnels.inbound.get(spi);
                inbound.is_some_and(|entry| entry.sa.wants_rekey())
            };
            let tired = tunnel
                .outbound
                .iter()
                .find(|pair| pair.sa.wants_rekey() || wants(&pair.inbound));
            let report = Report {
                tunnel: tunnel.id,
                received: tunnel.seen.received,
                sent: tunnel.seen.sent,
                rekey: tired.map(|pair| pair.inbound),
                moved_to: tunnel.seen.moved_to,
            };
            // One that finds no room is told the next time, together with what came meanwhile.
            if self.out.try_send(FromWorker::Report(report)).is_ok() {
                if tunnel.seen.received {
                    tunnel.cells.received_now();
                }
                tunnel.seen = Seen {
                    narrowed: tunnel.seen.narrowed,
                    ..Seen::default()
                };
            }
        }
    }
}
