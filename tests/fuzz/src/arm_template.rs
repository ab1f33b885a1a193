//! ARM templates, from a file or a request, down to the tables of the data path.

use std::net::IpAddr;

use serde_json::Value;
use vnet_gw_core::{
    arm::{
        Assign, Change, GroupId, Origin, ResourceGroup, State,
        deployment::{Mode, Request, execute, export, hide_keys, template_hash},
    },
    compile::{CompileOptions, compile},
    effective::effective_routes,
    model::{
        DeployOptions, parse_parameters_file, parse_relaxed_json, parse_template,
        template_resources,
    },
    secret::Secret,
};

/// A template, or whatever it is. One that validates has effective routes and compiles or is
/// refused in words.
pub fn arm_template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Files of parameters are read by another function.
    let _ = parse_parameters_file(text);
    let bounded = DeployOptions {
        most_work: 4 << 20,
        ..DeployOptions::default()
    };
    let _ = template_resources(text, &bounded);
    if let Ok(value) = parse_relaxed_json(text) {
        deploy(value, bounded);
    }
    let topology = match parse_template(text, &DeployOptions::default()) {
        Ok(topology) => topology,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for vnet in topology.virtual_networks.values() {
        for subnet in vnet.subnets.values() {
            if let Err(error) = effective_routes(&topology, &subnet.id) {
                panic!("a subnet of the topology has no routes: {error}");
            }
        }
    }
    let options = CompileOptions::default();
    if let Ok(image) = compile(&topology, &options, None) {
        // Nothing changes when nothing changed.
        let again = compile(&topology, &options, Some(&image));
        assert_eq!(again.ok().as_ref(), Some(&image));
    }
}

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
        vec![[203, 0, 113, 1].into()]
    }
}

/// As a deployment: what it comes to holds, and changes nothing the second time; so does what the
/// group is exported as.
fn deploy(mut template: Value, options: DeployOptions) {
    let Ok(group) = GroupId::new(&options.subscription_id, &options.resource_group) else {
        return;
    };
    let made = Change::PutGroup(ResourceGroup {
        id: group.clone(),
        location: options.location.clone(),
        tags: Default::default(),
    });
    let Ok(empty) = State::default().apply(&[made], &mut Counting(0)) else {
        return;
    };
    let run = |template: &Value, state: &State| {
        let request = Request {
            template,
            parameters: &Value::Null,
            options: options.clone(),
            mode: Mode::Complete,
            origin: Origin::Api,
            may_read: &|_| true,
        };
        execute(&request, state, &mut Counting(1_000))
    };
    let Ok(deployed) = run(&template, &empty.state) else {
        return;
    };
    let applied = match empty.state.apply(&deployed.changes, &mut Counting(2_000)) {
        Ok(applied) => applied,
        Err(error) => panic!("a deployment that held does not hold: {error}"),
    };
    assert!(!template_hash(&template).is_empty());
    hide_keys(&mut template);
    let exported = export(&applied.state, &group);
    let Ok(exported) = exported else {
        panic!("the group is not there");
    };
    match run(&exported.template, &applied.state) {
        Ok(again) => {
            let again = applied.state.apply(&again.changes, &mut Counting(3_000));
            let written = again.map(|again| again.written);
            assert_eq!(written, Ok(Vec::new()), "{}", exported.template);
        }
        Err(error) => panic!("an export does not hold: {error}: {}", exported.template),
    }
}
