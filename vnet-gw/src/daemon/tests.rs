//! The whole daemon, but for the kernel: its loop, its files, its socket and a client.

mod fake;
mod vpn;

use std::{
    fs,
    io::{self, Read, Write},
    net::Ipv4Addr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use vnet_gw_common::{Counter, verdict::Reason};
use vnet_gw_core::{compile::Image, effective::NextHopType, model::ResourceId};

use self::fake::{Fake, FakeTunnels};
use super::{ConfigFiles, Event, Fabric, RunOptions, TraceLog, run::serve};
use crate::{
    api::ApiOptions,
    control::{
        Client, ClientError, CounterFilter, ErrorCode, Outcome, PacketOutcome, Request, Response,
        RuntimeDir, Status, Target, TraceStep,
    },
    datapath::{
        ApplyReport, Counters, DatapathError, Drift, HookChoice, Instance, MeterReading, PortState,
        PortStatus, Stats, SubnetCounters,
    },
    worker::EngineChoice,
};

/// A running daemon; ended and waited for when dropped.
struct Running {
    scratch: TempDir,
    fake: Fake,
    vpn: FakeTunnels,
    outside: mpsc::Sender<Event>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Running {
    fn start() -> Self {
        Self::start_with(&template(&["web", "app"]))
    }

    fn start_with(template: &Value) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let vpn = FakeTunnels::default();
        let (outside, events) = mpsc::channel(8);
        fs::write(scratch.path().join("net.json"), template.to_string()).unwrap();
        let instance = Instance {
            name: "test".into(),
        };
        let options = RunOptions {
            instance,
            files: Some(ConfigFiles {
                template: scratch.path().join("net.json"),
                parameters: None,
                deploy: Default::default(),
                host_name: None,
            }),
            host_name: None,
            state_dir: Some(scratch.path().join("lib")),
            public_ip_pool: Vec::new(),
            hook: HookChoice::Auto,
            internet: false,
            engine: EngineChoice::Auto,
            capture_dir: scratch.path().join("captures"),
            reconcile_interval: Duration::from_secs(3600),
            flows: 64,
            flow_log: None,
            socket_group: None,
            ephemeral: false,
            runtime_dir: RuntimeDir::new(scratch.path()),
            api: ApiOptions::off(),
            metrics: None,
        };
        let edges = (fake.clone(), vpn.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(serve(&options, || Ok(edges), events))
        });
        let running = Self {
            scratch,
            fake,
            vpn,
            outside,
            thread: Some(thread),
        };
        running.eventually("it answers", || {
            // An answer, not a connection alone: the loop is at work, and watches the file.
            let client = Client::connect(&running.dir(), None);
            client.is_ok_and(|mut client| client.ask(Request::Ports {}).is_ok())
        });
        running
    }

    fn dir(&self) -> RuntimeDir {
        RuntimeDir::new(self.scratch.path())
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("net.json")
    }

    fn client(&self) -> Client {
        Client::connect(
            &self.dir(),
            Some(&Instance {
                name: "test".into(),
            }),
        )
        .unwrap()
    }

    fn ask(&self, request: Request) -> Result<Response, ClientError> {
        self.client().ask(request)
    }

    fn status(&self) -> Status {
        match self.ask(Request::Status {}) {
            Ok(Response::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.outside
            .blocking_send(Event::Terminate(Signal::SIGTERM))
            .unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
        assert!(self.vpn.state().ended);
        assert!(
            !self
                .dir()
                .socket(&Instance {
                    name: "test".into()
                })
                .exists()
        );
    }
}

/// Two peered VNets; the networkInterfaces `web` in one and `app` in the other, if they are asked
/// for.
fn template(nics: &[&str]) -> Value {
    let vnet = |name: &str, prefix: &str, remote: &str| {
        json!({
            "type": "Microsoft.Network/virtualNetworks", "apiVersion": "2024-05-01",
            "name": name, "location": "westeurope",
            "properties": {
                "addressSpace": {"addressPrefixes": [prefix]},
                "subnets": [{"name": "FrontEnd", "properties": {"addressPrefix": prefix}}],
                "virtualNetworkPeerings": [{"name": format!("To{remote}"), "properties": {
                    "remoteVirtualNetwork":
                        {"id": format!("[resourceId('Microsoft.Network/virtualNetworks', '{remote}')]")}
                }}]
            }
        })
    };
    let nic = |name: &str, vnet: &str| {
        json!({
            "type": "Microsoft.Network/networkInterfaces", "apiVersion": "2024-05-01",
            "name": name, "location": "westeurope", "tags": {"vnet-gw:device": format!("v-{name}")},
            "properties": {"ipConfigurations": [{"name": "one", "properties": {"subnet": {
                "id": format!("[resourceId('Microsoft.Network/virtualNetworks/subnets', '{vnet}', 'FrontEnd')]")
            }}}]}
        })
    };
    let mut resources = vec![
        vnet("VNet1", "10.1.0.0/16", "VNet2"),
        vnet("VNet2", "10.2.0.0/16", "VNet1"),
    ];
    for name in nics {
        resources.push(nic(name, if *name == "web" { "VNet1" } else { "VNet2" }));
    }
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources
    })
}

#[test]
fn questions_are_answered_from_what_is_in_force() {
    let daemon = Running::start();
    let mode = fs::metadata(daemon.client().path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);

    let mut client = daemon.client();
    let Response::Ports(ports) = client.ask(Request::Ports {}).unwrap() else {
        panic!()
    };
    let devices: Vec<_> = ports
        .value
        .iter()
        .map(|port| port.device.as_str())
        .collect();
    assert_eq!(devices, ["v-app", "v-web"]);

    // The same connection takes one question after the other.
    let Response::Peerings(peerings) = client.ask(Request::Peerings {}).unwrap() else {
        panic!()
    };
    assert_eq!(peerings.value.len(), 2);
    assert!(
        peerings
            .value
            .iter()
            .all(|one| one.peering_state == "Connected")
    );

    let of = Target::Subnet("vnet1/frontend".into());
    let Response::EffectiveRoutes(routes) = client.ask(Request::EffectiveRoutes { of }).unwrap()
    else {
        panic!()
    };
    assert!(
        routes
            .value
            .iter()
            .any(|row| row.next_hop_type == NextHopType::VNetPeering)
    );

    let request = Request::NextHop {
        network_interface: "WEB".into(),
        destination: Ipv4Addr::new(10, 2, 0, 4).into(),
    };
    let Response::NextHop(reply) = client.ask(request).unwrap() else {
        panic!()
    };
    assert_eq!(reply.result.next_hop_type, NextHopType::VNetPeering);
    assert_eq!(
        reply.outcome,
        "delivered to network interface app in VNet2 (device v-app)"
    );

    let filter = CounterFilter {
        subnet: Some("VNet1/FrontEnd".into()),
        zero: false,
    };
    let Response::Counters(counters) = client.ask(Request::Counters { filter }).unwrap() else {
        panic!()
    };
    let peering = counters
        .routes
        .iter()
        .find(|row| row.next_hop_type == NextHopType::VNetPeering);
    assert_eq!(peering.map(|row| (row.packets, row.bytes)), Some((1, 84)));
    assert!(
        counters
            .routes
            .iter()
            .all(|row| row.subnet.ends_with("VNet1/subnets/FrontEnd"))
    );
    let [reason] = counters.reasons.as_slice() else {
        panic!("{:?}", counters.reasons)
    };
    assert_eq!(
        (reason.reason.as_str(), reason.outcome),
        ("spoofed_mac", Outcome::Dropped)
    );

    let status = daemon.status();
    assert_eq!((status.ports, status.ports_up, status.peerings), (2, 2, 2));
    assert_eq!(status.configuration.generation, 1);
}

#[test]
fn what_is_not_there_is_an_error_and_not_the_end() {
    let daemon = Running::start();
    let mut client = daemon.client();
    let of = Target::NetworkInterface("db".into());
    match client.ask(Request::EffectiveRoutes { of }) {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.code, ErrorCode::Name);
            assert!(error.message.ends_with("there are app, web"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(client.ask(Request::Ports {}).is_ok());
}

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_is_taken() {
    let daemon = Running::start();
    fs::write(daemon.file(), "{").unwrap();
    daemon.eventually("it refuses the file", || {
        daemon.status().configuration.last_error.is_some()
    });
    let status = daemon.status();
    assert_eq!((status.configuration.generation, status.ports), (1, 2));

    // As an editor does: a new file in the old one's place.
    let new = daemon.scratch.path().join("net.json~");
    fs::write(&new, template(&["web"]).to_string()).unwrap();
    fs::rename(&new, daemon.file()).unwrap();
    daemon.eventually("it takes the file", || {
        daemon.status().configuration.generation == 2
    });
    let status = daemon.status();
    assert_eq!((status.ports, status.configuration.last_error), (1, None));
    assert_eq!(daemon.fake.state().image.ports.len(), 1);
}

#[test]
fn a_change_that_the_data_path_refuses_is_told_and_tried_again_on_sighup() {
    let daemon = Running::start();
    daemon.fake.state().refuse = true;
    fs::write(daemon.file(), template(&["web"]).to_string()).unwrap();
    daemon.eventually("it fails", || {
        daemon.status().configuration.last_error.is_some()
    });
    assert_eq!(daemon.status().network_interfaces, 2);
    daemon.fake.state().refuse = false;
    daemon.outside.blocking_send(Event::Hangup).unwrap();
    daemon.eventually("it takes the file", || {
        daemon.status().network_interfaces == 1
    });
}

#[test]
fn a_trace_is_on_for_as_long_as_somebody_looks() {
    let daemon = Running::start();
    let mut client = daemon.client();
    let request = Request::Trace {
        network_interface: "web".into(),
        every: 5,
        count: None,
    };
    assert_eq!(client.ask(request).unwrap(), Response::Tracing);
    let web = || {
        let state = daemon.fake.state();
        state
            .traced
            .iter()
            .rfind(|(name, _)| name == "web")
            .map(|(_, every)| *every)
    };
    assert_eq!(web(), Some(Some(5)));

    // Port 2 is `web`, and port 1 `app`, by the order of their ids.
    let packet = "trace port=2 cpu=0 step=ethernet\n\
        trace port=2 cpu=0 step=parse source=10.1.0.4 destination=10.2.0.4 protocol=6 ttl=64 length=60\n\
        trace port=2 cpu=0 step=route table=1 route=3 action=1 kind=2 scope=2\n\
        trace port=2 cpu=0 step=endpoint port=1 mac=00:0d:3a:00:00:01\n\
        trace port=2 cpu=0 step=verdict refused=0\n";
    let log = daemon
        .fake
        .state()
        .log
        .as_ref()
        .unwrap()
        .try_clone()
        .unwrap();
    (&log).write_all(packet.as_bytes()).unwrap();
    let Some(Response::Packet(packet)) = client.receive().unwrap() else {
        panic!()
    };
    assert_eq!(packet.number, 1);
    let [_, _, route, endpoint, verdict] = packet.steps.as_slice() else {
        panic!("{packet:?}")
    };
    assert!(
        matches!(route, TraceStep::Route { address_prefix: Some(prefix), .. } if prefix.to_string() == "10.2.0.0/16"),
        "{route:?}"
    );
    assert!(
        matches!(endpoint, TraceStep::Endpoint { device: Some(device), .. } if device == "v-app"),
        "{endpoint:?}"
    );
    assert!(matches!(
        verdict,
        TraceStep::Verdict {
            outcome: PacketOutcome::Forwarded,
            ..
        }
    ));

    drop(client);
    daemon.eventually("the trace is off", || web() == Some(None));
}

#[test]
fn a_trace_ends_with_its_port() {
    let daemon = Running::start();
    let mut client = daemon.client();
    let request = Request::Trace {
        network_interface: "web".into(),
        every: 1,
        count: None,
    };
    assert_eq!(client.ask(request).unwrap(), Response::Tracing);
    fs::write(daemon.file(), template(&["app"]).to_string()).unwrap();
    match client.receive().unwrap() {
        Some(Response::End(why)) => assert!(why.contains("no port any more"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_that_do_not_read_keep_nobody_waiting() {
    let daemon = Running::start();
    let socket = daemon.client().path().to_owned();
    let line = json!({"version": 1, "request": {"kind": "effectiveRoutes", "of": {"networkInterface": "web"}}});
    let stuck: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.set_nonblocking(true).unwrap();
            // Until the socket takes no more.
            while stream.write_all(format!("{line}\n").as_bytes()).is_ok() {}
            stream
        })
        .collect();
    let begun = Instant::now();
    assert!(daemon.ask(Request::Ports {}).is_ok());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    drop(stuck);
}
