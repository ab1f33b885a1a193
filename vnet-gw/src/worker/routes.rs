//! Which connection an address is behind: longest prefix first.

use std::net::IpAddr;

use ipnet::IpNet;

/// Number of a connection in the configuration.
pub(super) type ConnectionNumber = u32;

/// The prefixes of all connections as intervals in order, so that a lookup is one binary search.
#[derive(Debug, Default)]
pub(super) struct Routes {
    v4: Intervals<u32>,
    v6: Intervals<u128>,
}

/// Where each interval begins, and whose it is until the next one does.
#[derive(Debug)]
struct Intervals<A>(Vec<(A, Option<ConnectionNumber>)>);

impl<A> Default for Intervals<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Routes {
    /// Of equal prefixes the first one counts.
    pub(super) fn new<'a>(prefixes: impl Iterator<Item = (&'a IpNet, ConnectionNumber)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, connection) in prefixes {
            match prefix {
                IpNet::V4(p) => v4.push(Range {
                    first: p.network().to_bits(),
                    last: p.broadcast().to_bits(),
                    length: p.prefix_len(),
                    connection,
                }),
                IpNet::V6(p) => v6.push(Range {
                    first: p.network().to_bits(),
                    last: p.broadcast().to_bits(),
                    length: p.prefix_len(),
                    connection,
                }),
            }
        }
        Self {
            v4: Intervals::new(v4, |last| last.checked_add(1)),
            v6: Intervals::new(v6, |last| last.checked_add(1)),
        }
    }

    pub(super) fn find(&self, address: IpAddr) -> Option<ConnectionNumber> {
        match address {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

struct Range<A> {
    first: A,
    last: A,
    length: u8,
    connection: ConnectionNumber,
}

impl<A: Ord + Copy> Intervals<A> {
    fn new(mut ranges: Vec<Range<A>>, after: impl Fn(A) -> Option<A>) -> Self {
        // Outer before inner; the sort keeps equal ones in their order.
        ranges.sort_by_key(|range| (range.first, range.length));
        ranges.dedup_by_key(|range| (range.first, range.length));
        let mut starts: Vec<(A, Option<ConnectionNumber>)> = Vec::new();
        let mut begin = |at: A, connection| match starts.last_mut() {
            Some(last) if last.0 == at => last.1 = connection,
            _ => starts.push((at, connection)),
        };
        let mut open: Vec<Range<A>> = Vec::new();
        for range in ranges {
            while let Some(ended) = open.pop_if(|outer| outer.last < range.first) {
                if let Some(next) = after(ended.last) {
                    begin(next, open.last().map(|outer| outer.connection));
                }
            }
            begin(range.first, Some(range.connection));
            open.push(range);
        }
        while let Some(ended) = open.pop() {
            if let Some(next) = after(ended.last) {
                begin(next, open.last().map(|outer| outer.connection));
            }
        }
        Self(starts)
    }

    fn find(&self, address: A) -> Option<ConnectionNumber> {
        let next = self.0.partition_point(|(first, _)| *first <= address);
        self.0[..next].last()?.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(prefixes: &[(&str, u32)]) -> Routes {
        let parsed: Vec<(IpNet, u32)> = prefixes
            .iter()
            .map(|(prefix, connection)| (prefix.parse().unwrap(), *connection))
            .collect();
        Routes::new(
            parsed
                .iter()
                .map(|(prefix, connection)| (prefix, *connection)),
        )
    }

    #[test]
    fn the_longest_prefix_wins() {
        let routes = routes(&[
            ("10.0.0.0/8", 1),
            ("10.1.0.0/16", 2),
            ("10.1.2.0/24", 3),
            ("10.1.255.0/24", 4),
            ("10.255.255.255/32", 5),
            ("2001:db8::/32", 6),
            ("2001:db8:1::/48", 7),
            ("ff00::/8", 8),
            ("10.0.0.0/8", 9),
        ]);
        for (address, connection) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(1)),
            ("10.1.0.0", Some(2)),
            ("10.1.2.255", Some(3)),
            ("10.1.3.0", Some(2)),
            ("10.1.255.255", Some(4)),
            ("10.2.0.0", Some(1)),
            ("10.255.255.254", Some(1)),
            ("10.255.255.255", Some(5)),
            ("11.0.0.0", None),
            ("2001:db8::1", Some(6)),
            ("2001:db8:1::1", Some(7)),
            ("2001:db8:2::", Some(6)),
            ("2001:db9::", None),
            ("ffff::", Some(8)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(8)),
        ] {
            assert_eq!(
                routes.find(address.parse().unwrap()),
                connection,
                "{address}"
            );
        }
    }

    #[test]
    fn everything_and_nothing() {
        let any = routes(&[("0.0.0.0/0", 3)]);
        assert_eq!(any.find([0, 0, 0, 0].into()), Some(3));
        assert_eq!(any.find([255, 255, 255, 255].into()), Some(3));
        assert_eq!(any.find("::1".parse().unwrap()), None);
        assert_eq!(Routes::default().find([10, 0, 0, 1].into()), None);
    }
}
