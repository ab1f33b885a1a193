//! Connection monitors, as the loop has them: a task for each test, which asks the loop for a probe
//! whenever it is due.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at},
};
use vnet_gw_core::{
    model::{NetworkInterface, ResourceId, Topology},
    monitor::{Destination, History, Monitor, Test},
    watcher::machine,
};

use super::state::time;
use crate::{
    control::{Asked, MonitorList, MonitorQuestion, MonitorRow, Snapshot, TestRow},
    probe::{ProbeReport, ProbeSpec},
};

/// Of one turn.
const PROBES: u16 = 4;
const INTERVAL: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(2);

type Histories = Arc<Mutex<Vec<History>>>;

#[derive(Default)]
pub(super) struct Monitors {
    all: BTreeMap<ResourceId, Entry>,
    edges: Option<Edges>,
}

/// What tests ask, and what they look things up in.
#[derive(Clone)]
pub(super) struct Edges {
    pub(super) ask: mpsc::Sender<Asked>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
}

struct Entry {
    body: Map<String, Value>,
    monitor: Monitor,
    histories: Histories,
    started: Option<SystemTime>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Entry {
    fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }

    fn row(&self, id: &ResourceId) -> MonitorRow {
        let histories = lock(&self.histories);
        let tests = self.monitor.tests.iter().zip(histories.iter());
        MonitorRow {
            name: id.name().to_owned(),
            id: id.to_string(),
            body: self.body.clone(),
            monitoring_status: match (self.tasks.is_empty(), self.started) {
                (false, _) => "Running",
                (true, Some(_)) => "Stopped",
                (true, None) => "NotStarted",
            }
            .to_owned(),
            start_time: self.started.map(time),
            tests: tests
                .map(|(test, history)| TestRow::new(test, history))
                .collect(),
        }
    }
}

impl Monitors {
    /// From now on tests can be tried.
    pub(super) fn open(&mut self, edges: Edges) {
        self.edges = Some(edges);
    }

    pub(super) fn put(&mut self, id: &ResourceId, body: Map<String, Value>, monitor: Monitor) {
        let histories = vec![History::default(); monitor.tests.len()];
        let auto_start = monitor.auto_start;
        let entry = Entry {
            body,
            monitor,
            histories: Arc::new(Mutex::new(histories)),
            started: None,
            tasks: Vec::new(),
        };
        self.all.insert(id.clone(), entry);
        if auto_start {
            self.run(id, true);
        }
    }

    fn run(&mut self, id: &ResourceId, run: bool) -> bool {
        let Some(entry) = self.all.get_mut(id) else {
            return false;
        };
        let Some(edges) = &self.edges else {
            return true;
        };
        if !run {
            entry.stop();
            return true;
        }
        if entry.tasks.is_empty() {
            entry.started = Some(SystemTime::now());
            let tests = entry.monitor.tests.iter().cloned().enumerate();
            entry.tasks = tests
                .map(|(at, test)| {
                    let histories = Arc::clone(&entry.histories);
                    tokio::spawn(watch_over(test, at, histories, edges.clone()))
                })
                .collect();
        }
        true
    }

    pub(super) fn answer(&mut self, question: MonitorQuestion) {
        // A client that does not wait for its answer any more is no concern of ours.
        match question {
            MonitorQuestion::Put {
                id,
                body,
                monitor,
                answer,
            } => {
                self.put(&id, body, monitor);
                let row = self.all.get(&id).map(|entry| entry.row(&id));
                drop(answer.send(row.unwrap_or_default()));
            }
            MonitorQuestion::Delete { id, answer } => {
                let _ = answer.send(self.all.remove(&id).is_some());
            }
            MonitorQuestion::Run { id, run, answer } => {
                let _ = answer.send(self.run(&id, run));
            }
            MonitorQuestion::List(answer) => {
                let value = self.all.iter().map(|(id, entry)| entry.row(id)).collect();
                drop(answer.send(MonitorList { value }));
            }
        }
    }

    /// The daemon ends.
    pub(super) fn end(&mut self) {
        self.all.clear();
    }
}

fn lock(histories: &Histories) -> MutexGuard<'_, Vec<History>> {
    histories.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch_over(test: Test, at: usize, histories: Histories, edges: Edges) {
    // Tests of one monitor do not all begin at one moment.
    let first = Instant::now() + Duration::from_millis(50 * at as u64);
    let mut due = interval_at(first, test.every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let begun = SystemTime::now();
        let turn = turn(&test, &edges).await;
        let ended = SystemTime::now();
        let turn = match &turn {
            Ok(report) => Ok(&report.statistics),
            Err(why) => Err(why.as_str()),
        };
        if let Some(history) = lock(&histories).get_mut(at) {
            history.add(&test, begun, ended, turn);
        }
    }
}

async fn turn(test: &Test, edges: &Edges) -> Result<ProbeReport, String> {
    let (from, to) = ends(test, &edges.snapshot.borrow().topology)?;
    let spec = ProbeSpec {
        from,
        source: None,
        to,
        protocol: test.protocol,
        count: PROBES,
        interval: INTERVAL,
        patience: PATIENCE,
    };
    let (answer, answered) = oneshot::channel();
    let asked = Asked::Probe {
        spec: Box::new(spec),
        answer,
    };
    let ends = |_| "the daemon ends".to_owned();
    edges.ask.send(asked).await.map_err(|_| ends(()))?;
    let report = answered.await.map_err(|_| ends(()))?;
    report.map_err(|error| error.message)
}

/// The networkInterface that sends, and the address that is tried.
fn ends(test: &Test, topology: &Topology) -> Result<(ResourceId, IpAddr), String> {
    let source = interface(topology, &test.source)?;
    let own = |v4: bool, nic: &NetworkInterface| {
        let mut addresses = nic.ip_configurations.iter();
        addresses
            .find(|one| one.private_ip_address.is_ipv4() == v4)
            .map(|one| one.private_ip_address)
    };
    let to = match &test.destination {
        Destination::Address(address) => *address,
        Destination::Resource(id) => {
            let nic = interface(topology, id)?;
            let common = [true, false]
                .into_iter()
                .find_map(|v4| own(v4, source).and_then(|_| own(v4, nic)));
            common.ok_or_else(|| {
                format!(
                    "{} and {} have no address family in common",
                    source.id.name(),
                    nic.id.name()
                )
            })?
        }
    };
    Ok((source.id.clone(), to))
}

/// The networkInterface itself, or the first of a virtual machine.
fn interface<'a>(topology: &'a Topology, id: &ResourceId) -> Result<&'a NetworkInterface, String> {
    if let Some(nic) = topology.network_interfaces.get(id) {
        return Ok(nic);
    }
    machine(topology, id)
        .and_then(|machine| machine.interfaces.first().copied())
        .ok_or_else(|| format!("there is no virtual machine or networkInterface {id}"))
}
