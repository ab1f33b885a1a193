//! The bucket arrays that `vnet_gw_common::endpoint` looks addresses up in.

use std::net::IpAddr;

use vnet_gw_common::{
    Addr6,
    endpoint::{BUCKET_ENTRIES, Bucket4, Bucket6, Endpoint, EndpointsWord, hash4, hash6, key4},
};

use super::TableError;

/// Displacements tried for one endpoint before the table is begun again with another seed.
const MAX_MOVES: u32 = 256;
/// Seeds tried before the table is doubled.
const SEEDS: u32 = 8;

/// The elements of an inner map of `ENDPOINTS4`, and how they are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints<B> {
    /// 2^`bits` of them.
    pub buckets: Vec<B>,
    pub bits: u32,
    pub seed: u32,
}

pub type Endpoints4 = Endpoints<Bucket4>;
pub type Endpoints6 = Endpoints<Bucket6>;

impl<B> Endpoints<B> {
    /// What makes this the table that is read, once it stands in `slot` of the outer map.
    pub fn word(&self, slot: u32) -> EndpointsWord {
        EndpointsWord::new(slot, self.bits, self.seed)
    }
}

/// The table of (scope, address, endpoint), at most half full; the same for the same input.
pub fn build_endpoints4(entries: &[(u32, u32, Endpoint)]) -> Result<Endpoints4, TableError> {
    build(entries)
}

/// The same for IPv6.
pub fn build_endpoints6(entries: &[(u32, Addr6, Endpoint)]) -> Result<Endpoints6, TableError> {
    build(entries)
}

/// What a table holds, by scope and address.
pub fn decode_endpoints4(buckets: &[Bucket4]) -> Vec<(u32, u32, Endpoint)> {
    decode(buckets)
}

/// The same for IPv6.
pub fn decode_endpoints6(buckets: &[Bucket6]) -> Vec<(u32, Addr6, Endpoint)> {
    decode(buckets)
}

/// What differs between the families.
trait Bucket: Copy + Default {
    type Addr: Copy + Ord;

    fn hash(seed: u32, scope: u32, addr: Self::Addr) -> u64;
    /// Scope 0: the entry is free.
    fn get(&self, at: usize) -> (u32, Self::Addr, Endpoint);
    fn set(&mut self, at: usize, entry: (u32, Self::Addr, Endpoint));
    fn display(addr: Self::Addr) -> IpAddr;
}

impl Bucket for Bucket4 {
    type Addr = u32;

    fn hash(seed: u32, scope: u32, addr: u32) -> u64 {
        hash4(seed, key4(scope, addr))
    }

    fn get(&self, at: usize) -> (u32, u32, Endpoint) {
        let key = self.keys[at];
        ((key >> 32) as u32, key as u32, Endpoint(self.values[at]))
    }

    fn set(&mut self, at: usize, (scope, addr, endpoint): (u32, u32, Endpoint)) {
        self.keys[at] = key4(scope, addr);
        self.values[at] = endpoint.0;
    }

    fn display(addr: u32) -> IpAddr {
        IpAddr::V4(addr.into())
    }
}

impl Bucket for Bucket6 {
    type Addr = Addr6;

    fn hash(seed: u32, scope: u32, addr: Addr6) -> u64 {
        hash6(seed, scope, addr)
    }

    fn get(&self, at: usize) -> (u32, Addr6, Endpoint) {
        let addr = Addr6 {
            hi: self.his[at],
            lo: self.los[at],
        };
        (self.scopes[at] as u32, addr, Endpoint(self.values[at]))
    }

    fn set(&mut self, at: usize, (scope, addr, endpoint): (u32, Addr6, Endpoint)) {
        self.scopes[at] = u64::from(scope);
        self.his[at] = addr.hi;
        self.los[at] = addr.lo;
        self.values[at] = endpoint.0;
    }

    fn display(addr: Addr6) -> IpAddr {
        IpAddr::V6(addr.to_bits().into())
    }
}

fn build<B: Bucket>(entries: &[(u32, B::Addr, Endpoint)]) -> Result<Endpoints<B>, TableError> {
    if let Some((_, addr, _)) = entries.iter().find(|(scope, ..)| *scope == 0) {
        return Err(TableError::NoScope {
            address: B::display(*addr),
        });
    }
    let buckets = (entries.len() * 2)
        .div_ceil(BUCKET_ENTRIES)
        .next_power_of_two()
        .max(2);
    for bits in buckets.ilog2()..=EndpointsWord::MAX_BITS {
        for seed in 1..=SEEDS {
            if let Some(buckets) = fill(entries, bits, seed)? {
                return Ok(Endpoints {
                    buckets,
                    bits,
                    seed,
                });
            }
        }
    }
    let buckets = 1 << EndpointsWord::MAX_BITS;
    Err(TableError::TooManyEndpoints {
        count: entries.len(),
        buckets,
    })
}

/// `None`: another seed, or more buckets, must be tried.
fn fill<B: Bucket>(
    entries: &[(u32, B::Addr, Endpoint)],
    bits: u32,
    seed: u32,
) -> Result<Option<Vec<B>>, TableError> {
    let word = EndpointsWord::new(0, bits, seed);
    let buckets_of = |scope, addr| {
        let (first, second) = word.buckets(B::hash(seed, scope, addr));
        (first as usize, second as usize)
    };
    let mut buckets = vec![B::default(); 1 << bits];
    for &entry in entries {
        let (scope, addr, _) = entry;
        let (first, second) = buckets_of(scope, addr);
        if holds(&buckets[first], scope, addr) || holds(&buckets[second], scope, addr) {
            return Err(TableError::DuplicateEndpoint {
                scope,
                address: B::display(addr),
            });
        }
        if put(&mut buckets[first], entry) || put(&mut buckets[second], entry) {
            continue;
        }
        // Both are full: an entry makes room and goes to its other bucket, and so on. Which one is
        // taken in turn: always the same would send two entries back and forth.
        let mut homeless = entry;
        let mut at = second;
        let mut placed = false;
        for moves in 0..MAX_MOVES {
            let turn = (moves as usize + moves as usize / BUCKET_ENTRIES) % BUCKET_ENTRIES;
            let moved = buckets[at].get(turn);
            buckets[at].set(turn, homeless);
            homeless = moved;
            let (first, second) = buckets_of(homeless.0, homeless.1);
            at = if at == first { second } else { first };
            placed = put(&mut buckets[at], homeless);
            if placed {
                break;
            }
        }
        if !placed {
            return Ok(None);
        }
    }
    Ok(Some(buckets))
}

fn holds<B: Bucket>(bucket: &B, scope: u32, addr: B::Addr) -> bool {
    (0..BUCKET_ENTRIES).any(|at| {
        let (held, held_addr, _) = bucket.get(at);
        held == scope && held_addr == addr
    })
}

/// Whether there was room.
fn put<B: Bucket>(bucket: &mut B, entry: (u32, B::Addr, Endpoint)) -> bool {
    let free = (0..BUCKET_ENTRIES).find(|at| bucket.get(*at).0 == 0);
    if let Some(free) = free {
        bucket.set(free, entry);
    }
    free.is_some()
}

fn decode<B: Bucket>(buckets: &[B]) -> Vec<(u32, B::Addr, Endpoint)> {
    let entries = buckets
        .iter()
        .flat_map(|bucket| (0..BUCKET_ENTRIES).map(|at| bucket.get(at)));
    let mut entries: Vec<_> = entries.filter(|(scope, ..)| *scope != 0).collect();
    entries.sort_unstable_by_key(|&(scope, addr, _)| (scope, addr));
    entries
}
