//! What the daemon knows, and what it does at each event. Everything that waits is in `run`.

mod told;
mod traces;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use vnet_gw_core::{
    capture::Settings as CaptureSettings,
    model::{ArmError, ResourceId},
    monitor::Monitor,
};

use super::{
    ConfigFiles, Event, Fabric, Loaded,
    captures::Captures,
    change::Change,
    monitors::{Edges, Monitors},
    notify::notify,
    probes::Probes,
    records::Body,
    rows,
    trace::Tracer,
};
use crate::{
    capture::Hub,
    control::{ApiStatus, Asked, ErrorCode, ErrorReply, LastError, Snapshot},
    datapath::{ApplyReport, DatapathError, Drift, Instance},
    engine::{Delivery, forget},
    vpn::Tunnels,
};

/// What a daemon was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub instance: Instance,
    /// Nothing where resources come through the API alone.
    pub files: Option<ConfigFiles>,
    /// As chosen: `auto`, `xdp` or `tcx`.
    pub hook: String,
    pub reconcile_interval: Duration,
    /// Whether routes to the internet lead through the host's network stack.
    pub internet: bool,
}

/// What the loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    /// Read the configuration's files.
    Load,
    Stop,
}

/// One instance's daemon.
pub struct Daemon<F, T> {
    settings: Settings,
    fabric: F,
    tunnels: T,
    snapshot: watch::Sender<Snapshot>,
    tracer: Tracer,
    captures: Captures,
    probes: Probes,
    monitors: Monitors,
    started: SystemTime,
    clock: Instant,
    generation: u64,
    applied: SystemTime,
    last_error: Option<LastError>,
    /// Warnings that were logged already: a device that is missing is not told every ten seconds.
    warned: Vec<String>,
    reconcile_error: Option<String>,
    api: ApiStatus,
    /// Where metrics are served.
    measured: Option<SocketAddr>,
    /// Durable, and not in force: the data path refused it, and is asked again.
    owed: Option<Delivery>,
}

impl<F: Fabric, T: Tunnels> Daemon<F, T> {
    /// Puts the first configuration into force.
    pub fn start(
        settings: Settings,
        fabric: F,
        tunnels: T,
        first: Loaded,
    ) -> Result<Self, DatapathError> {
        let now = SystemTime::now();
        let mut daemon = Self {
            settings,
            fabric,
            tunnels,
            snapshot: watch::Sender::new(Snapshot::default()),
            tracer: Tracer::default(),
            captures: Captures::new(),
            probes: Probes::default(),
            monitors: Monitors::default(),
            started: now,
            clock: Instant::now(),
            generation: 0,
            applied: now,
            last_error: None,
            warned: Vec::new(),
            reconcile_error: None,
            api: ApiStatus::default(),
            measured: None,
            owed: None,
        };
        let line = daemon.apply(first, true)?;
        daemon.fabric.settle()?;
        log::info!("instance {}: {line}", daemon.settings.instance.name);
        Ok(daemon)
    }

    /// What is in force, for those who answer questions about it.
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
    }

    pub(super) fn handle(&mut self, event: Event) -> Next {
        match event {
            Event::ConfigurationChanged => return Next::Load,
            Event::Hangup => match &self.settings.files {
                Some(files) => {
                    log::info!("SIGHUP: reading {} again", files.template.display());
                    return Next::Load;
                }
                None => log::info!("SIGHUP: there is no --config to read again"),
            },
            // In force or not: it was delivered.
            Event::Loaded(Ok(())) => {}
            Event::Loaded(Err(error)) => self.refuse(&error.to_string(), error.lines()),
            Event::Apply(delivery) => self.deliver(delivery),
            Event::Terminate(signal) => {
                self.end(signal);
                return Next::Stop;
            }
            Event::ReconcileDue => {
                self.retry();
                self.reconcile();
            }
            Event::LinksChanged => self.reconcile(),
            Event::CapturesChanged => self.captures.sweep(&mut self.fabric),
            Event::Asked(asked) => self.answer(asked),
        }
        Next::Wait
    }

    /// Puts into force what is durable, and says what came of it.
    fn deliver(&mut self, mut delivery: Delivery) {
        // What is owed is part of it.
        let owed = self.owed.take().is_some();
        let loaded = Loaded {
            topology: Arc::clone(&delivery.topology),
            image: Arc::clone(&delivery.image),
        };
        let tell = delivery.from_file || log::log_enabled!(log::Level::Debug);
        match self.apply(loaded, tell) {
            Ok(line) => {
                if delivery.from_file || owed {
                    self.last_error = None;
                }
                match delivery.from_file {
                    true => log::info!("reload: {line}"),
                    false => log::debug!("change: {line}"),
                }
                delivery.done(&Ok(()));
                // Nobody waits for it any more.
                if let Err(error) = self.fabric.settle() {
                    log::warn!("after a change: {error}");
                }
            }
            Err(error) => {
                let message = error.to_string();
                log::error!("the data path does not carry what is in the store: {message}");
                self.note(&message, vec![message.clone()]);
                delivery.tell(&Err(ArmError::new("InternalServerError", message)));
                self.owed = Some(delivery);
            }
        }
    }

    /// Asks the data path again for what it refused.
    fn retry(&mut self) {
        let Some(delivery) = self.owed.take() else {
            return;
        };
        let loaded = Loaded {
            topology: Arc::clone(&delivery.topology),
            image: Arc::clone(&delivery.image),
        };
        match self.apply(loaded, true) {
            Ok(line) => {
                log::info!("what failed before is carried out: {line}");
                self.last_error = None;
                delivery.done(&Ok(()));
            }
            Err(error) => {
                log::debug!("not carried out yet: {error}");
                self.owed = Some(delivery);
            }
        }
    }

    /// The line that says how long it took, and if it is to be told, what it did: to find that out,
    /// everything is compared.
    fn apply(&mut self, loaded: Loaded, tell: bool) -> Result<String, DatapathError> {
        let begun = Instant::now();
        // The VPN side is not asked about what it has, unless somebody wants to have it again.
        let tunnels = tell
            || self.generation == 0
            || self.snapshot.borrow().image.gateways != loaded.image.gateways;
        // Taps, then the data path, then tunnels: it finds the taps, and what comes out of a
        // tunnel finds its way.
        if tunnels {
            self.tunnels.prepare(&loaded.image.gateways);
        }
        let report = match self.fabric.apply(Arc::clone(&loaded.image)) {
            Ok(report) => report,
            Err(error) => {
                if tunnels {
                    let image = Arc::clone(&self.snapshot.borrow().image);
                    self.tunnels.apply(image.gateways.clone());
                }
                return Err(error);
            }
        };
        if tunnels {
            self.tunnels.apply(loaded.image.gateways.clone());
        }
        let new = Snapshot {
            topology: loaded.topology,
            image: loaded.image,
            internet: self.settings.internet,
        };
        if tell {
            let loaded = Loaded {
                topology: Arc::clone(&new.topology),
                image: Arc::clone(&new.image),
            };
            for line in loaded.route_loops() {
                log::warn!("{line}");
            }
        }
        let change = tell.then(|| Change::between(&self.snapshot.borrow(), &new));
        forget(self.snapshot.send_replace(new));
        self.generation += 1;
        self.applied = SystemTime::now();
        let ApplyReport {
            warnings,
            tables_rebuilt,
            tables_edited,
            ..
        } = report;
        self.warn(warnings);
        self.refresh_traces();
        self.captures.refresh(&mut self.fabric);
        let took = begun.elapsed().as_secs_f64() * 1e3;
        log::debug!("apply: {tables_rebuilt} tables rebuilt, {tables_edited} edited in place");
        let change = change
            .map(|change| format!("{change}; "))
            .unwrap_or_default();
        Ok(format!("{change}took {took:.1} ms"))
    }

    fn refuse(&mut self, message: &str, details: Vec<String>) {
        log::error!("configuration refused, the last good one stays in force: {message}");
        self.note(message, details);
    }

    fn note(&mut self, message: &str, details: Vec<String>) {
        self.last_error = Some(LastError {
            at: time(SystemTime::now()),
            message: message.to_owned(),
            details,
        });
    }

    fn reconcile(&mut self) {
        match self.fabric.reconcile() {
            Ok(drift) => {
                self.reconcile_error = None;
                self.tell(drift);
            }
            Err(error) => {
                let error = error.to_string();
                // Told once, not at every turn of the timer.
                if self.reconcile_error.as_ref() != Some(&error) {
                    log::error!("reconcile: {error}");
                }
                self.reconcile_error = Some(error);
            }
        }
        self.refresh_traces();
        self.captures.refresh(&mut self.fabric);
    }

    fn tell(&mut self, drift: Drift) {
        for difference in &drift.differences {
            log::warn!("drift: {difference}");
        }
        for orphan in &drift.orphans {
            log::warn!("orphan: {orphan}");
        }
        for followed in &drift.followed {
            log::info!("{followed}");
        }
        self.warn(drift.failed);
    }

    /// Logs what was not logged at the last occasion.
    fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings
            .iter()
            .filter(|warning| !self.warned.contains(warning))
        {
            log::warn!("{warning}");
        }
        self.warned = warnings;
    }

    fn answer(&mut self, asked: Asked) {
        // A client that does not wait for its answer any more is no concern of ours.
        match asked {
            Asked::Status(answer) => drop(answer.send(self.status())),
            Asked::Ports(answer) => {
                // Without the counters, what is known of the ports still counts.
                let stats = (self.fabric.device_stats())().unwrap_or_default();
                drop(answer.send(rows::ports(self.fabric.ports(), &stats)));
            }
            Asked::Counters(answer) => {
                let counters = self.fabric.counters();
                let uptime = self.clock.elapsed().as_secs_f64();
                let counters = counters.map(|counters| (counters, uptime));
                drop(answer.send(counters.map_err(datapath_error)));
            }
            Asked::SecurityRules(answer) => {
                let (hits, flows) = self.fabric.security();
                drop(answer.send(rows::security(hits, flows)));
            }
            Asked::Trace {
                nic,
                every,
                feed,
                answer,
            } => {
                drop(answer.send(self.trace(nic, every, feed)));
            }
            Asked::TraceGone => self.sweep_traces(),
            Asked::Probe { spec, answer } => {
                let (fabric, captures) = (&mut self.fabric, &mut self.captures);
                self.probes.begin(fabric, captures, &spec, answer);
            }
            Asked::Monitor(question) => self.monitors.answer(question),
            Asked::Capture(question) => {
                let topology = Arc::clone(&self.snapshot.borrow().topology);
                self.captures.answer(&mut self.fabric, &topology, question);
            }
            Asked::Vpn(question) => self.tunnels.ask(question),
            Asked::Meters(answer) => {
                drop(answer.send(self.fabric.meters().map_err(datapath_error)));
            }
            Asked::MetersSettled(born) => {
                if let Err(error) = self.fabric.meters_settled(&born) {
                    log::warn!("metering: {error}");
                }
            }
            Asked::Metrics(answer) => drop(answer.send(self.metrics())),
        }
    }

    /// Takes over what is kept: captures are over, and monitors begin anew. `ask` is the loop's own
    /// queue.
    pub(super) fn restore(
        &mut self,
        captures: Vec<(ResourceId, CaptureSettings)>,
        monitors: Vec<(ResourceId, Body)>,
        ask: mpsc::Sender<Asked>,
        capture_dir: PathBuf,
    ) {
        self.captures.set_directory(capture_dir);
        self.captures.restore(captures);
        self.monitors.open(Edges {
            ask,
            snapshot: self.snapshot(),
        });
        for (id, body) in monitors {
            match Monitor::read(&body) {
                Ok(monitor) => self.monitors.put(&id, body, monitor),
                Err(error) => log::warn!("connection monitor {id} does not run: {error}"),
            }
        }
    }

    /// The captures' sessions, which end by themselves, too.
    pub(super) fn captures(&self) -> Arc<Hub> {
        self.captures.hub()
    }

    /// Where the API and metrics are served, for those who ask.
    pub(super) fn served(&mut self, api: ApiStatus, metrics: Option<SocketAddr>) {
        self.api = api;
        self.measured = metrics;
    }

    fn end(&mut self, signal: Signal) {
        notify("STOPPING=1");
        // Nobody would read what a port goes on logging.
        let traced = self
            .fabric
            .ports()
            .into_iter()
            .filter(|port| port.trace_every.is_some());
        for port in traced.collect::<Vec<_>>() {
            if let Err(error) = self.fabric.set_trace(&port.nic, None) {
                log::warn!("trace of {}: {error}", port.nic);
            }
        }
        self.monitors.end();
        self.captures.end(&mut self.fabric);
        self.probes.end();
        self.tracer.end("the daemon ends", |_| true);
        self.tracer.sweep();
        self.tunnels.end();
        log::info!("{signal}: ending");
    }
}

fn datapath_error(error: DatapathError) -> ErrorReply {
    ErrorReply::new(ErrorCode::Datapath, error)
}

pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
