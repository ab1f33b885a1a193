//! The instance's internet port: a port like any other, only that no resource stands behind it and
//! that its far end is the host's network stack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vnet_gw_common::{endpoint::Endpoint, mac_to_u64};
use vnet_gw_core::{
    compile::{Image, PortImage},
    model::{ResourceId, Shared},
    security::PortSecurity,
};

/// An internet port whose devices are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternetPort {
    /// The end of the pair that is a port.
    pub device: String,
    /// Of the other end, the host's: one of [`vnet_gw_common::internet::host_mac`].
    pub mac: [u8; 6],
    /// The host has a route of that family.
    pub v4: bool,
    pub v6: bool,
}

impl InternetPort {
    /// What it is called among the ports.
    pub const NAME: &str = "internet";

    fn image(&self) -> PortImage {
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let carried = [(self.v4, IpAddr::from(v4)), (self.v6, IpAddr::from(v6))];
        let own = ResourceId::new(Self::NAME);
        PortImage {
            device: self.device.clone(),
            mac: self.mac,
            vnet: own.clone(),
            subnet: own,
            addresses: carried
                .into_iter()
                .filter_map(|(yes, any)| yes.then_some(any))
                .collect(),
            ip_forwarding: false,
            // Its device is ours, as a gateway's is.
            gateway: true,
            security: PortSecurity::default(),
            flow_timeout: 4,
        }
    }
}

/// The ports that should be there: the image's, and the internet port.
pub(super) struct Wanted<'a> {
    image: &'a Image,
    internet: Option<&'a (ResourceId, Shared<PortImage>)>,
}

impl<'a> Wanted<'a> {
    pub(super) fn iter(
        &self,
    ) -> impl Iterator<Item = (&'a ResourceId, &'a Shared<PortImage>)> + use<'a> {
        let internet = self.internet.map(|(id, port)| (id, port));
        self.image.ports.iter().chain(internet)
    }
}

/// The internet port as it should be.
#[derive(Debug, Default)]
pub(super) struct Internet {
    port: Option<InternetPort>,
    as_port: Option<(ResourceId, Shared<PortImage>)>,
}

impl Internet {
    /// Whether anything is different now.
    pub(super) fn set(&mut self, port: Option<InternetPort>) -> bool {
        if self.port == port {
            return false;
        }
        let entry =
            |port: &InternetPort| (ResourceId::new(InternetPort::NAME), port.image().into());
        self.as_port = port.as_ref().map(entry);
        self.port = port;
        true
    }

    pub(super) fn wanted<'a>(&'a self, image: &'a Image) -> Wanted<'a> {
        Wanted {
            image,
            internet: self.as_port.as_ref(),
        }
    }

    /// The word of the settings, given the number of the port.
    pub(super) fn word(&self, id: impl FnOnce(&ResourceId) -> Option<u32>) -> u64 {
        let found = self.as_port.as_ref().and_then(|(name, port)| {
            let id = u16::try_from(id(name)?).ok()?;
            Some(Endpoint::new(mac_to_u64(port.mac), id).0)
        });
        found.unwrap_or(0)
    }
}

/// Whether it is the id that the internet port has among the ports.
pub(super) fn is_internet(id: &ResourceId) -> bool {
    id.key() == InternetPort::NAME
}
