//! The loop: waits for whatever comes next, and hands it to the [`Daemon`].

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use nix::{errno::Errno, sys::signal::Signal, unistd::Group};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use vnet_gw_core::arm::{Change, SharedKeyChange};

use super::{
    ConfigFiles, Daemon, Event, Fabric, FileSet, Host, InstanceLock, LoadError, Loaded, file_set,
    keys::OldKeys,
    notify::notify,
    records,
    state::{Next, Settings},
    watch::{ConfigWatch, Links, Settled},
};
use crate::{
    api::{self, ApiOptions, Place},
    control::{Asked, RuntimeDir, Server},
    datapath::{self, Datapath, Features, HookChoice, Instance},
    engine::{Engine, EngineOptions, SystemAssign, Writer},
    flow_log::FlowLogOptions,
    internet,
    metering::Metering,
    metrics::{MetricsServer, Sources},
    store::{FileStore, MemoryStore, Store},
    vpn::{Tunnels, Vpn},
    worker::EngineChoice,
};

/// What `vnet-gw run` was told.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub instance: Instance,
    /// Applied at the start and whenever they change; without them, what is in the store is in
    /// force.
    pub files: Option<ConfigFiles>,
    /// Compared with the tag `vnet-gw:host`.
    pub host_name: Option<String>,
    /// Where resources and keys are kept; nothing: they end with the process.
    pub state_dir: Option<PathBuf>,
    /// For public IP addresses that name none.
    pub public_ip_pool: Vec<IpNet>,
    pub hook: HookChoice,
    pub engine: EngineChoice,
    /// Whether routes to the internet lead through the host's network stack.
    pub internet: bool,
    /// Where captures that are asked for through the API write their files.
    pub capture_dir: PathBuf,
    pub reconcile_interval: Duration,
    /// Flows of each family that the data path has room for, where its maps are new.
    pub flows: u32,
    pub flow_log: Option<FlowLogOptions>,
    /// Who besides root may ask; unset, `vnet-gw` where there is such a group.
    pub socket_group: Option<String>,
    /// Take everything down at the end.
    pub ephemeral: bool,
    pub runtime_dir: RuntimeDir,
    pub api: ApiOptions,
    /// Where metrics are served; nowhere, unless somebody says so.
    pub metrics: Option<SocketAddr>,
}

impl RunOptions {
    /// Where instances keep what outlives them.
    pub const STATE: &str = "/var/lib/vnet-gw";

    /// Where an instance keeps it, unless it is told another place.
    pub fn default_state_dir(instance: &Instance) -> PathBuf {
        Path::new(Self::STATE).join(&instance.name)
    }
}

/// Questions that wait for the loop; a client with more waits, and no other.
const QUESTIONS: usize = 64;

/// How long it may take to keep what was counted last.
const LAST_FOLD: Duration = Duration::from_secs(3);

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &RunOptions) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _lock = InstanceLock::take(&options.runtime_dir, &options.instance)?;
    let outcome = runtime.block_on(async {
        // From here on no signal ends the process half-way.
        let signals = signals()?;
        serve(
            options,
            || {
                let datapath = Datapath::open_for(
                    &options.instance,
                    options.hook,
                    Features::detect(),
                    options.flows,
                )?;
                let host = Host::new(datapath, options.internet, options.flow_log.as_ref())?;
                Ok((host, Vpn::start(options.engine)?))
            },
            signals,
        )
        .await
    });
    // A configuration that is still being read is not waited for.
    runtime.shutdown_background();
    if options.ephemeral {
        let report = datapath::down(&options.instance).context("taking everything down")?;
        log::info!(
            "took everything down: {} devices, {} maps",
            report.detached.len(),
            report.maps
        );
        internet::down(&options.instance)?;
    }
    outcome
}

/// The process's signals, as events.
fn signals() -> Result<mpsc::Receiver<Event>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                _ = terminate.recv() => Event::Terminate(Signal::SIGTERM),
                _ = interrupt.recv() => Event::Terminate(Signal::SIGINT),
                _ = hangup.recv() => Event::Hangup,
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// The loop itself. `outside` are events that nothing in here waits for: signals.
pub(super) async fn serve<F: Fabric, T: Tunnels>(
    options: &RunOptions,
    open: impl FnOnce() -> Result<(F, T)>,
    mut outside: mpsc::Receiver<Event>,
) -> Result<()> {
    let group = group(options.socket_group.as_deref())?;
    let seen = options.files.as_ref().map(ConfigFiles::fingerprint);
    let writer = writer(options)?;
    let (topology, image) = writer.desired();
    let settings = Settings {
        instance: options.instance.clone(),
        files: options.files.clone(),
        hook: hook_name(options.hook).to_owned(),
        reconcile_interval: options.reconcile_interval,
        internet: options.internet,
    };
    let (fabric, tunnels) = open()?;
    let mut daemon = Daemon::start(settings, fabric, tunnels, Loaded { topology, image })?;
    let (engine, mut deliveries) = writer.start().context("the engine's thread")?;

    let (ask, mut asked) = mpsc::channel::<Asked>(QUESTIONS);
    let store = Arc::clone(engine.engine.store());
    let metering = Metering::open(store, ask.clone(), daemon.snapshot())?;
    tokio::spawn(metering.clone().run());
    let loop_ask = ask.clone();
    let socket = options.runtime_dir.socket(&options.instance);
    let server = Server::listen(
        &socket,
        group,
        ask.clone(),
        daemon.snapshot(),
        engine.engine.clone(),
        metering.clone(),
    )
    .with_context(|| format!("control socket {}", socket.display()))?;
    let place = Place {
        instance: &options.instance,
        runtime_dir: &options.runtime_dir,
        state_dir: options.state_dir.as_deref(),
        group,
    };
    let api = api::start(&options.api, place, &engine.engine, ask.clone())?;
    let metrics = match options.metrics {
        Some(address) => {
            let sources = Sources {
                instance: options.instance.name.clone(),
                questions: ask,
                engine: engine.engine.clone(),
                api: api.metrics().clone(),
                metering: metering.clone(),
            };
            Some(MetricsServer::start(address, sources)?)
        }
        None => {
            drop(ask);
            None
        }
    };
    let measured = metrics.as_ref().map(MetricsServer::address);
    daemon.served(api.status().clone(), measured);
    let mut files = match (&options.files, seen) {
        (Some(files), Some(seen)) => {
            let watch = ConfigWatch::new(files.clone(), seen);
            Some(watch.context("watching the configuration's directory")?)
        }
        _ => None,
    };
    let mut links = match Links::watch() {
        Ok(links) => Some(links),
        Err(error) => {
            log::warn!("devices: {error}; they are looked at with every reconcile instead");
            None
        }
    };
    let every = options.reconcile_interval;
    let mut timer = interval_at(Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut loader = Loader::new(options.files.clone(), engine.engine.clone());

    daemon.restore(
        records::captures(engine.engine.store().as_ref())?,
        records::monitors(engine.engine.store().as_ref())?,
        loop_ask,
        options.capture_dir.clone(),
    );
    let captures = daemon.captures();
    log::info!("ready");
    notify("READY=1");
    loop {
        let event = tokio::select! {
            Some(event) = outside.recv() => event,
            loaded = loader.finished() => Event::Loaded(loaded),
            delivery = deliveries.next() => match delivery {
                Some(delivery) => Event::Apply(delivery),
                // A defect of ours: whoever starts it again has all that was answered.
                None => bail!("the engine's thread ended"),
            },
            changed = files_changed(&mut files) => {
                changed.context("watching the configuration's directory")?;
                Event::ConfigurationChanged
            }
            _ = timer.tick() => {
                if files.as_mut().is_some_and(ConfigWatch::check) {
                    loader.load();
                }
                Event::ReconcileDue
            }
            changed = links_changed(&mut links) => {
                if let Err(error) = changed {
                    log::warn!("devices: {error}; they are looked at with every reconcile instead");
                    links = None;
                }
                Event::LinksChanged
            }
            () = captures.changed() => Event::CapturesChanged,
            Some(asked) = asked.recv() => Event::Asked(asked),
        };
        if matches!(event, Event::Terminate(_)) {
            // While there are tunnels.
            keep_last(&metering, &mut daemon, &mut asked).await;
        }
        match daemon.handle(event) {
            Next::Wait => {}
            Next::Load => loader.load(),
            Next::Stop => {
                drop(asked);
                drop(metrics);
                server.end().await;
                // What waits for the data path waits for the next start.
                drop(deliveries);
                drop(api);
                engine.end();
                return Ok(());
            }
        }
    }
}

/// Keeps what was counted up to now, while the loop does nothing but answer.
async fn keep_last<F: Fabric, T: Tunnels>(
    metering: &Metering,
    daemon: &mut Daemon<F, T>,
    asked: &mut mpsc::Receiver<Asked>,
) {
    let mut kept = pin!(timeout(LAST_FOLD, metering.fold()));
    loop {
        tokio::select! {
            kept = &mut kept => {
                match kept {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => log::warn!("metering: {error}"),
                    Err(_) => log::warn!("metering: what was counted last is kept at the next start"),
                }
                return;
            }
            Some(asked) = asked.recv() => {
                daemon.handle(Event::Asked(asked));
            }
        }
    }
}

/// The engine with what the store has, and what the files say.
fn writer(options: &RunOptions) -> Result<Writer> {
    let store: Arc<dyn Store> = match &options.state_dir {
        Some(directory) => Arc::new(FileStore::open(&directory.join(FileStore::NAME))?),
        None => Arc::new(MemoryStore::new()),
    };
    let mut writer = Writer::open(
        store,
        EngineOptions {
            host_name: options.host_name.clone(),
            assign: Box::new(SystemAssign {
                public_ip_pool: options.public_ip_pool.clone(),
            }),
            ..EngineOptions::default()
        },
    )?;
    let Some(files) = &options.files else {
        return Ok(writer);
    };
    let set = files.file_set()?;
    let old = match &options.state_dir {
        Some(directory) => OldKeys::read(directory)?,
        None => None,
    };
    let imported = old.iter().flat_map(|old| imported(old, &set)).collect();
    let mut changes = set.changes(&writer.state());
    let changes = {
        changes.extend::<Vec<Change>>(imported);
        changes
    };
    let submission = file_set::submission(changes, files.name());
    writer
        .submit(submission)
        .map_err(|error| files.refused(error))?;
    if let Some(old) = old {
        old.taken_over()?;
        log::info!("the shared keys of an earlier version are in the store now");
    }
    Ok(writer)
}

/// The old keys of connections that the template gives none.
fn imported(old: &OldKeys, set: &FileSet) -> Vec<Change> {
    let keys = set.without_key.iter().filter_map(|connection| {
        let key = old.keys.get(connection)?;
        Some(Change::SharedKey {
            connection: connection.clone(),
            change: SharedKeyChange::Set(key.clone()),
        })
    });
    keys.collect()
}

async fn files_changed(files: &mut Option<ConfigWatch>) -> io::Result<()> {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}

async fn links_changed(links: &mut Option<Settled<Links>>) -> io::Result<()> {
    match links {
        Some(links) => links.changed().await,
        None => std::future::pending().await,
    }
}

/// Reads the files beside the loop, one time after the other, and hands them to the engine.
struct Loader {
    files: Option<Arc<ConfigFiles>>,
    engine: Engine,
    running: Option<JoinHandle<Result<(), LoadError>>>,
    /// They changed again while they were read.
    again: bool,
}

impl Loader {
    fn new(files: Option<ConfigFiles>, engine: Engine) -> Self {
        Self {
            files: files.map(Arc::new),
            engine,
            running: None,
            again: false,
        }
    }

    fn load(&mut self) {
        let Some(files) = &self.files else {
            return;
        };
        if self.running.is_some() {
            self.again = true;
            return;
        }
        self.running = Some(tokio::spawn(take(Arc::clone(files), self.engine.clone())));
    }

    /// Waits for ever while nothing is read.
    async fn finished(&mut self) -> Result<(), LoadError> {
        loop {
            let Some(running) = &mut self.running else {
                return std::future::pending().await;
            };
            let result = pin!(running).await;
            self.running = None;
            if self.again {
                self.again = false;
                self.load();
                continue;
            }
            return result.unwrap_or_else(|error| Err(defect(self.files.as_deref(), error)));
        }
    }
}

/// Reads the files, and makes their resources those of the store.
async fn take(files: Arc<ConfigFiles>, engine: Engine) -> Result<(), LoadError> {
    let (reading, state) = (Arc::clone(&files), engine.state());
    let read = spawn_blocking(move || reading.file_set().map(|set| set.changes(&state)));
    let changes = read
        .await
        .unwrap_or_else(|error| Err(defect(Some(&files), error)))?;
    let submission = file_set::submission(changes, files.name());
    let taken = engine.submit(submission).await;
    taken.map(drop).map_err(|error| files.refused(error))
}

/// Of ours, in reading the files; what is in force is as good as before.
fn defect(files: Option<&ConfigFiles>, error: tokio::task::JoinError) -> LoadError {
    LoadError::Read {
        option: "",
        path: files
            .map(|files| files.template.clone())
            .unwrap_or_default(),
        source: io::Error::other(error),
    }
}

const fn hook_name(hook: HookChoice) -> &'static str {
    match hook {
        HookChoice::Auto => "auto",
        HookChoice::Xdp => "xdp",
        HookChoice::Tcx => "tcx",
    }
}

/// The group's number. One that was asked for must exist.
fn group(name: Option<&str>) -> Result<Option<u32>> {
    const DEFAULT: &str = "vnet-gw";
    let found = match Group::from_name(name.unwrap_or(DEFAULT)) {
        // A system without /etc/group: getgrnam_r(3) says these, too, where there is no such group.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => None,
        found => {
            found.with_context(|| format!("looking for the group {}", name.unwrap_or(DEFAULT)))?
        }
    };
    match (found, name) {
        (Some(group), _) => Ok(Some(group.gid.as_raw())),
        (None, None) => Ok(None),
        (None, Some(name)) => {
            bail!("--socket-group {name}: there is no such group; make it with `groupadd {name}`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_was_asked_for_must_exist() {
        assert_eq!(group(Some("root")).unwrap(), Some(0));
        let error = group(Some("no-such-group-here")).unwrap_err().to_string();
        assert!(
            error.contains("make it with `groupadd no-such-group-here`"),
            "{error}"
        );
    }
}
