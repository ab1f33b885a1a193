//! Resources by what people call them.

use vnet_gw_core::model::{ResourceId, Topology};

/// A name that does not lead to one resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{kind} {name:?}: there is none{}", hint(.known))]
    Unknown {
        kind: &'static str,
        name: String,
        known: Vec<String>,
    },
    #[error("{kind} {name:?}: there are {}: {}; use GROUP/NAME or the id", .ids.len(), .ids.join(", "))]
    Ambiguous {
        kind: &'static str,
        name: String,
        ids: Vec<String>,
    },
    #[error("subnet {0:?}: give VNET/SUBNET, GROUP/VNET/SUBNET or the id")]
    SubnetForm(String),
}

/// How many existing names an error lists.
const LISTED: usize = 8;

fn hint(known: &[String]) -> String {
    match known.len() {
        0 => "; the configuration has none at all".to_owned(),
        count if count <= LISTED => format!("; there are {}", known.join(", ")),
        count => format!(
            "; there are {}, … ({count} in all)",
            known[..LISTED].join(", ")
        ),
    }
}

/// The networkInterface called `text`: its name, `GROUP/NAME`, or its id, without case.
pub fn find_nic<'a>(topology: &'a Topology, text: &str) -> Result<&'a ResourceId, NameError> {
    find(
        "networkInterface",
        text,
        1,
        topology.network_interfaces.iter().map(|(id, _)| id),
    )
}

/// The subnet called `text`: `VNET/SUBNET`, `GROUP/VNET/SUBNET`, or its id, without case.
pub fn find_subnet<'a>(topology: &'a Topology, text: &str) -> Result<&'a ResourceId, NameError> {
    let subnets = topology
        .virtual_networks
        .iter()
        .flat_map(|(_, vnet)| vnet.subnets.keys());
    if !text.trim().contains('/') {
        return Err(NameError::SubnetForm(text.to_owned()));
    }
    find("subnet", text, 2, subnets)
}

/// The virtual network called `text`: its name, `GROUP/NAME`, or its id, without case.
pub fn find_vnet<'a>(topology: &'a Topology, text: &str) -> Result<&'a ResourceId, NameError> {
    let networks = topology.virtual_networks.iter().map(|(id, _)| id);
    find("virtualNetwork", text, 1, networks)
}

/// The connection called `text`: its name, `GROUP/NAME`, or its id, without case.
pub fn find_connection<'a>(
    topology: &'a Topology,
    text: &str,
) -> Result<&'a ResourceId, NameError> {
    find(
        "connection",
        text,
        1,
        topology.connections.iter().map(|(id, _)| id),
    )
}

/// The virtual network gateway called `text`: its name, `GROUP/NAME`, or its id, without case.
pub fn find_gateway<'a>(topology: &'a Topology, text: &str) -> Result<&'a ResourceId, NameError> {
    find(
        "virtualNetworkGateway",
        text,
        1,
        topology.virtual_network_gateways.iter().map(|(id, _)| id),
    )
}

/// `own` is how many names a resource has of its own, parents included.
fn find<'a>(
    kind: &'static str,
    text: &str,
    own: usize,
    ids: impl Iterator<Item = &'a ResourceId> + Clone,
) -> Result<&'a ResourceId, NameError> {
    let wanted = ResourceId::new(text);
    let mut found: Vec<&ResourceId> = ids.clone().filter(|id| matches(id, &wanted, own)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(last), false) => {
            found.push(last);
            let ids = found.iter().map(ToString::to_string).collect();
            Err(NameError::Ambiguous {
                kind,
                name: text.to_owned(),
                ids,
            })
        }
        (None, _) => {
            let known = ids.map(|id| short(id.as_str())).collect();
            Err(NameError::Unknown {
                kind,
                name: text.to_owned(),
                known,
            })
        }
    }
}

fn matches(id: &ResourceId, wanted: &ResourceId, own: usize) -> bool {
    let wanted_key = wanted.key();
    if wanted_key.starts_with('/') {
        return id.key() == wanted_key;
    }
    let names = names(id.key());
    let parts: Vec<&str> = wanted_key.split('/').collect();
    match parts.len().checked_sub(own) {
        Some(0) => names == parts,
        Some(1) => names == parts[1..] && group(id.key()) == Some(parts[0]),
        _ => false,
    }
}

/// The names in an id, without the types between them: VNet and subnet of a subnet.
fn names(id: &str) -> Vec<&str> {
    // …/providers/Microsoft.Network/TYPE/NAME[/TYPE/NAME…]
    let segments: Vec<&str> = id
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let provider = segments
        .iter()
        .position(|segment| segment.eq_ignore_ascii_case("providers"));
    let own = provider
        .and_then(|at| segments.get(at + 2..))
        .unwrap_or(&segments);
    own.iter().skip(1).step_by(2).copied().collect()
}

fn group(id: &str) -> Option<&str> {
    let mut segments = id.split('/');
    segments.find(|segment| segment.eq_ignore_ascii_case("resourceGroups"))?;
    segments.next()
}

/// The resource group in an id; empty where it has none.
pub fn group_of(id: &str) -> &str {
    group(id).unwrap_or_default()
}

/// What people call it: `VNet1/FrontEnd` of a subnet's id, the name of most others.
pub fn short(id: &str) -> String {
    let names = names(id);
    if names.is_empty() {
        id.to_owned()
    } else {
        names.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> Vec<ResourceId> {
        texts
            .iter()
            .map(|text| {
                let (group, rest) = text.split_once(' ').unwrap();
                ResourceId::new(&format!(
                    "/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Network/{rest}"
                ))
            })
            .collect()
    }

    #[test]
    fn a_nic_is_found_by_name_group_and_id() {
        let all = ids(&[
            "East networkInterfaces/web1",
            "West networkInterfaces/Web1",
            "West networkInterfaces/app",
        ]);
        let find = |text: &str| find("networkInterface", text, 1, all.iter());
        assert_eq!(find("APP"), Ok(&all[2]));
        assert_eq!(find("east/WEB1"), Ok(&all[0]));
        assert_eq!(find(&all[1].as_str().to_uppercase()), Ok(&all[1]));
        let error = find("web1").unwrap_err().to_string();
        assert!(
            error.contains("there are 2: /subscriptions/s/resourceGroups/East/"),
            "{error}"
        );
        assert!(error.ends_with("use GROUP/NAME or the id"), "{error}");
        let error = find("db").unwrap_err().to_string();
        assert_eq!(
            error,
            "networkInterface \"db\": there is none; there are web1, Web1, app"
        );
        // A wrong group, or the id of something else.
        assert!(matches!(find("west/web2"), Err(NameError::Unknown { .. })));
        assert!(matches!(find("/x/app"), Err(NameError::Unknown { .. })));
    }

    #[test]
    fn a_subnet_is_found_with_its_vnet() {
        let all = ids(&[
            "g virtualNetworks/VNet1/subnets/FrontEnd",
            "g virtualNetworks/VNet2/subnets/FrontEnd",
        ]);
        let find = |text: &str| find("subnet", text, 2, all.iter());
        assert_eq!(find("vnet2/frontend"), Ok(&all[1]));
        assert_eq!(find("G/vnet1/frontend"), Ok(&all[0]));
        assert!(matches!(find("g/frontend"), Err(NameError::Unknown { .. })));
        assert_eq!(
            find_subnet(&Topology::default(), "FrontEnd"),
            Err(NameError::SubnetForm("FrontEnd".into()))
        );
    }

    #[test]
    fn short_names_leave_out_types() {
        let all = ids(&[
            "g virtualNetworks/VNet1/subnets/FrontEnd",
            "g networkInterfaces/web1",
        ]);
        assert_eq!(short(all[0].as_str()), "VNet1/FrontEnd");
        assert_eq!(short(all[1].as_str()), "web1");
        assert_eq!(short("web1"), "web1");
        assert_eq!(group_of(all[0].as_str()), "g");
    }
}
