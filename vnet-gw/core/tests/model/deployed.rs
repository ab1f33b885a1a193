//! The examples and fixtures, deployed: the second time they change nothing, and neither does what
//! they are exported as.

use std::net::IpAddr;

use serde_json::Value;
use vnet_gw_core::{
    arm::{
        Assign, Change, GroupId, Origin, ResourceGroup, State,
        deployment::{Deployed, Mode, Request, execute, export},
    },
    model::{DeployOptions, parse_relaxed_json},
    secret::Secret,
};

#[derive(Default)]
struct Counting(u64);

impl Assign for Counting {
    fn guid(&mut self) -> String {
        self.0 += 1;
        format!("00000000-0000-4000-8000-{:012}", self.0)
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        Secret::new(vec![b'k'; length])
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        (1..20).map(|n| IpAddr::from([203, 0, 113, n])).collect()
    }
}

fn deploy(state: &State, template: &Value) -> Deployed {
    let request = Request {
        template,
        parameters: &Value::Null,
        options: DeployOptions::default(),
        mode: Mode::Complete,
        origin: Origin::Api,
        may_read: &|_| true,
    };
    let deployed = execute(&request, state, &mut Counting::default());
    deployed.unwrap_or_else(|error| panic!("{}", error.lines().join("\n")))
}

#[test]
fn examples_deployed_again_change_nothing() {
    for text in [
        include_str!("../fixtures/gateways.json"),
        include_str!("../../../examples/regions-and-site.json"),
        include_str!("../../../examples/two-regions.json"),
    ] {
        let template = parse_relaxed_json(text).expect("JSON");
        let options = DeployOptions::default();
        let group = GroupId::new(&options.subscription_id, &options.resource_group).expect("an id");
        let made = Change::PutGroup(ResourceGroup {
            id: group.clone(),
            location: options.location,
            tags: Default::default(),
        });
        let empty = State::default().apply(&[made], &mut Counting::default());
        let empty = empty.unwrap_or_else(|error| panic!("{error}")).state;
        let first = deploy(&empty, &template);
        let applied = empty.apply(&first.changes, &mut Counting::default());
        let state = applied.unwrap_or_else(|error| panic!("{error}")).state;
        assert!(!state.documents.is_empty());
        let exported = export(&state, &group).expect("the group");
        for template in [&template, &exported.template] {
            let again = deploy(&state, template);
            let applied = state.apply(&again.changes, &mut Counting(1_000));
            let applied = applied.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(applied.written, [], "{template:#}");
            assert_eq!((applied.removed.len(), applied.keys.len()), (0, 0));
        }
    }
}
