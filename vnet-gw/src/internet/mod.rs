//! The internet port of an instance: routes with the next hop type `Internet` lead to the host's
//! network stack, which translates source addresses and routes.
//!
//! ```text
//!  NIC's port ─ programs ─► vni… ═ veth ═ vnh… ─► host: conntrack zone and mark by source MAC
//!                                                    │ masquerade ─► the host's own routes ─► uplink
//!  NIC's port ◄─ programs ◄─ vni… ═ veth ═ vnh… ◄─ routing table by mark ◄─ conntrack ◄─ uplink
//! ```
//!
//! VNets may overlap, so which one a packet is from goes with it: out as its source MAC address,
//! through the host as zone (of the original direction) and mark of its connection, back as the
//! packet's mark (see [`vnet_gw_common::internet`]). Nothing here sees a packet; all of it is the
//! kernel's, and outlives the daemon, which finds it again by the names of its devices.

mod error;
mod firewall;
mod host;
mod pair;
mod routes;
mod ruleset;

use std::collections::BTreeSet;

use vnet_gw_common::{internet::host_mac, mac_from_u64};

pub use self::error::InternetError;
use self::{firewall::Firewall, host::Uplink, pair::Names, routes::Routing};
use crate::{
    datapath::{Instance, InternetPort},
    io::rtnl::Rtnl,
};

/// Keeps the internet port of one instance, in the network namespace of the calling thread.
#[derive(Debug)]
pub struct Internet {
    names: Names,
    firewall: Firewall,
}

/// What is there after a look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Nothing where the host has no route to the internet, and never had one.
    pub port: Option<InternetPort>,
    /// What was done for the first time, for the log.
    pub done: Vec<String>,
    /// What was missing and made again.
    pub mended: Vec<String>,
    /// What keeps a family from the internet, with its remedy.
    pub warnings: Vec<String>,
}

impl Internet {
    pub fn new(instance: &Instance) -> Self {
        let names = Names::of(instance);
        Self {
            firewall: Firewall::new(&names),
            names,
        }
    }

    /// The port that an earlier daemon left, if all of its parts but the firewall are there.
    pub fn adopt(&self) -> Option<InternetPort> {
        let mut rtnl = Rtnl::open().ok()?;
        let ends = pair::find(&mut rtnl, &self.names).ok()??;
        let slot = Routing::slot_of(&mut rtnl, ends.host).ok()??;
        let [v4, v6] = host::uplinks(&mut rtnl, ends.host);
        let v6 = v6.is_some_and(|uplink| host::forwards_v6(&self.names.host, &uplink));
        Some(self.port(slot, v4.is_some(), v6))
    }

    /// Makes what is missing, for packets of the VNets `scopes`. Nothing is made where the host has no
    /// route to the internet.
    pub fn ensure(&mut self, scopes: &BTreeSet<u32>) -> Result<Found, InternetError> {
        let mut rtnl = Rtnl::open().map_err(InternetError::at("opening rtnetlink"))?;
        let mut found = Found::default();
        let ends = pair::find(&mut rtnl, &self.names)?;
        let uplinks = host::uplinks(&mut rtnl, ends.as_ref().map_or(0, |ends| ends.host));
        if ends.is_none() && uplinks.iter().all(Option::is_none) {
            return Ok(found);
        }
        if !self.firewall.seen() {
            firewall::present()?;
        }
        let mtu = Uplink::mtu(&uplinks);
        let before = ends.is_some();
        let ends = pair::ensure(&mut rtnl, &self.names, ends, mtu)?;
        let (slot, claimed) = Routing::slot(&mut rtnl, ends.host)?;
        pair::set_host_mac(&mut rtnl, &self.names, ends.host, slot)?;
        let [v4, v6] = uplinks;
        host::prepare(&self.names.host, &mut found)?;
        let v6 = match v6 {
            Some(uplink) => host::prepare_v6(&self.names.host, &uplink, &mut found)?,
            None => false,
        };
        let added = Routing::ensure(&mut rtnl, &self.names.host, ends.host, slot, v6)?;
        if claimed {
            // Of whoever had the slot before.
            firewall::forget_connections(slot, None);
        }
        let replaced = self.firewall.ensure(slot, scopes)?;
        match (before, claimed) {
            (false, _) => found.done.push(format!(
                "made the internet port {}: what routes send to the internet leaves by {} and is \
                 translated by the nftables table `inet {}`",
                self.names.port, self.names.host, self.names.table
            )),
            (true, true) => found
                .mended
                .push(format!("the routing table of {} was gone", self.names.host)),
            (true, false) if added > 0 && self.firewall.seen() => found.mended.push(format!(
                "{added} routes or rules of {} were gone",
                self.names.host
            )),
            (true, false) => {}
        }
        if replaced {
            found.mended.push(format!(
                "the nftables table `inet {}` differed",
                self.names.table
            ));
        }
        found.port = Some(self.port(slot, v4.is_some(), v6));
        Ok(found)
    }

    /// VNets whose numbers were given back: replies to what they sent are nobody's.
    pub fn forget(&self, scopes: &BTreeSet<u32>) {
        let Some(slot) = self.firewall.slot() else {
            return;
        };
        for scope in scopes {
            firewall::forget_connections(slot, Some(*scope));
        }
    }

    fn port(&self, slot: u32, v4: bool, v6: bool) -> InternetPort {
        InternetPort {
            device: self.names.port.clone(),
            mac: mac_from_u64(host_mac(slot)),
            v4,
            v6,
        }
    }
}

/// Removes everything of an instance's internet port; whether anything was there. The sysctls that
/// were switched on stay: others may have come to need them.
pub fn down(instance: &Instance) -> Result<bool, InternetError> {
    let names = Names::of(instance);
    let mut rtnl = Rtnl::open().map_err(InternetError::at("opening rtnetlink"))?;
    let slots = Routing::remove(&mut rtnl, &names.host)?;
    let removed = pair::remove(&mut rtnl, &names)?;
    let there = removed || !slots.is_empty();
    if there || firewall::present().is_ok() {
        firewall::remove(&names)?;
    }
    for slot in slots {
        firewall::forget_connections(slot, None);
    }
    Ok(there)
}
