//! Routes and destinations, drawn from a seed: every subject and every run gets the same ones.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Less than `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u64::from(self.next()) * limit as u64) >> 32) as usize
    }
}

/// What a route does, in the terms of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// To the other VNet: `VNetPeering`, or the kernel's next hop B.
    Peer,
    /// `VnetLocal`, or the kernel's route to A's link.
    Local,
    /// `None`, or the kernel's `blackhole`.
    Nowhere,
    /// `Internet` without an internet port, or the kernel's `blackhole`.
    Internet,
}

/// Routes ordered by prefix, and the destinations that generators draw, a power of two of them.
pub(crate) struct Set {
    pub(crate) v4: Vec<(Ipv4Net, Target)>,
    pub(crate) v6: Vec<(Ipv6Net, Target)>,
    pub(crate) destinations4: Vec<Ipv4Addr>,
    pub(crate) destinations6: Vec<Ipv6Addr>,
    /// For pktgen, which draws from one range: the first and the last address. `None` where the
    /// destinations are no range.
    pub(crate) range4: Option<(Ipv4Addr, Ipv4Addr)>,
    pub(crate) range6: Option<(Ipv6Addr, Ipv6Addr)>,
}

/// Destinations of the large set.
const MANY: usize = 1 << 16;
/// 10.64.0.0 and on: ten /23 in a row, eight of which hold the small set's destinations.
const FEW_BASE: u32 = 0x0a40_0000;
const FEW_PREFIXES: u32 = 10;
/// fd04::/48 and on: fourteen, the first eight of which hold the small set's destinations.
const FEW_BASE6: u128 = 0xfd04 << 112;
const FEW_PREFIXES6: u128 = 14;
/// Prefixes with destinations, and destinations in each.
const FEW_USED: u32 = 8;
const FEW_EACH: u32 = 512;

/// 16 routes of each family, as a subnet has them that peers with VNets of ten (IPv6: 14) prefixes,
/// and 4,096 destinations behind those.
pub(crate) fn sixteen() -> Set {
    let mut v4 = vec![
        (net4(0, 0), Target::Internet),
        (net4(0x0a00_0000, 8), Target::Nowhere),
        (net4(0x0a01_0000, 16), Target::Local),
        (net4(0x6440_0000, 10), Target::Nowhere),
        (net4(0xac10_0000, 12), Target::Nowhere),
        (net4(0xc0a8_0000, 16), Target::Nowhere),
    ];
    v4.extend((0..FEW_PREFIXES).map(|i| (net4(FEW_BASE + i * FEW_EACH, 23), Target::Peer)));
    v4.sort();
    let mut v6 = vec![
        (net6(0, 0), Target::Internet),
        (net6(0xfd01 << 112, 48), Target::Local),
    ];
    v6.extend((0..FEW_PREFIXES6).map(|i| (net6(FEW_BASE6 | i << 80, 48), Target::Peer)));
    v6.sort();
    let last = FEW_USED * FEW_EACH - 1;
    let address4 = |i: u32| Ipv4Addr::from_bits(FEW_BASE + i);
    let address6 = |i: u32| {
        let (prefix, host) = (u128::from(i / FEW_EACH), u128::from(i % FEW_EACH));
        Ipv6Addr::from_bits(FEW_BASE6 | prefix << 80 | host)
    };
    Set {
        v4,
        v6,
        destinations4: (0..=last).map(address4).collect(),
        destinations6: (0..=last).map(address6).collect(),
        range4: Some((address4(0), address4(last))),
        range6: Some((address6(0), address6(last))),
    }
}

/// What a connection from A to B needs.
pub(crate) fn pair() -> Set {
    Set {
        v4: vec![
            (net4(0x0a01_0000, 16), Target::Local),
            (net4(0x0a02_0000, 16), Target::Peer),
        ],
        v6: vec![
            (net6(0xfd01 << 112, 48), Target::Local),
            (net6(0xfd02 << 112, 48), Target::Peer),
        ],
        destinations4: Vec::new(),
        destinations6: Vec::new(),
        range4: None,
        range6: None,
    }
}

/// How many in a thousand routes have each length: the shape of the Internet's own table, with the
/// longer prefixes that a private network adds.
const LENGTHS: [(u8, usize); 13] = [
    (24, 600),
    (23, 100),
    (22, 100),
    (21, 45),
    (20, 45),
    (19, 25),
    (18, 15),
    (17, 10),
    (16, 20),
    (14, 5),
    (12, 5),
    (28, 15),
    (32, 15),
];

/// `count` distinct IPv4 prefixes in unicast space, ordered; none overlaps what the topology uses.
pub(crate) fn random_prefixes(count: usize) -> Vec<Ipv4Net> {
    let mut random = Random::new(0x5eed_0000 + count as u64);
    let mut prefixes = Vec::with_capacity(count + count / 8);
    while prefixes.len() < count {
        while prefixes.len() < count + count / 64 {
            let mut at = random.below(1000);
            let mut length = 24;
            for (candidate, share) in LENGTHS {
                if at < share {
                    length = candidate;
                    break;
                }
                at -= share;
            }
            let address = random.next();
            let first = address >> 24;
            if !(1..=223).contains(&first) || [10, 127, 169].contains(&first) {
                continue;
            }
            let net = net4(address, length);
            // A short prefix may begin below a reserved one's first byte and reach into it.
            let (low, high) = (net.network().octets()[0], net.broadcast().octets()[0]);
            if low == high {
                prefixes.push(net);
            }
        }
        prefixes.sort_unstable();
        prefixes.dedup();
    }
    // Thinned evenly, not cut: the highest prefixes would be missing.
    let excess = prefixes.len() - count;
    for i in (0..excess).rev() {
        prefixes.remove(i * prefixes.len() / excess.max(1) % prefixes.len());
    }
    prefixes
}

/// An address that `prefixes` covers, drawn by route, then by host.
pub(crate) fn draw(prefixes: &[Ipv4Net], random: &mut Random) -> Ipv4Addr {
    let net = prefixes[random.below(prefixes.len())];
    let host = u64::from(random.next()) & ((1u64 << (32 - net.prefix_len())) - 1);
    Ipv4Addr::from_bits(net.network().to_bits() | host as u32)
}

/// `count` random IPv4 routes to the peer and 65,536 destinations drawn among them.
pub(crate) fn many(count: usize) -> Set {
    let prefixes = random_prefixes(count);
    let mut random = Random::new(0x5eed_0020);
    let mut drawn = BTreeSet::new();
    while drawn.len() < MANY {
        drawn.insert(draw(&prefixes, &mut random));
    }
    Set {
        v4: prefixes
            .into_iter()
            .map(|prefix| (prefix, Target::Peer))
            .collect(),
        v6: Vec::new(),
        destinations4: drawn.into_iter().collect(),
        range4: None,
        range6: None,
        destinations6: Vec::new(),
    }
}

fn net4(address: u32, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_bits(address), length).trunc()
}

fn net6(address: u128, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(address), length).trunc()
}
