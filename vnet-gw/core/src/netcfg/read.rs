//! The file's elements, each with its line.

use std::net::IpAddr;

use ipnet::IpNet;
use roxmltree::{Document, Node, ParsingOptions};

use super::{Finding, FindingKind, NetcfgError};
use crate::model::cut;

pub(super) const NAMESPACE: &str =
    "http://schemas.microsoft.com/ServiceHosting/2011/07/NetworkConfiguration";

/// The most nodes: some 100 for each of many VNets.
const MAX_NODES: u32 = 200_000;

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) dns_servers: Vec<DnsServer>,
    pub(super) sites: Vec<Site>,
    pub(super) networks: Vec<Network>,
}

#[derive(Debug)]
pub(super) struct DnsServer {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

/// `LocalNetworkSite`
#[derive(Debug)]
pub(super) struct Site {
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) address_space: Vec<IpNet>,
    /// `VPNGatewayAddress`, which may be a placeholder.
    pub(super) gateway: Option<IpAddr>,
}

/// `VirtualNetworkSite`
#[derive(Debug)]
pub(super) struct Network {
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) location: Option<String>,
    pub(super) address_space: Vec<IpNet>,
    pub(super) subnets: Vec<Subnet>,
    pub(super) dns_servers: Vec<Reference>,
    pub(super) gateway: Option<Gateway>,
}

#[derive(Debug)]
pub(super) struct Subnet {
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) prefixes: Vec<IpNet>,
}

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) line: u32,
    /// The sites that it has an IPsec connection to.
    pub(super) sites: Vec<Reference>,
}

/// A name of something else in the file.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) line: u32,
    pub(super) name: String,
}

pub(super) fn read(text: &str, findings: &mut Vec<Finding>) -> Result<File, NetcfgError> {
    let options = ParsingOptions {
        nodes_limit: MAX_NODES,
        // Without a DTD there are no entities to expand.
        allow_dtd: false,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| NetcfgError::Xml(error.to_string()))?;
    let root = document.root_element();
    let same = |namespace: &str| {
        let path = |text: &str| text.split_once("://").map(|(_, path)| path.to_owned());
        path(namespace) == path(NAMESPACE)
    };
    let is_netcfg = root.tag_name().name() == "NetworkConfiguration"
        && root.tag_name().namespace().is_some_and(same);
    if !is_netcfg {
        let name = root.tag_name();
        let of = name.namespace().map(|of| format!(" of {}", cut(of)));
        let root = format!("{}{}", cut(name.name()), of.unwrap_or_default());
        return Err(NetcfgError::OtherRoot(root));
    }
    let mut reader = Reader {
        lines: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
        file: File::default(),
        findings,
    };
    reader.each(root, |reader, node| match node.tag_name().name() {
        "VirtualNetworkConfiguration" => reader.configuration(node),
        _ => reader.unknown(node),
    });
    Ok(reader.file)
}

struct Reader<'a> {
    /// Where each line begins.
    lines: Vec<usize>,
    file: File,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn line(&self, node: Node<'_, '_>) -> u32 {
        let start = node.range().start;
        let line = self.lines.partition_point(|begin| *begin <= start);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    fn lost(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        self.finding(node, FindingKind::NotCarriedOver, message.into());
    }

    fn finding(&mut self, node: Node<'_, '_>, kind: FindingKind, message: String) {
        let line = self.line(node);
        self.findings.push(Finding {
            line,
            kind,
            message,
        });
    }

    fn unknown(&mut self, node: Node<'_, '_>) {
        let name = cut(node.tag_name().name());
        let message = format!("the element {name} has no counterpart; see what it was for");
        self.lost(node, message);
    }

    /// The elements in one.
    fn each(&mut self, node: Node<'_, '_>, mut what: impl FnMut(&mut Self, Node<'_, '_>)) {
        for child in node.children().filter(Node::is_element) {
            what(self, child);
        }
    }

    /// All elements of a list, which have one name.
    fn list(
        &mut self,
        node: Node<'_, '_>,
        name: &str,
        mut what: impl FnMut(&mut Self, Node<'_, '_>),
    ) {
        self.each(node, |reader, child| {
            match child.tag_name().name() == name {
                true => what(reader, child),
                false => reader.unknown(child),
            }
        });
    }

    /// The attribute `name`, without which the element cannot be carried over.
    fn named(&mut self, node: Node<'_, '_>, attribute: &str) -> Option<String> {
        let value = node.attribute(attribute).map(str::trim).unwrap_or_default();
        if value.is_empty() {
            let message = format!(
                "the {} has no {attribute}; give it one",
                node.tag_name().name()
            );
            self.lost(node, message);
            return None;
        }
        Some(value.to_owned())
    }

    fn configuration(&mut self, node: Node<'_, '_>) {
        self.each(node, |reader, node| match node.tag_name().name() {
            "Dns" => reader.list(node, "DnsServers", |reader, node| {
                reader.list(node, "DnsServer", Self::dns_server);
            }),
            "LocalNetworkSites" => reader.list(node, "LocalNetworkSite", Self::site),
            "VirtualNetworkSites" => reader.list(node, "VirtualNetworkSite", Self::network),
            _ => reader.unknown(node),
        });
    }

    fn dns_server(&mut self, node: Node<'_, '_>) {
        let name = self.named(node, "name");
        let address = self.named(node, "IPAddress");
        let (Some(name), Some(address)) = (name, address) else {
            return;
        };
        if let Some(address) = self.address(node, &address) {
            self.file.dns_servers.push(DnsServer { name, address });
        }
    }

    fn site(&mut self, node: Node<'_, '_>) {
        let Some(name) = self.named(node, "name") else {
            return;
        };
        let mut site = Site {
            line: self.line(node),
            name,
            address_space: Vec::new(),
            gateway: None,
        };
        self.each(node, |reader, node| match node.tag_name().name() {
            "AddressSpace" => site.address_space.extend(reader.prefixes(node)),
            "VPNGatewayAddress" => site.gateway = reader.address(node, text_of(node)),
            _ => reader.unknown(node),
        });
        if site.address_space.is_empty() {
            let message = format!(
                "the local network site '{}' has no address space; a local network gateway needs \
                 one",
                cut(&site.name)
            );
            return self.lost(node, message);
        }
        let double = |other: &Site| other.name.eq_ignore_ascii_case(&site.name);
        if self.file.sites.iter().any(double) {
            return self.double(node, "local network site", &site.name);
        }
        self.file.sites.push(site);
    }

    fn double(&mut self, node: Node<'_, '_>, noun: &str, name: &str) {
        let name = cut(name);
        let message = format!("a {noun} '{name}' is there before this one; rename or remove one");
        self.lost(node, message);
    }

    fn network(&mut self, node: Node<'_, '_>) {
        let Some(name) = self.named(node, "name") else {
            return;
        };
        let attribute = |name| node.attribute(name).map(str::trim);
        let location = attribute("Location").filter(|location| !location.is_empty());
        let mut network = Network {
            line: self.line(node),
            location: location.map(str::to_owned),
            name,
            address_space: Vec::new(),
            subnets: Vec::new(),
            dns_servers: Vec::new(),
            gateway: None,
        };
        if let (None, Some(group)) = (location, attribute("AffinityGroup")) {
            let message = format!(
                "the virtual network '{}' is in the affinity group '{}', whose region the file does \
                 not say: it gets the parameter 'location'",
                cut(&network.name),
                cut(group)
            );
            self.finding(node, FindingKind::Changed, message);
        }
        self.each(node, |reader, node| match node.tag_name().name() {
            "AddressSpace" => network.address_space.extend(reader.prefixes(node)),
            "Subnets" => reader.list(node, "Subnet", |reader, node| {
                reader.subnet(node, &mut network);
            }),
            "DnsServersRef" => reader.list(node, "DnsServerRef", |reader, node| {
                network.dns_servers.extend(reader.reference(node));
            }),
            "Gateway" => network.gateway = Some(reader.gateway(node)),
            // Words for people.
            "Label" | "Id" => {}
            _ => reader.unknown(node),
        });
        if network.address_space.is_empty() {
            let message = format!(
                "the virtual network '{}' has no address space; give it one",
                cut(&network.name)
            );
            return self.lost(node, message);
        }
        let double = |other: &Network| other.name.eq_ignore_ascii_case(&network.name);
        if self.file.networks.iter().any(double) {
            return self.double(node, "virtual network", &network.name);
        }
        self.file.networks.push(network);
    }

    fn subnet(&mut self, node: Node<'_, '_>, network: &mut Network) {
        let Some(name) = self.named(node, "name") else {
            return;
        };
        let prefixes = self.prefixes(node);
        if prefixes.is_empty() {
            let message = format!("the subnet '{}' has no address prefix", cut(&name));
            return self.lost(node, message);
        }
        let double = |other: &Subnet| other.name.eq_ignore_ascii_case(&name);
        if network.subnets.iter().any(double) {
            return self.double(node, "subnet", &name);
        }
        network.subnets.push(Subnet {
            line: self.line(node),
            name,
            prefixes,
        });
    }

    fn reference(&mut self, node: Node<'_, '_>) -> Option<Reference> {
        Some(Reference {
            name: self.named(node, "name")?,
            line: self.line(node),
        })
    }

    fn gateway(&mut self, node: Node<'_, '_>) -> Gateway {
        let mut gateway = Gateway {
            line: self.line(node),
            sites: Vec::new(),
        };
        if let Some(profile) = node.attribute("profile").filter(|one| !one.is_empty()) {
            let message = format!(
                "the gateway's profile '{}' has no counterpart: the parameter 'gatewaySku' chooses \
                 the size",
                cut(profile)
            );
            self.finding(node, FindingKind::Changed, message);
        }
        self.each(node, |reader, node| match node.tag_name().name() {
            "ConnectionsToLocalNetwork" => {
                reader.list(node, "LocalNetworkSiteRef", |reader, node| {
                    gateway.sites.extend(reader.site_reference(node));
                });
            }
            "VPNClientAddressPool" => {
                if node.children().any(|child| child.is_element()) {
                    let message = "point-to-site is not supported: its clients need a site-to-site \
                                   connection, or a VPN server of their own in the network";
                    reader.lost(node, message);
                }
            }
            _ => reader.unknown(node),
        });
        gateway
    }

    /// A reference to a site, where a connection of IPsec leads to it.
    fn site_reference(&mut self, node: Node<'_, '_>) -> Option<Reference> {
        let reference = self.reference(node)?;
        let mut carried = true;
        self.list(node, "Connection", |reader, node| {
            let kind = node.attribute("type").unwrap_or("IPsec");
            let known = ["IPsec", "VNet2VNet"];
            if known.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
                return;
            }
            carried = false;
            let message = if kind.eq_ignore_ascii_case("Dedicated") {
                "ExpressRoute circuits are not supported: use an IPsec connection".to_owned()
            } else {
                format!(
                    "the connection type '{}' is not known: use IPsec",
                    cut(kind)
                )
            };
            reader.lost(node, message);
        });
        carried.then_some(reference)
    }

    fn address(&mut self, node: Node<'_, '_>, text: &str) -> Option<IpAddr> {
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) if text.is_empty() => None,
            Err(_) => {
                let message = format!("'{}' is no IP address; correct it", cut(text));
                self.lost(node, message);
                None
            }
        }
    }

    /// The address prefixes in an element; bits behind the length are cleared.
    fn prefixes(&mut self, node: Node<'_, '_>) -> Vec<IpNet> {
        let mut prefixes = Vec::new();
        self.list(node, "AddressPrefix", |reader, node| {
            let text = text_of(node);
            let Ok(prefix) = text.parse::<IpNet>() else {
                let message = format!("'{}' is no address prefix; correct it", cut(text));
                return reader.lost(node, message);
            };
            if prefix != prefix.trunc() {
                let message = format!("{prefix} became {}", prefix.trunc());
                reader.finding(node, FindingKind::Changed, message);
            }
            prefixes.push(prefix.trunc());
        });
        prefixes
    }
}

fn text_of<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().map(str::trim).unwrap_or_default()
}
