//! The engine as a whole, on a store in memory, with a data path that is the test.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use vnet_gw_core::{
    arm::{
        Change, GroupId, Origin, Outcome, Precondition, ProvisioningState, Put, ResourceGroup,
        Target,
    },
    model::ArmError,
};
use zeroize::Zeroizing;

use super::{activity::ActivityStatus, *};
use crate::store::{MemoryStore, Record, Revision, Store, StoreError, StoreStats, Table, Write};

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/one";

/// A store that fails when it is told to.
#[derive(Default)]
struct Failing {
    store: MemoryStore,
    fails: AtomicBool,
}

impl Store for Failing {
    fn commit(&self, expected: Option<Revision>, writes: &[Write]) -> Result<Revision, StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Io {
                path: "/full".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        self.store.commit(expected, writes)
    }

    fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.store.stats()
    }

    fn get(&self, table: Table, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(&self, table: Table, from: &str, most: usize) -> Result<Vec<Record>, StoreError> {
        self.store.scan(table, from, most)
    }

    fn scan_back(
        &self,
        table: Table,
        before: &str,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.store.scan_back(table, before, most)
    }
}

fn writer(store: &Arc<impl Store + 'static>) -> Writer {
    let store = Arc::clone(store) as Arc<dyn Store>;
    let mut writer = Writer::open(store, EngineOptions::default()).unwrap();
    if writer.state().groups.is_empty() {
        let group = ResourceGroup {
            id: GroupId::parse(GROUP).unwrap(),
            location: "westeurope".to_owned(),
            tags: Default::default(),
        };
        writer
            .submit(asked("admin", vec![Change::PutGroup(group)]))
            .unwrap();
    }
    writer
}

fn asked(name: &str, changes: Vec<Change>) -> Submission {
    Submission {
        changes,
        caller: Caller {
            who: Who::Principal {
                client_id: name.to_owned(),
                name: name.to_owned(),
            },
            address: None,
            correlation_id: "c".to_owned(),
        },
        operation: "Microsoft.Network/virtualNetworks/write".to_owned(),
        resource: GROUP.to_owned(),
        records: Vec::new(),
        noted: Noted::default(),
    }
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

/// Its subnet is all of `10.n.0.0/16`.
fn vnet(n: usize) -> Change {
    let prefix = format!("10.{n}.0.0/16");
    put(
        "virtualNetworks",
        &format!("vnet{n}"),
        json!({"properties": {
            "addressSpace": {"addressPrefixes": [prefix]},
            "subnets": [{"name": "all", "properties": {"addressPrefix": prefix}}]
        }}),
    )
}

/// A subnet outside its network.
fn bad(n: usize) -> Change {
    put(
        "virtualNetworks",
        &format!("bad{n}"),
        json!({"properties": {
            "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
            "subnets": [{"name": "all", "properties": {"addressPrefix": "10.2.0.0/24"}}]
        }}),
    )
}

fn nic(name: &str, device: &str) -> Change {
    let subnet = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/vnet1/subnets/all");
    put(
        "networkInterfaces",
        name,
        json!({"tags": {"vnet-gw:device": device}, "properties": {"ipConfigurations": [
            {"name": "one", "properties": {"subnet": {"id": subnet}}}
        ]}}),
    )
}

fn id(change: &Change) -> vnet_gw_core::model::ResourceId {
    match change {
        Change::Put(put) => put.target.id.clone(),
        _ => panic!(),
    }
}

#[tokio::test]
async fn whoever_does_not_hold_is_answered_alone() {
    let store = Arc::new(MemoryStore::new());
    let (running, deliveries) = writer(&store).start().unwrap();
    deliveries.carry_all();
    let one = |n: usize| {
        let engine = running.engine.clone();
        async move {
            match n {
                7 => engine.submit(asked("anna", vec![vnet(n), bad(n)])).await,
                _ => engine.submit(asked("anna", vec![vnet(n)])).await,
            }
        }
    };
    let tasks: Vec<_> = (0..30).map(|n| tokio::spawn(one(n))).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(receipt) => {
                assert_ne!(n, 7);
                assert_eq!(receipt.outcomes, [Outcome::Created]);
                assert!(receipt.state.documents.contains_key(&id(&vnet(n))));
                receipt.carried.await.unwrap().unwrap();
            }
            Err(EngineError::Invalid(_)) => assert_eq!(n, 7),
            Err(error) => panic!("{error}"),
        }
    }
    let state = running.engine.state();
    assert_eq!(state.documents.len(), 29, "all or none of a submission");
    assert!(state.unsettled.is_empty());
    running.end();

    // It is all there again, and so is the audit log, refusals included.
    let again = writer(&store).state();
    assert_eq!(again.documents, state.documents);
    let log = activity::read(&*store, &Default::default()).unwrap();
    let of = |status| log.iter().filter(|one| one.status == status).count();
    assert_eq!(of(ActivityStatus::Accepted), 30);
    assert_eq!(of(ActivityStatus::Refused), 1);
}

#[test]
fn what_does_not_fit_the_data_path_is_refused_before_it_is_kept() {
    let store = Arc::new(MemoryStore::new());
    let mut writer = writer(&store);
    writer
        .submit(asked("anna", vec![vnet(1), nic("a", "one")]))
        .unwrap();
    let error = writer
        .submit(asked("anna", vec![nic("b", "one")]))
        .unwrap_err();
    assert!(error.to_string().contains("DeviceInUse"), "{error}");
    assert_eq!(writer.state().documents.len(), 2);
    assert_eq!(store.scan(Table::Documents, "", 9).unwrap().len(), 2);
}

#[test]
fn a_store_that_fails_changes_nothing_and_is_asked_again() {
    let store = Arc::new(Failing::default());
    let mut writer = writer(&store);
    store.fails.store(true, Ordering::SeqCst);
    let error = writer.submit(asked("anna", vec![vnet(1)])).unwrap_err();
    assert!(matches!(error, EngineError::Store(_)), "{error}");
    assert!(writer.state().documents.is_empty());
    store.fails.store(false, Ordering::SeqCst);
    writer.submit(asked("anna", vec![vnet(1)])).unwrap();
    assert_eq!(writer.state().documents.len(), 1);
    let log = activity::read(&*store, &Default::default()).unwrap();
    assert_eq!(log[1].sub_status, "StoreFailed");
}

#[test]
fn what_somebody_else_wrote_is_read_first() {
    let store = Arc::new(MemoryStore::new());
    let (mut one, mut other) = (writer(&store), writer(&store));
    one.submit(asked("anna", vec![vnet(1)])).unwrap();
    // Needs the network that it has not seen yet.
    let receipt = other.submit(asked("ben", vec![nic("a", "one")])).unwrap();
    assert_eq!(receipt.state.documents.len(), 2);
    // And what is there already is not made again.
    let receipt = one.submit(asked("anna", vec![nic("a", "one")])).unwrap();
    assert_eq!(receipt.outcomes, [Outcome::Unchanged]);
}

#[tokio::test]
async fn what_the_data_path_does_not_carry_is_failed_until_it_does() {
    let store = Arc::new(MemoryStore::new());
    let (running, mut deliveries) = writer(&store).start().unwrap();
    let engine = running.engine.clone();
    let first = engine.submit(asked("anna", vec![vnet(1)])).await.unwrap();
    let is = |n| engine.state().provisioning(&id(&vnet(n)));
    assert_eq!(is(1), ProvisioningState::Updating);
    let mut delivery = deliveries.next().await.unwrap();
    delivery.tell(&Err(ArmError::new("InternalServerError", "no room")));
    let error = first.carried.await.unwrap().unwrap_err();
    assert_eq!(error.message, "no room");
    assert_eq!(is(1), ProvisioningState::Failed);

    // The same again is no change, but is only carried when the data path has it.
    let mut second = engine.submit(asked("anna", vec![vnet(1)])).await.unwrap();
    assert_eq!(second.outcomes, [Outcome::Unchanged]);
    assert!(second.carried.try_recv().is_err());
    let third = engine.submit(asked("anna", vec![vnet(2)])).await.unwrap();
    assert_eq!(is(2), ProvisioningState::Updating);
    // One for both, or one after the other.
    let mut networks = 1;
    while networks < 2 {
        let delivery = deliveries.next().await.unwrap();
        networks = delivery.topology.virtual_networks.len();
        delivery.done(&Ok(()));
    }
    second.carried.await.unwrap().unwrap();
    third.carried.await.unwrap().unwrap();
    assert_eq!(
        (is(1), is(2)),
        (ProvisioningState::Succeeded, ProvisioningState::Succeeded)
    );
    drop(engine);
    running.end();
    let log = activity::read(&*store, &Default::default()).unwrap();
    assert!(log.iter().any(|one| one.status == ActivityStatus::Failed));
}

#[tokio::test]
async fn a_flood_of_bad_ones_does_not_starve_the_good() {
    let store = Arc::new(MemoryStore::new());
    let (running, deliveries) = writer(&store).start().unwrap();
    deliveries.carry_all();
    let answered = Arc::new(Mutex::new(Vec::new()));
    let submit = |name: &'static str, change: Change| {
        let (engine, answered) = (running.engine.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            let held = engine.submit(asked(name, vec![change])).await.is_ok();
            answered.lock().unwrap().push(name);
            held
        })
    };
    let bad: Vec<_> = (0..600).map(|n| submit("bad", bad(n))).collect();
    tokio::task::yield_now().await;
    for n in 1..=3 {
        assert!(submit("good", vnet(n)).await.unwrap());
    }
    let before = answered.lock().unwrap().len();
    assert!(before < 500, "{before} of 603 came first");
    for one in bad {
        assert!(!one.await.unwrap());
    }
    running.end();
}
