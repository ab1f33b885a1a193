//! A topology with its references resolved to numbers, so that nothing is searched for twice.

use std::net::IpAddr;

use super::{CompileError, EndpointImage, GATEWAY_ENDPOINT4, GATEWAY_ENDPOINT6, gateways};
use crate::{
    hash::FastMap,
    model::{
        NetworkInterface, ResourceId, Subnet, Topology, VirtualNetwork, VirtualNetworkGateway,
        VirtualNetworkPeering,
    },
};

/// Of a whole topology, numbers of VNets are in the order of their ids.
pub(super) struct Index<'a> {
    vnets: Vec<&'a VirtualNetwork>,
    by_id: FastMap<&'a str, usize>,
    subnets: FastMap<&'a str, Home<'a>>,
    /// By number of the local and of the remote VNet.
    peerings: FastMap<(usize, usize), &'a VirtualNetworkPeering>,
    /// By VNet.
    endpoints: Vec<Endpoints<'a>>,
    /// Those of an earlier image, with which there are none above.
    known: Option<(&'a Topology, &'a [EndpointImage])>,
    /// By VNet.
    gateways: FastMap<usize, &'a VirtualNetworkGateway>,
}

/// Addresses of one VNet as numbers, which sort and compare faster, in order.
#[derive(Clone, Default)]
struct Endpoints<'a> {
    v4: Vec<(u32, &'a NetworkInterface)>,
    v6: Vec<(u128, &'a NetworkInterface)>,
}

impl<'a> Endpoints<'a> {
    fn push(&mut self, address: IpAddr, nic: &'a NetworkInterface) {
        match address {
            IpAddr::V4(address) => self.v4.push((address.to_bits(), nic)),
            IpAddr::V6(address) => self.v6.push((address.to_bits(), nic)),
        }
    }

    fn sort(&mut self) {
        // Stable, so that the outcome does not depend on the sort where a topology is not valid.
        self.v4.sort_by_key(|(address, _)| *address);
        self.v6.sort_by_key(|(address, _)| *address);
    }

    fn find(&self, address: IpAddr) -> Option<&'a NetworkInterface> {
        match address {
            IpAddr::V4(address) => find(&self.v4, address.to_bits()),
            IpAddr::V6(address) => find(&self.v6, address.to_bits()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (IpAddr, &'a NetworkInterface)> {
        let v4 = self
            .v4
            .iter()
            .map(|(address, nic)| (IpAddr::V4((*address).into()), *nic));
        let v6 = self
            .v6
            .iter()
            .map(|(address, nic)| (IpAddr::V6((*address).into()), *nic));
        v4.chain(v6)
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn find<'a, K: Copy + Ord>(
    endpoints: &[(K, &'a NetworkInterface)],
    address: K,
) -> Option<&'a NetworkInterface> {
    let at = endpoints
        .binary_search_by_key(&address, |(address, _)| *address)
        .ok()?;
    endpoints.get(at).map(|(_, nic)| *nic)
}

/// A subnet and the number of its VNet.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    pub(super) vnet: usize,
    pub(super) subnet: &'a Subnet,
}

impl<'a> Index<'a> {
    pub(super) fn new(topology: &'a Topology) -> Result<Self, CompileError> {
        let vnets: Vec<&VirtualNetwork> = topology
            .virtual_networks
            .values()
            .map(|vnet| &**vnet)
            .collect();
        let by_id = vnets
            .iter()
            .enumerate()
            .map(|(number, vnet)| (vnet.id.key(), number));
        let subnets = vnets.iter().enumerate().flat_map(|(vnet, v)| {
            v.subnets
                .values()
                .map(move |subnet| (subnet.id.key(), Home { vnet, subnet }))
        });
        let mut index = Self {
            by_id: by_id.collect(),
            subnets: subnets.collect(),
            peerings: FastMap::default(),
            endpoints: vec![Endpoints::default(); vnets.len()],
            known: None,
            gateways: FastMap::default(),
            vnets,
        };
        index.connect(topology);
        // Neighbours by name often share a subnet; comparing is much cheaper than hashing.
        let mut last: Option<Home<'a>> = None;
        for nic in topology.network_interfaces.values() {
            let home = match (last, nic.ip_configurations.first()) {
                (Some(last), Some(primary)) if last.subnet.id == primary.subnet => last,
                _ => index.home(nic)?,
            };
            last = Some(home);
            if let Some(endpoints) = index.endpoints.get_mut(home.vnet) {
                for config in &nic.ip_configurations {
                    endpoints.push(config.private_ip_address, nic);
                }
            }
        }
        for endpoints in &mut index.endpoints {
            endpoints.sort();
        }
        Ok(index)
    }

    /// Of the VNets of some subnets, and those that they are peered with, alone: enough for the
    /// tables of these subnets. `endpoints` are those of an image of a topology that has the same.
    pub(super) fn around(
        topology: &'a Topology,
        subnets: &[(&'a VirtualNetwork, &'a ResourceId)],
        endpoints: &'a [EndpointImage],
    ) -> Self {
        let mut vnets: Vec<&VirtualNetwork> = Vec::new();
        let mut by_id: FastMap<&str, usize> = FastMap::default();
        let mut add = |vnet: &'a VirtualNetwork| {
            by_id.entry(vnet.id.key()).or_insert_with(|| {
                vnets.push(vnet);
                vnets.len() - 1
            });
        };
        for (vnet, _) in subnets {
            add(vnet);
            for peering in vnet.peerings.values() {
                let remote = topology
                    .virtual_networks
                    .get(&peering.remote_virtual_network);
                remote.into_iter().for_each(|remote| add(remote));
            }
        }
        let mut index = Self {
            by_id,
            subnets: FastMap::default(),
            peerings: FastMap::default(),
            endpoints: Vec::new(),
            known: Some((topology, endpoints)),
            gateways: FastMap::default(),
            vnets,
        };
        index.connect(topology);
        index
    }

    /// Gateways and peerings of the VNets.
    fn connect(&mut self, topology: &'a Topology) {
        for gateway in topology.virtual_network_gateways.values() {
            if let Some(number) = self.number(&gateway.virtual_network) {
                self.gateways.insert(number, gateway);
            }
        }
        for (number, vnet) in self.vnets.iter().enumerate() {
            for peering in vnet.peerings.values() {
                if let Some(remote) = self.number(&peering.remote_virtual_network) {
                    self.peerings.insert((number, remote), peering);
                }
            }
        }
    }

    pub(super) fn vnet(&self, number: usize) -> &'a VirtualNetwork {
        self.vnets[number]
    }

    pub(super) fn number(&self, vnet: &ResourceId) -> Option<usize> {
        self.by_id.get(vnet.key()).copied()
    }

    /// The peering of the VNet `local` to the VNet `remote`.
    pub(super) fn peering(&self, local: usize, remote: usize) -> Option<&'a VirtualNetworkPeering> {
        self.peerings.get(&(local, remote)).copied()
    }

    /// Of the NIC's primary ipConfiguration; the others are in the same VNet.
    pub(super) fn home(&self, nic: &NetworkInterface) -> Result<Home<'a>, CompileError> {
        let primary = nic
            .ip_configurations
            .first()
            .ok_or_else(|| CompileError::NoIpConfiguration(nic.id.clone()))?;
        self.subnets
            .get(primary.subnet.key())
            .copied()
            .ok_or_else(|| CompileError::UnknownSubnet {
                nic: nic.id.clone(),
                subnet: primary.subnet.clone(),
            })
    }

    /// The NIC that has `address` in the VNet.
    pub(super) fn find(&self, vnet: usize, address: IpAddr) -> Option<&'a NetworkInterface> {
        let Some((topology, endpoints)) = self.known else {
            return self.endpoints.get(vnet)?.find(address);
        };
        let vnet = &self.vnets.get(vnet)?.id;
        let order = |one: &EndpointImage| one.vnet.cmp(vnet).then(one.address.cmp(&address));
        let at = endpoints.binary_search_by(order).ok()?;
        let nic = &endpoints.get(at)?.nic;
        topology.network_interfaces.get(nic).map(|nic| &**nic)
    }

    /// The gateway of the VNet, on whichever host.
    pub(super) fn gateway(&self, vnet: usize) -> Option<&'a VirtualNetworkGateway> {
        self.gateways.get(&vnet).copied()
    }

    /// The subnet with that id.
    pub(super) fn subnet(&self, id: &ResourceId) -> Option<Home<'a>> {
        self.subnets.get(id.key()).copied()
    }

    /// All endpoints, ordered by VNet and address: the NICs' and the gateways' ports'.
    pub(super) fn endpoint_images(&self) -> Vec<EndpointImage> {
        let mut images = Vec::with_capacity(self.endpoints.iter().map(Endpoints::len).sum());
        for (number, (vnet, endpoints)) in self.vnets.iter().zip(&self.endpoints).enumerate() {
            let start = images.len();
            images.extend(endpoints.iter().map(|(address, nic)| EndpointImage {
                vnet: vnet.id.clone(),
                address,
                mac: nic.mac_address,
                nic: nic.id.clone(),
            }));
            if let Some(gateway) = self.gateway(number) {
                let addresses = [GATEWAY_ENDPOINT4.into(), GATEWAY_ENDPOINT6.into()];
                images.extend(addresses.map(|address| EndpointImage {
                    vnet: vnet.id.clone(),
                    address,
                    mac: gateways::mac(&gateway.id),
                    nic: gateway.id.clone(),
                }));
                if let Some(own) = images.get_mut(start..) {
                    own.sort_by_key(|endpoint| endpoint.address);
                }
            }
        }
        images
    }

    /// VNets with endpoints.
    pub(super) fn populated(&self) -> impl Iterator<Item = usize> {
        let filled = self
            .endpoints
            .iter()
            .enumerate()
            .filter(|(number, endpoints)| {
                endpoints.len() > 0 || self.gateways.contains_key(number)
            });
        filled.map(|(number, _)| number)
    }
}
