//! The endpoint tables: always built anew beside the one in force, which one store then flips.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use aya::Pod;
use vnet_gw_common::{
    Addr6,
    endpoint::{Bucket4, Bucket6, Endpoint, EndpointsWord},
    mac_to_u64,
    maps::INNER_FLAGS,
};
use vnet_gw_core::{
    compile::Image,
    model::ResourceId,
    table::{
        TableError,
        endpoints::{self, Endpoints},
    },
};

use super::{DatapathError, load::Maps, map::Map, scopes::Scopes};

type Entry<A> = (u32, A, Endpoint);

/// One family's table.
trait Family {
    const AT: usize;
    const NAME: &'static str;
    type Addr: Copy + Ord + Default;
    type Bucket: Pod + Default;

    fn build(entries: &[Entry<Self::Addr>]) -> Result<Endpoints<Self::Bucket>, TableError>;
    fn decode(buckets: &[Self::Bucket]) -> Vec<Entry<Self::Addr>>;
}

#[derive(Debug)]
struct V4;

#[derive(Debug)]
struct V6;

impl Family for V4 {
    const AT: usize = 0;
    const NAME: &'static str = "IPv4 endpoints";
    type Addr = u32;
    type Bucket = Bucket4;

    fn build(entries: &[Entry<u32>]) -> Result<Endpoints<Bucket4>, TableError> {
        endpoints::build_endpoints4(entries)
    }

    fn decode(buckets: &[Bucket4]) -> Vec<Entry<u32>> {
        endpoints::decode_endpoints4(buckets)
    }
}

impl Family for V6 {
    const AT: usize = 1;
    const NAME: &'static str = "IPv6 endpoints";
    type Addr = Addr6;
    type Bucket = Bucket6;

    fn build(entries: &[Entry<Addr6>]) -> Result<Endpoints<Bucket6>, TableError> {
        endpoints::build_endpoints6(entries)
    }

    fn decode(buckets: &[Bucket6]) -> Vec<Entry<Addr6>> {
        endpoints::decode_endpoints6(buckets)
    }
}

/// What is in force in one family.
#[derive(Debug)]
struct InForce<F: Family> {
    /// Ordered by scope and address.
    entries: Vec<Entry<F::Addr>>,
    word: EndpointsWord,
    /// Id of the inner map.
    map: u32,
    bytes: u64,
    /// The other slot may still be read by a packet that saw the word before the last flip.
    resting: bool,
}

#[derive(Debug)]
pub(super) struct EndpointTables {
    v4: InForce<V4>,
    v6: InForce<V6>,
}

/// What an image asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    v4: Vec<Entry<u32>>,
    v6: Vec<Entry<Addr6>>,
    /// The tables hold just this.
    in_force: bool,
}

impl Wanted {
    /// Whether the tables hold just this already.
    pub(super) fn in_force(&self) -> bool {
        self.in_force
    }

    /// `ports`: the ids of the NICs on this host.
    pub(super) fn of(
        image: &Image,
        ports: &HashMap<&ResourceId, u32>,
        scopes: &mut Scopes,
    ) -> Result<Self, DatapathError> {
        let mut wanted = Self::default();
        let mut last: Option<(&ResourceId, u32)> = None;
        for endpoint in image.endpoints.iter() {
            let scope = match last {
                Some((vnet, scope)) if *vnet == endpoint.vnet => scope,
                _ => scopes.id(&endpoint.vnet)?,
            };
            last = Some((&endpoint.vnet, scope));
            let port = ports.get(&endpoint.nic).copied().unwrap_or(0);
            let value = Endpoint::new(mac_to_u64(endpoint.mac), port as u16);
            match endpoint.address {
                IpAddr::V4(address) => wanted.v4.push((scope, address.to_bits(), value)),
                IpAddr::V6(address) => {
                    wanted
                        .v6
                        .push((scope, Addr6::from_bits(address.to_bits()), value));
                }
            }
        }
        // By scope, not by the VNet's name.
        wanted
            .v4
            .sort_unstable_by_key(|(scope, address, _)| (*scope, *address));
        wanted
            .v6
            .sort_unstable_by_key(|(scope, address, _)| (*scope, *address));
        Ok(wanted)
    }
}

impl EndpointTables {
    /// What the kernel reads now; a damaged table counts as empty, and is replaced by the first
    /// image.
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        Ok(Self {
            v4: InForce::read(maps)?,
            v6: InForce::read(maps)?,
        })
    }

    /// Puts in what is new or has changed, and keeps what is to go: routes may still lead there.
    /// Whether it took anything.
    pub(super) fn add(&mut self, maps: &Maps, wanted: &Wanted) -> Result<bool, DatapathError> {
        if wanted.in_force {
            return Ok(false);
        }
        let v4 = self.v4.add(maps, &wanted.v4)?;
        Ok(self.v6.add(maps, &wanted.v6)? | v4)
    }

    /// Takes out what is not wanted any more. Whether there was any.
    pub(super) fn remove(
        &mut self,
        maps: &Maps,
        wanted: &mut Wanted,
    ) -> Result<bool, DatapathError> {
        if wanted.in_force {
            return Ok(false);
        }
        let v4 = self.v4.set(maps, &wanted.v4)?;
        let v6 = self.v6.set(maps, &wanted.v6)?;
        wanted.in_force = true;
        Ok(v6 | v4)
    }

    pub(super) fn owes_grace(&self) -> bool {
        self.v4.resting || self.v6.resting
    }

    /// After a grace period: frees the tables before the last flip.
    pub(super) fn finish(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        self.v4.finish(maps)?;
        self.v6.finish(maps)
    }

    /// Compares with the kernel, and mends.
    pub(super) fn mend(&mut self, maps: &Maps) -> Result<Vec<String>, DatapathError> {
        let mut found = self.v4.mend(maps)?;
        found.extend(self.v6.mend(maps)?);
        Ok(found)
    }

    pub(super) fn used_scopes(&self) -> BTreeSet<u32> {
        let v4 = self.v4.entries.iter().map(|(scope, ..)| *scope);
        v4.chain(self.v6.entries.iter().map(|(scope, ..)| *scope))
            .collect()
    }

    /// Endpoints of both families, and the bytes of their tables.
    pub(super) fn size(&self) -> (usize, usize, u64) {
        (
            self.v4.entries.len(),
            self.v6.entries.len(),
            self.v4.bytes + self.v6.bytes,
        )
    }
}

impl<F: Family> InForce<F> {
    fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let word = EndpointsWord(maps.endpoints_word(F::AT));
        let mut state = Self {
            entries: Vec::new(),
            word,
            map: 0,
            bytes: 0,
            resting: false,
        };
        if let Some(map) = maps.endpoints[F::AT].inner(word.slot())?
            && let Some(buckets) = buckets::<F>(&map, word)?
        {
            state.entries = F::decode(&buckets);
            state.map = map.info().id;
            state.bytes = map.size();
            // In the place that its hash says, or lookups would not find it.
            let placed = F::build(&state.entries).is_ok_and(|want| want.word(word.slot()) == word);
            if placed {
                return Ok(state);
            }
        }
        state.entries.clear();
        state.put(maps, Vec::new())?;
        Ok(state)
    }

    fn add(&mut self, maps: &Maps, wanted: &[Entry<F::Addr>]) -> Result<bool, DatapathError> {
        let new = wanted.iter().any(|entry| {
            let at = self
                .entries
                .binary_search_by_key(&(entry.0, entry.1), |e| (e.0, e.1));
            at.map_or(true, |at| self.entries[at].2 != entry.2)
        });
        if !new {
            return Ok(false);
        }
        let mut union = wanted.to_vec();
        let going = self.entries.iter().filter(|entry| {
            wanted
                .binary_search_by_key(&(entry.0, entry.1), |e| (e.0, e.1))
                .is_err()
        });
        union.extend(going);
        union.sort_unstable_by_key(|(scope, address, _)| (*scope, *address));
        self.put(maps, union)?;
        Ok(true)
    }

    fn set(&mut self, maps: &Maps, wanted: &[Entry<F::Addr>]) -> Result<bool, DatapathError> {
        if self.entries == wanted {
            return Ok(false);
        }
        self.put(maps, wanted.to_vec())?;
        Ok(true)
    }

    fn put(&mut self, maps: &Maps, entries: Vec<Entry<F::Addr>>) -> Result<(), DatapathError> {
        let built = F::build(&entries).map_err(|why| DatapathError::Table {
            subnet: "of every VNet".to_owned(),
            family: F::NAME,
            why: why.to_string(),
        })?;
        if self.resting {
            maps.grace()?;
            self.resting = false;
        }
        let slot = 1 - self.word.slot();
        let map = fill(&built.buckets).map_err(|source| DatapathError::Map {
            map: F::NAME,
            operation: format!("making a table of {} buckets", built.buckets.len()),
            source,
        })?;
        maps.endpoints[F::AT].set_inner(&[(slot, &map)])?;
        let word = built.word(slot);
        maps.set_endpoints_word(F::AT, word.0);
        *self = Self {
            entries,
            word,
            map: map.info().id,
            bytes: map.size(),
            resting: true,
        };
        Ok(())
    }

    fn finish(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        if std::mem::take(&mut self.resting) {
            maps.endpoints[F::AT].delete(1 - self.word.slot())?;
        }
        Ok(())
    }

    fn mend(&mut self, maps: &Maps) -> Result<Vec<String>, DatapathError> {
        let mut found = Vec::new();
        let word = EndpointsWord(maps.endpoints_word(F::AT));
        if word != self.word {
            found.push(format!(
                "{}: another table was in force; built anew",
                F::NAME
            ));
        } else {
            match maps.endpoints[F::AT].inner(word.slot())? {
                Some(map) => {
                    let buckets = buckets::<F>(&map, word)?;
                    let fine = buckets.is_some_and(|held| {
                        F::build(&self.entries).is_ok_and(|want| same(&want.buckets, &held))
                    });
                    if !fine {
                        found.push(format!("{}: the table differed; built anew", F::NAME));
                    }
                }
                None => found.push(format!("{}: the table was missing; built anew", F::NAME)),
            }
        }
        if !found.is_empty() {
            self.put(maps, self.entries.clone())?;
        }
        Ok(found)
    }
}

fn fill<B: Pod>(buckets: &[B]) -> std::io::Result<Map> {
    let map = Map::array::<B>("vg_endpoints", buckets.len() as u32, INNER_FLAGS)?;
    map.map()?.fill(buckets)?;
    Ok(map)
}

/// The buckets that lookups under `word` reach; `None` where the map has another size.
fn buckets<F: Family>(
    map: &Map,
    word: EndpointsWord,
) -> Result<Option<Vec<F::Bucket>>, DatapathError> {
    let count = 1u64 << word.bits();
    if u64::from(map.info().entries) != count {
        return Ok(None);
    }
    let mapped = map.map().map_err(|source| DatapathError::Map {
        map: F::NAME,
        operation: "mapping".to_owned(),
        source,
    })?;
    let mut buckets = vec![F::Bucket::default(); count as usize];
    Ok(mapped.copy_to(&mut buckets).then_some(buckets))
}

fn same<B: Pod>(want: &[B], held: &[B]) -> bool {
    super::map::bytes(want) == super::map::bytes(held)
}
