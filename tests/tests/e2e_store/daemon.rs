//! The same with the whole daemon: after a kill, the data path is what the store says.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use vnet_gw::{api::client::Client, control::RuntimeDir, datapath::Instance};
use vnet_gw_lab::{Daemon, Lab};
use vnet_gw_tests::bed::binary;

use crate::kills::Moments;

const KILLS: usize = 20;
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/killed";

fn path(rest: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Network/{rest}")
}

/// What was asked for last of each resource: nothing where it was deleted.
type Asked = BTreeMap<String, Option<Value>>;

/// What is known of the resources that somebody writes.
#[derive(Default)]
struct Known {
    answered: Asked,
    /// Asked for, and not answered.
    open: Asked,
}

/// Puts and deletes until the daemon is gone.
fn write(socket: &Path, writer: usize, turn: usize, known: &Mutex<Known>, ending: &AtomicBool) {
    let mut client = Client::at(socket).unwrap();
    for number in 0.. {
        let slot = number % 7;
        let (path, body) = match writer {
            0 | 1 => (
                path(&format!("routeTables/Table/routes/r{writer}{slot}")),
                json!({"properties": {
                    "addressPrefix": format!("10.{}.{}.0/24", 100 + writer * 10 + slot, turn * 3 + number / 7),
                    "nextHopType": "None",
                }}),
            ),
            _ => (
                path(&format!("networkInterfaces/nic{slot}")),
                json!({"location": "westeurope",
                    "tags": {"vnet-gw:device": format!("d{slot}"), "number": format!("{turn}.{number}")},
                    "properties": {"ipConfigurations": [{"name": "one", "properties":
                        {"subnet": {"id": self::path("virtualNetworks/VNet1/subnets/FrontEnd")}}}]},
                }),
            ),
        };
        let delete = number % 3 == 2;
        let wanted = (!delete).then(|| body.clone());
        known
            .lock()
            .unwrap()
            .open
            .insert(path.clone(), wanted.clone());
        let done = match delete {
            true => client.delete(&path),
            false => client.put(&path, &body),
        };
        match done {
            Ok(_) => {
                let mut known = known.lock().unwrap();
                known.open.remove(&path);
                known.answered.insert(path, wanted);
            }
            Err(error) => {
                assert!(ending.load(Ordering::SeqCst), "{path}: {error}");
                return;
            }
        }
    }
}

/// Whether a resource is as somebody asked; only what was asked for is looked at.
fn is(shown: Option<&Value>, asked: Option<&Value>) -> bool {
    match (shown, asked) {
        (None, None) => true,
        (Some(shown), Some(asked)) => {
            let of = |of: &Value| {
                let properties = &of["properties"];
                let prefix = properties["addressPrefix"].clone();
                (
                    of["tags"].clone(),
                    prefix,
                    properties["nextHopType"].clone(),
                )
            };
            of(shown) == of(asked)
        }
        _ => false,
    }
}

fn get(client: &mut Client, path: &str) -> Option<Value> {
    match client.get(path) {
        Ok(reply) => Some(reply.body),
        Err(error) => {
            assert!(error.to_string().contains("NotFound"), "{path}: {error}");
            None
        }
    }
}

fn texts(value: &Value, list: &str, field: impl Fn(&Value) -> Option<String>) -> BTreeSet<String> {
    let items = value[list].as_array().unwrap();
    items.iter().filter_map(field).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The ports are the networkInterfaces with a device, and the kernel's tables the effective routes.
fn agrees(daemon: &Daemon, client: &mut Client) {
    let nics = json!({"value": client.list(&path("networkInterfaces")).unwrap()});
    let plugged = texts(&nics, "value", |nic| text(&nic["id"]));
    let ports = daemon.json(&["ports"]).unwrap();
    let ports = texts(&ports, "value", |port| text(&port["networkInterface"]));
    assert_eq!(ports, plugged);

    let routes = daemon.json(&["effective-routes", "--nic", "one"]).unwrap();
    let active = texts(&routes, "value", |row| {
        let active = row["state"] == "Active";
        text(&row["addressPrefix"][0]).filter(|_| active)
    });
    let counters = daemon.json(&["counters", "--all"]).unwrap();
    let tables = texts(&counters, "routes", |row| text(&row["addressPrefix"]));
    assert_eq!(tables, active);
    let table = get(client, &path("routeTables/Table")).unwrap();
    let user = texts(&table["properties"], "routes", |route| {
        text(&route["properties"]["addressPrefix"])
    });
    assert!(user.is_subset(&active), "{user:?} {active:?}");
}

#[test]
fn the_data_path_agrees_with_the_store_after_kills() {
    let lab = Lab::new().unwrap();
    let host = lab.namespace("host").unwrap();
    host.ip("link add one type veth peer name peer").unwrap();
    host.ip("link set one up").unwrap();
    host.ip("link set peer up").unwrap();
    let instance = lab.instance("kills").unwrap();
    let socket = RuntimeDir::default().api_socket(&Instance::new(&instance).unwrap());
    let binary = binary("vnet-gw").unwrap();
    let nothing = json!({"resources": []});
    let mut daemon = Daemon::start(&lab, &binary, &host, instance, &nothing, &[]).unwrap();

    let mut client = Client::at(&socket).unwrap();
    let location = json!({"location": "westeurope"});
    client.put(GROUP, &location).unwrap();
    client.put(&path("routeTables/Table"), &location).unwrap();
    let vnet = json!({"location": "westeurope", "properties": {
        "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
        "subnets": [{"name": "FrontEnd", "properties": {
            "addressPrefix": "10.1.0.0/24", "routeTable": {"id": path("routeTables/Table")}}}],
    }});
    client.put(&path("virtualNetworks/VNet1"), &vnet).unwrap();
    let nic = json!({"location": "westeurope", "tags": {"vnet-gw:device": "one"}, "properties": {
        "ipConfigurations": [{"name": "one", "properties":
            {"subnet": {"id": path("virtualNetworks/VNet1/subnets/FrontEnd")}}}]}});
    client.put(&path("networkInterfaces/one"), &nic).unwrap();
    agrees(&daemon, &mut client);

    let known = Mutex::new(Known::default());
    let mut moments = Moments(0x2545_f491_4f6c_dd1d);
    let mut answered = 0;
    for turn in 0..KILLS {
        let ending = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..3 {
                let (socket, known, ending) = (&socket, &known, &ending);
                scope.spawn(move || write(socket, writer, turn, known, ending));
            }
            thread::sleep(Duration::from_micros(100_000 + moments.next(400_000)));
            ending.store(true, Ordering::SeqCst);
            daemon.kill().unwrap();
        });
        daemon.launch().unwrap();
        let mut client = Client::at(&socket).unwrap();
        let mut known = known.lock().unwrap();
        let Known {
            answered: told,
            open,
        } = &mut *known;
        answered += told.len();
        let paths: BTreeSet<String> = told.keys().chain(open.keys()).cloned().collect();
        for path in paths {
            let shown = get(&mut client, &path);
            let before = told.get(&path).cloned().flatten();
            let wanted = open.get(&path);
            let done = wanted.is_some_and(|wanted| is(shown.as_ref(), wanted.as_ref()));
            assert!(
                done || is(shown.as_ref(), before.as_ref()),
                "kill {turn}: {path} is {shown:?}, and {before:?} was answered"
            );
            if done {
                told.insert(path.clone(), wanted.cloned().flatten());
            }
        }
        open.clear();
        agrees(&daemon, &mut client);
    }
    assert!(answered > KILLS, "{answered} answers are no stream");
    assert!(
        daemon
            .terminate(nix::sys::signal::Signal::SIGTERM)
            .unwrap()
            .success()
    );
    daemon.output(&["down"]).unwrap();
}
