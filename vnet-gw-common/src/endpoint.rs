//! Endpoints: (scope, address) → the port that has it and its MAC address.
//!
//! A two-choice bucket hash in an array map: four entries a bucket, a bucket is one cache line
//! (IPv4) or two (IPv6), and most keys sit in their first bucket, so a lookup is one miss. A table
//! is never changed in place: the daemon builds another beside it and flips [`EndpointsWord`], which
//! is one aligned store that carries slot, size and seed together.

use crate::Addr6;

pub const BUCKET_ENTRIES: usize = 4;

/// Four IPv4 endpoints. A free entry has key 0 (scope 0 does not exist).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket4 {
    pub keys: [u64; BUCKET_ENTRIES],
    pub values: [u64; BUCKET_ENTRIES],
}

/// Four IPv6 endpoints. A free entry has scope 0.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket6 {
    pub scopes: [u64; BUCKET_ENTRIES],
    pub his: [u64; BUCKET_ENTRIES],
    pub los: [u64; BUCKET_ENTRIES],
    pub values: [u64; BUCKET_ENTRIES],
}

const _: () = assert!(size_of::<Bucket4>() == 64);
const _: () = assert!(size_of::<Bucket6>() == 128);

/// What a lookup yields: MAC address (48 bits) and port id (16 bits) in one word. Port id 0: the
/// NIC is known but not on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub u64);

impl Endpoint {
    #[inline(always)]
    pub const fn new(mac: u64, port: u16) -> Self {
        Self(mac << 16 | port as u64)
    }

    #[inline(always)]
    pub const fn mac(self) -> u64 {
        self.0 >> 16
    }

    #[inline(always)]
    pub const fn port(self) -> u32 {
        (self.0 & 0xffff) as u32
    }
}

/// Which endpoint table is read, and how: bits 0 to 31 the seed, bits 32 to 37 the logarithm of the
/// number of buckets, bit 63 the slot of the outer map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointsWord(pub u64);

impl EndpointsWord {
    pub const MAX_BITS: u32 = 26;

    pub const fn new(slot: u32, bits: u32, seed: u32) -> Self {
        Self((slot as u64) << 63 | (bits as u64) << 32 | seed as u64)
    }

    #[inline(always)]
    pub const fn slot(self) -> u32 {
        (self.0 >> 63) as u32
    }

    #[inline(always)]
    pub const fn bits(self) -> u32 {
        (self.0 >> 32) as u32 & 0x3f
    }

    #[inline(always)]
    pub const fn seed(self) -> u32 {
        self.0 as u32
    }

    /// The first and second bucket of a hash.
    #[inline(always)]
    pub const fn buckets(self, hash: u64) -> (u32, u32) {
        let mask = (1u64 << self.bits()) - 1;
        ((hash >> 32 & mask) as u32, (hash & mask) as u32)
    }
}

#[inline(always)]
pub const fn key4(scope: u32, addr: u32) -> u64 {
    (scope as u64) << 32 | addr as u64
}

#[inline(always)]
const fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 32).wrapping_mul(0x9fb2_1c65_1e98_df25);
    x ^ x >> 29
}

#[inline(always)]
pub const fn hash4(seed: u32, key: u64) -> u64 {
    mix(key ^ (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[inline(always)]
pub const fn hash6(seed: u32, scope: u32, addr: Addr6) -> u64 {
    let lo = mix(addr.lo ^ (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mix(lo
        ^ addr
            .hi
            .wrapping_add((scope as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)))
}

/// Where buckets come from: a BPF map, or a slice in a test.
pub trait Buckets<B> {
    fn bucket(&self, slot: u32, index: u32) -> Option<&B>;
}

impl Bucket4 {
    #[inline(always)]
    fn find(&self, key: u64) -> Option<Endpoint> {
        let mut i = 0;
        while i < BUCKET_ENTRIES {
            if self.keys[i] == key {
                return Some(Endpoint(self.values[i]));
            }
            i += 1;
        }
        None
    }
}

impl Bucket6 {
    #[inline(always)]
    fn find(&self, scope: u32, addr: Addr6) -> Option<Endpoint> {
        let mut i = 0;
        while i < BUCKET_ENTRIES {
            if self.los[i] == addr.lo && self.his[i] == addr.hi && self.scopes[i] == scope as u64 {
                return Some(Endpoint(self.values[i]));
            }
            i += 1;
        }
        None
    }
}

/// The endpoint with `addr` in the VNet `scope`.
#[inline(always)]
pub fn lookup4<S: Buckets<Bucket4>>(
    source: &S,
    word: EndpointsWord,
    scope: u32,
    addr: u32,
) -> Option<Endpoint> {
    let key = key4(scope, addr);
    let (first, second) = word.buckets(hash4(word.seed(), key));
    if let Some(found) = source.bucket(word.slot(), first)?.find(key) {
        return Some(found);
    }
    source.bucket(word.slot(), second)?.find(key)
}

/// The endpoint with `addr` in the VNet `scope`.
#[inline(always)]
pub fn lookup6<S: Buckets<Bucket6>>(
    source: &S,
    word: EndpointsWord,
    scope: u32,
    addr: Addr6,
) -> Option<Endpoint> {
    let (first, second) = word.buckets(hash6(word.seed(), scope, addr));
    if let Some(found) = source.bucket(word.slot(), first)?.find(scope, addr) {
        return Some(found);
    }
    source.bucket(word.slot(), second)?.find(scope, addr)
}
