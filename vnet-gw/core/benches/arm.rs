//! What changes of an instance with ten thousand resources cost:
//! `cargo bench -p vnet-gw-core --bench arm`.

use std::{collections::BTreeMap, hint::black_box, net::IpAddr, time::Duration};

use criterion::{BatchSize, Criterion};
use serde_json::{Value, json};
use vnet_gw_core::{
    arm::{Assign, Change, GroupId, Origin, Precondition, Put, ResourceGroup, State, Target},
    model::ArmError,
    secret::Secret,
};

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/criterion");
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/bench";

/// Networks, each with a route table and eight interfaces: ten documents.
const NETWORKS: usize = 1_000;

struct Counting(usize);

impl Assign for Counting {
    fn guid(&mut self) -> String {
        self.0 += 1;
        format!("00000000-0000-0000-0000-{:012x}", self.0)
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        Secret::new("k".repeat(length))
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
}

fn path(rest: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Network/{rest}")
}

fn put(rest: &str, properties: Value) -> Result<Change, ArmError> {
    let body = json!({"location": "local", "properties": properties});
    Ok(Change::Put(Put {
        target: Target::parse(&path(rest))?,
        body: body.as_object().cloned().unwrap_or_default(),
        precondition: Precondition::default(),
        sync_remote_address_space: false,
        origin: Origin::Api,
    }))
}

/// The hub is 0; every other network is peered with it, 500 of them at most.
fn network(n: usize) -> Result<Vec<Change>, ArmError> {
    let prefix = |m: usize, tail: &str| format!("10.{}.{}.{tail}", m / 256, m % 256);
    let mut peerings = Vec::new();
    let mut peer = |m: usize| {
        let id = path(&format!("virtualNetworks/vnet{m}"));
        let properties = json!({"remoteVirtualNetwork": {"id": id}});
        peerings.push(json!({"name": format!("to{m}"), "properties": properties}));
    };
    match n {
        0 => (1..400).for_each(&mut peer),
        1..400 => peer(0),
        _ => {}
    }
    let table = path(&format!("routeTables/table{n}"));
    let routes: Vec<Value> = (0..5)
        .map(|m| {
            json!({"name": format!("r{m}"), "properties": {
                "addressPrefix": format!("172.20.{m}.0/24"), "nextHopType": "None",
            }})
        })
        .collect();
    let mut changes = vec![
        put(&format!("routeTables/table{n}"), json!({"routes": routes}))?,
        put(
            &format!("virtualNetworks/vnet{n}"),
            json!({
                "addressSpace": {"addressPrefixes": [prefix(n, "0/24")]},
                "subnets": [{"name": "default", "properties": {
                    "addressPrefix": prefix(n, "0/25"), "routeTable": {"id": table},
                }}],
                "virtualNetworkPeerings": peerings,
            }),
        )?,
    ];
    for m in 0..8 {
        changes.push(interface(&format!("nic{n}x{m}"), n, false)?);
    }
    Ok(changes)
}

fn interface(name: &str, network: usize, forwarding: bool) -> Result<Change, ArmError> {
    let subnet = path(&format!("virtualNetworks/vnet{network}/subnets/default"));
    put(
        &format!("networkInterfaces/{name}"),
        json!({
            "enableIPForwarding": forwarding,
            "ipConfigurations": [{"name": "one", "properties": {"subnet": {"id": subnet}}}],
        }),
    )
}

/// A table of 100,000 routes, with nobody in it.
fn large_table() -> Result<Change, ArmError> {
    let routes: Vec<Value> = (0..100_000)
        .map(|n| {
            let prefix = format!("{}.{}.{}.0/24", 20 + n / 65_536, n / 256 % 256, n % 256);
            json!({"name": format!("r{n}"), "properties": {
                "addressPrefix": prefix, "nextHopType": "Internet",
            }})
        })
        .collect();
    put("routeTables/large", json!({"routes": routes}))
}

fn instance(assign: &mut Counting) -> Result<State, ArmError> {
    let mut changes = vec![Change::PutGroup(ResourceGroup {
        id: GroupId::parse(GROUP)?,
        location: "local".to_owned(),
        tags: BTreeMap::new(),
    })];
    for n in 0..NETWORKS {
        changes.extend(network(n)?);
    }
    Ok(State::default().apply(&changes, assign)?.state)
}

fn main() -> Result<(), ArmError> {
    let mut assign = Counting(0);
    let state = instance(&mut assign)?;
    assert_eq!(state.documents.len(), 10 * NETWORKS);
    let changed = |n: usize| interface(&format!("nic{n}x0"), n, true);
    let new = |n: usize| interface(&format!("new{n}"), n, true);
    let wrong = put(
        "virtualNetworks/vnet700/subnets/second",
        json!({"addressPrefix": "10.2.188.0/26"}),
    )?;
    let large = large_table()?;
    let state = state
        .apply(std::slice::from_ref(&large), &mut assign)?
        .state;
    let sets: Vec<(&str, Vec<Change>)> = vec![
        ("a table of 100,000 routes again", vec![large]),
        (
            "one route more in it",
            vec![put(
                "routeTables/large/routes/new",
                json!({"addressPrefix": "172.21.0.0/16", "nextHopType": "None"}),
            )?],
        ),
        (
            "one PUT that changes nothing",
            vec![interface("nic1x0", 1, false)?],
        ),
        ("one PUT of an interface", vec![changed(500)?]),
        ("one new interface", vec![new(500)?]),
        (
            "one subnet of the hub",
            vec![put(
                "virtualNetworks/vnet0/subnets/second",
                json!({"addressPrefix": "10.0.0.128/26"}),
            )?],
        ),
        (
            "one peering",
            vec![put(
                "virtualNetworks/vnet900/virtualNetworkPeerings/to0",
                json!({"remoteVirtualNetwork": {"id": path("virtualNetworks/vnet0")}}),
            )?],
        ),
        (
            "a hundred PUTs of interfaces",
            (0..100)
                .map(|n| changed(n * 10))
                .collect::<Result<_, _>>()?,
        ),
        (
            "a hundred new interfaces",
            (0..100).map(|n| new(n * 10)).collect::<Result<_, _>>()?,
        ),
        (
            "one interface less",
            vec![Change::Delete {
                target: Target::parse(&path("networkInterfaces/nic500x0"))?,
                precondition: Precondition::default(),
            }],
        ),
        ("one that does not hold", vec![wrong]),
    ];
    let mut criterion = Criterion::default()
        .output_directory(OUTPUT.as_ref())
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    for (name, changes) in &sets {
        let holds = state.apply(changes, &mut assign).is_ok();
        assert_eq!(holds, *name != "one that does not hold", "{name}");
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (),
                |()| black_box(state.apply(changes, &mut assign)),
                BatchSize::PerIteration,
            );
        });
    }
    criterion.final_summary();
    Ok(())
}
