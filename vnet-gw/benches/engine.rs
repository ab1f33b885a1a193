//! How long a PUT takes while many write: valid, durable and carried out, among many resources.
//! Without the kernel: what the data path takes comes on top.
//!
//! `cargo bench -p vnet-gw --bench engine [-- RESOURCES WRITERS SECONDS DIRECTORY]`
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    env,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw::{
    engine::{Caller, Engine, EngineOptions, Submission, Who, Writer},
    store::FileStore,
};
use vnet_gw_core::arm::{Change, GroupId, Origin, Precondition, Put, ResourceGroup, Target};

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/bench";

fn main() {
    let mut args = env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mut number = |default: usize| args.next().map_or(default, |arg| arg.parse().unwrap());
    let (resources, writers, seconds) = (number(10_000), number(100), number(5));
    let scratch = tempfile::tempdir_in(env::temp_dir()).unwrap();
    let place = args.next().map_or(scratch.path().to_owned(), PathBuf::from);
    let store = Arc::new(FileStore::open(&place.join("bench.redb")).unwrap());
    let mut writer = Writer::open(store, EngineOptions::default()).unwrap();

    let begun = Instant::now();
    writer.submit(submission(everything(resources))).unwrap();
    println!("{resources} resources in one set: {:.0?}", begun.elapsed());

    let (running, deliveries) = writer.start().unwrap();
    deliveries.carry_all();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for writers in [1, writers] {
        let times = runtime.block_on(write(&running.engine, writers, resources, seconds));
        report(writers, seconds, times);
    }
    running.end();
}

/// Each writer changes a networkInterface of its own, again and again.
async fn write(engine: &Engine, writers: usize, resources: usize, seconds: usize) -> Vec<Duration> {
    let until = Instant::now() + Duration::from_secs(seconds as u64);
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let engine = engine.clone();
            let own = nics(resources) * writer / writers;
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut turn = 0;
                while Instant::now() < until {
                    turn += 1;
                    let change = nic(own, &format!("{turn}"));
                    let begun = Instant::now();
                    let receipt = engine.submit(submission(vec![change])).await.unwrap();
                    receipt.carried.await.unwrap().unwrap();
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

fn report(writers: usize, seconds: usize, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{writers} writers: {} a second; median {:.1?}, 95 % {:.1?}, 99 % {:.1?}, most {:.1?}",
        times.len() / seconds,
        at(50),
        at(95),
        at(99),
        at(100)
    );
}

/// A VNet for each hundred resources, the rest networkInterfaces in them, a tenth of which is here.
fn everything(resources: usize) -> Vec<Change> {
    let mut changes = vec![Change::PutGroup(ResourceGroup {
        id: GroupId::parse(GROUP).unwrap(),
        location: "westeurope".to_owned(),
        tags: Default::default(),
    })];
    changes.extend((0..vnets(resources)).map(vnet));
    changes.extend((0..nics(resources)).map(|n| nic(n, "0")));
    changes
}

fn vnets(resources: usize) -> usize {
    resources.div_ceil(100)
}

fn nics(resources: usize) -> usize {
    resources - vnets(resources)
}

fn vnet(n: usize) -> Change {
    let prefix = format!("10.{}.{}.0/24", n / 256, n % 256);
    put(
        "virtualNetworks",
        &format!("vnet{n:05}"),
        json!({"location": "westeurope", "properties": {
            "addressSpace": {"addressPrefixes": [prefix]},
            "subnets": [{"name": "all", "properties": {"addressPrefix": prefix}}],
        }}),
    )
}

fn nic(n: usize, turn: &str) -> Change {
    let subnet = format!(
        "{GROUP}/providers/Microsoft.Network/virtualNetworks/vnet{:05}/subnets/all",
        n / 99
    );
    let mut tags = json!({"turn": turn});
    if n.is_multiple_of(10) {
        tags["vnet-gw:device"] = format!("v{n}").into();
    }
    put(
        "networkInterfaces",
        &format!("nic{n:06}"),
        json!({"location": "westeurope", "tags": tags, "properties": {
            "ipConfigurations": [{"name": "one", "properties": {"subnet": {"id": subnet}}}],
        }}),
    )
}

fn put(list: &str, name: &str, body: Value) -> Change {
    let id = format!("{GROUP}/providers/Microsoft.Network/{list}/{name}");
    Change::Put(Put {
        target: Target::parse(&id).unwrap(),
        body: body.as_object().unwrap().clone(),
        precondition: Precondition::default(),
        sync_remote_address_space: false,
        origin: Origin::Api,
    })
}

fn submission(changes: Vec<Change>) -> Submission {
    Submission {
        changes,
        caller: Caller {
            who: Who::User { uid: 0, name: None },
            address: None,
            correlation_id: "bench".to_owned(),
        },
        operation: "Microsoft.Network/networkInterfaces/write".to_owned(),
        resource: GROUP.to_owned(),
        records: Vec::new(),
        noted: vnet_gw::engine::Noted::default(),
    }
}
