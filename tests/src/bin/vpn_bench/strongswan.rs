//! strongSwan with ESP in user space (`kernel-libipsec`).

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use vnet_gw_lab::{
    Lab,
    strongswan::{Child, Connection, StrongSwan},
};

use crate::{
    subject::Part,
    wire::{NETS, UNDERLAY, Wire},
};

/// A running charon.
pub(crate) struct Peer {
    _swan: StrongSwan,
}

pub(crate) fn start(lab: &Lab, wire: &Wire, esp: &str) -> Result<Vec<Part>> {
    wire.forward_by_kernel()?;
    let mut swans = Vec::new();
    for (side, gateway) in wire.gateways.iter().enumerate() {
        let far = 1 - side;
        let mut child = Child::new("bench", &[NETS[side]], &[NETS[far]]);
        child.proposals = vec![esp.to_owned()];
        let [local, remote] = [side, far].map(|side| IpAddr::V4(UNDERLAY[side]));
        let mut connection =
            Connection::new("peer", local, remote, "a key of the bench").child(child);
        connection.proposals = vec!["aes256gcm16-prfsha384-curve25519".to_owned()];
        // What kernel-libipsec carries ESP in.
        connection.encap = true;
        let swan = StrongSwan::start(lab, gateway)?;
        swan.load(&[connection])?;
        swans.push(swan);
    }
    if let Some(first) = swans.first() {
        first.initiate("bench", Duration::from_secs(10))?;
    }
    Ok(swans
        .into_iter()
        .map(|swan| Part::Strongswan {
            _peer: Box::new(Peer { _swan: swan }),
        })
        .collect())
}
