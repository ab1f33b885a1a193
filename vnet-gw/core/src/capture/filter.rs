//! Azure's `PacketCaptureFilter`: a protocol, addresses and ports of both sides.

use std::{fmt, net::IpAddr};

use vnet_gw_common::{Addr6, capture as kernel};

use super::Key;

/// Azure's `PcProtocol`, and `Icmp`, which Azure has not: ICMP and ICMPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Any,
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "Any",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
        }
    }

    /// Without case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Any, Self::Tcp, Self::Udp, Self::Icmp]
            .into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(text))
    }

    fn has(self, number: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Tcp => number == 6,
            Self::Udp => number == 17,
            Self::Icmp => matches!(number, 1 | 58),
        }
    }
}

/// One address, `first-last`, or several of those with `;` between. Nothing stands for every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(Vec<(IpAddr, IpAddr)>);

/// One port, `first-last`, or several of those with `;` between. Nothing stands for every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<(u16, u16)>);

/// A packet fits a filter that it fits in every field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub protocol: Protocol,
    pub local: Addresses,
    pub remote: Addresses,
    pub local_ports: Ports,
    pub remote_ports: Ports,
}

/// The parts of `a;b-c`, none of an empty text.
fn ranges<T: Ord>(
    text: &str,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<(T, T)>, String> {
    let text = text.trim();
    if text.is_empty() || text == "*" {
        return Ok(Vec::new());
    }
    let part = |part: &str| {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (first, last),
            None => (part, part),
        };
        let range = read(first.trim()).zip(read(last.trim()));
        let shown: String = part.chars().take(80).collect();
        let (first, last) =
            range.ok_or_else(|| format!("'{shown}' is no {what}, and no range of them"))?;
        if first > last {
            return Err(format!("the range '{shown}' ends before it begins"));
        }
        Ok((first, last))
    };
    text.split(';').map(part).collect()
}

impl Addresses {
    /// # Errors
    /// What is no address, in a sentence's end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let ranges = ranges(text, "IP address", |text| text.parse::<IpAddr>().ok())?;
        match ranges.iter().find(|(a, b)| a.is_ipv4() != b.is_ipv4()) {
            Some((a, b)) => Err(format!("the range '{a}-{b}' mixes IPv4 and IPv6")),
            None => Ok(Self(ranges)),
        }
    }

    pub fn one(address: IpAddr) -> Self {
        Self(vec![(address, address)])
    }

    fn has(&self, address: IpAddr) -> bool {
        let within = |(first, last): &(IpAddr, IpAddr)| {
            first.is_ipv4() == address.is_ipv4() && (first..=last).contains(&&address)
        };
        self.0.is_empty() || self.0.iter().any(within)
    }

    fn hull(&self) -> [Addr6; 2] {
        let first = self.0.iter().map(|(first, _)| number(*first)).min();
        let last = self.0.iter().map(|(_, last)| number(*last)).max();
        match (first, last) {
            (Some(first), Some(last)) => [first, last],
            _ => kernel::Filter::ANY.local,
        }
    }
}

impl Ports {
    /// # Errors
    /// What is no port, in a sentence's end.
    pub fn parse(text: &str) -> Result<Self, String> {
        ranges(text, "port", |text| text.parse::<u16>().ok()).map(Self)
    }

    pub fn one(port: u16) -> Self {
        Self(vec![(port, port)])
    }

    fn has(&self, port: Option<u16>) -> bool {
        let within = |port: u16| {
            self.0
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&port))
        };
        self.0.is_empty() || port.is_some_and(within)
    }

    fn hull(&self) -> [u32; 2] {
        let first = self.0.iter().map(|(first, _)| u32::from(*first)).min();
        let last = self.0.iter().map(|(_, last)| u32::from(*last)).max();
        match (first, last) {
            (Some(first), Some(last)) => [first, last],
            _ => kernel::Filter::ANY.local_ports,
        }
    }
}

fn number(address: IpAddr) -> Addr6 {
    match address {
        IpAddr::V4(address) => Addr6::from_v4(address.to_bits()),
        IpAddr::V6(address) => Addr6::from_bits(address.to_bits()),
    }
}

impl Filter {
    /// A frame that is not IP has no key: it fits no filter.
    pub fn fits(&self, key: &Key) -> bool {
        self.protocol.has(key.protocol)
            && self.local.has(key.local)
            && self.remote.has(key.remote)
            && self.local_ports.has(key.ports.map(|(local, _)| local))
            && self.remote_ports.has(key.ports.map(|(_, remote)| remote))
    }

    /// The narrowest filter of the kernel's that has all of this one's packets.
    pub fn hull(&self) -> kernel::Filter {
        kernel::Filter {
            local: self.local.hull(),
            remote: self.remote.hull(),
            local_ports: self.local_ports.hull(),
            remote_ports: self.remote_ports.hull(),
            protocols: match self.protocol {
                Protocol::Any => kernel::Filter::ANY.protocols,
                Protocol::Tcp => [6, 6],
                Protocol::Udp => [17, 17],
                Protocol::Icmp => [1, 58],
            },
        }
    }
}

fn joined<T: fmt::Display + PartialEq>(
    ranges: &[(T, T)],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (at, (first, last)) in ranges.iter().enumerate() {
        let between = if at == 0 { "" } else { ";" };
        match first == last {
            true => write!(f, "{between}{first}")?,
            false => write!(f, "{between}{first}-{last}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(&self.0, f)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_read_as_azure_writes_them() {
        let addresses = Addresses::parse("10.0.0.4; 10.1.0.0-10.1.0.255").unwrap();
        assert_eq!(addresses.to_string(), "10.0.0.4;10.1.0.0-10.1.0.255");
        for (address, fits) in [
            ("10.0.0.4", true),
            ("10.0.0.5", false),
            ("10.1.0.77", true),
            ("10.1.1.0", false),
            ("::ffff:10.0.0.4", false),
        ] {
            assert_eq!(addresses.has(address.parse().unwrap()), fits, "{address}");
        }
        assert!(
            Addresses::parse("")
                .unwrap()
                .has("fd00::1".parse().unwrap())
        );
        let ports = Ports::parse("80;443-500").unwrap();
        assert!(ports.has(Some(450)) && !ports.has(Some(81)) && !ports.has(None));
    }

    #[test]
    fn what_is_no_range_is_told() {
        for (text, why) in [
            ("10.0.0", "'10.0.0' is no IP address"),
            ("10.0.0.9-10.0.0.4", "ends before it begins"),
            ("10.0.0.9-fd00::1", "mixes IPv4 and IPv6"),
            ("10.0.0.4;", "'' is no IP address"),
        ] {
            let error = Addresses::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for text in ["65536", "http", "-80", "80-"] {
            assert!(Ports::parse(text).is_err(), "{text}");
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u32..8).prop_map(|low| IpAddr::V4((0x0a00_0000 + low).into())),
            (0u128..8).prop_map(|low| IpAddr::V6((0xfd << 120 | low).into())),
        ]
    }

    fn addresses() -> impl Strategy<Value = Addresses> {
        let range = (address(), address())
            .prop_filter("one family", |(a, b)| a.is_ipv4() == b.is_ipv4())
            .prop_map(|(a, b)| (a.min(b), a.max(b)));
        prop::collection::vec(range, 0..3).prop_map(Addresses)
    }

    fn ports() -> impl Strategy<Value = Ports> {
        let range = (0u16..6, 0u16..6).prop_map(|(a, b)| (a.min(b), a.max(b)));
        prop::collection::vec(range, 0..3).prop_map(Ports)
    }

    proptest! {
        #[test]
        fn the_kernels_filter_has_every_packet_of_ours(
            (local, remote) in (addresses(), addresses()),
            (local_ports, remote_ports) in (ports(), ports()),
            (here, there) in (address(), address()),
            at in prop::option::of((0u16..8, 0u16..8)),
            (wanted, protocol) in (0usize..4, prop_oneof![Just(1u8), Just(6), Just(17), Just(58)]),
        ) {
            let protocols = [Protocol::Any, Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
            let filter = Filter { protocol: protocols[wanted], local, remote, local_ports, remote_ports };
            let key = Key { local: here, remote: there, protocol, ports: at };
            let mut capture = kernel::Capture::ALL;
            capture.filters_used = 1;
            capture.filters[0] = filter.hull();
            let none = kernel::Key::NO_PORT;
            let found = capture.admits(&kernel::Key {
                local: number(here),
                remote: number(there),
                local_port: at.map_or(none, |(port, _)| port.into()),
                remote_port: at.map_or(none, |(_, port)| port.into()),
                protocol: protocol.into(),
                later: false,
            });
            prop_assert!(found || !filter.fits(&key));
        }
    }
}
