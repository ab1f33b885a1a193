//! Packet captures, as the loop has them: which there are, and the flags of their ports.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;
use vnet_gw_common::capture::MAX_SNAP;
use vnet_gw_core::{
    capture::{Limits, Settings},
    model::{ResourceId, Topology},
    watcher::machine,
};

use super::{Fabric, state::time};
use crate::{
    capture::{Feed, Hub, Interface, Progress, SessionId, Sink, Spec, Stream, Why, create},
    control::{
        CaptureList, CaptureQuestion, CaptureRow, CaptureStatus, ErrorCode, ErrorReply,
        find_gateway, find_nic, short,
    },
};

/// As in Azure, for Linux.
pub const DEFAULT_CAPTURES: &str = "/var/captures";
/// Those that are over count, too, until they are deleted.
const MOST: usize = 1000;

pub(super) struct Captures {
    hub: Arc<Hub>,
    named: BTreeMap<ResourceId, Named>,
    /// Where files are that are asked for over the network.
    directory: PathBuf,
}

struct Named {
    settings: Settings,
    /// Nothing of one that an earlier daemon ran.
    session: Option<(SessionId, Arc<Mutex<Progress>>)>,
}

type Stopping = Option<oneshot::Receiver<Progress>>;

fn conflict(why: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::Conflict, why)
}

impl Captures {
    pub(super) fn new() -> Self {
        Self {
            hub: Hub::new(),
            named: BTreeMap::new(),
            directory: PathBuf::from(DEFAULT_CAPTURES),
        }
    }

    /// Where files are that are asked for over the network.
    pub(super) fn set_directory(&mut self, directory: PathBuf) {
        self.directory = directory;
    }

    /// Those that an earlier daemon ran: over, and kept until they are deleted.
    pub(super) fn restore(&mut self, kept: Vec<(ResourceId, Settings)>) {
        let kept = kept.into_iter().map(|(id, settings)| {
            let session = None;
            (id, Named { settings, session })
        });
        self.named.extend(kept);
    }

    pub(super) fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.hub)
    }

    pub(super) fn answer(
        &mut self,
        fabric: &mut impl Fabric,
        topology: &Topology,
        question: CaptureQuestion,
    ) {
        // A client that does not wait for its answer any more is no concern of ours.
        match question {
            CaptureQuestion::Start {
                id,
                settings,
                confined,
                answer,
            } => {
                let started = self.start(fabric, topology, id, *settings, confined);
                drop(answer.send(started));
            }
            CaptureQuestion::Stream {
                settings,
                feed,
                answer,
            } => drop(answer.send(self.stream(fabric, topology, &settings, feed))),
            CaptureQuestion::Stop { id, answer } => {
                drop(answer.send(self.stop(fabric, &id)));
            }
            CaptureQuestion::Delete { id, answer } => {
                let stopped = self.stop(fabric, &id);
                self.named.remove(&id);
                drop(answer.send(stopped));
            }
            CaptureQuestion::List(answer) => {
                let value = self.named.iter().map(|(id, named)| row(id, named));
                drop(answer.send(CaptureList {
                    value: value.collect(),
                }));
            }
        }
    }

    fn start(
        &mut self,
        fabric: &mut impl Fabric,
        topology: &Topology,
        id: ResourceId,
        mut settings: Settings,
        confined: bool,
    ) -> Result<CaptureRow, ErrorReply> {
        if self.named.contains_key(&id) {
            return Err(conflict(format!(
                "packet capture {}: there is one of that name; delete it first, or choose another",
                id.name()
            )));
        }
        if self.named.len() >= MOST {
            return Err(conflict(format!(
                "{MOST} packet captures are kept already; delete some"
            )));
        }
        let interfaces = interfaces(fabric, topology, &mut settings)?;
        let path = settings.file().map_err(bad_request)?;
        let below = confined.then_some(self.directory.as_path());
        let sink = create(Path::new(path), below, &interfaces, snap(&settings.limits))
            .map_err(bad_request)?;
        let begun = self.begin(fabric, &settings, interfaces, sink)?;
        let named = Named {
            settings,
            session: Some(begun),
        };
        let shown = row(&id, &named);
        self.named.insert(id, named);
        Ok(shown)
    }

    fn stream(
        &mut self,
        fabric: &mut impl Fabric,
        topology: &Topology,
        settings: &Settings,
        feed: Feed,
    ) -> Result<(), ErrorReply> {
        let mut settings = settings.clone();
        let interfaces = interfaces(fabric, topology, &mut settings)?;
        let sink =
            Stream::new(feed, &interfaces, snap(&settings.limits)).map_err(datapath_error)?;
        self.begin(fabric, &settings, interfaces, Box::new(sink))
            .map(drop)
    }

    fn begin(
        &mut self,
        fabric: &mut impl Fabric,
        settings: &Settings,
        interfaces: Vec<Interface>,
        sink: Box<dyn Sink>,
    ) -> Result<(SessionId, Arc<Mutex<Progress>>), ErrorReply> {
        let spec = Spec {
            interfaces,
            filters: settings.filters.clone(),
            limits: settings.limits,
            sink,
        };
        self.run(fabric, spec)
    }

    /// Begins any session: of a capture, or of a probe.
    pub(super) fn run(
        &mut self,
        fabric: &mut impl Fabric,
        spec: Spec,
    ) -> Result<(SessionId, Arc<Mutex<Progress>>), ErrorReply> {
        let mut lost = 0;
        for interface in &spec.interfaces {
            lost += fabric.lost_copies(&interface.nic).map_err(datapath_error)?;
        }
        let open = || fabric.copies();
        let begun = self.hub.add(spec, lost, open).map_err(datapath_error)?;
        if let Err(error) = self.set(fabric) {
            self.hub.stop(begun.0, Why::Failed(error.to_string()), None);
            self.sweep(fabric);
            return Err(error);
        }
        Ok(begun)
    }

    fn stop(&mut self, fabric: &mut impl Fabric, id: &ResourceId) -> Result<Stopping, ErrorReply> {
        let named = self.named.get(id).ok_or_else(|| {
            let message = format!("packet capture {}: there is none", id.name());
            ErrorReply::new(ErrorCode::Name, message)
        })?;
        let Some((session, progress)) = &named.session else {
            return Ok(None);
        };
        if lock(progress).ended.is_some() {
            return Ok(None);
        }
        let (told, hears) = oneshot::channel();
        self.hub.stop(*session, Why::Stopped, Some(told));
        self.sweep(fabric);
        Ok(Some(hears))
    }

    /// Lifts flags that nobody wants any more, and sets those that somebody does.
    pub(super) fn sweep(&mut self, fabric: &mut impl Fabric) {
        if self.hub.is_idle() {
            return;
        }
        if let Err(error) = self.set(fabric) {
            log::warn!("packet captures: {error}");
        }
    }

    /// After a change of ports.
    pub(super) fn refresh(&mut self, fabric: &mut impl Fabric) {
        if self.hub.is_idle() {
            return;
        }
        let ports: BTreeMap<ResourceId, u32> = fabric
            .ports()
            .into_iter()
            .map(|port| (port.nic, port.port_id))
            .collect();
        self.hub
            .keep_ports(|nic, port| ports.get(nic) == Some(&port));
        self.sweep(fabric);
    }

    fn set(&self, fabric: &mut impl Fabric) -> Result<(), ErrorReply> {
        let ports = self.hub.ports();
        let mut outcome = Ok(());
        for (nic, wanted) in self.hub.wanted() {
            if wanted.is_none()
                && let (Some(port), Ok(lost)) = (ports.get(&nic), fabric.lost_copies(&nic))
            {
                self.hub.note_lost(*port, lost);
            }
            let gone = wanted.is_none() && !fabric.ports().iter().any(|port| port.nic == nic);
            if gone {
                continue;
            }
            if let Err(error) = fabric.set_capture(&nic, wanted) {
                outcome = Err(datapath_error(error));
            }
        }
        outcome
    }

    /// The daemon ends: nobody would read what ports go on copying.
    pub(super) fn end(&mut self, fabric: &mut impl Fabric) {
        for (nic, port) in self.hub.ports() {
            if let Ok(lost) = fabric.lost_copies(&nic) {
                self.hub.note_lost(port, lost);
            }
            if let Err(error) = fabric.set_capture(&nic, None) {
                log::warn!("packet capture of {nic}: {error}");
            }
        }
        self.hub.end();
    }
}

/// The ports of a target that is named; its id goes into the settings.
fn interfaces(
    fabric: &impl Fabric,
    topology: &Topology,
    settings: &mut Settings,
) -> Result<Vec<Interface>, ErrorReply> {
    let nics = nics(topology, settings)?;
    let ports = fabric.ports();
    let here = ports.into_iter().filter(|port| nics.contains(&port.nic));
    let here: Vec<Interface> = here
        .map(|port| Interface {
            nic: port.nic,
            device: port.device,
            port: port.port_id,
            mac: port.mac,
            addresses: port.addresses,
        })
        .collect();
    if here.is_empty() {
        return Err(conflict(format!(
            "{}: it is no port of this host; capture on the host where it lives, or give the \
             network interface the tag vnet-gw:device",
            short(settings.target.as_str())
        )));
    }
    Ok(here)
}

fn nics(topology: &Topology, settings: &mut Settings) -> Result<Vec<ResourceId>, ErrorReply> {
    let name = settings.target.to_string();
    let name_error = |error| ErrorReply::new(ErrorCode::Name, error);
    if let Some(machine) = machine(topology, &settings.target) {
        return Ok(machine
            .interfaces
            .iter()
            .map(|nic| nic.id.clone())
            .collect());
    }
    let found = match find_nic(topology, &name) {
        Ok(nic) => nic,
        Err(error) => find_gateway(topology, &name).map_err(|_| name_error(error))?,
    };
    settings.target = found.clone();
    Ok(vec![found.clone()])
}

fn snap(limits: &Limits) -> u32 {
    match limits.bytes_per_packet {
        0 => MAX_SNAP,
        bytes => bytes.min(MAX_SNAP),
    }
}

fn row(id: &ResourceId, named: &Named) -> CaptureRow {
    CaptureRow {
        name: id.name().to_owned(),
        id: id.to_string(),
        properties: named.settings.show(),
        status: match &named.session {
            Some((_, progress)) => status(&lock(progress)),
            None => CaptureStatus {
                packet_capture_status: "Stopped".to_owned(),
                stop_reason: Some(Why::DaemonEnded.name().to_owned()),
                ..CaptureStatus::default()
            },
        },
    }
}

fn status(progress: &Progress) -> CaptureStatus {
    let (state, error) = match progress.ended.as_ref().map(|ended| &ended.why) {
        None => ("Running", None),
        Some(Why::Failed(why)) => ("Error", Some(why.clone())),
        Some(_) => ("Stopped", None),
    };
    let ended = progress.ended.as_ref();
    CaptureStatus {
        packet_capture_status: state.to_owned(),
        capture_start_time: Some(time(progress.started)),
        capture_end_time: ended.map(|ended| time(ended.at)),
        stop_reason: ended.map(|ended| ended.why.name().to_owned()),
        packet_capture_error: error.into_iter().collect(),
        packets: progress.packets,
        bytes: progress.bytes,
        bytes_written: progress.written,
        lost: progress.lost,
    }
}

fn bad_request(error: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest, error)
}

fn datapath_error(error: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::Datapath, error)
}

fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
