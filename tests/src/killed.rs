//! What a process writes that is killed while it does, and what must be there afterwards.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vnet_gw::{
    engine::{
        Caller, EngineOptions, Submission, Who, Writer,
        activity::{self, ActivityFilter},
    },
    store::{FileStore, Store, Table, Write},
};
use vnet_gw_core::{
    arm::{Change, GroupId, Origin, Precondition, Put, ResourceGroup, State, Target},
    model::ResourceId,
};

pub const WRITERS: usize = 6;
/// Every so many numbers the resources go.
const DELETES: u64 = 5;
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/killed";

/// The resource group of all writers.
pub fn group() -> Result<Submission> {
    let group = ResourceGroup {
        id: GroupId::parse(GROUP)?,
        location: "westeurope".to_owned(),
        tags: BTreeMap::new(),
    };
    Ok(asked(vec![Change::PutGroup(group)], "group", Vec::new()))
}

/// What a writer does under a number.
pub fn submission(writer: usize, number: u64) -> Result<Submission> {
    let (vnet, nic) = (
        target("virtualNetworks", writer)?,
        target("networkInterfaces", writer)?,
    );
    let changes = match number.is_multiple_of(DELETES) {
        true => [nic, vnet]
            .map(|target| Change::Delete {
                target,
                precondition: Precondition::default(),
            })
            .into(),
        false => {
            let prefix = format!("10.{writer}.0.0/16");
            let subnet = format!("{}/subnets/all", vnet.id);
            let tags = json!({"number": number.to_string()});
            vec![
                put(
                    vnet,
                    json!({"tags": tags, "properties": {
                        "addressSpace": {"addressPrefixes": [prefix]},
                        "subnets": [{"name": "all", "properties": {"addressPrefix": prefix}}],
                    }}),
                ),
                put(
                    nic,
                    json!({"tags": tags, "properties": {"ipConfigurations": [
                        {"name": "one", "properties": {"subnet": {"id": subnet}}}
                    ]}}),
                ),
            ]
        }
    };
    let record = Write::put(Table::Deployments, writer.to_string(), number.to_string());
    Ok(asked(changes, &format!("{writer} {number}"), vec![record]))
}

fn target(list: &str, writer: usize) -> Result<Target> {
    let id = format!("{GROUP}/providers/Microsoft.Network/{list}/of{writer}");
    Ok(Target::parse(&id)?)
}

fn put(target: Target, body: Value) -> Change {
    Change::Put(Put {
        target,
        body: body.as_object().cloned().unwrap_or_default(),
        precondition: Precondition::default(),
        sync_remote_address_space: false,
        origin: Origin::Api,
    })
}

fn asked(changes: Vec<Change>, correlation_id: &str, records: Vec<Write>) -> Submission {
    Submission {
        changes,
        caller: Caller {
            who: Who::User { uid: 0, name: None },
            address: None,
            correlation_id: correlation_id.to_owned(),
        },
        operation: "Microsoft.Network/virtualNetworks/write".to_owned(),
        resource: GROUP.to_owned(),
        records,
        noted: vnet_gw::engine::Noted::default(),
    }
}

/// The number that a writer goes on with.
pub fn number(store: &dyn Store, writer: usize) -> Result<u64> {
    match store.get(Table::Deployments, &writer.to_string())? {
        Some(text) => Ok(std::str::from_utf8(&text)?.parse::<u64>()? + 1),
        None => Ok(1),
    }
}

/// Opens what a killed process left, and holds it against what it told: whatever was told is there,
/// and nothing is there by half. Returns the number of each writer.
pub fn check(directory: &Path, told: &BTreeMap<usize, u64>) -> Result<Vec<u64>> {
    let store = Arc::new(FileStore::open(&directory.join(FileStore::NAME))?);
    // It holds together, and compiles.
    let writer = Writer::open(Arc::clone(&store) as _, EngineOptions::default())?;
    let state = writer.state();
    let filter = ActivityFilter {
        most: 4 * WRITERS,
        ..ActivityFilter::default()
    };
    let log = activity::read(&*store, &filter)?;
    let mut numbers = Vec::new();
    for writer in 0..WRITERS {
        let last = number(&*store, writer)? - 1;
        let told = told.get(&writer).copied().unwrap_or(0);
        // One more was on its way at most.
        ensure!(
            last == told || last == told + 1,
            "writer {writer} was told {told}, and {last} is there"
        );
        for list in ["virtualNetworks", "networkInterfaces"] {
            let there = tag(&state, &target(list, writer)?.id)?;
            let deleted = last == 0 || last.is_multiple_of(DELETES);
            let expected = (!deleted).then_some(last);
            ensure!(
                there == expected,
                "writer {writer}: {list} is {there:?}, and its record {last}"
            );
        }
        let correlation = format!("{writer} {last}");
        ensure!(
            last == 0 || log.iter().any(|one| one.correlation_id == correlation),
            "the audit log does not have {correlation}"
        );
        numbers.push(last);
    }
    Ok(numbers)
}

fn tag(state: &State, id: &ResourceId) -> Result<Option<u64>> {
    let Some(document) = state.documents.get(id) else {
        return Ok(None);
    };
    let number = document.body["tags"]["number"].as_str();
    Ok(Some(number.context("no number")?.parse()?))
}
