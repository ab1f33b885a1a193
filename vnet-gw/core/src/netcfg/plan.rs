//! Which resources there will be: names, gateways, and what a site stands for.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    Finding, FindingKind,
    names::Names,
    read::{File, Network, Reference, Site},
};
use crate::model::{Subnet, cut};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) networks: Vec<PlannedNetwork>,
    pub(super) sites: Vec<PlannedSite>,
    pub(super) connections: Vec<PlannedConnection>,
}

#[derive(Debug)]
pub(super) struct PlannedNetwork {
    pub(super) read: Network,
    pub(super) name: String,
    /// With their names.
    pub(super) subnets: Vec<(String, Vec<IpNet>)>,
    pub(super) dns_servers: Vec<IpAddr>,
    pub(super) gateway: Option<PlannedGateway>,
}

#[derive(Debug)]
pub(super) struct PlannedGateway {
    pub(super) name: String,
    /// Its public IP address.
    pub(super) address: String,
    /// The parameter with that address.
    pub(super) parameter: String,
}

#[derive(Debug)]
pub(super) struct PlannedSite {
    pub(super) read: Site,
    pub(super) name: String,
    /// The region of the first VNet that is connected to it, by its place.
    pub(super) network: Option<usize>,
    /// The parameter with its gateway's address, where the file has none.
    pub(super) parameter: Option<String>,
}

#[derive(Debug)]
pub(super) struct PlannedConnection {
    pub(super) line: u32,
    pub(super) name: String,
    /// The VNet whose gateway it is, by its place.
    pub(super) network: usize,
    pub(super) remote: Remote,
    /// The parameter with its key, which both directions of a pair share.
    pub(super) parameter: String,
}

/// The other end, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    Network(usize),
    Site(usize),
}

pub(super) fn plan(file: File, findings: &mut Vec<Finding>) -> Plan {
    let mut planner = Planner {
        findings,
        vnets: Names::default(),
        gateways: Names::default(),
        addresses: Names::default(),
        connections: Names::default(),
        parameters: Names::default(),
    };
    // The names that the template has anyway.
    planner.parameters.parameter(&["location"]);
    planner.parameters.parameter(&["gatewaySku"]);
    let stands_for = stands_for(&file);
    let mut plan = Plan {
        connections: Vec::new(),
        networks: Vec::new(),
        sites: planner.sites(file.sites),
    };
    for network in file.networks {
        let dns_servers = planner.dns_servers(&network, &file.dns_servers);
        let planned = planner.network(network, dns_servers);
        plan.networks.push(planned);
    }
    planner.connect(&mut plan, &stands_for);
    planner.unneeded_sites(&mut plan, &stands_for);
    plan
}

/// For each site, the VNets with its address space.
fn stands_for(file: &File) -> Vec<Vec<usize>> {
    let mut networks: BTreeMap<Vec<IpNet>, Vec<usize>> = BTreeMap::new();
    for (at, network) in file.networks.iter().enumerate() {
        let space = IpNet::aggregate(&network.address_space);
        networks.entry(space).or_default().push(at);
    }
    let sites = file.sites.iter();
    let found = sites.map(|site| networks.get(&IpNet::aggregate(&site.address_space)));
    found
        .map(|found| found.cloned().unwrap_or_default())
        .collect()
}

struct Planner<'a> {
    findings: &'a mut Vec<Finding>,
    vnets: Names,
    gateways: Names,
    addresses: Names,
    connections: Names,
    parameters: Names,
}

impl Planner<'_> {
    fn find(&mut self, line: u32, kind: FindingKind, message: String) {
        self.findings.push(Finding {
            line,
            kind,
            message,
        });
    }

    fn renamed(&mut self, line: u32, noun: &str, from: &str, to: &str) {
        if from != to {
            let message = format!("the {noun} '{}' is named {to} now", cut(from));
            self.find(line, FindingKind::Changed, message);
        }
    }

    fn sites(&mut self, sites: Vec<Site>) -> Vec<PlannedSite> {
        let mut names = Names::default();
        let planned = sites.into_iter().map(|read| {
            let name = names.name(&read.name, 80);
            self.renamed(read.line, "local network site", &read.name, &name);
            PlannedSite {
                name,
                network: None,
                parameter: None,
                read,
            }
        });
        planned.collect()
    }

    fn network(&mut self, read: Network, dns_servers: Vec<IpAddr>) -> PlannedNetwork {
        let name = self.vnets.name(&read.name, 64);
        self.renamed(read.line, "virtual network", &read.name, &name);
        let mut names = Names::default();
        let mut subnets = Vec::new();
        for subnet in &read.subnets {
            let name = match subnet.name.eq_ignore_ascii_case(Subnet::GATEWAY_SUBNET) {
                true => Subnet::GATEWAY_SUBNET.to_owned(),
                false => names.name(&subnet.name, 80),
            };
            self.renamed(subnet.line, "subnet", &subnet.name, &name);
            subnets.push((name, subnet.prefixes.clone()));
        }
        PlannedNetwork {
            name,
            subnets,
            dns_servers,
            gateway: None,
            read,
        }
    }

    fn dns_servers(&mut self, network: &Network, known: &[super::read::DnsServer]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for reference in &network.dns_servers {
            let mut known = known.iter();
            match known.find(|server| server.name.eq_ignore_ascii_case(&reference.name)) {
                Some(server) => addresses.push(server.address),
                None => self.missing(reference, "DNS server", "Dns"),
            }
        }
        addresses
    }

    fn missing(&mut self, reference: &Reference, noun: &str, list: &str) {
        let message = format!(
            "there is no {noun} '{}' that could be carried over: see {list}",
            cut(&reference.name)
        );
        self.find(reference.line, FindingKind::NotCarriedOver, message);
    }

    /// Makes the connections of all gateways, and the gateways.
    fn connect(&mut self, plan: &mut Plan, stands_for: &[Vec<usize>]) {
        for network in 0..plan.networks.len() {
            let Some(gateway) = &mut plan.networks[network].read.gateway else {
                continue;
            };
            let (line, sites) = (gateway.line, std::mem::take(&mut gateway.sites));
            if !sites.is_empty() && !has_gateway_subnet(&plan.networks[network]) {
                let message = format!(
                    "the gateway of the virtual network '{}' and its connections need a subnet \
                     {}: add one, /27 or larger",
                    cut(&plan.networks[network].read.name),
                    Subnet::GATEWAY_SUBNET,
                );
                self.find(line, FindingKind::NotCarriedOver, message);
                continue;
            }
            for reference in &sites {
                self.connection(plan, stands_for, network, reference);
            }
        }
        self.halves(plan);
    }

    fn connection(
        &mut self,
        plan: &mut Plan,
        stands_for: &[Vec<usize>],
        network: usize,
        reference: &Reference,
    ) {
        let mut sites = plan.sites.iter();
        let found = sites.position(|site| site.read.name.eq_ignore_ascii_case(&reference.name));
        let Some(site) = found else {
            return self.missing(reference, "local network site", "LocalNetworkSites");
        };
        let Some(remote) = self.remote(plan, &stands_for[site], network, site, reference) else {
            return;
        };
        let double = |other: &PlannedConnection| other.network == network && other.remote == remote;
        if plan.connections.iter().any(double) {
            let message = "a connection to the same network is there before this one: remove one";
            return self.find(
                reference.line,
                FindingKind::NotCarriedOver,
                message.to_owned(),
            );
        }
        self.gateway(&mut plan.networks[network]);
        let own = plan.networks[network].name.clone();
        let other = match remote {
            Remote::Network(other) => {
                self.gateway(&mut plan.networks[other]);
                plan.networks[other].name.clone()
            }
            Remote::Site(site) => {
                self.site(&mut plan.sites[site], network, reference.line);
                plan.sites[site].name.clone()
            }
        };
        let name = self.connections.name(&format!("{own}-to-{other}"), 80);
        let parameter = self.key(plan, network, remote, [&own, &other], reference.line);
        plan.connections.push(PlannedConnection {
            line: reference.line,
            name,
            network,
            remote,
            parameter,
        });
    }

    /// What a site stands for, seen from the VNet `network`.
    fn remote(
        &mut self,
        plan: &Plan,
        stands_for: &[usize],
        network: usize,
        site: usize,
        reference: &Reference,
    ) -> Option<Remote> {
        let lost = FindingKind::NotCarriedOver;
        if stands_for.contains(&network) {
            let message = format!(
                "the local network site '{}' has the address space of the virtual network itself: \
                 correct one of them",
                cut(&reference.name)
            );
            self.find(reference.line, lost, message);
            return None;
        }
        match stands_for {
            [] => Some(Remote::Site(site)),
            [other] if has_gateway_subnet(&plan.networks[*other]) => Some(Remote::Network(*other)),
            [other] => {
                let message = format!(
                    "the local network site '{}' stands for the virtual network '{}', which needs a \
                     subnet {} for its gateway: add one, /27 or larger",
                    cut(&reference.name),
                    cut(&plan.networks[*other].read.name),
                    Subnet::GATEWAY_SUBNET,
                );
                self.find(reference.line, lost, message);
                None
            }
            several => {
                let names = several.iter().map(|at| cut(&plan.networks[*at].read.name));
                let message = format!(
                    "the local network site '{}' may stand for any of the virtual networks {}, \
                     which have the same address space: add the connection to the template",
                    cut(&reference.name),
                    names.collect::<Vec<_>>().join(", "),
                );
                self.find(reference.line, lost, message);
                None
            }
        }
    }

    fn gateway(&mut self, network: &mut PlannedNetwork) {
        if network.gateway.is_some() {
            return;
        }
        let name = self.gateways.name(&format!("{}-gateway", network.name), 80);
        let address = self.addresses.name(&format!("{name}-ip"), 80);
        let parameter = self
            .parameters
            .parameter(&["gatewayAddress", &network.name]);
        let message = format!(
            "the parameter '{parameter}': the public address of the gateway {name}, one of its \
             host's; left out, the daemon takes one of its --public-ip-pool",
        );
        network.gateway = Some(PlannedGateway {
            name,
            address,
            parameter,
        });
        let element = network.read.gateway.as_ref();
        let line = element.map_or(network.read.line, |gateway| gateway.line);
        self.find(line, FindingKind::Supply, message);
    }

    fn site(&mut self, site: &mut PlannedSite, network: usize, line: u32) {
        site.network.get_or_insert(network);
        if site.read.gateway.is_none() && site.parameter.is_none() {
            let parameter = self.parameters.parameter(&["siteAddress", &site.name]);
            let message = format!(
                "the parameter '{parameter}': the address of the VPN device of the local network \
                 site '{}', which the file does not have",
                cut(&site.read.name)
            );
            self.find(line, FindingKind::Supply, message);
            site.parameter = Some(parameter);
        }
    }

    /// The parameter of a connection's key: that of the connection back, where that is there.
    fn key(
        &mut self,
        plan: &Plan,
        network: usize,
        remote: Remote,
        names: [&str; 2],
        line: u32,
    ) -> String {
        let back = plan.connections.iter().find(|other| {
            remote == Remote::Network(other.network) && other.remote == Remote::Network(network)
        });
        if let Some(back) = back {
            return back.parameter.clone();
        }
        let [own, other] = names;
        let parameter = self.parameters.parameter(&["sharedKey", own, other]);
        let message = format!(
            "the parameter '{parameter}': the shared key, which the file does not have; left out, \
             one is made"
        );
        self.find(line, FindingKind::Supply, message);
        parameter
    }

    /// VNet-to-VNet connections of which the file has one direction only.
    fn halves(&mut self, plan: &Plan) {
        for connection in &plan.connections {
            let Remote::Network(remote) = connection.remote else {
                continue;
            };
            let is_back = |other: &PlannedConnection| {
                other.network == remote && other.remote == Remote::Network(connection.network)
            };
            if !plan.connections.iter().any(is_back) {
                let message = format!(
                    "the connection {} has none back: its tunnel comes up when '{}' has a connection \
                     to '{}', too",
                    connection.name,
                    cut(&plan.networks[remote].read.name),
                    cut(&plan.networks[connection.network].read.name),
                );
                self.find(connection.line, FindingKind::Changed, message);
            }
        }
    }

    /// A site that stands for a VNet is no resource, unless a connection needs it all the same.
    fn unneeded_sites(&mut self, plan: &mut Plan, stands_for: &[Vec<usize>]) {
        let sites = std::mem::take(&mut plan.sites);
        let mut places = vec![None; sites.len()];
        for (at, mut site) in sites.into_iter().enumerate() {
            let used = site.network.is_some();
            if let ([network], false) = (&stands_for[at][..], used) {
                let message = format!(
                    "the local network site '{}' stands for the virtual network '{}', whose address \
                     space connections follow by themselves",
                    cut(&site.read.name),
                    cut(&plan.networks[*network].read.name),
                );
                self.find(site.read.line, FindingKind::Changed, message);
                continue;
            }
            if site.read.gateway.is_none() && !used {
                let message = format!(
                    "the local network site '{}' has no VPNGatewayAddress, and nothing is connected \
                     to it",
                    cut(&site.read.name)
                );
                self.find(site.read.line, FindingKind::NotCarriedOver, message);
                continue;
            }
            self.inside(&mut site, &plan.networks);
            places[at] = Some(plan.sites.len());
            plan.sites.push(site);
        }
        for connection in &mut plan.connections {
            if let Remote::Site(site) = &mut connection.remote
                && let Some(place) = places[*site]
            {
                *site = place;
            }
        }
    }

    /// A site that is a part of a VNet may have been meant as that VNet.
    fn inside(&mut self, site: &mut PlannedSite, networks: &[PlannedNetwork]) {
        let within = |network: &&PlannedNetwork| {
            let mut prefixes = site.read.address_space.iter();
            prefixes.all(|prefix| {
                network
                    .read
                    .address_space
                    .iter()
                    .any(|of| of.contains(prefix))
            })
        };
        if let Some(network) = networks.iter().find(within) {
            let message = format!(
                "the local network site '{}' is a part of the address space of the virtual network \
                 '{}': if it stands for that, give it all of it and import again",
                cut(&site.read.name),
                cut(&network.read.name),
            );
            self.find(site.read.line, FindingKind::Changed, message);
        }
    }
}

fn has_gateway_subnet(network: &PlannedNetwork) -> bool {
    let mut subnets = network.subnets.iter();
    subnets.any(|(name, _)| name == Subnet::GATEWAY_SUBNET)
}
