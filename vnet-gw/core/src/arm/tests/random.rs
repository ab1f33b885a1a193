//! Any sequence of changes: whether it comes as one set or singly, the same is left; what is left
//! can be kept and loaded again, and doing it twice changes nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    gateways::{gateway, network},
    support::*,
};
use crate::{
    arm::{
        Change, Document, NoLive, Outcome, Scope, SharedKeyChange, State, Target, carry,
        json as fields,
        view::{list, show},
    },
    model::{ById, Kind, ResourceId},
    secret::Secret,
};

pub(super) const SEEDS: u64 = 300;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        let at = self.below(of.len() as u64);
        of[usize::try_from(at).unwrap_or(0)].clone()
    }
}

/// Names in several cases: they are the same.
fn name(random: &mut Random, names: &[&str]) -> String {
    let name = random.one(names);
    match random.below(4) {
        0 => name.to_uppercase(),
        _ => name.to_owned(),
    }
}

pub(super) fn link(path: &str) -> Value {
    json!({"id": id(path).as_str()})
}

pub(super) fn change(random: &mut Random) -> Change {
    let number = u8::try_from(1 + random.below(3)).unwrap_or(1);
    let vnet = format!("v{number}");
    let table = name(random, &["t1", "t2"]);
    let group_name = name(random, &["n1", "n2"]);
    match random.below(30) {
        0 | 1 => network(&vnet, number),
        2 => of(
            &format!("virtualNetworks/{vnet}"),
            json!({"addressSpace": {"addressPrefixes": [format!("10.{number}.0.0/16")]}}),
        ),
        3 | 4 => {
            let third = 1 + random.below(3);
            let mut properties = json!({"addressPrefix": format!("10.{number}.{third}.0/24")});
            if random.below(2) == 0 {
                properties["routeTable"] = link(&format!("routeTables/{table}"));
            }
            let subnet = name(random, &["b", "c"]);
            of(
                &format!("virtualNetworks/{vnet}/subnets/{subnet}"),
                properties,
            )
        }
        5 => delete(&format!(
            "virtualNetworks/{vnet}/subnets/{}",
            random.one(&["a", "b", "C"])
        )),
        6 => delete(&format!("virtualNetworks/{vnet}")),
        7 | 8 => {
            let remote = 1 + random.below(3);
            of(
                &format!("virtualNetworks/{vnet}/virtualNetworkPeerings/p{remote}"),
                json!({
                    "remoteVirtualNetwork": link(&format!("virtualNetworks/v{remote}")),
                    "allowForwardedTraffic": random.below(2) == 0,
                }),
            )
        }
        9 => {
            let remote = 1 + random.below(3);
            delete(&format!(
                "virtualNetworks/{vnet}/virtualNetworkPeerings/p{remote}"
            ))
        }
        10 => of(&format!("routeTables/{table}"), json!({})),
        11 => of(
            &format!("routeTables/{table}/routes/{}", name(random, &["r", "s"])),
            json!({
                "addressPrefix": format!("172.20.{}.0/24", random.below(3)),
                "nextHopType": random.one(&["None", "Internet", "VnetLocal"]),
            }),
        ),
        12 => delete(&format!("routeTables/{table}")),
        13 => of(&format!("networkSecurityGroups/{group_name}"), json!({})),
        14 => of(
            &format!(
                "networkSecurityGroups/{group_name}/securityRules/{}",
                name(random, &["x", "y"])
            ),
            json!({
                "priority": 100 + random.below(4), "direction": random.one(&["Inbound", "Outbound"]),
                "access": "Allow", "protocol": "Tcp",
                "sourceAddressPrefix": "*", "sourcePortRange": "*",
                "destinationAddressPrefix": "*", "destinationPortRange": "443",
            }),
        ),
        15 => delete(&format!("networkSecurityGroups/{group_name}")),
        16 | 17 => {
            let subnet = format!("virtualNetworks/{vnet}/subnets/a");
            let mut properties = json!({"subnet": link(&subnet)});
            if random.below(2) == 0 {
                properties["privateIPAllocationMethod"] = "Static".into();
                properties["privateIPAddress"] =
                    format!("10.{number}.0.{}", 100 + random.below(3)).into();
            }
            of(
                &format!("networkInterfaces/{}", name(random, &["i1", "i2", "i3"])),
                json!({"ipConfigurations": [{"name": "one", "properties": properties}]}),
            )
        }
        18 => delete(&format!(
            "networkInterfaces/{}",
            name(random, &["i1", "i2", "i3"])
        )),
        19 => Change::Tags {
            target: target(&random.one(&[
                format!("virtualNetworks/{vnet}"),
                format!("routeTables/{table}"),
                "networkInterfaces/i1".to_owned(),
            ])),
            tags: [("number".to_owned(), number.to_string())].into(),
            precondition: Default::default(),
        },
        20..=28 => vpn(random, number),
        _ => random.one(&[
            put_group("g"),
            put_group("h"),
            Change::DeleteGroup(group("h")),
        ]),
    }
}

fn public(number: u8) -> Change {
    put(
        &format!("publicIPAddresses/p{number}"),
        json!({
            "sku": {"name": "Standard"},
            "properties": {
                "publicIPAllocationMethod": "Static", "ipAddress": format!("203.0.113.{number}"),
            },
        }),
    )
}

/// Of the VPN.
fn vpn(random: &mut Random, number: u8) -> Change {
    let (own, other) = (number, 1 + number % 3);
    let connection = format!("connections/c{own}{other}");
    match random.below(9) {
        0 | 1 => public(own),
        2 | 3 => gateway(&format!("g{own}"), &format!("v{own}"), &format!("p{own}")),
        4 | 5 => {
            let mut properties = json!({
                "connectionType": "Vnet2Vnet",
                "virtualNetworkGateway1": link(&format!("virtualNetworkGateways/g{own}")),
                "virtualNetworkGateway2": link(&format!("virtualNetworkGateways/g{other}")),
            });
            if random.below(2) == 0 {
                properties["sharedKey"] = format!("key{}", random.below(2)).into();
            }
            of(&connection, properties)
        }
        6 => Change::SharedKey {
            connection: id(&connection),
            change: SharedKeyChange::Set(Secret::new(*b"another")),
        },
        7 => delete(&connection),
        _ => delete(&format!("virtualNetworkGateways/g{own}")),
    }
}

/// What does not depend on when it was: made up names, the order in which addresses are given out,
/// and what a peering has been through.
fn timeless(state: &State) -> BTreeMap<ResourceId, Value> {
    let documents = state.documents.iter().map(|(id, document)| {
        let mut body = document.body.clone();
        if let Some(properties) = fields::object_mut(&mut body, "properties") {
            fields::take(properties, "resourceGuid");
            for item in fields::objects_mut(properties, carry::IP_CONFIGURATIONS) {
                if let Some(properties) = fields::object_mut(item, "properties")
                    && carry::is_dynamic(properties)
                {
                    fields::take(properties, carry::ADDRESS);
                }
            }
            for item in fields::objects_mut(properties, Kind::VirtualNetworkPeering.list_name()) {
                if let Some(properties) = fields::object_mut(item, "properties") {
                    fields::take(properties, carry::PEERING_STATE);
                    fields::take(properties, carry::REMOTE_ADDRESS_SPACE);
                }
            }
            // Children in any order.
            for child in document.kind.children() {
                if let Some(Value::Array(items)) = fields::get_mut(properties, child.list_name()) {
                    items.sort_by_key(ToString::to_string);
                }
            }
        }
        (id.clone(), Value::Object(body))
    });
    documents.collect()
}

fn key_owners(state: &State) -> Vec<&ResourceId> {
    state.keys.keys().collect()
}

/// A world after some changes, those left out that fail.
pub(super) fn somewhere(random: &mut Random) -> World {
    let mut world = World::new();
    // Gateways need much that chance seldom brings together.
    if random.below(2) == 0 {
        for number in 1..=3 {
            world.does(&[
                network(&format!("v{number}"), number),
                public(number),
                gateway(
                    &format!("g{number}"),
                    &format!("v{number}"),
                    &format!("p{number}"),
                ),
            ]);
        }
    }
    for _ in 0..random.below(60) {
        let _ = world.apply(&[change(random)]);
    }
    world
}

#[test]
fn a_set_and_its_changes_one_by_one_come_to_the_same() {
    let (mut compared, mut connections) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut singly = somewhere(&mut random);
        let start = singly.state.clone();
        let mut changes = Vec::new();
        for _ in 0..12 {
            let change = change(&mut random);
            // A peering remembers a network that was there in between; a set as a whole does not.
            let forgets = matches!(&change, Change::Delete { target, .. }
                if target.kind == Kind::VirtualNetwork);
            if !forgets && singly.apply(std::slice::from_ref(&change)).is_ok() {
                changes.push(change);
            }
        }
        let mut at_once = World {
            state: start.clone(),
            ..World::default()
        };
        // What was made up before is not made up again.
        at_once.assign.guids = 1_000_000;
        let applied = match at_once.apply(&changes) {
            Ok(applied) => applied,
            Err(error) => panic!("seed {seed}: {:#?} of {changes:#?}", error.lines()),
        };
        compared += changes.len();
        connections += at_once.state.topology.connections.len();
        assert_eq!(
            timeless(&at_once.state),
            timeless(&singly.state),
            "seed {seed}"
        );
        assert_eq!(
            key_owners(&at_once.state),
            key_owners(&singly.state),
            "seed {seed}"
        );
        assert_eq!(at_once.state.groups, singly.state.groups, "seed {seed}");
        assert_eq!(applied.outcomes.len(), changes.len());
        tells_what_it_did(seed, &start, &applied);
    }
    assert!(compared > 1_000, "{compared}");
    assert!(connections > 50, "{connections}");
}

/// `written`, `removed` and `keys` are all that differs.
fn tells_what_it_did(seed: u64, start: &State, applied: &crate::arm::Applied) {
    let state = &applied.state;
    let differs = |id: &ResourceId| start.documents.get(id) != state.documents.get(id);
    let of = |documents: &ById<std::sync::Arc<Document>>| {
        documents
            .keys()
            .filter(|id| differs(id))
            .cloned()
            .collect::<Vec<_>>()
    };
    let removed = of(&start.documents);
    let removed = removed
        .into_iter()
        .filter(|id| !state.documents.contains_key(id));
    assert_eq!(of(&state.documents), applied.written, "seed {seed}");
    assert_eq!(removed.collect::<Vec<_>>(), applied.removed, "seed {seed}");
    for id in &applied.written {
        let (old, new) = (start.documents.get(id), &state.documents[id]);
        assert!(
            old.is_none_or(|old| old.etag != new.etag),
            "seed {seed}: {id}"
        );
    }
    let all = start.keys.keys().chain(state.keys.keys());
    for id in all {
        let differs = start.keys.get(id) != state.keys.get(id);
        assert_eq!(differs, applied.keys.contains(id), "seed {seed}: {id}");
    }
    for connection in state.topology.connections.values() {
        assert!(state.keys.contains_key(&connection.id), "seed {seed}");
    }
}

#[test]
fn a_failed_set_says_so_and_what_was_kept_loads_again() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut world = somewhere(&mut random);
        let before = world.state.clone();
        let changes: Vec<Change> = (0..6).map(|_| change(&mut random)).collect();
        if let Err(error) = world.apply(&changes) {
            assert!(!error.lines().is_empty());
            assert_eq!(world.state.documents, before.documents, "seed {seed}");
            assert_eq!(world.state.keys, before.keys, "seed {seed}");
        }
        let state = &world.state;
        let groups = state.groups.values().cloned().collect();
        let documents = state
            .documents
            .values()
            .map(|d| Document::clone(d))
            .collect();
        let keys = BTreeMap::clone(&state.keys);
        let loaded = State::load(groups, documents, keys);
        let loaded = loaded.unwrap_or_else(|error| panic!("seed {seed}: {:#?}", error.lines()));
        assert_eq!(loaded.documents, state.documents, "seed {seed}");
        assert_eq!(loaded.groups, state.groups, "seed {seed}");
        assert_eq!(loaded.keys, state.keys, "seed {seed}");
        assert_eq!(loaded.topology, state.topology, "seed {seed}");
    }
}

#[test]
fn a_put_twice_changes_nothing_the_second_time() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut world = somewhere(&mut random);
        let change = change(&mut random);
        if world.apply(std::slice::from_ref(&change)).is_err() {
            continue;
        }
        let applied = world.does(std::slice::from_ref(&change));
        let quiet = matches!(applied.outcomes[..], [Outcome::Unchanged | Outcome::Absent]);
        assert!(quiet, "seed {seed}: {:?} of {change:#?}", applied.outcomes);
        assert!(
            applied.written.is_empty() && applied.removed.is_empty(),
            "seed {seed}"
        );
        assert!(applied.keys.is_empty(), "seed {seed}");
    }
}

#[test]
fn what_a_client_was_shown_it_may_put_back() {
    for seed in 0..SEEDS / 10 {
        let mut random = Random(seed);
        let mut world = somewhere(&mut random);
        let mut all = Vec::new();
        for document in world.state.documents.values() {
            let target = Target::known(document.kind, &document.id);
            for child in document.kind.children() {
                let scope = Scope::Parent(target.clone());
                all.extend(list(&world.state, Some(*child), &scope, None, 100).0);
            }
            all.push(target);
        }
        for target in all {
            let before = world.state.clone();
            let body = show(&world.state, &target, &NoLive);
            let body = body.unwrap_or_else(|| panic!("seed {seed}: {target}"));
            // Whose PUT asks for it to be connected anew.
            if body["properties"]["peeringState"] == "Disconnected" {
                continue;
            }
            let echo = Change::Put(put_of(target.clone(), body));
            let applied = world.apply(std::slice::from_ref(&echo));
            let applied = applied
                .unwrap_or_else(|error| panic!("seed {seed}: {:#?} of {echo:#?}", error.lines()));
            // Defaults are written down now; nothing is another.
            assert_eq!(
                world.state.topology, before.topology,
                "seed {seed}: {target}"
            );
            assert_eq!(world.state.keys, before.keys, "seed {seed}: {target}");
            assert_eq!(applied.warnings, [], "seed {seed}: {target}");
            let again = show(&world.state, &target, &NoLive);
            let again = again.unwrap_or_else(|| panic!("seed {seed}: {target}"));
            let echo = Change::Put(put_of(target.clone(), again));
            let applied = world.does(&[echo]);
            assert_eq!(
                applied.outcomes,
                [Outcome::Unchanged],
                "seed {seed}: {target}"
            );
        }
    }
}
