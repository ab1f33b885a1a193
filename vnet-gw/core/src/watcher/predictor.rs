//! A topology with its references resolved, so that many packets can be asked about.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    machine::{self, Machine, machine_of},
    path::{Element, RouteBy, Taken},
};
use crate::{
    compile::{CompileOptions, Image},
    effective::{
        EffectiveError,
        precedence::{self, Candidate, Standing, UserRoutes, connected_peerings, shorten},
    },
    hash::FastMap,
    model::{
        NetworkInterface, ResourceId, Subnet, Topology, UsedGateway, VirtualNetwork,
        VirtualNetworkGateway, VirtualNetworkPeering,
    },
    security::RuleSets,
};

/// Answers for one topology. To make one costs a walk over the resources; each subnet's routes are
/// decided when they are first needed, and a prediction then costs about a microsecond a step.
pub struct Predictor<'a> {
    pub(super) topology: &'a Topology,
    pub(super) options: CompileOptions<'a>,
    pub(super) internet_port: Option<InternetPort>,
    /// Whose ports are there; else `options` say it.
    image: Option<&'a Image>,
    networks: Vec<Network<'a>>,
    by_id: FastMap<&'a str, usize>,
    subnets: FastMap<&'a str, Home<'a>>,
    /// By VNet and address.
    interfaces: FastMap<(usize, IpAddr), &'a NetworkInterface>,
    machines: OnceCell<BTreeMap<ResourceId, Machine<'a>>>,
    pub(super) rule_sets: RefCell<RuleSets<'a>>,
}

/// How the internet port of an instance fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternetPort {
    pub up: bool,
    /// The families that the host has a route to the internet for.
    pub v4: bool,
    pub v6: bool,
}

impl InternetPort {
    /// One that carries everything.
    pub const UP: Self = Self {
        up: true,
        v4: true,
        v6: true,
    };

    /// Whether the host leads packets to the address.
    pub fn carries(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }
}

struct Network<'a> {
    vnet: &'a VirtualNetwork,
    gateway: Option<&'a VirtualNetworkGateway>,
    candidates: OnceCell<Vec<Candidate<'a>>>,
}

/// A subnet with its routes, and the number of its VNet.
pub(super) struct Home<'a> {
    pub(super) vnet: usize,
    pub(super) subnet: &'a Subnet,
    user: UserRoutes<'a>,
    /// Of each candidate of the VNet.
    standings: OnceCell<Vec<Standing>>,
}

impl<'a> Predictor<'a> {
    /// `options` say which NICs and gateways are on this host.
    pub fn new(topology: &'a Topology, options: CompileOptions<'a>) -> Self {
        let networks: Vec<Network<'a>> = topology
            .virtual_networks
            .values()
            .map(|vnet| Network {
                vnet,
                gateway: None,
                candidates: OnceCell::new(),
            })
            .collect();
        let by_id: FastMap<_, _> = networks
            .iter()
            .enumerate()
            .map(|(number, network)| (network.vnet.id.key(), number))
            .collect();
        let subnets = networks.iter().enumerate().flat_map(|(vnet, network)| {
            network.vnet.subnets.values().map(move |subnet| {
                let home = Home {
                    vnet,
                    subnet,
                    user: UserRoutes::of(topology, subnet.route_table.as_ref()),
                    standings: OnceCell::new(),
                };
                (subnet.id.key(), home)
            })
        });
        let mut predictor = Self {
            topology,
            options,
            internet_port: None,
            image: None,
            subnets: subnets.collect(),
            interfaces: FastMap::default(),
            machines: OnceCell::new(),
            rule_sets: RefCell::new(RuleSets::new(topology, None)),
            networks,
            by_id,
        };
        for gateway in topology.virtual_network_gateways.values() {
            let number = predictor.number(&gateway.virtual_network);
            if let Some(network) = number.and_then(|at| predictor.networks.get_mut(at)) {
                network.gateway = Some(gateway);
            }
        }
        for nic in topology.network_interfaces.values() {
            for configuration in &nic.ip_configurations {
                if let Some(home) = predictor.home(&configuration.subnet) {
                    let key = (home.vnet, configuration.private_ip_address);
                    predictor.interfaces.insert(key, nic);
                }
            }
        }
        predictor
    }

    /// With the ports of an image instead of those that the options say.
    #[must_use]
    pub fn with_ports_of(self, image: &'a Image) -> Self {
        Self {
            image: Some(image),
            ..self
        }
    }

    /// The instance's internet port; without one a packet whose route says `Internet` is dropped, as
    /// [`new`](Self::new) has it.
    #[must_use]
    pub fn with_internet_port(self, internet_port: Option<InternetPort>) -> Self {
        Self {
            internet_port,
            ..self
        }
    }

    pub fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// The NIC with that id.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn interface(&self, id: &ResourceId) -> Result<&'a NetworkInterface, EffectiveError> {
        let nic = self.topology.network_interfaces.get(id).map(|nic| &**nic);
        nic.ok_or_else(|| EffectiveError::UnknownNetworkInterface(id.clone()))
    }

    pub(super) fn number(&self, vnet: &ResourceId) -> Option<usize> {
        self.by_id.get(vnet.key()).copied()
    }

    pub(super) fn vnet(&self, number: usize) -> Option<&'a VirtualNetwork> {
        self.networks.get(number).map(|network| network.vnet)
    }

    pub(super) fn home(&self, subnet: &ResourceId) -> Option<&Home<'a>> {
        self.subnets.get(subnet.key())
    }

    /// Where an element's packets are routed: of a NIC the subnet of its primary ipConfiguration.
    pub(super) fn home_of(&self, element: Element<'a>) -> Option<&Home<'a>> {
        match element {
            Element::NetworkInterface(nic) => self.home(&nic.ip_configurations.first()?.subnet),
            Element::Gateway(gateway) => self.home(&gateway.subnet),
        }
    }

    /// The NIC that has the address in the VNet.
    pub(super) fn owner(&self, vnet: usize, address: IpAddr) -> Option<&'a NetworkInterface> {
        self.interfaces.get(&(vnet, address)).copied()
    }

    /// The VNet's own gateway, or the one that it uses by gateway transit.
    pub(super) fn gateway(&self, vnet: usize) -> Option<UsedGateway<'a>> {
        let network = self.networks.get(vnet)?;
        match network.gateway {
            Some(gateway) => Some(UsedGateway {
                gateway,
                transit: None,
            }),
            None => self.topology.gateway_used_by(network.vnet),
        }
    }

    /// Whether the element's port can be on this host.
    pub(super) fn is_here(&self, element: Element<'_>) -> bool {
        if let Some(image) = self.image {
            return image.ports.contains_key(element.id());
        }
        match element {
            Element::NetworkInterface(nic) => self.options.is_port(nic),
            Element::Gateway(gateway) => self.options.runs(gateway),
        }
    }

    /// The `Connected` peering of the VNet in whose address space the prefix lies.
    pub(super) fn peering_containing(
        &self,
        vnet: usize,
        prefix: IpNet,
    ) -> Option<&'a VirtualNetworkPeering> {
        let vnet = self.vnet(vnet)?;
        let mut peerings = connected_peerings(self.topology, vnet);
        let contains = |peering: &VirtualNetworkPeering| {
            let mut spaces = peering.remote_address_space.iter();
            spaces.any(|space| space.contains(&prefix))
        };
        peerings
            .find(|(peering, _)| contains(peering))
            .map(|(peering, _)| peering)
    }

    /// The virtual machine that the NIC is in.
    pub(super) fn machine_of(&self, nic: &NetworkInterface) -> Option<&Machine<'a>> {
        let machines = self
            .machines
            .get_or_init(|| machine::machines(self.topology));
        machines.get(&machine_of(nic))
    }

    /// The route that a packet in the subnet takes to the destination.
    pub(super) fn lookup(&self, home: &Home<'a>, destination: IpAddr) -> Option<Taken<'a>> {
        let network = self.networks.get(home.vnet)?;
        let candidates = network
            .candidates
            .get_or_init(|| precedence::candidates(self.topology, network.vnet));
        let standings = home
            .standings
            .get_or_init(|| precedence::decide(candidates, home.user));
        let system = candidates
            .iter()
            .zip(standings)
            .filter(|(candidate, standing)| {
                **standing == Standing::Active && candidate.prefix.contains(&destination)
            })
            .map(|(candidate, _)| Taken {
                prefix: candidate.prefix,
                next_hop_type: candidate.origin.next_hop_type(),
                source: RouteBy::System(candidate.origin),
            });
        let host = IpNet::from(destination);
        let user = home.user.table.into_iter().flat_map(|table| {
            (0..=host.prefix_len()).filter_map(move |len| {
                let route = home.user.get(shorten(host, len)?)?;
                Some(Taken {
                    prefix: route.address_prefix,
                    next_hop_type: route.next_hop.into(),
                    source: RouteBy::User(table, route),
                })
            })
        });
        // Active prefixes are distinct, so there is one longest.
        system
            .chain(user)
            .max_by_key(|taken| taken.prefix.prefix_len())
    }
}
