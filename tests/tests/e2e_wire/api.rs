//! Who gets an answer, put together from what the daemon's API says of each hop: Network Watcher's
//! `nextHop` and `ipFlowVerify`, and nothing else.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vnet_gw::{control::RuntimeDir, datapath::Instance};
use vnet_gw_core::{
    model::{ResourceId, Topology},
    watcher::Packet,
};
use vnet_gw_tests::http::{Connection, SUBSCRIPTION, Server};

/// As far as a path may go.
const HOPS: usize = 8;

/// What a packet passes: a NIC by its id, or the gateway, which has no groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Nic(ResourceId),
    Gateway,
}

type Passed = Vec<(At, At)>;

/// The API of a daemon, by its Unix socket.
pub(crate) struct Api {
    connection: Connection,
    owners: BTreeMap<IpAddr, ResourceId>,
    /// Behind the only connection.
    site: Vec<IpAddr>,
    hops: BTreeMap<(ResourceId, IpAddr, IpAddr), (String, Option<IpAddr>)>,
    /// How often each action was asked for.
    pub(crate) asked: BTreeMap<&'static str, usize>,
}

impl Api {
    /// `instance` is the daemon's; `site` has the addresses behind its tunnel.
    pub(crate) fn connect(instance: &str, topology: &Topology, site: &[IpAddr]) -> Result<Self> {
        let socket = RuntimeDir::default().api_socket(&Instance::new(instance)?);
        let owners = topology.network_interfaces.values().flat_map(|nic| {
            let own = nic.ip_configurations.iter();
            own.map(|one| (one.private_ip_address, nic.id.clone()))
        });
        Ok(Self {
            connection: Server::Unix(socket).connect()?,
            owners: owners.collect(),
            site: site.to_vec(),
            hops: BTreeMap::new(),
            asked: BTreeMap::new(),
        })
    }

    fn ask(&mut self, action: &'static str, body: &Value) -> Result<Value> {
        *self.asked.entry(action).or_default() += 1;
        let path = format!(
            "{SUBSCRIPTION}/resourceGroups/NetworkWatcherRG/providers/Microsoft.Network/\
             networkWatchers/NetworkWatcher_westeurope/{action}"
        );
        let answer = self.connection.ask("POST", &path, Some(body))?;
        let told = answer.json()?;
        ensure!(answer.status == 200, "{action} of {body}: {told:#}");
        Ok(told)
    }

    fn next_hop(&mut self, nic: &ResourceId, packet: &Packet) -> Result<(String, Option<IpAddr>)> {
        let key = (nic.clone(), packet.source, packet.destination);
        if let Some(known) = self.hops.get(&key) {
            return Ok(known.clone());
        }
        let body = json!({
            "targetResourceId": nic.to_string(),
            "sourceIPAddress": packet.source.to_string(),
            "destinationIPAddress": packet.destination.to_string(),
        });
        let told = self.ask("nextHop", &body)?;
        let kind = told["nextHopType"].as_str().context("no nextHopType")?;
        let address = told["nextHopIpAddress"].as_str();
        let hop = (kind.to_owned(), address.map(str::parse).transpose()?);
        self.hops.insert(key, hop.clone());
        Ok(hop)
    }

    /// What the groups of a NIC say; of ICMP they are not asked, as Azure's are not.
    fn allows(&mut self, nic: &ResourceId, outbound: bool, packet: &Packet) -> Result<bool> {
        let protocol = match packet.protocol {
            Packet::TCP => "TCP",
            Packet::UDP => "UDP",
            _ => return Ok(true),
        };
        let (source, destination) = (
            (packet.source, packet.source_port),
            (packet.destination, packet.destination_port),
        );
        let (direction, local, remote) = match outbound {
            true => ("Outbound", source, destination),
            false => ("Inbound", destination, source),
        };
        let body = json!({
            "targetResourceId": nic.to_string(),
            "direction": direction,
            "protocol": protocol,
            "localIPAddress": local.0.to_string(),
            "localPort": local.1.to_string(),
            "remoteIPAddress": remote.0.to_string(),
            "remotePort": remote.1.to_string(),
        });
        match self.ask("ipFlowVerify", &body)?["access"].as_str() {
            Some("Allow") => Ok(true),
            Some("Deny") => Ok(false),
            other => bail!("ipFlowVerify of {body}: {other:?}"),
        }
    }

    /// Where the packet goes next; nothing: nowhere.
    fn next(&mut self, at: &At, packet: &Packet) -> Result<Option<At>> {
        let owner = self.owners.get(&packet.destination).cloned();
        let nic = match at {
            // GatewaySubnet has no routes of its own here.
            At::Gateway => return Ok(owner.map(At::Nic)),
            At::Nic(nic) => nic,
        };
        let (kind, address) = self.next_hop(nic, packet)?;
        Ok(match kind.as_str() {
            "VnetLocal" | "VNetPeering" | "VNetGlobalPeering" => owner.map(At::Nic),
            "VirtualAppliance" => {
                let address = address.context("an appliance without an address")?;
                self.owners.get(&address).cloned().map(At::Nic)
            }
            "VirtualNetworkGateway" => Some(At::Gateway),
            // No port leads to the internet here.
            "Internet" | "None" => None,
            other => bail!("nextHop of {packet:?} at {nic}: {other}"),
        })
    }

    /// Whether the packet gets to its destination: what it passes on its way. `there`: it is the
    /// answer to a packet that passed these.
    fn goes(&mut self, from: At, packet: &Packet, there: &[(At, At)]) -> Result<Option<Passed>> {
        let mut passed = Passed::new();
        let mut at = from;
        for _ in 0..HOPS {
            let Some(next) = self.next(&at, packet)? else {
                return Ok(None);
            };
            let hop = (at.clone(), next.clone());
            // The answer in a flow that was let through.
            if !there.contains(&(hop.1.clone(), hop.0.clone())) {
                if let At::Nic(nic) = &hop.0
                    && !self.allows(nic, true, packet)?
                {
                    return Ok(None);
                }
                if let At::Nic(nic) = &hop.1
                    && !self.allows(nic, false, packet)?
                {
                    return Ok(None);
                }
            }
            passed.push(hop);
            let arrived = match &next {
                At::Nic(nic) => self.owners.get(&packet.destination) == Some(nic),
                At::Gateway => match self.site.contains(&packet.destination) {
                    true => true,
                    false => return Ok(None),
                },
            };
            if arrived {
                return Ok(Some(passed));
            }
            at = next;
        }
        bail!("{packet:?}: more than {HOPS} hops");
    }

    fn home(&self, address: IpAddr) -> Result<At> {
        match self.owners.get(&address) {
            Some(nic) => Ok(At::Nic(nic.clone())),
            None if self.site.contains(&address) => Ok(At::Gateway),
            None => bail!("nobody has {address}"),
        }
    }

    /// Whether the packet gets there, and its answer back; `None` where that depends on groups that
    /// cannot be asked about it.
    pub(crate) fn answered(&mut self, packet: &Packet) -> Result<Option<bool>> {
        let (from, to) = (self.home(packet.source)?, self.home(packet.destination)?);
        let Some(there) = self.goes(from, packet, &[])? else {
            return Ok(Some(false));
        };
        let back = self.goes(to, &packet.reply(), &there)?;
        Ok(match back {
            None => Some(false),
            Some(_) => packet.has_ports().then_some(true),
        })
    }
}
