//! A predicted path, in terms of the resources.

use std::net::IpAddr;

use ipnet::IpNet;
use vnet_gw_common::verdict::Reason;

use super::checkpoint::Checkpoint;
use crate::{
    effective::{Appliance, NextHopType, precedence::Origin as RouteOrigin},
    model::{
        Connection, NetworkInterface, ResourceId, Route, RouteTable, VirtualNetwork,
        VirtualNetworkGateway, VirtualNetworkPeering,
    },
};

/// The way of a packet, one step for each time that it goes through the data path.
#[derive(Clone, Debug)]
pub struct Path<'a> {
    pub steps: Vec<Step<'a>>,
    pub outcome: Outcome<'a>,
}

/// What has a port of the data path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element<'a> {
    NetworkInterface(&'a NetworkInterface),
    Gateway(&'a VirtualNetworkGateway),
}

impl<'a> Element<'a> {
    pub fn id(self) -> &'a ResourceId {
        match self {
            Self::NetworkInterface(nic) => &nic.id,
            Self::Gateway(gateway) => &gateway.id,
        }
    }
}

/// Once through the data path.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// By whose port the packet comes in.
    pub at: Element<'a>,
    pub vnet: &'a VirtualNetwork,
    /// Whose routes it takes.
    pub subnet: &'a ResourceId,
    /// As it comes in.
    pub ttl: u8,
    /// Nothing where it did not get as far.
    pub route: Option<Taken<'a>>,
    pub next: Option<Next<'a>>,
    /// The sender's NIC, then the receiver's, as far as it got; gateways have none.
    pub checkpoints: Vec<Checkpoint<'a>>,
}

/// Where a route leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next<'a> {
    /// The NIC that has the destination.
    Destination(&'a NetworkInterface),
    /// The appliance with that address; the destination is not its own.
    Appliance(&'a NetworkInterface, IpAddr),
    Gateway(&'a VirtualNetworkGateway),
    Internet,
}

/// The route that a packet takes: the longest active one that contains its destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken<'a> {
    pub prefix: IpNet,
    pub next_hop_type: NextHopType,
    pub source: RouteBy<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RouteBy<'a> {
    System(RouteOrigin<'a>),
    User(&'a RouteTable, &'a Route),
}

/// What becomes of a packet.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// To the NIC that has the destination, or, where an appliance took it, the NIC of the same
    /// virtual machine that does.
    Delivered(&'a NetworkInterface),
    /// Into a tunnel of the connection. What is behind it is not known here, unless it ends at
    /// another gateway of this host, where the path goes on.
    Tunnel {
        gateway: &'a VirtualNetworkGateway,
        connection: &'a Connection,
    },
    /// Out of this host, with the host's address.
    Internet,
    Dropped(Dropped<'a>),
}

#[derive(Clone, Debug)]
pub struct Dropped<'a> {
    pub reason: DropReason,
    /// By whose port it came in last, or whose guest dropped it.
    pub at: Element<'a>,
    pub because: Because<'a>,
}

/// Who drops a packet, and the counter that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A reason of the data path.
    DataPath(Reason),
    /// `no_tunnel` of the gateway.
    NoTunnel,
    /// `outside_selectors` of a tunnel.
    OutsideSelectors,
    /// The guest of an appliance, which sees the TTL used up.
    Guest,
}

impl DropReason {
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataPath(reason) => reason.name(),
            Self::NoTunnel => "no_tunnel",
            Self::OutsideSelectors => "outside_selectors",
            Self::Guest => "guest",
        }
    }
}

impl From<Reason> for DropReason {
    fn from(reason: Reason) -> Self {
        Self::DataPath(reason)
    }
}

/// What decided that a packet is dropped.
#[derive(Clone, Debug)]
pub enum Because<'a> {
    /// Never routed: multicast, broadcast, link-local, loopback, unspecified.
    NotRoutable(IpAddr),
    /// The NIC sends from an address that is not its own, without `enableIPForwarding`.
    NoForwarding(&'a NetworkInterface),
    /// No active route contains the destination.
    NoRoute,
    /// A route of type `None`, or of one that leads nowhere here.
    Route(Taken<'a>),
    /// The peering, of the VNet that the packet goes to, has no `allowForwardedTraffic`.
    Peering(&'a VirtualNetworkPeering),
    /// The appliance of the route is not there, or does not forward.
    Appliance(Taken<'a>, IpAddr, Appliance<'a>),
    /// No NIC of the VNet has the destination.
    Nobody(Taken<'a>, &'a ResourceId),
    /// A rule of a network security group, or a group without one that matches.
    Rule(Checkpoint<'a>),
    /// The device of the NIC or the gateway is not on this host.
    NotHere(Element<'a>),
    /// Used up: the path is too long, or a circle.
    Ttl,
    /// No connection of the gateway leads there.
    NoConnection(&'a VirtualNetworkGateway),
    /// The connection's traffic selectors do not have it.
    Selectors(&'a Connection),
    /// It came out of the connection, and its source is not behind that.
    NotBehind(&'a Connection),
}

impl<'a> Path<'a> {
    pub fn dropped(&self) -> Option<&Dropped<'a>> {
        match &self.outcome {
            Outcome::Dropped(dropped) => Some(dropped),
            _ => None,
        }
    }
}
