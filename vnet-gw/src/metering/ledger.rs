//! Sums, and what of the counters is in them already.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use vnet_gw_core::{
    metering::{Metered, Period, TIERS},
    model::Topology,
    sa::TunnelId,
};

use super::records::{self, ClassRecord, Count};
use crate::{
    datapath::MeterReading,
    store::{Store, StoreError, Write},
    vpn::{TunnelStatus, VpnStatus},
};

/// Of one store, which nobody else keeps a ledger in.
pub struct Ledger {
    store: Arc<dyn Store>,
    classes: BTreeMap<u64, ClassRecord>,
    /// Classes by the hash of their meter.
    by_meter: BTreeMap<u64, u64>,
    /// By the `born` of a meter.
    seen: BTreeMap<u64, Count>,
    /// Of this process: out and in.
    tunnels: BTreeMap<TunnelId, [Count; 2]>,
    /// The buckets of now, as far as they are known: by tier, class.
    buckets: BTreeMap<(usize, u64), (u64, Count)>,
    /// The finest bucket in which old ones were last looked for.
    swept: Option<u64>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("classes", &self.classes.len())
            .finish_non_exhaustive()
    }
}

/// What came since the last time.
#[derive(Default)]
struct News {
    /// By class: what it is of, its meter, and what came.
    classes: BTreeMap<u64, (Metered, Option<u64>, Count)>,
    seen: BTreeMap<u64, Count>,
    tunnels: BTreeMap<TunnelId, [Count; 2]>,
    /// Meters that count no more, and whose counts are in here.
    over: Vec<u64>,
}

impl News {
    fn add(&mut self, of: Metered, meter: Option<u64>, count: Count) {
        let hash = of.stable_hash();
        let entry = self.classes.entry(hash);
        let (_, _, sum) = entry.or_insert_with(|| (of, meter, Count::default()));
        sum.add(count);
    }
}

impl Ledger {
    /// # Errors
    ///
    /// Where the store cannot be read, or has something else in its place.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let classes: BTreeMap<u64, ClassRecord> = records::classes(&*store)?.into_iter().collect();
        let mut ordered: Vec<(&u64, &ClassRecord)> = classes.iter().collect();
        // Where a VNet moved to another region its meter is the later one's.
        ordered.sort_by_key(|(_, record)| record.last);
        let by_meter = ordered
            .into_iter()
            .filter_map(|(hash, record)| Some((record.meter?, *hash)))
            .collect();
        Ok(Self {
            by_meter,
            seen: records::all_seen(&*store)?.into_iter().collect(),
            classes,
            store,
            tunnels: BTreeMap::new(),
            buckets: BTreeMap::new(),
            swept: None,
        })
    }

    /// Takes in what was read, all of it or nothing: `readings` are all meters that there are.
    /// Meters, by their `born`, that count no more and are in the store.
    ///
    /// # Errors
    ///
    /// Where the store does not take it; it is taken in the next time.
    pub fn fold(
        &mut self,
        now: u64,
        readings: &[MeterReading],
        vpn: &VpnStatus,
        topology: &Topology,
    ) -> Result<Vec<u64>, StoreError> {
        let mut news = News::default();
        self.read_meters(readings, topology, &mut news);
        self.read_tunnels(vpn, topology, &mut news);
        self.keep(now, readings, news)
    }

    fn read_meters(&self, readings: &[MeterReading], topology: &Topology, news: &mut News) {
        for reading in readings {
            let now = Count::from(reading.counter);
            let before = self.seen.get(&reading.born).copied().unwrap_or_default();
            let count = now.since(before);
            if reading.over {
                news.over.push(reading.born);
            }
            let key = reading.key.as_ref();
            let of = key.and_then(|key| Metered::crossing(key, topology));
            let of = of.or_else(|| {
                let class = self.by_meter.get(&reading.hash)?;
                Some(self.classes.get(class)?.of.clone())
            });
            match of {
                // Known from the first moment on, so that it is known when its VNets are gone.
                Some(of) if count.is_zero() && self.classes.contains_key(&of.stable_hash()) => {}
                Some(of) => {
                    news.add(of, Some(reading.hash), count);
                    news.seen.insert(reading.born, now);
                }
                None if reading.over && !count.is_zero() => log::warn!(
                    "metering: {} bytes in {} packets of virtual networks that are gone are in no \
                     class",
                    count.bytes,
                    count.packets
                ),
                None => {}
            }
        }
    }

    fn read_tunnels(&self, vpn: &VpnStatus, topology: &Topology, news: &mut News) {
        let gateways = vpn.gateways.iter();
        for connection in gateways.flat_map(|gateway| &gateway.connections) {
            let known = topology.connections.get(&connection.id);
            let ways = known.and_then(|known| Metered::connection(known, topology));
            for tunnel in &connection.tunnels {
                let (now, known) = (carried(tunnel), self.tunnels.get(&tunnel.id).copied());
                let Some(ways) = &ways else {
                    // Not in force yet, or any more: what was taken in stays so.
                    news.tunnels.extend(known.map(|known| (tunnel.id, known)));
                    continue;
                };
                let before = known.unwrap_or_default();
                for ((of, now), before) in ways.iter().zip(now).zip(before) {
                    // One that went and came back began anew.
                    let began = now.bytes < before.bytes || now.packets < before.packets;
                    let before = if began { Count::default() } else { before };
                    let count = now.since(before);
                    if !count.is_zero() {
                        news.add(of.clone(), None, count);
                    }
                }
                news.tunnels.insert(tunnel.id, now);
            }
        }
    }

    /// One commit, then the same here.
    fn keep(
        &mut self,
        now: u64,
        readings: &[MeterReading],
        news: News,
    ) -> Result<Vec<u64>, StoreError> {
        let mut writes = Vec::new();
        let mut classes = Vec::new();
        let mut buckets = Vec::new();
        for (hash, (of, meter, count)) in news.classes {
            let mut record = self.classes.get(&hash).cloned().unwrap_or(ClassRecord {
                of,
                total: Count::default(),
                since: now,
                last: now,
                meter,
            });
            record.total.add(count);
            record.meter = meter.or(record.meter);
            if !count.is_zero() {
                record.last = now;
                for (at, tier) in TIERS.iter().enumerate() {
                    let start = tier.start(now);
                    let known = self.buckets.get(&(at, hash));
                    let mut sum = match known.filter(|(known, _)| *known == start) {
                        Some((_, sum)) => *sum,
                        None => records::bucket_of(&*self.store, *tier, start, hash)?,
                    };
                    sum.add(count);
                    writes.push(records::bucket(*tier, start, hash, sum));
                    buckets.push(((at, hash), (start, sum)));
                }
            }
            writes.push(records::class(hash, &record));
            classes.push((hash, record));
        }
        writes.extend(
            news.seen
                .iter()
                .map(|(born, count)| records::seen(*born, *count)),
        );
        // A meter that is in the kernel no more comes never back.
        let there: BTreeSet<u64> = readings.iter().map(|reading| reading.born).collect();
        let gone: Vec<u64> = self.seen.keys().copied().collect();
        let gone: Vec<u64> = gone.into_iter().filter(|b| !there.contains(b)).collect();
        writes.extend(gone.iter().map(|born| records::not_seen(*born)));
        let fine = TIERS[0].start(now);
        let mut forgotten = Vec::new();
        if self.swept != Some(fine) {
            forgotten = self.stale(now, readings, &mut writes)?;
        }
        if !writes.is_empty() {
            self.store.commit(None, &writes)?;
        }

        for (hash, record) in classes {
            if let Some(meter) = record.meter {
                self.by_meter.insert(meter, hash);
            }
            self.classes.insert(hash, record);
        }
        self.buckets.extend(buckets);
        self.seen.extend(news.seen);
        for born in gone {
            self.seen.remove(&born);
        }
        for hash in forgotten {
            self.classes.remove(&hash);
        }
        self.tunnels = news.tunnels;
        self.swept = Some(fine);
        Ok(news.over)
    }

    /// Removals of what is too old; classes among it.
    fn stale(
        &self,
        now: u64,
        readings: &[MeterReading],
        writes: &mut Vec<Write>,
    ) -> Result<Vec<u64>, StoreError> {
        for tier in TIERS {
            writes.extend(records::stale(&*self.store, tier, tier.oldest(now))?);
        }
        let [.., last] = TIERS;
        // One that has a meter may yet grow.
        let meters = readings.iter();
        let meters: BTreeSet<u64> = meters
            .filter_map(|reading| self.by_meter.get(&reading.hash).copied())
            .collect();
        let old = self
            .classes
            .iter()
            .filter(|(hash, record)| record.last < last.oldest(now) && !meters.contains(hash));
        let old: Vec<u64> = old.map(|(hash, _)| *hash).collect();
        writes.extend(old.iter().map(|hash| records::no_class(*hash)));
        Ok(old)
    }

    /// Everything ever counted, by class, with when it began.
    pub fn totals(&self) -> impl Iterator<Item = (&Metered, Count, u64)> {
        let classes = self.classes.values();
        classes.map(|record| (&record.of, record.total, record.since))
    }

    /// What was counted in a period.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub fn within(&self, period: Period) -> Result<Vec<(&Metered, Count)>, StoreError> {
        let Period { tier, from, to } = period;
        let mut sums: BTreeMap<u64, Count> = BTreeMap::new();
        records::each_bucket(&*self.store, tier, from, to, |class, count| {
            sums.entry(class).or_default().add(count);
        })?;
        let known = sums.into_iter();
        Ok(known
            .filter_map(|(class, count)| Some((&self.classes.get(&class)?.of, count)))
            .collect())
    }
}

/// Out and in.
fn carried(tunnel: &TunnelStatus) -> [Count; 2] {
    let counters = &tunnel.counters;
    [
        Count {
            packets: counters.packets_out,
            bytes: counters.bytes_out,
        },
        Count {
            packets: counters.packets_in,
            bytes: counters.bytes_in,
        },
    ]
}
