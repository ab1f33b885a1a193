//! The list of prefixes by route number that stands behind the counters of a table: how a
//! restarted daemon knows what each counter counts.

use ipnet::{Ipv4Net, Ipv6Net};

use super::RouteEntry;

/// `u64` words of one prefix in the list.
pub const WORDS4: usize = 1;
/// The same for IPv6.
pub const WORDS6: usize = 3;

/// The word of one route number; `None`: the number is free.
pub fn encode_prefix4(prefix: Option<Ipv4Net>) -> u64 {
    let Some(net) = prefix else { return 0 };
    u64::from(net.network().to_bits()) << 32 | (u64::from(net.prefix_len()) + 1)
}

/// `None`: the number is free, or the word is no prefix.
pub fn decode_prefix4(word: u64) -> Option<Ipv4Net> {
    let length = u8::try_from((word as u32).checked_sub(1)?).ok()?;
    let net = Ipv4Net::new(((word >> 32) as u32).into(), length).ok()?;
    (net.addr() == net.network()).then_some(net)
}

/// The words of one route number; `None`: the number is free.
pub fn encode_prefix6(prefix: Option<Ipv6Net>) -> [u64; WORDS6] {
    let Some(net) = prefix else {
        return [0; WORDS6];
    };
    let bits = net.network().to_bits();
    [
        (bits >> 64) as u64,
        bits as u64,
        u64::from(net.prefix_len()) + 1,
    ]
}

/// `None`: the number is free, or the words are no prefix.
pub fn decode_prefix6(words: [u64; WORDS6]) -> Option<Ipv6Net> {
    let length = u8::try_from(words[2].checked_sub(1)?).ok()?;
    let bits = u128::from(words[0]) << 64 | u128::from(words[1]);
    let net = Ipv6Net::new(bits.into(), length).ok()?;
    (net.addr() == net.network()).then_some(net)
}

/// The whole list of a table whose counters have `stride` elements a CPU; numbers from `stride` on
/// are left out.
pub fn encode_list4(routes: &[RouteEntry<Ipv4Net>], stride: u32) -> Vec<u64> {
    let mut words = vec![0; stride as usize * WORDS4];
    for entry in routes {
        if let Some(word) = words.get_mut(entry.route as usize) {
            *word = encode_prefix4(Some(entry.prefix));
        }
    }
    words
}

/// Prefixes by route number.
pub fn decode_list4(words: &[u64]) -> Vec<Option<Ipv4Net>> {
    words.iter().copied().map(decode_prefix4).collect()
}

/// The same for IPv6, three words a number.
pub fn encode_list6(routes: &[RouteEntry<Ipv6Net>], stride: u32) -> Vec<u64> {
    let mut words = vec![[0; WORDS6]; stride as usize];
    for entry in routes {
        if let Some(words) = words.get_mut(entry.route as usize) {
            *words = encode_prefix6(Some(entry.prefix));
        }
    }
    words.into_flattened()
}

/// Prefixes by route number.
pub fn decode_list6(words: &[u64]) -> Vec<Option<Ipv6Net>> {
    words
        .as_chunks()
        .0
        .iter()
        .copied()
        .map(decode_prefix6)
        .collect()
}
