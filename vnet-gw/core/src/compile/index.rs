//! A topology with its references resolved to numbers, so that nothing is searched for twice.

use std::{collections::HashMap, net::IpAddr};

use super::{CompileError, EndpointImage};
use crate::model::{
    NetworkInterface, ResourceId, Subnet, Topology, VirtualNetwork, VirtualNetworkPeering,
};

/// Numbers of VNets are in the order of their ids.
pub(super) struct Index<'a> {
    vnets: Vec<&'a VirtualNetwork>,
    by_id: HashMap<&'a str, usize>,
    subnets: HashMap<&'a str, Home<'a>>,
    /// By number of the local and of the remote VNet.
    peerings: HashMap<(usize, usize), &'a VirtualNetworkPeering>,
    /// By VNet, ordered by address.
    endpoints: Vec<Vec<(IpAddr, &'a NetworkInterface)>>,
}

/// A subnet and the number of its VNet.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    pub(super) vnet: usize,
    pub(super) subnet: &'a Subnet,
}

impl<'a> Index<'a> {
    pub(super) fn new(topology: &'a Topology) -> Result<Self, CompileError> {
        let vnets: Vec<_> = topology.virtual_networks.values().collect();
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
            peerings: HashMap::new(),
            endpoints: vec![Vec::new(); vnets.len()],
            vnets,
        };
        for (number, vnet) in index.vnets.iter().enumerate() {
            for peering in vnet.peerings.values() {
                if let Some(remote) = index.number(&peering.remote_virtual_network) {
                    index.peerings.insert((number, remote), peering);
                }
            }
        }
        for nic in topology.network_interfaces.values() {
            let home = index.home(nic)?;
            if let Some(endpoints) = index.endpoints.get_mut(home.vnet) {
                let addresses = nic.ip_configurations.iter().map(|c| c.private_ip_address);
                endpoints.extend(addresses.map(|address| (address, nic)));
            }
        }
        for endpoints in &mut index.endpoints {
            endpoints.sort_by_key(|(address, _)| *address);
        }
        Ok(index)
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
        let endpoints = self.endpoints.get(vnet)?;
        let at = endpoints
            .binary_search_by_key(&address, |(address, _)| *address)
            .ok()?;
        endpoints.get(at).map(|(_, nic)| *nic)
    }

    /// All endpoints, ordered by VNet and address.
    pub(super) fn endpoint_images(&self) -> Vec<EndpointImage> {
        let vnets = self.vnets.iter().zip(&self.endpoints);
        let images = vnets.flat_map(|(vnet, endpoints)| {
            endpoints.iter().map(|(address, nic)| EndpointImage {
                vnet: vnet.id.clone(),
                address: *address,
                mac: nic.mac_address,
                nic: nic.id.clone(),
            })
        });
        images.collect()
    }

    /// VNets with endpoints.
    pub(super) fn populated(&self) -> impl Iterator<Item = usize> {
        let filled = self
            .endpoints
            .iter()
            .enumerate()
            .filter(|(_, e)| !e.is_empty());
        filled.map(|(number, _)| number)
    }
}
