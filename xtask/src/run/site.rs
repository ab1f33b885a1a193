//! The site on premises: a gateway that runs strongSwan, and a machine behind it.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use serde_json::Value;
use vnet_gw_lab::{
    Lab, Netns, StrongSwan, Underlay,
    strongswan::{Child, Connection},
    underlay::lan,
};

use super::resources::Resources;

/// The machine's name.
pub(super) const SITE: &str = "site-pc";
/// Its addresses, one address a family, and its router's.
const WIRES: [(&str, &str, u8); 2] = [
    ("10.101.0.1", "10.101.0.4", 24),
    ("fd00:101::1", "fd00:101::4", 64),
];

/// The site, connected to the gateway as the template says.
pub(super) struct Site {
    /// Only kept: it ends with the example.
    _strongswan: StrongSwan,
    pub(super) machine: Netns,
    pub(super) addresses: [IpAddr; 2],
}

impl Site {
    /// Its address, prefixes and key are those of the template's localNetworkGateway and of the
    /// connection to it, and its peers the addresses of that connection's gateway.
    pub(super) fn start(lab: &Lab, underlay: &Underlay, template: &Value) -> Result<Self> {
        let parts = Resources::of(template)?.site()?;
        let gateway = lab.namespace("site")?;
        underlay.attach(lab, &gateway, &[parts.address])?;
        let mut wires = Vec::new();
        for (near, far, length) in WIRES {
            wires.push((near.parse()?, far.parse()?, length));
        }
        let machine = lan(lab, &gateway, SITE, &wires)?;
        // What a peer that fell silent is given before its tunnel is made anew.
        let settings = "retransmit_timeout = 1\nretransmit_base = 1.5\nretransmit_tries = 3\n";
        let strongswan = StrongSwan::start_with(lab, &gateway, settings)?;
        let local: Vec<&str> = parts.prefixes.iter().map(String::as_str).collect();
        let remote: Vec<&str> = parts.remote.iter().map(String::as_str).collect();
        let connections: Vec<Connection> = parts
            .peers
            .iter()
            .enumerate()
            .map(|(i, &peer)| {
                Connection {
                    proposals: vec!["aes256gcm16-prfsha384-ecp384".to_owned()],
                    remote_id: Some(peer.to_string()),
                    dpd: Some(Duration::from_secs(2)),
                    ..Connection::new(&format!("azure{i}"), parts.address, peer, &parts.key)
                }
                .child(Child {
                    proposals: vec!["aes256gcm16".to_owned()],
                    ..Child::new(&format!("vnet{i}"), &local, &remote)
                })
            })
            .collect();
        strongswan.load(&connections)?;
        let [v4, v6] = WIRES.map(|(_, far, _)| far.parse());
        Ok(Self {
            _strongswan: strongswan,
            machine,
            addresses: [v4?, v6?],
        })
    }
}
