//! The shapes of an answer, as Azure's `effectiveRouteTable` and `nextHop` write them.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::RouteNextHop;

/// `source`: who made the route (rule B8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouteSource {
    Default,
    User,
    VirtualNetworkGateway,
    Unknown,
}

impl RouteSource {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::User => "User",
            Self::VirtualNetworkGateway => "VirtualNetworkGateway",
            Self::Unknown => "Unknown",
        }
    }
}

/// `state`: whether the route is one that packets may take (rule B4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouteState {
    Active,
    Invalid,
}

impl RouteState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Invalid => "Invalid",
        }
    }
}

/// `nextHopType`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NextHopType {
    VnetLocal,
    VNetPeering,
    VNetGlobalPeering,
    Internet,
    VirtualAppliance,
    VirtualNetworkGateway,
    None,
}

impl NextHopType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VnetLocal => "VnetLocal",
            Self::VNetPeering => "VNetPeering",
            Self::VNetGlobalPeering => "VNetGlobalPeering",
            Self::Internet => "Internet",
            Self::VirtualAppliance => "VirtualAppliance",
            Self::VirtualNetworkGateway => "VirtualNetworkGateway",
            Self::None => "None",
        }
    }
}

impl From<RouteNextHop> for NextHopType {
    fn from(hop: RouteNextHop) -> Self {
        match hop {
            RouteNextHop::VirtualNetworkGateway => Self::VirtualNetworkGateway,
            RouteNextHop::VnetLocal => Self::VnetLocal,
            RouteNextHop::Internet => Self::Internet,
            RouteNextHop::VirtualAppliance(_) => Self::VirtualAppliance,
            RouteNextHop::None => Self::None,
        }
    }
}

macro_rules! display_as_str {
    ($($name:ty),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )+};
}

display_as_str!(RouteSource, RouteState, NextHopType);

/// One row of `effectiveRouteTable` (rule B8). Serialises to Azure's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveRoute {
    /// Of a user route: its own name. The others have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The subnet's route table keeps gateway routes out; the same in every row of a subnet.
    pub disable_bgp_route_propagation: bool,
    pub source: RouteSource,
    pub state: RouteState,
    /// One prefix: every route of this version has one.
    pub address_prefix: Vec<IpNet>,
    /// `VirtualAppliance`: the appliance. Gateway rows: the gateway's public addresses. Else empty.
    pub next_hop_ip_address: Vec<IpAddr>,
    pub next_hop_type: NextHopType,
}

impl EffectiveRoute {
    /// Whether a packet to `destination` matches the row, be it active or not.
    pub fn contains(&self, destination: IpAddr) -> bool {
        self.address_prefix
            .iter()
            .any(|prefix| prefix.contains(&destination))
    }
}

/// The answer to `effectiveRouteTable`: `{"value": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveRouteTable {
    pub value: Vec<EffectiveRoute>,
}

/// The answer to Network Watcher's `nextHop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextHopResult {
    pub next_hop_type: NextHopType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_ip_address: Option<IpAddr>,
    /// The route table's id where a user route won, else [`NextHopResult::SYSTEM_ROUTE`].
    pub route_table_id: String,
}

impl NextHopResult {
    pub const SYSTEM_ROUTE: &str = "System Route";
}
