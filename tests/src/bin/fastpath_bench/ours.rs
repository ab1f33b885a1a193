//! The data path itself as a subject, through the daemon's own interface: an image with A's NIC in
//! one VNet and, in a peered one, B's NIC, which has every destination as an address.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use vnet_gw::datapath::{Datapath, Features, HookChoice, Instance, PortState};
use vnet_gw_common::maps::DEFAULT_FLOWS;
use vnet_gw_core::{
    compile::{ActionImage, EndpointImage, Image, PortImage, SubnetImage, TableImage},
    model::ResourceId,
};
use vnet_gw_lab::{Lab, Netns};

use crate::{
    routes::{Set, Target},
    wire::{
        A_MAC, A_NET4, A_NET6, A4, A6, B_MAC, B4, B6, DEV_GA, DEV_GB, GATEWAY4, GATEWAY6, Wire,
    },
};

const GROUP: &str = "/subscriptions/bench/resourceGroups/bench/providers/Microsoft.Network";

pub(crate) fn id(path: &str) -> ResourceId {
    ResourceId::new(&format!("{GROUP}/{path}"))
}

/// A data path on a wire. Dropping it takes it down.
pub(crate) struct Ours {
    // Before the instance goes, since it holds its maps.
    datapath: Option<Datapath>,
    instance: Instance,
    gateway: Netns,
}

impl Ours {
    pub(crate) fn new(lab: &Lab, wire: &Wire, set: &Set, hook: HookChoice) -> Result<Self> {
        Self::with(lab, wire, Arc::new(image(set)), hook, DEFAULT_FLOWS)
    }

    /// With room for so many flows.
    pub(crate) fn with(
        lab: &Lab,
        wire: &Wire,
        image: Arc<Image>,
        hook: HookChoice,
        flows: u32,
    ) -> Result<Self> {
        let name = lab.instance(wire.gateway.name())?;
        let instance = Instance::new(&name)?;
        let mut ours = Self {
            datapath: None,
            instance,
            gateway: wire.gateway.clone(),
        };
        let datapath = wire.gateway.enter(|| -> Result<_> {
            let features = Features::detect();
            let mut datapath = Datapath::open_for(&ours.instance, hook, features, flows)?;
            datapath.apply(image)?;
            Ok(datapath)
        })??;
        for port in datapath.ports() {
            if port.state != PortState::Up {
                bail!("{} is not up: {:?}", port.device, port.warnings);
            }
        }
        ours.datapath = Some(datapath);
        Ok(ours)
    }

    /// Puts another image into force.
    pub(crate) fn apply(&mut self, image: &Arc<Image>) -> Result<()> {
        let datapath = self.datapath.as_mut().context(GONE)?;
        self.gateway
            .enter(|| datapath.apply(Arc::clone(image)))?
            .context("putting another image into force")?;
        Ok(())
    }

    pub(crate) fn datapath(&self) -> Result<&Datapath> {
        self.datapath.as_ref().context(GONE)
    }
}

const GONE: &str = "the data path is down";

impl Drop for Ours {
    fn drop(&mut self) {
        self.datapath = None;
        // The lab removes the pins in any case; what matters is that the maps go now.
        let _ = self
            .gateway
            .enter(|| vnet_gw::datapath::down(&self.instance).map(drop));
    }
}

/// What the data path should hold for `set`.
pub(crate) fn image(set: &Set) -> Image {
    let vnets = [id("virtualNetworks/VNet1"), id("virtualNetworks/VNet4")];
    let subnets = vnets
        .clone()
        .map(|vnet| ResourceId::new(&format!("{vnet}/subnets/FrontEnd")));
    let nics = [id("networkInterfaces/a"), id("networkInterfaces/b")];
    let actions = vec![
        ActionImage::Local {
            vnet: vnets[0].clone(),
        },
        ActionImage::Peering {
            vnet: vnets[1].clone(),
            accepts_forwarded: false,
        },
        ActionImage::Internet,
        ActionImage::None,
        ActionImage::Peering {
            vnet: vnets[0].clone(),
            accepts_forwarded: false,
        },
    ];
    const BACK: u32 = 4;
    let number = |target: Target| match target {
        Target::Local => 0,
        Target::Peer => 1,
        Target::Internet => 2,
        Target::Nowhere => 3,
    };
    let mut image = Image::default();
    let ports = [(DEV_GA, A_MAC, A4, A6), (DEV_GB, B_MAC, B4, B6)];
    for (i, (device, mac, v4, v6)) in ports.into_iter().enumerate() {
        image.ports.insert(
            nics[i].clone(),
            PortImage {
                device: device.to_owned(),
                mac,
                vnet: vnets[i].clone(),
                subnet: subnets[i].clone(),
                addresses: vec![IpAddr::V4(v4), IpAddr::V6(v6)],
                ip_forwarding: false,
                gateway: false,
                security: Default::default(),
                flow_timeout: 4,
            }
            .into(),
        );
        let own = |address| EndpointImage {
            vnet: vnets[i].clone(),
            address,
            mac,
            nic: nics[i].clone(),
        };
        let mut addresses = vec![IpAddr::V4(v4), IpAddr::V6(v6)];
        if i == 1 {
            addresses.extend(set.destinations4.iter().copied().map(IpAddr::V4));
            addresses.extend(set.destinations6.iter().copied().map(IpAddr::V6));
        }
        addresses.sort();
        addresses.dedup();
        image.endpoints.extend(addresses.into_iter().map(own));
        let (v4, v6) = if i == 0 {
            let v4 = set
                .v4
                .iter()
                .map(|(prefix, target)| (*prefix, number(*target)));
            let v6 = set
                .v6
                .iter()
                .map(|(prefix, target)| (*prefix, number(*target)));
            (v4.collect(), v6.collect())
        } else {
            // The way back, so that a connection works.
            (vec![(A_NET4, BACK)], vec![(A_NET6, BACK)])
        };
        image.subnets.insert(
            subnets[i].clone(),
            Arc::new(SubnetImage {
                vnet: vnets[i].clone(),
                prefixes: Vec::new(),
                gateway4: Some(GATEWAY4[i]),
                gateway6: Some(GATEWAY6[i]),
                v4: TableImage {
                    actions: actions.clone(),
                    routes: Arc::new(v4),
                },
                v6: TableImage {
                    actions: actions.clone(),
                    routes: Arc::new(v6),
                },
            }),
        );
    }
    image
}
