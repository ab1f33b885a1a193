//! The same network, put by a client: what is shown follows from what was kept.

use super::*;
use crate::arm::{Assign, Change, Precondition, Put};

struct Made(u128);

impl Assign for Made {
    fn guid(&mut self) -> String {
        self.0 += 1;
        format!("00000000-0000-4000-8000-{:012}", self.0)
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        Secret::new(vec![b'k'; length])
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
}

fn put(state: &State) -> State {
    let group = Change::PutGroup(ResourceGroup {
        id: GroupId::new("s", "g").unwrap(),
        location: "westeurope".into(),
        tags: BTreeMap::new(),
    });
    let puts = state.documents.values().map(|document| {
        Change::Put(Put {
            target: Target::known(document.kind, &document.id),
            body: document.body.clone(),
            precondition: Precondition::default(),
            sync_remote_address_space: false,
            origin: Origin::Api,
        })
    });
    let changes: Vec<Change> = std::iter::once(group).chain(puts).collect();
    match State::default().apply(&changes, &mut Made(0)) {
        Ok(applied) => applied.state,
        Err(error) => panic!("{:#?}", error.lines()),
    }
}

/// What is made anew each time.
fn without_chance(mut shown: Value) -> Value {
    match &mut shown {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "etag" && name != "resourceGuid");
            for (_, value) in fields.iter_mut() {
                *value = without_chance(value.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_chance(item.take());
            }
        }
        _ => {}
    }
    shown
}

#[test]
fn what_was_put_is_shown_like_what_a_template_makes() {
    let expected = network();
    let state = put(&expected);
    for (id, document) in expected.documents.iter() {
        let target = Target::known(document.kind, id);
        let [shown, expected] = [&state, &expected].map(|state| {
            let shown = show(state, &target, &Running).unwrap();
            without_chance(shown)
        });
        assert_eq!(shown, expected, "{shown:#}");
    }
}

#[test]
fn assigned_ids_are_shown_everywhere() {
    let state = put(&network());
    let vnet = shown(&state, "virtualNetworks/VNet1");
    let etag = vnet["etag"].as_str().unwrap();
    assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
    assert_eq!(vnet["properties"]["subnets"][0]["etag"], etag);
    for (id, document) in state.documents.iter() {
        let shown = show(&state, &Target::known(document.kind, id), &NoLive).unwrap();
        let guid = shown["properties"]["resourceGuid"].as_str().unwrap();
        assert_eq!(guid.len(), 36, "{shown:#}");
    }
    let guids = [
        "VNet1/virtualNetworkPeerings/ToVNet4",
        "VNet4/virtualNetworkPeerings/ToVNet1",
    ]
    .map(|path| {
        shown(&state, &format!("virtualNetworks/{path}"))["properties"]["resourceGuid"].clone()
    });
    assert_eq!(guids[0], guids[1]);
    assert_eq!(guids[0].as_str().unwrap().len(), 36);
}

/// A client reads, changes a tag, and writes all of it back.
#[test]
fn what_was_read_can_be_put_back() {
    let state = put(&network());
    for (id, document) in state.documents.iter() {
        let target = Target::known(document.kind, id);
        let read = show(&state, &target, &Running).unwrap();
        let change = Change::Put(Put {
            target: target.clone(),
            body: read.as_object().unwrap().clone(),
            precondition: Precondition::default(),
            sync_remote_address_space: false,
            origin: Origin::Api,
        });
        let applied = state.apply(&[change], &mut Made(1_000));
        let applied = applied.unwrap_or_else(|error| panic!("{id}: {:#?}", error.lines()));
        let again = show(&applied.state, &target, &Running).unwrap();
        assert_eq!(without_chance(again), without_chance(read));
    }
}
