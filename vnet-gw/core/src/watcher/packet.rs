//! What of a packet its path depends on.

use std::net::IpAddr;

/// A packet as its sender sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// IP protocol number, that of the upper layer.
    pub protocol: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Of TCP and UDP; 0 with other protocols.
    pub source_port: u16,
    pub destination_port: u16,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Packet {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;

    /// What Linux sends with.
    pub const TTL: u8 = 64;

    /// Without ports.
    pub const fn new(protocol: u8, source: IpAddr, destination: IpAddr) -> Self {
        Self {
            protocol,
            source,
            destination,
            source_port: 0,
            destination_port: 0,
            ttl: Self::TTL,
        }
    }

    /// An ICMP or ICMPv6 echo request.
    pub const fn icmp(source: IpAddr, destination: IpAddr) -> Self {
        let protocol = match source {
            IpAddr::V4(_) => Self::ICMP,
            IpAddr::V6(_) => Self::ICMPV6,
        };
        Self::new(protocol, source, destination)
    }

    #[must_use]
    pub const fn with_ports(self, source: u16, destination: u16) -> Self {
        Self {
            source_port: source,
            destination_port: destination,
            ..self
        }
    }

    #[must_use]
    pub const fn with_ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// What the destination answers: the same flow the other way.
    #[must_use]
    pub const fn reply(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ttl: Self::TTL,
            ..self
        }
    }

    /// `TCP`, or the protocol's number.
    pub fn protocol_name(&self) -> String {
        match self.protocol {
            Self::ICMP => "ICMP".to_owned(),
            Self::TCP => "TCP".to_owned(),
            Self::UDP => "UDP".to_owned(),
            Self::ESP => "ESP".to_owned(),
            Self::AH => "AH".to_owned(),
            Self::ICMPV6 => "ICMPv6".to_owned(),
            other => format!("IP protocol {other}"),
        }
    }

    pub const fn has_ports(&self) -> bool {
        matches!(self.protocol, Self::TCP | Self::UDP)
    }
}
