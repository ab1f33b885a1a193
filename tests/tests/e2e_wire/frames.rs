//! Probes as frames, and what a guest that forwards does with one.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use vnet_gw_core::watcher::Packet;
use vnet_gw_lab::{
    probe::frame::{self, ETH_IPV4, ETH_IPV6, Ipv4Header, Mac, checksum},
    workload::FABRIC_MAC,
};

use crate::random::{FOREIGN, Port, Random, World};

/// Before a probe's number, at the end of its packet.
const MARK: [u8; 4] = *b"wire";
/// So that a circle ends soon: with an appliance's guest, in the fabric, or at once.
const TTLS: [u8; 12] = [8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 1];
const PORTS: [u16; 4] = [80, 443, 1500, 33_000];

/// Numbers for the probes of one network and for their flows: none comes twice at one daemon, where
/// a flow may outlive the network that it was in.
struct Flows {
    id: u32,
    port: u16,
}

impl Flows {
    /// More than a network has probes.
    const EACH: u16 = 300;

    /// Seeds that differ by less than 100 have different ones.
    fn new(seed: u64) -> Self {
        let slot = (seed % 100) as u16;
        Self {
            id: u32::from(slot * Self::EACH),
            port: 34_000 + slot * Self::EACH,
        }
    }
}

/// One packet.
pub(crate) struct Probe {
    pub(crate) id: u32,
    /// The device that it is sent by.
    pub(crate) from: usize,
    pub(crate) packet: Packet,
    /// Of the flow: source port, or ICMP identifier.
    number: u16,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = &self.packet;
        write!(
            f,
            "probe {} from {}: {} {} → {}:{}",
            self.id,
            World::device(self.from),
            packet.protocol_name(),
            packet.source,
            packet.destination,
            packet.destination_port
        )
    }
}

/// What is tried.
#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Udp,
    Icmp,
    Esp,
}

impl Kind {
    const PLAIN: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];
}

impl Flows {
    fn probe(
        &mut self,
        random: &mut Random,
        from: usize,
        kind: Kind,
        source: IpAddr,
        destination: IpAddr,
    ) -> Probe {
        self.id += 1;
        self.port += 1;
        let (number, port) = (self.port, *random.one(&PORTS));
        let packet = match kind {
            Kind::Tcp => Packet::new(Packet::TCP, source, destination).with_ports(number, port),
            Kind::Udp => Packet::new(Packet::UDP, source, destination).with_ports(number, port),
            Kind::Icmp => Packet::icmp(source, destination),
            Kind::Esp => Packet::new(Packet::ESP, source, destination),
        };
        Probe {
            id: self.id,
            from,
            packet: packet.with_ttl(*random.one(&TTLS)),
            number,
        }
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Each protocol and family from each NIC to each other one, and some to elsewhere.
pub(crate) fn probes(world: &World, seed: u64) -> Vec<Probe> {
    let mut flows = Flows::new(seed);
    let mut random = Random::new(!seed);
    let random = &mut random;
    let mut probes = Vec::new();
    let nics: Vec<(usize, &Port)> = world.nics.iter().enumerate().collect();
    for &(from, near) in &nics {
        for &(to, far) in &nics {
            if from == to {
                continue;
            }
            for kind in Kind::PLAIN {
                for (source, destination) in [
                    (near.v4.into(), far.v4.into()),
                    (near.v6.into(), far.v6.into()),
                ] {
                    probes.push(flows.probe(random, from, kind, source, destination));
                }
            }
        }
    }
    let fixed = [
        "224.0.0.251",
        "169.254.9.9",
        "ff02::fb",
        FOREIGN[0],
        FOREIGN[1],
    ]
    .map(address);
    for _ in 0..12 {
        let (&(from, near), &(_, far)) = (random.one(&nics), random.one(&nics));
        let kind = *random.one(&Kind::PLAIN);
        let destination = match random.below(5) {
            0 | 1 => *random.one(&far.nobody()),
            // To itself.
            2 => *random.one(&[near.v4.into(), near.v6.into()]),
            _ => *random.one(&fixed),
        };
        let source = near.address(destination);
        probes.push(flows.probe(random, from, kind, source, destination));
    }
    // From an address that is another's, or nobody's.
    for _ in 0..6 {
        let (&(from, _), &(_, far)) = (random.one(&nics), random.one(&nics));
        let kind = *random.one(&Kind::PLAIN);
        let destination: IpAddr = *random.one(&[far.v4.into(), far.v6.into()]);
        let foreign = FOREIGN.map(address);
        let foreign = foreign
            .iter()
            .find(|a| a.is_ipv4() == destination.is_ipv4());
        let source = match random.below(2) {
            0 => random.one(&nics).1.address(destination),
            _ => foreign.copied().unwrap(),
        };
        probes.push(flows.probe(random, from, kind, source, destination));
    }
    // Without ports the addresses alone tell flows apart, in both directions.
    let mut used = BTreeSet::new();
    for _ in 0..4 {
        let (&(from, near), &(to, far)) = (random.one(&nics), random.one(&nics));
        let v6 = random.below(2) == 1;
        if used.insert((from.min(to), from.max(to), v6)) {
            let (source, destination) = match v6 {
                true => (near.v6.into(), far.v6.into()),
                false => (near.v4.into(), far.v4.into()),
            };
            probes.push(flows.probe(random, from, Kind::Esp, source, destination));
        }
    }
    assert!(probes.len() <= usize::from(Flows::EACH));
    probes
}

/// Of an upper layer over either family.
fn with_checksum(packet: &Packet, at: usize, mut segment: Vec<u8>) -> Vec<u8> {
    let mut pseudo = Vec::with_capacity(40);
    for address in [packet.source, packet.destination] {
        match address {
            IpAddr::V4(v4) => pseudo.extend(v4.octets()),
            IpAddr::V6(v6) => pseudo.extend(v6.octets()),
        }
    }
    let length = segment.len() as u16;
    pseudo.extend([0, packet.protocol]);
    pseudo.extend(length.to_be_bytes());
    // ICMP has no pseudo-header, ICMPv6 has.
    let sum = match packet.protocol {
        Packet::ICMP => checksum(&[&segment]),
        _ => checksum(&[&pseudo, &segment]),
    };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    segment
}

impl Probe {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let packet = &self.packet;
        let mark = [MARK, self.id.to_be_bytes()].concat();
        let number = self.number.to_be_bytes();
        let ports = [number, packet.destination_port.to_be_bytes()].concat();
        let upper = match packet.protocol {
            Packet::TCP => {
                let mut segment = ports;
                segment.extend(self.id.to_be_bytes());
                segment.extend([0, 0, 0, 0, 5 << 4, 2, 0x20, 0, 0, 0, 0, 0]);
                segment.extend(mark);
                with_checksum(packet, 16, segment)
            }
            Packet::UDP => {
                let source = (packet.source, self.number);
                let destination = (packet.destination, packet.destination_port);
                frame::udp(source, destination, &mark)
            }
            Packet::ESP => [&self.id.to_be_bytes()[..], &[0, 0, 0, 1], &mark].concat(),
            protocol => {
                let kind = if protocol == Packet::ICMP { 8 } else { 128 };
                let mut message = vec![kind, 0, 0, 0];
                message.extend(number);
                message.extend([0, 1]);
                message.extend(mark);
                with_checksum(packet, 2, message)
            }
        };
        let mac = World::mac(self.from);
        match (packet.source, packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    ttl: packet.ttl,
                    ..Ipv4Header::new(packet.protocol)
                };
                let bytes = header.packet(source, destination, &upper);
                frame::ethernet(FABRIC_MAC, mac, ETH_IPV4, &bytes)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let bytes = frame::ipv6(source, destination, packet.protocol, packet.ttl, &upper);
                frame::ethernet(FABRIC_MAC, mac, ETH_IPV6, &bytes)
            }
            mixed => panic!("one address of each family: {mixed:?}"),
        }
    }

    /// Whether the packet is this one, and not an ICMP error that quotes it.
    pub(crate) fn is(&self, packet: &frame::Packet<'_>) -> bool {
        let own = &self.packet;
        (packet.src, packet.dst, packet.protocol) == (own.source, own.destination, own.protocol)
    }
}

/// The number of the probe that a packet is, or quotes.
pub(crate) fn id(packet: &frame::Packet<'_>) -> Option<u32> {
    let (_, last) = packet.payload.split_last_chunk::<8>()?;
    let (mark, id) = last.split_first_chunk::<4>()?;
    (*mark == MARK).then(|| id.try_into().map(u32::from_be_bytes).ok())?
}

/// What a guest that forwards sends for what it received: nothing where the TTL is used up.
pub(crate) fn forwarded(received: &[u8], mac: Mac) -> Option<Vec<u8>> {
    let mut out = received.to_vec();
    out[..6].copy_from_slice(&FABRIC_MAC);
    out[6..12].copy_from_slice(&mac);
    let v4 = out[12..14] == ETH_IPV4.to_be_bytes();
    let ttl = &mut out[if v4 { 14 + 8 } else { 14 + 7 }];
    if *ttl <= 1 {
        return None;
    }
    *ttl -= 1;
    if v4 {
        out[24..26].fill(0);
        let sum = checksum(&[&out[14..34]]);
        out[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    Some(out)
}
