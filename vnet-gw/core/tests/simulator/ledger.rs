//! What must hold for a run as a whole, beyond what any one host can see.

use std::collections::{BTreeMap, BTreeSet};

use vnet_gw_core::sa::{ChildSa, Spi};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// What happened in a run, or in all of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) children: u64,
    pub(crate) connects: u64,
    pub(crate) moves: u64,
    /// Packets through tunnels.
    pub(crate) delivered: u64,
    /// On their way while their SA went, in networks and with events that allow it.
    pub(crate) strayed: u64,
    /// Pairs that came while two others stood: both ends had rekeyed one, or both had begun.
    pub(crate) collisions: u64,
    pub(crate) ike_rekeys: u64,
    pub(crate) cookies: u64,
    pub(crate) timeouts: u64,
    pub(crate) faithful_runs: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.children += other.children;
        self.connects += other.connects;
        self.moves += other.moves;
        self.delivered += other.delivered;
        self.strayed += other.strayed;
        self.collisions += other.collisions;
        self.ike_rekeys += other.ike_rekeys;
        self.cookies += other.cookies;
        self.timeouts += other.timeouts;
        self.faithful_runs += other.faithful_runs;
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    /// By key: which hosts send or receive with it.
    keys: BTreeMap<Vec<u8>, Vec<(u64, Direction)>>,
    spis: BTreeSet<(u64, Spi)>,
    pub(crate) tally: Tally,
}

impl Ledger {
    /// No key and no SPI is ever used twice, and a key has one sender and one receiver.
    pub(crate) fn child(&mut self, host: u64, child: &ChildSa) {
        self.tally.children += 1;
        let spi = child.inbound.spi;
        assert!(spi.0 > 255, "a reserved SPI");
        assert!(self.spis.insert((host, spi)), "{spi} is given twice");
        for (sa, direction) in [
            (&child.inbound, Direction::In),
            (&child.outbound, Direction::Out),
        ] {
            let users = self.keys.entry(sa.keys.expose().to_vec()).or_default();
            let clash =
                |&(other, towards): &(u64, Direction)| other == host || towards == direction;
            assert!(
                users.len() < 2 && !users.iter().any(clash),
                "a key is used twice"
            );
            users.push((host, direction));
        }
    }
}
