//! Changes to an input that keep most of it a packet.

use super::input::{HEAD, OWN_MAC, REPAIRED, TC};

/// Numbers that depend on the seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// Below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const ADDRESSES4: &[[u8; 4]] = &[
    [10, 1, 0, 4],
    [10, 1, 0, 5],
    [10, 1, 0, 40],
    [10, 1, 0, 1],
    [10, 41, 0, 4],
    [10, 41, 0, 9],
    [10, 61, 0, 4],
    [10, 99, 0, 1],
    [172, 20, 1, 1],
    [172, 21, 1, 1],
    [172, 22, 1, 1],
    [172, 23, 1, 1],
    [172, 24, 1, 1],
    [172, 26, 1, 1],
    [45, 1, 0, 33],
    [45, 4, 1, 44],
    [8, 8, 8, 8],
    [100, 64, 0, 1],
    [127, 0, 0, 1],
    [169, 254, 169, 253],
    [224, 0, 0, 1],
    [0, 0, 0, 0],
    [255, 255, 255, 255],
];
/// The first two and the last 16-bit word; what is between is 0.
const ADDRESSES6: &[[u16; 3]] = &[
    [0xfd00, 1, 4],
    [0xfd00, 1, 1],
    [0xfd00, 4, 4],
    [0xfd00, 4, 9],
    [0xfd00, 0x24, 9],
    [0xfd00, 0x26, 9],
    [0x2001, 0xdb8, 1],
    [0xfe80, 0, 1],
    [0xff02, 0, 1],
    [0, 0, 0],
    [0, 0, 1],
];
const PROTOCOLS: &[u8] = &[0, 1, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135];
const WORDS: &[u16] = &[
    0, 1, 7, 8, 20, 25, 40, 53, 80, 128, 255, 443, 1_023, 1_024, 1_400, 1_500, 0x1fff, 0x2000,
    0x2001, 0x4000, 0x7fff, 0x8000, 0xff00, 0xfffe, 0xffff,
];
const TYPES: &[u16] = &[0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x88cc];

/// Changes `input` in one to eight ways.
pub fn mutate(input: &mut Vec<u8>, seed: u64) {
    let random = &mut Random(seed);
    if input.len() <= HEAD + 14 {
        input.resize(HEAD + 54, 0);
    }
    // Most keep what only few packets get past.
    if random.below(8) != 0 {
        input[1] |= OWN_MAC;
    }
    if random.below(4) != 0 {
        input[1] |= REPAIRED;
    } else {
        input[1] &= !REPAIRED;
    }
    for _ in 0..=random.below(8) {
        change(input, random);
        if input.len() < HEAD + 14 {
            input.resize(HEAD + 14, 0);
        }
    }
}

fn change(input: &mut Vec<u8>, random: &mut Random) {
    let length = input.len();
    let frame = HEAD..length;
    // Headers are where it matters.
    let at = HEAD + random.below((length - HEAD).min(100));
    let v6 = input.get(HEAD + 12..HEAD + 14) == Some(&[0x86, 0xdd]);
    match random.below(16) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.next() as u8,
        2 => put(input, at, &random.one_of(WORDS).to_be_bytes()),
        3 => input.truncate(HEAD + random.below(frame.len())),
        4 => {
            let more = random.below(64);
            input.extend((0..more).map(|_| random.next() as u8));
        }
        5 => {
            input.remove(at);
        }
        6 => input.insert(at, random.next() as u8),
        7 => put(input, HEAD + 12, &random.one_of(TYPES).to_be_bytes()),
        8 => {
            let tci = if random.below(3) == 0 { 5u16 } else { 0 };
            let tag = [random.one_of(&TYPES[3..5]).to_be_bytes(), tci.to_be_bytes()].concat();
            input.splice(HEAD + 12..HEAD + 12, tag);
        }
        9 | 10 if v6 => {
            let [a, b, c] = random.one_of(ADDRESSES6);
            let mut address = [0; 16];
            address[..2].copy_from_slice(&a.to_be_bytes());
            address[2..4].copy_from_slice(&b.to_be_bytes());
            address[14..].copy_from_slice(&c.to_be_bytes());
            put(input, HEAD + random.one_of(&[22, 38, 62]), &address);
        }
        9 | 10 => {
            let to = HEAD + random.one_of(&[26, 30, 28, 38]);
            put(input, to, &random.one_of(ADDRESSES4));
        }
        11 => {
            let to = HEAD + if v6 { 20 } else { 23 };
            put(input, to, &[random.one_of(PROTOCOLS)]);
        }
        // TTL, or the first byte behind an IPv4 header.
        12 => {
            let to = HEAD + random.one_of(&[21, 22, 34, 54]);
            put(
                input,
                to,
                &[random.one_of(&[0, 1, 2, 3, 8, 64, 128, 135, 255])],
            );
        }
        // An extension header between IPv6 and what follows, or a fragment of IPv4.
        13 if v6 => {
            let next = input.get(HEAD + 20).copied().unwrap_or(0);
            let kind = random.one_of(&[0, 43, 44, 51, 60, 135]);
            let body = [
                next,
                random.below(3) as u8,
                0,
                random.one_of(&[0, 1, 8, 16]),
                0,
                0,
                0,
                9,
            ];
            put(input, HEAD + 20, &[kind]);
            if input.len() >= HEAD + 54 {
                input.splice(HEAD + 54..HEAD + 54, body);
            }
        }
        13 => put(input, HEAD + 20, &random.one_of(WORDS).to_be_bytes()),
        // Ports, and flags of TCP.
        14 => {
            let upper = HEAD + if v6 { 54 } else { 34 };
            let to = upper + random.one_of(&[0, 2, 13]);
            put(input, to, &random.one_of(WORDS).to_be_bytes());
        }
        _ => beside(input, random),
    }
}

/// The port, the hook, the mark.
fn beside(input: &mut [u8], random: &mut Random) {
    match random.below(4) {
        0 => input[0] = random.below(6) as u8,
        1 => input[1] ^= TC,
        2 => input[1] = random.next() as u8,
        _ => put(input, 2, &random.one_of(WORDS).to_be_bytes()),
    }
}

/// As far as it is there.
fn put(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, byte) in input.iter_mut().skip(at).zip(bytes) {
        *to = *byte;
    }
}
