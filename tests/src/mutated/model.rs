//! What should become of a packet, from the image alone: every route, endpoint and rule is looked at,
//! one after the other.

use std::net::IpAddr;

use ipnet::IpNet;
use vnet_gw_common::{
    internet::{host_mac, scope_of},
    mac_from_u64,
    verdict::Reason,
};
use vnet_gw_core::{
    compile::{ActionImage, GATEWAY_ENDPOINT4, GATEWAY_ENDPOINT6, Image, SubnetImage},
    metering::MeterKey,
    model::ResourceId,
    security::{self, PortSecurity, Verdict, decide},
};

use super::{
    bed::{Bed, DEVICES},
    headers::{self, ETH, ICMPV6, Ip, Layer4, Part},
};
use crate::{frames::FABRIC, test_run::Hook};

/// The fabric's link-local address.
const FABRIC_LINK_LOCAL: &str = "fe80::1234:5678:9abc";

pub(super) struct Model {
    image: std::sync::Arc<Image>,
    pub(super) ports: Vec<Port>,
    /// Numbers of VNets, as packets of the internet port show them.
    pub(super) scopes: Vec<(ResourceId, u32)>,
}

pub(super) struct Port {
    nic: ResourceId,
    pub(super) mac: [u8; 6],
    pub(super) vnet: ResourceId,
    pub(super) subnet: ResourceId,
    pub(super) mtu: usize,
    forwards: bool,
    gateway: bool,
    pub(super) internet: bool,
    security: PortSecurity,
}

/// A packet, and where it comes in.
pub(super) struct Given<'a> {
    pub(super) hook: Hook,
    pub(super) port: usize,
    pub(super) mark: u32,
    pub(super) gso_size: u32,
    pub(super) frame: &'a [u8],
}

/// What should become of it.
pub(super) struct Expected {
    /// Without its priority tags.
    pub(super) frame: Vec<u8>,
    pub(super) ip: Option<Ip>,
    /// The route that counts it.
    pub(super) route: Option<IpNet>,
    /// The meter that counts it if it is handed over.
    pub(super) meter: Option<MeterKey>,
    /// Security groups are asked before what is in `end` comes true.
    pub(super) asked: Option<Asked>,
    pub(super) end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// For one of these.
    Refused(&'static [Reason]),
    ArpAnswered,
    NdAnswered,
    /// To that port, with these MAC addresses: destination's, source's.
    HandedOver {
        to: usize,
        mac: [u8; 6],
        /// Or refused, since how long segments get is the kernel's to say.
        or_too_big: bool,
    },
}

/// What security groups are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) part: Part,
    /// `None`: of a later fragment, or cut.
    pub(super) layer4: Option<Layer4>,
}

/// Where a packet would go.
struct Hop<'a> {
    vnet: &'a ResourceId,
    address: IpAddr,
    missing: &'static [Reason],
}

#[derive(PartialEq, Eq)]
enum Origin {
    Own,
    SameVnet,
    Elsewhere,
}

impl Model {
    pub(super) fn new(bed: &Bed) -> Self {
        let port = |device: &&str| {
            let found = bed.image.ports.iter();
            let found = found.into_iter().find(|(_, port)| port.device == **device);
            let mtu = Bed::mtu(device) as usize;
            match found {
                Some((nic, port)) => Port {
                    nic: nic.clone(),
                    mac: port.mac,
                    vnet: port.vnet.clone(),
                    subnet: port.subnet.clone(),
                    mtu,
                    forwards: port.ip_forwarding || port.gateway,
                    gateway: port.gateway,
                    internet: false,
                    security: port.security.clone(),
                },
                None => Port {
                    nic: ResourceId::new("internet"),
                    mac: mac_from_u64(host_mac(0)),
                    vnet: ResourceId::new("internet"),
                    subnet: ResourceId::new("internet"),
                    mtu,
                    forwards: false,
                    gateway: false,
                    internet: true,
                    security: PortSecurity::default(),
                },
            }
        };
        Self {
            image: std::sync::Arc::clone(&bed.image),
            ports: DEVICES.iter().map(port).collect(),
            scopes: Vec::new(),
        }
    }

    pub(super) fn subnet(&self, port: &Port) -> Option<&SubnetImage> {
        self.image.subnets.get(&port.subnet).map(|subnet| &**subnet)
    }

    /// MAC address and port of an address; the port is `None` where it is not here.
    fn endpoint(&self, vnet: &ResourceId, address: IpAddr) -> Option<([u8; 6], Option<usize>)> {
        let mut all = self.image.endpoints.iter();
        let found = all.find(|one| one.vnet == *vnet && one.address == address)?;
        let port = self.ports.iter().position(|port| port.nic == found.nic);
        Some((found.mac, port))
    }

    fn is_own(&self, number: usize, address: IpAddr) -> bool {
        let port = &self.ports[number];
        let owner = self.endpoint(&port.vnet, address);
        owner.is_some_and(|(_, owner)| owner == Some(number))
    }

    pub(super) fn expect(&self, given: &Given<'_>) -> Expected {
        let mut expected = Expected {
            frame: given.frame.to_vec(),
            ip: None,
            route: None,
            meter: None,
            asked: None,
            end: End::ArpAnswered,
        };
        expected.end = match self.walk(given, &mut expected) {
            Ok(end) => end,
            Err(reasons) => End::Refused(reasons),
        };
        expected
    }

    fn walk(&self, given: &Given<'_>, expected: &mut Expected) -> Result<End, &'static [Reason]> {
        let port = &self.ports[given.port];
        if given.frame[6..12] != port.mac {
            return Err(&[Reason::SpoofedMac]);
        }
        let frame = headers::untag(given.frame)?;
        expected.frame.clone_from(&frame);
        let ip = match headers::word(&frame, 12) {
            Some(0x0800) => Ip::read4(&frame),
            Some(0x86dd) => Ip::read6(&frame),
            Some(0x0806) => return self.arp(given.port, &frame),
            _ => return Err(&[Reason::NotIp]),
        };
        let ip = ip.map_err(only)?;
        expected.ip = Some(ip);
        let kind = headers::byte(&frame, ip.at);
        if ip.v6() && ip.protocol == ICMPV6 && kind.is_some_and(|kind| (133..=137).contains(&kind))
        {
            return self.neighbour(given.port, &frame, &ip);
        }
        if !is_routable(ip.destination) {
            return Err(&[Reason::NotRoutable]);
        }
        let (mac, to) = match port.internet {
            true => self.out_of_internet(given.mark, &ip)?,
            false => self.routed(given.port, &ip, expected)?,
        };
        if to == Some(given.port) && port.gateway {
            return Err(&[Reason::NextHopGateway]);
        }
        let to = to.ok_or(&[Reason::PortDown][..])?;
        let out = &self.ports[to];
        if [port, out].iter().any(|port| port.is_secured()) {
            let upper = headers::upper(&frame, &ip, false);
            let found = upper.found;
            expected.asked = Some(Asked {
                from: given.port,
                to,
                part: upper.part,
                layer4: found.and_then(|found| headers::layer4(&frame, ip.v6(), found)),
            });
        }
        // From the internet it is the host that counts down.
        if !port.internet && ip.ttl <= 1 {
            return Err(&[Reason::TtlExpired]);
        }
        let super_packet = given.hook == Hook::Tc && given.gso_size != 0;
        if !super_packet && ip.len > out.mtu {
            return Err(&[Reason::TooBig]);
        }
        Ok(End::HandedOver {
            to,
            mac,
            or_too_big: super_packet,
        })
    }

    fn out_of_internet(
        &self,
        mark: u32,
        ip: &Ip,
    ) -> Result<([u8; 6], Option<usize>), &'static [Reason]> {
        let scope = scope_of(mark, host_mac(0));
        let mut known = self.scopes.iter();
        let vnet = known.find(|(_, number)| *number == scope);
        vnet.and_then(|(vnet, _)| self.endpoint(vnet, ip.destination))
            .ok_or(&[Reason::EndpointUnreachable])
    }

    fn routed(
        &self,
        number: usize,
        ip: &Ip,
        expected: &mut Expected,
    ) -> Result<([u8; 6], Option<usize>), &'static [Reason]> {
        let port = &self.ports[number];
        let origin = if self.is_own(number, ip.source) {
            Origin::Own
        } else if !port.forwards || !is_routable(ip.source) {
            return Err(&[Reason::SpoofedAddress]);
        } else if self.endpoint(&port.vnet, ip.source).is_some() {
            Origin::SameVnet
        } else {
            Origin::Elsewhere
        };
        let subnet = self.subnet(port).ok_or(&[Reason::NoRoute][..])?;
        let (prefix, action) =
            longest_match(subnet, ip.destination).ok_or(&[Reason::NoRoute][..])?;
        expected.route = Some(prefix);
        expected.meter = MeterKey::of(&port.subnet, &port.vnet, action);
        if *action == ActionImage::Internet {
            if origin != Origin::Own {
                return Err(&[Reason::InternetSource]);
            }
            if is_private(ip.destination) {
                return Err(&[Reason::InternetDestination]);
            }
            let internet = self.ports.iter().position(|port| port.internet);
            let internet = internet.ok_or(&[Reason::NextHopInternet][..])?;
            return Ok((self.ports[internet].mac, Some(internet)));
        }
        let hop = next_hop(action, ip.destination, &origin)?;
        self.endpoint(hop.vnet, hop.address).ok_or(hop.missing)
    }

    fn arp(&self, number: usize, frame: &[u8]) -> Result<End, &'static [Reason]> {
        let port = &self.ports[number];
        let body = frame.get(ETH..ETH + 28).ok_or(&[Reason::Truncated][..])?;
        let address =
            |at: usize| IpAddr::from([body[at], body[at + 1], body[at + 2], body[at + 3]]);
        let (sender, target) = (address(14), address(24));
        let asks = body[..8] == [0, 1, 8, 0, 6, 4, 0, 1] && body[8..14] == port.mac;
        if asks && self.answers_for(number, target) && self.is_own(number, sender) {
            return Ok(End::ArpAnswered);
        }
        Err(&[Reason::ArpIgnored])
    }

    /// Whether the fabric answers a question for the address, asked at that port.
    fn answers_for(&self, number: usize, target: IpAddr) -> bool {
        let port = &self.ports[number];
        let subnet = self.subnet(port).filter(|_| !port.gateway);
        subnet.is_some_and(|subnet| {
            let inside = subnet.prefixes.iter().any(|net| net.contains(&target));
            let router = target.to_string() == FABRIC_LINK_LOCAL;
            (inside || router) && !self.is_own(number, target)
        })
    }

    fn neighbour(&self, number: usize, frame: &[u8], ip: &Ip) -> Result<End, &'static [Reason]> {
        const IGNORED: &[Reason] = &[Reason::NdIgnored];
        let message = frame.get(ETH + 40..ETH + 64).ok_or(IGNORED)?;
        let target: [u8; 16] = message[8..24].try_into().map_err(|_| IGNORED)?;
        let IpAddr::V6(source) = ip.source else {
            return Err(IGNORED);
        };
        let from_here = source.is_unicast_link_local() || self.is_own(number, ip.source);
        let asks = message[..2] == [135, 0] && ip.ttl == 255;
        if asks && from_here && self.answers_for(number, target.into()) {
            return Ok(End::NdAnswered);
        }
        Err(IGNORED)
    }

    /// What the rules say of a packet by itself.
    pub(super) fn rules(&self, asked: &Asked, layer4: &Layer4, ip: &Ip) -> Option<Reason> {
        let packet = security::Packet {
            protocol: layer4.protocol,
            source: ip.source,
            destination: ip.destination,
            source_port: layer4.ports.0,
            destination_port: layer4.ports.1,
        };
        let denied = |ids: &[security::RuleSetId]| {
            let sets = ids.iter().filter_map(|id| self.image.rule_sets.get(id));
            matches!(
                decide(sets.map(|set| &**set), &packet),
                Verdict::Denied { .. }
            )
        };
        if denied(&self.ports[asked.from].security.outbound) {
            return Some(Reason::NsgOutbound);
        }
        denied(&self.ports[asked.to].security.inbound).then_some(Reason::NsgInbound)
    }

    /// MAC address that what is handed over comes from.
    pub(super) fn sender(&self, from: usize, to: usize) -> [u8; 6] {
        if !self.ports[to].internet {
            return FABRIC;
        }
        let vnet = &self.ports[from].vnet;
        let scope = self.scopes.iter().find(|(known, _)| known == vnet);
        let scope = scope.map_or(0, |(_, scope)| *scope);
        mac_from_u64(host_mac(0) | u64::from(scope))
    }
}

impl Port {
    fn is_secured(&self) -> bool {
        !self.security.inbound.is_empty() || !self.security.outbound.is_empty()
    }
}

fn next_hop<'a>(
    action: &'a ActionImage,
    destination: IpAddr,
    origin: &Origin,
) -> Result<Hop<'a>, &'static [Reason]> {
    let forwards = |accepts: bool| {
        if *origin == Origin::Elsewhere && !accepts {
            return Err(&[Reason::ForwardedRefused][..]);
        }
        Ok(())
    };
    let to = |vnet, address, missing| {
        Ok(Hop {
            vnet,
            address,
            missing,
        })
    };
    match action {
        ActionImage::Local { vnet } => to(vnet, destination, &[Reason::EndpointUnreachable]),
        ActionImage::Peering {
            vnet,
            accepts_forwarded,
        } => {
            forwards(*accepts_forwarded)?;
            to(vnet, destination, &[Reason::EndpointUnreachable])
        }
        ActionImage::Appliance {
            vnet,
            address,
            peered,
            accepts_forwarded,
        } => {
            forwards(!peered || *accepts_forwarded)?;
            let vnet = vnet.as_ref().ok_or(&[Reason::ApplianceUnreachable][..])?;
            to(vnet, *address, &[Reason::ApplianceUnreachable])
        }
        ActionImage::Gateway {
            vnet,
            peered,
            accepts_forwarded,
        } => {
            forwards(!peered || *accepts_forwarded)?;
            let vnet = vnet.as_ref().ok_or(&[Reason::NextHopGateway][..])?;
            let address = match destination {
                IpAddr::V4(_) => GATEWAY_ENDPOINT4.into(),
                IpAddr::V6(_) => GATEWAY_ENDPOINT6.into(),
            };
            to(vnet, address, &[Reason::NextHopGateway])
        }
        ActionImage::Internet => Err(&[Reason::NextHopInternet]),
        ActionImage::None => Err(&[Reason::NextHopNone]),
    }
}

fn longest_match(subnet: &SubnetImage, destination: IpAddr) -> Option<(IpNet, &ActionImage)> {
    let of4 = subnet.v4.routes.iter().map(|(net, at)| {
        let action = subnet.v4.actions.get(*at as usize);
        (IpNet::V4(*net), action)
    });
    let of6 = subnet.v6.routes.iter().map(|(net, at)| {
        let action = subnet.v6.actions.get(*at as usize);
        (IpNet::V6(*net), action)
    });
    let matching = of4.chain(of6).filter(|(net, _)| net.contains(&destination));
    let (net, action) = matching.max_by_key(|(net, _)| net.prefix_len())?;
    Some((net, action?))
}

fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first != 0 && !v4.is_loopback() && first < 224 && !v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            !v6.is_multicast()
                && !v6.is_unicast_link_local()
                && !v6.is_loopback()
                && !v6.is_unspecified()
        }
    }
}

/// RFC 1918, 6598 and 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || a == 100 && b & 0xc0 == 64
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// The reason of a header that does not hold.
fn only(reason: Reason) -> &'static [Reason] {
    match reason {
        Reason::BadHeader => &[Reason::BadHeader],
        _ => &[Reason::Truncated],
    }
}
