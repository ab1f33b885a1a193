//! What a resource keeps when a PUT replaces it: what it was given once, the children that the body
//! does not mention, what a peering remembers; and the spelling of names.

use std::{cell::OnceCell, collections::HashMap};

use serde_json::Value;

use super::json::{self, Object};
use crate::model::{ArmError, Kind, PeeringState, ResourceId};

/// Gives a new body what of the old one stays, where there was one. `anew` is of a body that is the whole truth (a
/// configuration file's): then peerings remember nothing.
///
/// # Errors
///
/// `ChangingRemoteVirtualNetworkNotAllowed`, `ChangingPeerCompleteVnetsNotAllowed`
pub(super) fn carry(
    kind: Kind,
    id: &ResourceId,
    old: Option<&Object>,
    new: &mut Object,
    anew: bool,
) -> Result<(), ArmError> {
    let empty = Object::new();
    let old = old.unwrap_or(&empty);
    if json::get(new, "location").is_none()
        && let Some(location) = json::get(old, "location")
    {
        json::set(new, "location", location.clone());
    }
    let old = json::object(old, "properties").unwrap_or(&empty);
    let Some(new) = json::make_object(new, "properties") else {
        return Ok(());
    };
    let kept: &[&str] = match kind {
        Kind::VirtualNetwork => &["subnets", "virtualNetworkPeerings"],
        Kind::NetworkInterface => &["macAddress"],
        Kind::PublicIpAddress if same_family(old, new) => &["ipAddress"],
        _ => &[],
    };
    for name in kept.iter().chain(&["resourceGuid"]) {
        // An empty text says nothing: a template's parameter that was left out.
        let says = |value: &Value| value.as_str() != Some("");
        if !json::get(new, name).is_some_and(says)
            && let Some(value) = json::get(old, name)
        {
            json::set(new, name, value.clone());
        }
    }
    for child in kind.children() {
        let list = child.list_name();
        let known = Names::of(old, list);
        for (at, item) in json::objects_mut(new, list).enumerate() {
            let before = json::text(item, "name").and_then(|name| known.get(name, at));
            if let Some(before) = before {
                carry_child(*child, id, before, item, anew)?;
            }
        }
        drop_empty(new, list);
    }
    if has_ip_configurations(kind) {
        let known = Names::of(old, IP_CONFIGURATIONS);
        for (at, item) in json::objects_mut(new, IP_CONFIGURATIONS).enumerate() {
            dynamic(item);
            let before = json::text(item, "name").and_then(|name| known.get(name, at));
            if let Some(before) = before {
                address(before, item);
            }
        }
    }
    Ok(())
}

/// The same of a child, in the parent `parent`; both are items of its list.
pub(super) fn carry_child(
    kind: Kind,
    parent: &ResourceId,
    old: &Object,
    new: &mut Object,
    anew: bool,
) -> Result<(), ArmError> {
    if let Some(name) = json::get(old, "name")
        && json::get(new, "name") != Some(name)
    {
        json::set(new, "name", name.clone());
    }
    if kind != Kind::VirtualNetworkPeering || anew {
        return Ok(());
    }
    let (Some(before), Some(after)) = (
        json::object(old, "properties"),
        json::object_mut(new, "properties"),
    ) else {
        return Ok(());
    };
    if let (Some(from), Some(to)) = (remote(parent, before), remote(parent, after))
        && from != to
    {
        let name = json::text(old, "name").unwrap_or_default();
        return Err(ArmError::new(
            "ChangingRemoteVirtualNetworkNotAllowed",
            format!(
                "The peering '{name}' leads to {from}, and cannot lead to {to} instead: delete it, \
                 and create another."
            ),
        )
        .at(format!("{parent}/{}/{name}", kind.list_name())));
    }
    let complete = |peering: &Object| {
        json::get(peering, "peerCompleteVnets").and_then(Value::as_bool) != Some(false)
    };
    if complete(before) != complete(after) {
        let name = json::text(old, "name").unwrap_or_default();
        return Err(ArmError::new(
            "ChangingPeerCompleteVnetsNotAllowed",
            format!(
                "The peering '{name}' is of complete virtual networks or of subnets for as long as \
                 it is there: delete it, and create another with peerCompleteVnets {}.",
                complete(after)
            ),
        )
        .at(format!("{parent}/{}/{name}", kind.list_name())));
    }
    for name in PEERING_MEMORY {
        json::take(after, name);
        if let Some(value) = json::get(before, name) {
            json::set(after, name, value.clone());
        }
    }
    Ok(())
}

/// A list without children is kept as none, so that children that came and went leave no trace.
pub(super) fn drop_empty(properties: &mut Object, list: &str) {
    if json::get(properties, list) == Some(&Value::Array(Vec::new())) {
        json::take(properties, list);
    }
}

/// What a PUT of a peering itself makes it forget: the address space, where it is to be
/// synchronised, and everything, where it is disconnected, which is how it is connected again.
pub(super) fn renew(item: &mut Object, synchronise: bool) {
    let Some(properties) = json::object_mut(item, "properties") else {
        return;
    };
    let disconnected =
        json::text(properties, PEERING_STATE) == Some(PeeringState::Disconnected.as_str());
    if disconnected {
        json::take(properties, PEERING_STATE);
    }
    if disconnected || synchronise {
        json::take(properties, REMOTE_ADDRESS_SPACE);
    }
}

/// Whether its addresses may be dynamic.
pub(super) const fn has_ip_configurations(kind: Kind) -> bool {
    matches!(kind, Kind::NetworkInterface | Kind::VirtualNetworkGateway)
}

pub(super) const IP_CONFIGURATIONS: &str = "ipConfigurations";

pub(super) const PEERING_STATE: &str = "peeringState";
pub(super) const REMOTE_ADDRESS_SPACE: &str = "remoteAddressSpace";
const PEERING_MEMORY: [&str; 2] = [PEERING_STATE, REMOTE_ADDRESS_SPACE];

fn remote(parent: &ResourceId, peering: &Object) -> Option<ResourceId> {
    let reference = json::object(peering, "remoteVirtualNetwork")?;
    let text = json::text(reference, "id")?;
    Kind::VirtualNetwork.resolve(text, parent.group()).ok()
}

/// Whether a public address that names none may keep the one it has.
fn same_family(old: &Object, new: &Object) -> bool {
    let ipv6 = json::text(new, "publicIPAddressVersion")
        .is_some_and(|version| version.eq_ignore_ascii_case("IPv6"));
    json::text(old, "ipAddress").is_none_or(|address| address.contains(':') == ipv6)
}

/// Writes down that an ipConfiguration without an address has a dynamic one: it will have an
/// address, and still be dynamic.
fn dynamic(item: &mut Object) {
    let Some(properties) = json::make_object(item, "properties") else {
        return;
    };
    let unset = match json::get(properties, ADDRESS) {
        None => true,
        Some(value) => value.as_str().is_some_and(str::is_empty),
    };
    if unset && json::get(properties, METHOD).is_none() {
        json::set(properties, METHOD, "Dynamic");
    }
}

/// Whether the properties of an ipConfiguration say that its address is given out.
pub(super) fn is_dynamic(properties: &Object) -> bool {
    json::text(properties, METHOD).is_some_and(|method| method.eq_ignore_ascii_case("Dynamic"))
}

/// Hands the address of a dynamic ipConfiguration on.
fn address(before: &Object, item: &mut Object) {
    let (Some(before), Some(after)) = (
        json::object(before, "properties"),
        json::object_mut(item, "properties"),
    ) else {
        return;
    };
    let unset = match json::get(after, ADDRESS) {
        None => true,
        Some(value) => value.as_str().is_some_and(str::is_empty),
    };
    if unset
        && is_dynamic(after)
        && let Some(address) = json::get(before, ADDRESS)
    {
        json::set(after, ADDRESS, address.clone());
    }
}

pub(super) const ADDRESS: &str = "privateIPAddress";
const METHOD: &str = "privateIPAllocationMethod";

/// The objects of a list by their names, which compare without case.
struct Names<'a> {
    list: Vec<&'a Object>,
    /// Made when an item is not where it was: large lists mostly come as they are.
    by_name: OnceCell<HashMap<String, usize>>,
}

impl<'a> Names<'a> {
    fn of(properties: &'a Object, list: &str) -> Self {
        Self {
            list: json::objects(properties, list).collect(),
            by_name: OnceCell::new(),
        }
    }

    /// The one of a name; `at` is where it may be.
    fn get(&self, name: &str, at: usize) -> Option<&'a Object> {
        let named = |item: &&&'a Object| {
            json::text(item, "name").is_some_and(|known| known.eq_ignore_ascii_case(name))
        };
        if let Some(item) = self.list.get(at).filter(named) {
            return Some(item);
        }
        let by_name = self.by_name.get_or_init(|| {
            let named = self.list.iter().enumerate().filter_map(|(at, item)| {
                let name = json::text(item, "name")?;
                Some((name.to_ascii_lowercase(), at))
            });
            named.collect()
        });
        let at = by_name.get(&name.to_ascii_lowercase())?;
        self.list.get(*at).copied()
    }
}
