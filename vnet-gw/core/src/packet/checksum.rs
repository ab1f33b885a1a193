//! The Internet checksum (RFC 1071), in the byte order of this machine: a sum of words swapped is
//! the swapped sum, so bytes are turned round only at the ends.

use std::sync::LazyLock;

use pulp::Arch;

/// Shorter ones are summed before the CPU's widest instructions are chosen.
const SHORT: usize = 128;

/// The sum of the bytes as 16-bit words, not folded. Sums of parts may be added when each part but
/// the last has an even length.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    static ARCH: LazyLock<Arch> = LazyLock::new(Arch::new);
    if bytes.len() < SHORT {
        return add_up(bytes);
    }
    ARCH.dispatch(
        #[inline(always)]
        || add_up(bytes),
    )
}

#[inline(always)]
fn add_up(bytes: &[u8]) -> u64 {
    // Eight 32-bit words into eight accumulators of 64 bits: no carry to look after, and the
    // compiler makes vector instructions of it.
    let mut lanes = [0u64; 8];
    let (chunks, rest) = bytes.as_chunks::<32>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut sum = lanes.iter().sum::<u64>();
    let (words, rest) = rest.as_chunks::<2>();
    for word in words {
        sum += u64::from(u16::from_ne_bytes(*word));
    }
    if let [last] = rest {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    sum
}

/// A number as it counts in a sum.
#[inline]
pub(super) const fn word(value: u16) -> u64 {
    u16::from_ne_bytes(value.to_be_bytes()) as u64
}

/// A sum as it is stored, not complemented: what a partial checksum holds.
#[inline]
pub fn fold(mut sum: u64) -> [u8; 2] {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    (sum as u16).to_ne_bytes()
}

/// The checksum that goes into a header whose checksum field counted as zero.
#[inline]
pub fn finish(sum: u64) -> [u8; 2] {
    let [high, low] = fold(sum);
    [!high, !low]
}

/// As `finish`, for TCP and UDP: a UDP checksum of zero means that there is none (RFC 768), and for
/// TCP both zeros are the same.
#[inline]
pub fn finish_transport(sum: u64) -> [u8; 2] {
    match finish(sum) {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    }
}

/// Whether the checksum within the summed bytes is right.
#[inline]
pub fn is_right(sum: u64) -> bool {
    fold(sum) == [0xff, 0xff]
}

/// What TCP, UDP and ICMPv6 sum beside their own bytes (RFC 9293, 3.1; RFC 8200, 8.1): addresses,
/// protocol, length. The packet has a whole IP header.
#[inline]
pub fn pseudo_header(packet: &[u8], v6: bool, protocol: u8, length: usize) -> u64 {
    let addresses = if v6 { &packet[8..40] } else { &packet[12..20] };
    // The length's upper half is zero up to 64 KiB.
    sum(addresses) + word(u16::from(protocol)) + word(length as u16)
}

/// Corrects a checksum for a 16-bit word at an even place that changed (RFC 1624, equation 3).
#[inline]
pub fn update(checksum: &mut [u8; 2], old: [u8; 2], new: [u8; 2]) {
    let sum = u64::from(!u16::from_ne_bytes(*checksum))
        + u64::from(!u16::from_ne_bytes(old))
        + u64::from(u16::from_ne_bytes(new));
    *checksum = finish(sum);
}

/// Makes an IPv4 header's checksum anew.
#[inline]
pub(super) fn set_v4(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = finish(sum(header));
    header[10..12].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_ones_have_the_sum_of_their_words() {
        let bytes: Vec<u8> = (0..3000u32).map(|n| (n * 167 % 251) as u8).collect();
        for length in (0..300).chain([1360, 1399, 3000]) {
            let words = bytes[..length].chunks(2).map(|word| match *word {
                [a, b] => u64::from(u16::from_ne_bytes([a, b])),
                [a] => u64::from(u16::from_ne_bytes([a, 0])),
                _ => 0,
            });
            assert_eq!(fold(sum(&bytes[..length])), fold(words.sum()), "{length}");
        }
    }
}
