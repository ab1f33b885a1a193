//! Questions about packet captures.

use std::io;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use vnet_gw_core::{capture::Settings, model::ResourceId};

use super::{Asked, Connection, ENDS, ErrorCode, ErrorReply, Request, Response, hung_up};
use crate::{
    capture::Progress,
    control::{CaptureList, CaptureQuestion, CaptureRow, Snapshot, find_gateway, find_nic},
    daemon::records,
    engine::{Caller, Noted, Submission},
    identity,
    store::{Table, Write},
};

/// Pieces of a stream that wait for a slow client, before some are left out.
const PIECES: usize = 64;

impl Connection {
    /// Those of [`Request`] that are about captures which are kept.
    pub(super) async fn packet_capture(&self, request: Request) -> Result<Response, ErrorReply> {
        match request {
            Request::PacketCaptures {} => self.captures().await.map(Response::PacketCaptures),
            Request::StartPacketCapture { name, properties } => {
                let settings = settings(properties)?;
                let id = capture_id(&self.snapshot.borrow(), &settings, &name)?;
                let (of, begun) = (id.clone(), settings.clone());
                let question = |answer| CaptureQuestion::Start {
                    id,
                    settings: Box::new(settings),
                    confined: false,
                    answer,
                };
                let kept = records::capture(&of, &begun);
                let row = self.ask_capture(question).await??;
                self.keep(kept, "write", &of).await?;
                Ok(Response::PacketCapture(Box::new(row)))
            }
            Request::StopPacketCapture { name } => {
                let id = self.capture_named(&name).await?;
                let of = id.clone();
                let question = |answer| CaptureQuestion::Stop { id: of, answer };
                let stopping = self.ask_capture(question).await??;
                self.stopped(stopping).await?;
                let row = self.capture(&id).await?;
                Ok(Response::PacketCapture(Box::new(row)))
            }
            Request::DeletePacketCapture { name } => {
                let id = self.capture_named(&name).await?;
                let of = id.clone();
                let question = |answer| CaptureQuestion::Delete { id: of, answer };
                let stopping = self.ask_capture(question).await??;
                self.stopped(stopping).await?;
                let gone = Write::remove(Table::Instance, records::capture_key(&id));
                self.keep(gone, "delete", &id).await?;
                Ok(Response::Done)
            }
            // Answered elsewhere.
            _ => Err(ErrorReply::new(ErrorCode::BadRequest, "no such question")),
        }
    }

    /// Sends packets as they come, until the client has enough.
    pub(super) async fn capture_packets(&mut self, properties: &Value) -> io::Result<()> {
        let mut settings = match settings(properties.clone()) {
            Ok(settings) => settings,
            Err(error) => return self.refuse(error).await,
        };
        let said = |name: &str| properties.get(name).is_some_and(|value| !value.is_null());
        // What is not kept has no bounds but those that were asked for.
        if !said("totalBytesPerSession") {
            settings.limits.total_bytes = u64::MAX;
        }
        if !said("timeLimitInSeconds") {
            settings.limits.time = std::time::Duration::from_secs(u64::from(u32::MAX));
        }
        let (feed, mut pieces) = mpsc::channel(PIECES);
        let question = |answer| CaptureQuestion::Stream {
            settings: Box::new(settings),
            feed,
            answer,
        };
        match self.ask_capture(question).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => return self.refuse(error).await,
        }
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = hung_up(&mut self.reader) => return Ok(()),
            };
            let Some(piece) = piece else {
                let why = match self.asked.is_closed() {
                    true => ENDS,
                    false => "the capture is over",
                };
                return self.send(Response::End(why.to_owned())).await;
            };
            let text = BASE64_STANDARD.encode(piece);
            self.send(Response::Pcapng(text)).await?;
        }
    }

    /// Writes what is kept of a capture, and the audit log.
    async fn keep(&self, write: Write, verb: &str, id: &ResourceId) -> Result<(), ErrorReply> {
        let uid = self.user.unwrap_or(u32::MAX);
        let kept = self.engine.submit(Submission {
            changes: Vec::new(),
            caller: Caller {
                who: identity::local_user(uid).0,
                address: None,
                correlation_id: uuid::Uuid::new_v4().to_string(),
            },
            operation: format!("Microsoft.Network/networkWatchers/packetCaptures/{verb}"),
            resource: id.to_string(),
            records: vec![write],
            noted: Noted::default(),
        });
        let kept = kept.await.map(drop);
        kept.map_err(|error| ErrorReply::new(ErrorCode::Conflict, error))
    }

    async fn captures(&self) -> Result<CaptureList, ErrorReply> {
        self.ask_capture(CaptureQuestion::List).await
    }

    async fn capture(&self, id: &ResourceId) -> Result<CaptureRow, ErrorReply> {
        let mut all = self.captures().await?.value.into_iter();
        all.find(|one| ResourceId::new(&one.id) == *id)
            .ok_or_else(|| none_such(id.name(), &[]))
    }

    /// The one called so: by its name or its id, without case.
    async fn capture_named(&self, name: &str) -> Result<ResourceId, ErrorReply> {
        let all = self.captures().await?.value;
        let called = |one: &&CaptureRow| {
            one.name.eq_ignore_ascii_case(name) || one.id.eq_ignore_ascii_case(name)
        };
        let found: Vec<&CaptureRow> = all.iter().filter(called).collect();
        match found.as_slice() {
            [one] => Ok(ResourceId::new(&one.id)),
            [] => Err(none_such(name, &all)),
            several => {
                let ids: Vec<&str> = several.iter().map(|one| one.id.as_str()).collect();
                let message = format!(
                    "packet capture {name}: there are several, {}; use the id",
                    ids.join(", ")
                );
                Err(ErrorReply::new(ErrorCode::Name, message))
            }
        }
    }

    async fn stopped(
        &self,
        stopping: Option<oneshot::Receiver<Progress>>,
    ) -> Result<(), ErrorReply> {
        if let Some(stopping) = stopping {
            // A thread that is gone has ended everything.
            let _ = stopping.await;
        }
        Ok(())
    }

    async fn ask_capture<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> CaptureQuestion,
    ) -> Result<T, ErrorReply> {
        self.ask(|answer| Asked::Capture(question(answer))).await
    }
}

fn settings(properties: Value) -> Result<Settings, ErrorReply> {
    let mut body = Map::new();
    body.insert("properties".to_owned(), properties);
    Settings::read(&body).map_err(|error| ErrorReply::new(ErrorCode::BadRequest, error))
}

/// Longest name of an ARM resource of this type.
const NAME: usize = 80;

/// As if it had been made in the network watcher of the target's region.
fn capture_id(
    snapshot: &Snapshot,
    settings: &Settings,
    name: &str,
) -> Result<ResourceId, ErrorReply> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME || !name.chars().all(fine) {
        let message = format!(
            "packet capture {:?}: use 1 to {NAME} letters, digits, `-`, `_` and `.` for its name",
            name.chars().take(NAME).collect::<String>()
        );
        return Err(ErrorReply::new(ErrorCode::BadRequest, message));
    }
    let topology = &snapshot.topology;
    let target = settings.target.to_string();
    let target = match find_nic(topology, &target) {
        Ok(nic) => nic,
        Err(error) => {
            find_gateway(topology, &target).map_err(|_| ErrorReply::new(ErrorCode::Name, error))?
        }
    };
    let subscription = target.as_str().split('/').nth(2).unwrap_or_default();
    let vnet = snapshot.image.ports.get(target).map(|port| &port.vnet);
    let vnet = vnet.and_then(|vnet| topology.virtual_networks.get(vnet));
    let location = vnet.map_or("local", |vnet| vnet.location.as_str());
    Ok(ResourceId::new(&format!(
        "/subscriptions/{subscription}/resourceGroups/NetworkWatcherRG/providers/\
         Microsoft.Network/networkWatchers/NetworkWatcher_{location}/packetCaptures/{name}"
    )))
}

fn none_such(name: &str, known: &[CaptureRow]) -> ErrorReply {
    let names: Vec<&str> = known.iter().take(8).map(|one| one.name.as_str()).collect();
    let hint = match names.as_slice() {
        [] => "there are none".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    let name: String = name.chars().take(NAME).collect();
    ErrorReply::new(
        ErrorCode::Name,
        format!("packet capture {name:?}: there is none of that name; {hint}"),
    )
}
