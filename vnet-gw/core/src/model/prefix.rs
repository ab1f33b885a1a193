//! Prefixes and addresses: reading them, and finding overlaps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{ArmError, error::cut};

/// A prefix as written.
///
/// # Errors
///
/// `InvalidAddressPrefixFormat`; `InvalidCIDRNotation` where host bits are set.
pub(super) fn parse(text: &str) -> Result<IpNet, ArmError> {
    let prefix = cidr(text.trim()).ok_or_else(|| {
        ArmError::new(
            "InvalidAddressPrefixFormat",
            format!(
                "'{}' is not an address prefix: write it in CIDR notation, such as 10.0.0.0/24 \
                 or fd00:1::/64.",
                cut(text)
            ),
        )
    })?;
    if prefix.addr() != prefix.network() {
        return Err(ArmError::new(
            "InvalidCIDRNotation",
            format!(
                "The prefix {prefix} has host bits set: write {}.",
                prefix.trunc()
            ),
        ));
    }
    Ok(prefix)
}

/// With the standard library's parser: `010.0.0.0`, octal to some, is no address to it.
fn cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let digits = (1..=3).contains(&length.len()) && length.bytes().all(|b| b.is_ascii_digit());
    IpNet::new(
        address.parse().ok()?,
        length.parse().ok().filter(|_| digits)?,
    )
    .ok()
}

pub(super) const fn is_ipv4(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V4(_))
}

/// Azure keeps the first four addresses of a subnet's prefix, and of IPv4 the last.
pub(super) fn is_reserved(prefix: &IpNet, address: IpAddr) -> bool {
    match (prefix, address) {
        (IpNet::V4(prefix), IpAddr::V4(address)) => {
            address.to_bits().wrapping_sub(prefix.network().to_bits()) < 4
                || address == prefix.broadcast()
        }
        (IpNet::V6(prefix), IpAddr::V6(address)) => {
            address.to_bits().wrapping_sub(prefix.network().to_bits()) < 4
        }
        _ => false,
    }
}

/// Ranges that no virtual network may touch, and what they are for.
const NOT_ALLOWED: [(IpNet, &str); 10] = [
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([168, 63, 129, 16], 32), "the platform's own services"),
    (v4([0, 0, 0, 0], 8), "this network"),
    (v6([0, 0], 96), "loopback and unspecified"),
    (v6([0, 0xffff_0000_0000], 96), "IPv4-mapped addresses"),
    (v6([0xfe80 << 48, 0], 10), "link-local"),
    (v6([0xff00 << 48, 0], 8), "multicast"),
];

const fn v4(octets: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), length))
}

const fn v6(halves: [u64; 2], length: u8) -> IpNet {
    let bits = ((halves[0] as u128) << 64) | halves[1] as u128;
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length))
}

/// The range a prefix may not touch but does.
pub(super) fn not_allowed(prefix: &IpNet) -> Option<(IpNet, &'static str)> {
    NOT_ALLOWED
        .into_iter()
        .find(|(range, _)| range.contains(prefix) || prefix.contains(range))
}

/// Pairs beyond this are not looked for: one error a pair is told, and no more than fifty.
const MAX_PAIRS: usize = 4_096;

/// Every pair of prefixes that share an address (one contains the other), with their owners; the
/// wider first. By sorting: CIDR prefixes nest or are apart, so the open ones form a stack.
pub(super) fn overlaps<T: Copy + Ord>(
    prefixes: impl IntoIterator<Item = (IpNet, T)>,
) -> Vec<((IpNet, T), (IpNet, T))> {
    let mut sorted: Vec<(IpNet, T)> = prefixes.into_iter().collect();
    sorted.sort_unstable();
    let mut open: Vec<(IpNet, T)> = Vec::new();
    let mut pairs = Vec::new();
    for next in sorted {
        while open
            .last()
            .is_some_and(|(wider, _)| !wider.contains(&next.0))
        {
            open.pop();
        }
        pairs.extend(open.iter().map(|wider| (*wider, next)));
        open.push(next);
        if pairs.len() > MAX_PAIRS {
            break;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_with_host_bits_are_corrected() {
        let error = parse("10.0.0.1/24").unwrap_err();
        assert_eq!(error.code, "InvalidCIDRNotation");
        assert!(error.message.contains("10.0.0.0/24"), "{error}");
        assert!(
            parse("fd00::1/64")
                .unwrap_err()
                .message
                .contains("fd00::/64")
        );
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/24",
            "x",
            "",
            "fd00::/129",
            "010.0.0.0/8",
        ] {
            assert_eq!(
                parse(text).unwrap_err().code,
                "InvalidAddressPrefixFormat",
                "{text}"
            );
        }
        assert_eq!(parse(" 10.0.0.0/8 ").unwrap(), v4([10, 0, 0, 0], 8));
    }

    #[test]
    fn reserved_addresses_are_the_first_four_and_of_ipv4_the_last() {
        for (prefix, address, reserved) in [
            ("10.0.0.0/24", "10.0.0.0", true),
            ("10.0.0.0/24", "10.0.0.3", true),
            ("10.0.0.0/24", "10.0.0.4", false),
            ("10.0.0.0/24", "10.0.0.254", false),
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.8/29", "10.0.0.11", true),
            ("10.0.0.8/29", "10.0.0.12", false),
            ("fd00::/64", "fd00::3", true),
            ("fd00::/64", "fd00::4", false),
            ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", false),
            ("fd00::/64", "10.0.0.0", false),
        ] {
            let (prefix, address) = (parse(prefix).unwrap(), address.parse().unwrap());
            assert_eq!(
                is_reserved(&prefix, address),
                reserved,
                "{prefix} {address}"
            );
        }
    }

    #[test]
    fn special_ranges_are_not_allowed_whichever_contains_which() {
        for prefix in [
            "0.0.0.0/0",
            "127.0.0.0/24",
            "169.254.1.0/24",
            "168.63.129.0/24",
            "239.0.0.0/8",
            "fe80::/64",
            "ff02::/16",
            "::/0",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(not_allowed(&parse(prefix).unwrap()).is_some(), "{prefix}");
        }
        for prefix in [
            "10.0.0.0/8",
            "168.63.128.0/24",
            "100.64.0.0/10",
            "fd00::/8",
            "2001:db8::/32",
        ] {
            assert!(not_allowed(&parse(prefix).unwrap()).is_none(), "{prefix}");
        }
    }

    fn any_prefix() -> impl Strategy<Value = IpNet> {
        // Few bits vary, so that overlaps are common.
        prop_oneof![
            (0u32..64, 24u8..=32).prop_map(|(bits, length)| {
                IpNet::new_assert(
                    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | bits << 2)),
                    length,
                )
                .trunc()
            }),
            (0u128..16, 120u8..=128).prop_map(|(bits, length)| {
                IpNet::new_assert(
                    IpAddr::V6(Ipv6Addr::from_bits(0xfd << 120 | bits << 4)),
                    length,
                )
                .trunc()
            }),
        ]
    }

    proptest! {
        #[test]
        fn overlaps_are_those_that_a_look_at_every_pair_finds(
            prefixes in prop::collection::vec(any_prefix(), 0..40)
        ) {
            let naive = |a: IpNet, b: IpNet| {
                a.contains(&b.network()) || b.contains(&a.network())
            };
            let mut expected = Vec::new();
            for (i, a) in prefixes.iter().enumerate() {
                for (j, b) in prefixes.iter().enumerate().skip(i + 1) {
                    if naive(*a, *b) {
                        expected.push((i, j));
                    }
                }
            }
            let owned = prefixes.iter().enumerate().map(|(owner, prefix)| (*prefix, owner));
            let mut found: Vec<(usize, usize)> = overlaps(owned)
                .into_iter()
                .map(|((_, a), (_, b))| (a.min(b), a.max(b)))
                .collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
