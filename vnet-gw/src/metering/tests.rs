//! The ledger on a store in memory: what is read, and what is kept of it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use vnet_gw_common::Counter;
use vnet_gw_core::{
    ike::TunnelState,
    metering::{Class, Crossing, MeterKey, Period},
    model::{DeployOptions, ResourceId, Topology, parse_template},
    sa::TunnelId,
};

use super::*;
use crate::{
    datapath::MeterReading,
    store::{MemoryStore, Store, Table},
    vpn::{ConnectionStatus, GatewayStatus, SaCounts, TunnelStatus, VpnStatus},
    worker::TunnelCounters,
};

const NOW: u64 = 1_800_000_000;

fn topology() -> Topology {
    let text = include_str!("../../core/tests/fixtures/gateways.json");
    parse_template(text, &DeployOptions::default()).unwrap()
}

fn vnet(name: &str) -> ResourceId {
    let topology = topology();
    let mut all = topology.virtual_networks.keys();
    all.find(|id| id.name() == name).unwrap().clone()
}

fn reading(born: u64, bytes: u64) -> MeterReading {
    let key = MeterKey {
        crossing: Crossing::Peering,
        from: vnet("VNet1"),
        to: vnet("VNet4"),
    };
    MeterReading {
        hash: key.stable_hash(),
        born,
        key: Some(key),
        over: false,
        counter: Counter {
            packets: bytes / 100,
            bytes,
        },
    }
}

fn tunnels(out: u64, back: u64) -> VpnStatus {
    let topology = topology();
    let mut connections = topology.connections.values();
    let connection = connections
        .find(|one| one.id.name() == "VNet1-to-VNet4")
        .unwrap();
    VpnStatus {
        gateways: vec![GatewayStatus {
            id: connection.gateway.clone(),
            device: String::new(),
            trouble: None,
            bandwidth: None,
            instances: Vec::new(),
            worker: None,
            connections: vec![ConnectionStatus {
                id: connection.id.clone(),
                vnet_to_vnet: true,
                remote_prefixes: Vec::new(),
                tunnels: vec![TunnelStatus {
                    id: TunnelId(1),
                    local: "192.0.2.1".parse().unwrap(),
                    remote: "192.0.2.9".parse().unwrap(),
                    state: TunnelState::Connected,
                    reason: String::new(),
                    silent: false,
                    last_established: None,
                    counters: TunnelCounters {
                        bytes_out: out,
                        packets_out: out / 100,
                        bytes_in: back,
                        packets_in: back / 100,
                        ..TunnelCounters::default()
                    },
                    sas: SaCounts::default(),
                }],
            }],
        }],
        ..VpnStatus::default()
    }
}

fn bytes(ledger: &Ledger) -> BTreeMap<Class, u64> {
    let mut sums = BTreeMap::new();
    for (of, count, _) in ledger.totals() {
        *sums.entry(of.class).or_default() += count.bytes;
    }
    sums
}

fn peered(ledger: &Ledger) -> u64 {
    let sums = bytes(ledger);
    sums.get(&Class::GlobalPeering).copied().unwrap_or_default()
}

struct Bed {
    store: Arc<MemoryStore>,
    ledger: Ledger,
}

impl Bed {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::open(Arc::clone(&store) as _).unwrap();
        Self { store, ledger }
    }

    fn fold(&mut self, now: u64, readings: &[MeterReading]) -> Vec<u64> {
        let vpn = VpnStatus::default();
        self.ledger.fold(now, readings, &vpn, &topology()).unwrap()
    }

    /// A daemon that died, and another that reads what it left.
    fn again(&mut self) {
        self.ledger = Ledger::open(Arc::clone(&self.store) as _).unwrap();
    }
}

#[test]
fn what_was_counted_before_is_not_counted_again() {
    let mut bed = Bed::new();
    assert!(bed.fold(NOW, &[reading(7, 1_000)]).is_empty());
    assert_eq!(peered(&bed.ledger), 1_000);
    bed.fold(NOW + 10, &[reading(7, 1_000)]);
    bed.fold(NOW + 20, &[reading(7, 1_500)]);
    assert_eq!(peered(&bed.ledger), 1_500);
    bed.again();
    assert_eq!(peered(&bed.ledger), 1_500);
    // It forwarded on while no daemon ran.
    bed.fold(NOW + 30, &[reading(7, 2_500)]);
    assert_eq!(peered(&bed.ledger), 2_500);
    // Taken down and up again: the same meter, born anew, counts from zero, more than it had.
    bed.again();
    bed.fold(NOW + 40, &[reading(8, 9_000)]);
    assert_eq!(peered(&bed.ledger), 11_500);
    // Of the one that is gone nothing is kept that could be taken for another's.
    assert!(
        bed.store
            .get(Table::Meters, "seen/0000000000000007")
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_meter_that_is_over_is_freed_only_when_it_is_kept_and_its_name_outlives_its_networks() {
    let mut bed = Bed::new();
    bed.fold(NOW, &[reading(7, 0)]);
    // Its VNets are gone, and the daemon that knew them is, too.
    bed.again();
    let last = MeterReading {
        key: None,
        over: true,
        ..reading(7, 600)
    };
    let nothing = Topology::default();
    let vpn = VpnStatus::default();
    let over = bed
        .ledger
        .fold(NOW, std::slice::from_ref(&last), &vpn, &nothing)
        .unwrap();
    assert_eq!(over, [7]);
    assert_eq!(peered(&bed.ledger), 600);
    // Killed before the meter was freed.
    bed.again();
    let over = bed.ledger.fold(NOW, &[last], &vpn, &nothing).unwrap();
    assert_eq!((over.as_slice(), peered(&bed.ledger)), (&[7][..], 600));
}

#[test]
fn a_store_that_fails_loses_nothing() {
    struct Full(MemoryStore, std::sync::atomic::AtomicBool);
    impl Store for Full {
        fn commit(
            &self,
            expected: Option<u64>,
            writes: &[crate::store::Write],
        ) -> Result<u64, crate::store::StoreError> {
            if self.1.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(crate::store::StoreError::Conflict(0));
            }
            self.0.commit(expected, writes)
        }
        fn revision(&self) -> Result<u64, crate::store::StoreError> {
            self.0.revision()
        }
        fn stats(&self) -> Result<crate::store::StoreStats, crate::store::StoreError> {
            self.0.stats()
        }
        fn get(
            &self,
            table: Table,
            key: &str,
        ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, crate::store::StoreError> {
            self.0.get(table, key)
        }
        fn scan(
            &self,
            table: Table,
            from: &str,
            most: usize,
        ) -> Result<Vec<crate::store::Record>, crate::store::StoreError> {
            self.0.scan(table, from, most)
        }
        fn scan_back(
            &self,
            table: Table,
            before: &str,
            most: usize,
        ) -> Result<Vec<crate::store::Record>, crate::store::StoreError> {
            self.0.scan_back(table, before, most)
        }
    }
    let store = Arc::new(Full(MemoryStore::new(), true.into()));
    let mut ledger = Ledger::open(Arc::clone(&store) as _).unwrap();
    let over = MeterReading {
        over: true,
        ..reading(7, 900)
    };
    let failed = ledger.fold(
        NOW,
        std::slice::from_ref(&over),
        &tunnels(50, 60),
        &topology(),
    );
    failed.unwrap_err();
    assert!(bytes(&ledger).is_empty());
    store.1.store(false, std::sync::atomic::Ordering::SeqCst);
    let vpn = tunnels(70, 80);
    let kept = ledger.fold(NOW, &[over], &vpn, &topology()).unwrap();
    assert_eq!(kept, [7]);
    assert_eq!(peered(&ledger), 900);
    assert_eq!(bytes(&ledger)[&Class::VnetToVnetInterRegion], 150);
}

#[test]
fn tunnels_begin_anew_with_each_daemon_and_when_they_come_back() {
    let mut bed = Bed::new();
    let (topology, nothing) = (topology(), Topology::default());
    let fold = |bed: &mut Bed, out, back, topology: &Topology| {
        bed.ledger
            .fold(NOW, &[], &tunnels(out, back), topology)
            .unwrap();
        bytes(&bed.ledger)
            .get(&Class::VnetToVnetInterRegion)
            .copied()
    };
    assert_eq!(fold(&mut bed, 100, 10, &topology), Some(110));
    assert_eq!(fold(&mut bed, 150, 10, &topology), Some(160));
    // Its connection is not in force for a moment: nothing is forgotten.
    assert_eq!(fold(&mut bed, 160, 10, &nothing), Some(160));
    assert_eq!(fold(&mut bed, 170, 10, &topology), Some(180));
    // Out and made anew.
    assert_eq!(fold(&mut bed, 30, 10, &topology), Some(210));
    bed.again();
    assert_eq!(fold(&mut bed, 40, 1, &topology), Some(251));
    let out: Vec<(String, u64)> = bed
        .ledger
        .totals()
        .map(|(of, count, _)| (of.rows()[0].direction.name().to_owned(), count.bytes))
        .collect();
    assert!(out.contains(&("egress".into(), 240)) && out.contains(&("ingress".into(), 11)));
}

#[test]
fn a_period_has_what_was_counted_in_it_and_old_buckets_go() {
    let mut bed = Bed::new();
    let start = NOW - NOW % 86_400;
    for hour in 0..30 {
        bed.fold(start + hour * 3_600, &[reading(7, (hour + 1) * 100)]);
    }
    let now = start + 30 * 3_600;
    let within = |bed: &Bed, from: u64, to: u64, now: u64| {
        let period = Period::of(from, to, now);
        let counts = bed.ledger.within(period).unwrap();
        counts.iter().map(|(_, count)| count.bytes).sum::<u64>()
    };
    assert_eq!(within(&bed, start, now, now), 3_000);
    assert_eq!(within(&bed, start + 3_600, start + 3 * 3_600, now), 200);
    // Two seconds of it are as good as its five minutes.
    assert_eq!(within(&bed, start + 3_601, start + 3_603, now), 100);
    assert_eq!(within(&bed, start + 3_900, start + 7_200, now), 0);
    bed.again();
    assert_eq!(within(&bed, start, now, now), 3_000);
    // Some days on the hours are left, then the days, then nothing but the total.
    let keys = |bed: &Bed, prefix: &str| {
        let all = bed.store.scan(Table::Meters, prefix, 1_000).unwrap();
        all.iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .count()
    };
    assert_eq!(
        (keys(&bed, "5m/"), keys(&bed, "1h/"), keys(&bed, "1d/")),
        (30, 30, 2)
    );
    let mut now = now + 10 * 86_400;
    bed.fold(now, &[reading(7, 3_000)]);
    assert_eq!((keys(&bed, "5m/"), keys(&bed, "1h/")), (0, 30));
    assert_eq!(within(&bed, start, now, now), 3_000);
    now += 100 * 86_400;
    bed.fold(now, &[reading(7, 3_000)]);
    assert_eq!((keys(&bed, "1h/"), keys(&bed, "1d/")), (0, 2));
    assert_eq!(within(&bed, start, start + 86_400, now), 2_400);
    now += 1_000 * 86_400;
    bed.fold(now, &[reading(7, 3_000)]);
    assert_eq!((keys(&bed, "1d/"), peered(&bed.ledger)), (0, 3_000));
    // Its meter goes, and so does the class.
    bed.fold(now + 300, &[]);
    assert_eq!(keys(&bed, "class/"), 0);
}

#[test]
fn lines_are_billed_to_both_sides_of_a_peering() {
    let mut bed = Bed::new();
    let vpn = tunnels(500, 0);
    bed.ledger
        .fold(NOW, &[reading(7, 1_000)], &vpn, &topology())
        .unwrap();
    let totals = bed.ledger.totals();
    let rows = view::rows(totals.map(|(of, count, _)| (of, count)));
    let rows = serde_json::to_value(rows).unwrap();
    let (one, four) = (vnet("VNet1").to_string(), vnet("VNet4").to_string());
    let connection = one.replace("virtualNetworks/VNet1", "connections/VNet1-to-VNet4");
    let line = |class: &str, direction: &str, whose: &str, peer: &str, bytes: u64| {
        json!({
            "class": class, "direction": direction, "virtualNetwork": whose, "peer": peer,
            "sourceRegion": "westeurope", "destinationRegion": "eastus", "billed": true,
            "packets": bytes / 100, "bytes": bytes,
        })
    };
    let mut tunnel = line("vnetToVnetInterRegion", "egress", &one, &four, 500);
    tunnel["connection"] = json!(connection);
    assert_eq!(
        rows,
        json!([
            line("globalPeering", "egress", &one, &four, 1_000),
            line("globalPeering", "ingress", &four, &one, 1_000),
            tunnel,
        ])
    );
}
