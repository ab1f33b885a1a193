//! The loop: waits for whatever comes next, and hands it to the [`Daemon`].

use std::{io, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{errno::Errno, sys::signal::Signal, unistd::Group};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval_at},
};
use vnet_gw_core::compile::Image;

use super::{
    ConfigFiles, Daemon, Event, Fabric, InstanceLock, LoadError, Loaded,
    notify::notify,
    state::{Next, Settings},
    watch::{ConfigWatch, Links, Settled},
};
use crate::{
    control::{Asked, RuntimeDir, Server},
    datapath::{self, Datapath, HookChoice, Instance},
    vpn::{Tunnels, Vpn},
    worker::EngineChoice,
};

/// What `vnet-gw run` was told.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub instance: Instance,
    pub files: ConfigFiles,
    pub hook: HookChoice,
    pub engine: EngineChoice,
    pub reconcile_interval: Duration,
    /// Who besides root may ask; unset, `vnet-gw` where there is such a group.
    pub socket_group: Option<String>,
    /// Take everything down at the end.
    pub ephemeral: bool,
    pub runtime_dir: RuntimeDir,
}

/// Questions that wait for the loop; a client with more waits, and no other.
const QUESTIONS: usize = 64;

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
                let datapath = Datapath::open(&options.instance, options.hook)?;
                Ok((datapath, Vpn::start(options.engine)?))
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
    let seen = options.files.fingerprint();
    let first = options.files.load(None)?;
    let settings = Settings {
        instance: options.instance.clone(),
        files: options.files.clone(),
        hook: hook_name(options.hook).to_owned(),
        reconcile_interval: options.reconcile_interval,
    };
    let (fabric, tunnels) = open()?;
    let mut daemon = Daemon::start(settings, fabric, tunnels, first)?;

    let (ask, mut asked) = mpsc::channel::<Asked>(QUESTIONS);
    let socket = options.runtime_dir.socket(&options.instance);
    let server = Server::listen(&socket, group, ask, daemon.snapshot())
        .with_context(|| format!("control socket {}", socket.display()))?;
    let mut files = ConfigWatch::new(options.files.clone(), seen)
        .context("watching the configuration's directory")?;
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
    let mut loader = Loader::new(options.files.clone());

    log::info!("ready");
    notify("READY=1");
    loop {
        let event = tokio::select! {
            Some(event) = outside.recv() => event,
            loaded = loader.finished() => Event::Loaded(loaded),
            changed = files.changed() => {
                changed.context("watching the configuration's directory")?;
                Event::ConfigurationChanged
            }
            _ = timer.tick() => {
                if files.check() {
                    loader.load(&daemon);
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
            Some(asked) = asked.recv() => Event::Asked(asked),
        };
        match daemon.handle(event) {
            Next::Wait => {}
            Next::Load => loader.load(&daemon),
            Next::Stop => {
                drop(asked);
                server.end().await;
                return Ok(());
            }
        }
    }
}

async fn links_changed(links: &mut Option<Settled<Links>>) -> io::Result<()> {
    match links {
        Some(links) => links.changed().await,
        None => std::future::pending().await,
    }
}

/// Reads the files beside the loop, one time after the other.
struct Loader {
    files: Arc<ConfigFiles>,
    /// In force when reading began; lends its memory.
    previous: Arc<Image>,
    running: Option<JoinHandle<Result<Box<Loaded>, LoadError>>>,
    /// They changed again while they were read.
    again: bool,
}

impl Loader {
    fn new(files: ConfigFiles) -> Self {
        Self {
            files: Arc::new(files),
            previous: Arc::default(),
            running: None,
            again: false,
        }
    }

    fn load<F: Fabric, T: Tunnels>(&mut self, daemon: &Daemon<F, T>) {
        if self.running.is_some() {
            self.again = true;
            return;
        }
        self.previous = Arc::clone(&daemon.snapshot().borrow().image);
        self.begin();
    }

    fn begin(&mut self) {
        let (files, previous) = (Arc::clone(&self.files), Arc::clone(&self.previous));
        self.running = Some(spawn_blocking(move || {
            files.load(Some(&previous)).map(Box::new)
        }));
    }

    /// Waits for ever while nothing is read.
    async fn finished(&mut self) -> Result<Box<Loaded>, LoadError> {
        loop {
            let Some(running) = &mut self.running else {
                return std::future::pending().await;
            };
            let result = pin!(running).await;
            self.running = None;
            if self.again {
                self.again = false;
                self.begin();
                continue;
            }
            return result.unwrap_or_else(|error| {
                // A defect of ours in reading it; the one in force is as good as before.
                Err(LoadError::Read {
                    option: "",
                    path: self.files.template.clone(),
                    source: io::Error::other(error),
                })
            });
        }
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
