//! The types of resources.

use super::{ArmError, error::cut};

/// The resource types of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    VirtualNetwork,
    Subnet,
    VirtualNetworkPeering,
    NetworkInterface,
    NetworkSecurityGroup,
    SecurityRule,
    ApplicationSecurityGroup,
    RouteTable,
    Route,
    PublicIpAddress,
    VirtualNetworkGateway,
    LocalNetworkGateway,
    Connection,
    NetworkWatcher,
}

pub(super) const PROVIDER: &str = "Microsoft.Network";

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::VirtualNetwork,
        Self::Subnet,
        Self::VirtualNetworkPeering,
        Self::NetworkInterface,
        Self::NetworkSecurityGroup,
        Self::SecurityRule,
        Self::ApplicationSecurityGroup,
        Self::RouteTable,
        Self::Route,
        Self::PublicIpAddress,
        Self::VirtualNetworkGateway,
        Self::LocalNetworkGateway,
        Self::Connection,
        Self::NetworkWatcher,
    ];

    /// `Microsoft.Network/virtualNetworks/subnets`
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::VirtualNetwork => "Microsoft.Network/virtualNetworks",
            Self::Subnet => "Microsoft.Network/virtualNetworks/subnets",
            Self::VirtualNetworkPeering => {
                "Microsoft.Network/virtualNetworks/virtualNetworkPeerings"
            }
            Self::NetworkInterface => "Microsoft.Network/networkInterfaces",
            Self::NetworkSecurityGroup => "Microsoft.Network/networkSecurityGroups",
            Self::SecurityRule => "Microsoft.Network/networkSecurityGroups/securityRules",
            Self::ApplicationSecurityGroup => "Microsoft.Network/applicationSecurityGroups",
            Self::RouteTable => "Microsoft.Network/routeTables",
            Self::Route => "Microsoft.Network/routeTables/routes",
            Self::PublicIpAddress => "Microsoft.Network/publicIPAddresses",
            Self::VirtualNetworkGateway => "Microsoft.Network/virtualNetworkGateways",
            Self::LocalNetworkGateway => "Microsoft.Network/localNetworkGateways",
            Self::Connection => "Microsoft.Network/connections",
            Self::NetworkWatcher => "Microsoft.Network/networkWatchers",
        }
    }

    /// The segments of the type after the provider, as Azure writes them: `virtualNetworks`,
    /// `subnets`. The last is the name of the list in a URL, and of a child's in its parent's
    /// properties.
    pub const fn segments(self) -> &'static [&'static str] {
        match self {
            Self::VirtualNetwork => &["virtualNetworks"],
            Self::Subnet => &["virtualNetworks", "subnets"],
            Self::VirtualNetworkPeering => &["virtualNetworks", "virtualNetworkPeerings"],
            Self::NetworkInterface => &["networkInterfaces"],
            Self::NetworkSecurityGroup => &["networkSecurityGroups"],
            Self::SecurityRule => &["networkSecurityGroups", "securityRules"],
            Self::ApplicationSecurityGroup => &["applicationSecurityGroups"],
            Self::RouteTable => &["routeTables"],
            Self::Route => &["routeTables", "routes"],
            Self::PublicIpAddress => &["publicIPAddresses"],
            Self::VirtualNetworkGateway => &["virtualNetworkGateways"],
            Self::LocalNetworkGateway => &["localNetworkGateways"],
            Self::Connection => &["connections"],
            Self::NetworkWatcher => &["networkWatchers"],
        }
    }

    /// The last segment: the list in a URL, and a child's list in its parent's properties.
    pub const fn list_name(self) -> &'static str {
        match self.segments() {
            [.., last] => last,
            [] => "",
        }
    }

    /// The kind that a child is in; nothing for a top-level resource.
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::Subnet | Self::VirtualNetworkPeering => Some(Self::VirtualNetwork),
            Self::Route => Some(Self::RouteTable),
            Self::SecurityRule => Some(Self::NetworkSecurityGroup),
            _ => None,
        }
    }

    /// The kinds of a resource's children, in its properties' [`list_name`](Self::list_name)s.
    pub const fn children(self) -> &'static [Self] {
        match self {
            Self::VirtualNetwork => &[Self::Subnet, Self::VirtualNetworkPeering],
            Self::RouteTable => &[Self::Route],
            Self::NetworkSecurityGroup => &[Self::SecurityRule],
            _ => &[],
        }
    }

    /// What it is called in a sentence.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::VirtualNetwork => "virtual network",
            Self::Subnet => "subnet",
            Self::VirtualNetworkPeering => "peering",
            Self::NetworkInterface => "network interface",
            Self::NetworkSecurityGroup => "network security group",
            Self::SecurityRule => "security rule",
            Self::ApplicationSecurityGroup => "application security group",
            Self::RouteTable => "route table",
            Self::Route => "route",
            Self::PublicIpAddress => "public IP address",
            Self::VirtualNetworkGateway => "virtual network gateway",
            Self::LocalNetworkGateway => "local network gateway",
            Self::Connection => "connection",
            Self::NetworkWatcher => "network watcher",
        }
    }

    /// The kind of a full type, `Microsoft.Network/virtualNetworks/subnets`, in any case.
    pub fn from_type(resource_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.resource_type().eq_ignore_ascii_case(resource_type))
    }

    /// The kind of the resource `names` with a full type.
    ///
    /// # Errors
    ///
    /// `InvalidResourceType`, `InvalidResourceNamespace`: named, never skipped.
    pub fn of(resource_type: &str, names: &[String]) -> Result<Self, ArmError> {
        Self::from_type(resource_type).ok_or_else(|| {
            let name = names.join("/");
            let provider = resource_type.split('/').next().unwrap_or_default();
            let code = if provider.eq_ignore_ascii_case(PROVIDER) {
                "InvalidResourceType"
            } else {
                "InvalidResourceNamespace"
            };
            let types: Vec<String> = Self::ALL
                .iter()
                .map(|kind| kind.segments().join("/"))
                .collect();
            ArmError::new(
                code,
                format!(
                    "The resource '{}' has the type {}, which is not supported \
                     yet: remove it. Supported below {PROVIDER} are {}.",
                    cut(&name),
                    cut(resource_type),
                    types.join(", ")
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_type_in_any_case() {
        for kind in Kind::ALL {
            let written = format!("{PROVIDER}/{}", kind.segments().join("/"));
            assert_eq!(kind.resource_type(), written);
            assert_eq!(Kind::from_type(&written.to_uppercase()), Some(kind));
            assert_eq!(kind.parent().is_some(), kind.segments().len() == 2);
            for child in kind.children() {
                assert_eq!(child.parent(), Some(kind));
            }
        }
        assert_eq!(Kind::from_type("Microsoft.Network"), None);
        assert_eq!(Kind::from_type("Microsoft.Network/virtualNetworks/"), None);
    }
}
