//! A VPN gateway's port in an image, without the resources that would compile to it: what stands
//! on both sides of the data path's part of a tunnel.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vnet_gw_core::{
    compile::{
        ActionImage, EndpointImage, GATEWAY_ENDPOINT4, GATEWAY_ENDPOINT6, Image, PortImage,
        SubnetImage, TableImage,
    },
    model::ResourceId,
};

/// One gateway port.
#[derive(Clone, Debug)]
pub struct GatewayPort {
    pub vnet: ResourceId,
    /// Of the virtualNetworkGateway, whose port it is.
    pub id: ResourceId,
    pub device: String,
    pub mac: [u8; 6],
    /// Of GatewaySubnet.
    pub prefixes: Vec<IpNet>,
}

impl GatewayPort {
    /// Of the VNet with that name, which is in `image`.
    pub fn new(image: &Image, vnet: &str, device: &str, prefixes: &[&str]) -> Result<Self> {
        let mut vnets = image.ports.values().map(|port| &port.vnet);
        let vnet = vnets
            .find(|id| id.name().eq_ignore_ascii_case(vnet))
            .with_context(|| format!("no port is in {vnet}"))?;
        let (group, name) = vnet
            .as_str()
            .rsplit_once("/virtualNetworks/")
            .context("an odd VNet id")?;
        let prefixes = prefixes.iter().map(|prefix| Ok(prefix.parse()?));
        Ok(Self {
            vnet: vnet.clone(),
            id: ResourceId::new(&format!("{group}/virtualNetworkGateways/{name}GW")),
            device: device.to_owned(),
            mac: [2, 0, 0, 0, 0xff, 1],
            prefixes: prefixes.collect::<Result<_>>()?,
        })
    }

    /// Puts the port into the image, and its subnet: local routes to `local`, and to the tunnels
    /// (which from there lead nowhere) to `remote`.
    pub fn add(&self, image: &mut Image, local: &[&str], remote: &[&str]) -> Result<()> {
        let subnet = ResourceId::new(&format!("{}/subnets/GatewaySubnet", self.vnet.as_str()));
        let actions = vec![
            ActionImage::Local {
                vnet: self.vnet.clone(),
            },
            ActionImage::gateway(None),
        ];
        let mut routes = Vec::new();
        for (prefixes, action) in [(local, 0), (remote, 1)] {
            for prefix in prefixes {
                routes.push((prefix.parse::<IpNet>()?, action));
            }
        }
        routes.sort();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, action) in routes {
            match prefix {
                IpNet::V4(prefix) => v4.push((prefix, action)),
                IpNet::V6(prefix) => v6.push((prefix, action)),
            }
        }
        let first = |v4: bool| {
            let mut found = self.prefixes.iter();
            found.find(|prefix| prefix.addr().is_ipv4() == v4)
        };
        let gateway4 = first(true).and_then(|prefix| match prefix.addr() {
            IpAddr::V4(base) => Some((base.to_bits() | 1).into()),
            IpAddr::V6(_) => None,
        });
        let gateway6 = first(false).and_then(|prefix| match prefix.addr() {
            IpAddr::V6(base) => Some((base.to_bits() | 1).into()),
            IpAddr::V4(_) => None,
        });
        image.subnets.insert(
            subnet.clone(),
            Arc::new(SubnetImage {
                vnet: self.vnet.clone(),
                prefixes: self.prefixes.clone(),
                gateway4,
                gateway6,
                v4: TableImage {
                    actions: actions.clone(),
                    routes: Arc::new(v4),
                },
                v6: TableImage {
                    actions,
                    routes: Arc::new(v6),
                },
            }),
        );
        image.ports.insert(
            self.id.clone(),
            PortImage {
                device: self.device.clone(),
                mac: self.mac,
                vnet: self.vnet.clone(),
                subnet,
                addresses: Vec::new(),
                ip_forwarding: true,
                gateway: true,
                security: Default::default(),
                flow_timeout: 4,
            }
            .into(),
        );
        for address in [IpAddr::V4(GATEWAY_ENDPOINT4), IpAddr::V6(GATEWAY_ENDPOINT6)] {
            image.endpoints.push(EndpointImage {
                vnet: self.vnet.clone(),
                address,
                mac: self.mac,
                nic: self.id.clone(),
            });
        }
        let order = |endpoint: &EndpointImage| (endpoint.vnet.clone(), endpoint.address);
        image.endpoints.sort_by_key(order);
        Ok(())
    }

    /// Routes `prefixes` to the gateway (or nowhere, `None`) in every subnet of its VNet but its own.
    pub fn route(
        &self,
        image: &mut Image,
        prefixes: &[&str],
        to: Option<&ResourceId>,
    ) -> Result<()> {
        let action = ActionImage::gateway(to.cloned());
        for (id, subnet) in image.subnets.clone() {
            if subnet.vnet == self.vnet && id.name() != "GatewaySubnet" {
                let mut routed = subnet;
                add_routes(&mut routed, prefixes, &action)?;
                image.subnets.insert(id, routed);
            }
        }
        Ok(())
    }

    /// Routes `prefixes` from the gateway's port to that same port, as no configuration does.
    pub fn route_back(&self, image: &mut Image, prefixes: &[&str]) -> Result<()> {
        let subnet = &image.ports.get(&self.id).context("not added")?.subnet;
        let subnet = image.subnets.get_mut(subnet).context("no subnet")?;
        let vnet = Some(self.vnet.clone());
        add_routes(subnet, prefixes, &ActionImage::gateway(vnet))
    }
}

fn add_routes(
    subnet: &mut Arc<SubnetImage>,
    prefixes: &[&str],
    action: &ActionImage,
) -> Result<()> {
    let changed = Arc::make_mut(subnet);
    for prefix in prefixes {
        match prefix.parse()? {
            IpNet::V4(prefix) => with_route::<Ipv4Net>(&mut changed.v4, prefix, action),
            IpNet::V6(prefix) => with_route::<Ipv6Net>(&mut changed.v6, prefix, action),
        }
    }
    Ok(())
}

fn with_route<P: Copy + Ord>(table: &mut TableImage<P>, prefix: P, action: &ActionImage) {
    let known = table.actions.iter().position(|known| known == action);
    let index = known.unwrap_or_else(|| {
        table.actions.push(action.clone());
        table.actions.len() - 1
    });
    let mut routes: Vec<(P, u32)> = table.routes.to_vec();
    routes.retain(|(known, _)| *known != prefix);
    routes.push((prefix, index as u32));
    routes.sort();
    table.routes = Arc::new(routes);
}
