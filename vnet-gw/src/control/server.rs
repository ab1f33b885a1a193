//! The daemon's end of the socket: one task a connection, so that a client that does not read or
//! does not finish its line waits for itself only.
//!
//! What follows from the snapshot is worked out on a thread of its own ([`spawn_blocking`]); what
//! only the daemon's loop knows is asked of it by [`Asked`].

mod asked;
mod capture;
mod probe;
mod stream;
mod vpn;

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot, watch},
    task::spawn_blocking,
    time::timeout,
};
use zeroize::Zeroizing;

pub use self::asked::{Asked, TraceEnd, TraceFeed};
use self::stream::{ENDS, hung_up};
use super::{
    CounterFilter, ErrorCode, ErrorReply, MAX_REQUEST, MonitorQuestion, Request, RequestLine,
    Response, ResponseLine, Snapshot, VERSION, view, watcher_view,
};
use crate::{
    engine::Engine,
    metering::{Metering, UsageError},
};

/// Connections served at once; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take to read an answer, or to ask its next question.
const SLOW: Duration = Duration::from_secs(60);
/// How long a new client may take for its first question: connections that say nothing must not
/// keep the others out.
const FIRST: Duration = Duration::from_secs(5);
/// How long clients have to read that the daemon ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// No answer with a key is longer: an id of 500 characters, and a key of 128 that are all escaped.
const KEY_ANSWER: usize = 2048;

/// Serves one instance's socket until it is dropped, which removes it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
    places: Arc<Semaphore>,
}

impl Server {
    /// Listens at `path` in place of whatever socket is there: the caller holds the instance's
    /// lock, so it is nobody's.
    pub fn listen(
        path: &Path,
        group: Option<u32>,
        asked: mpsc::Sender<Asked>,
        snapshot: watch::Receiver<Snapshot>,
        engine: Engine,
        metering: Metering,
    ) -> io::Result<Self> {
        // It takes its place only when its mode is right, and in one step.
        let new = path.with_extension("sock.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        if group.is_some() {
            chown(&new, None, group)?;
        }
        fs::set_permissions(&new, fs::Permissions::from_mode(0o660))?;
        fs::rename(&new, path)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let task = tokio::spawn(accept(
            listener,
            asked,
            snapshot,
            (engine, metering),
            Arc::clone(&places),
        ));
        Ok(Self {
            path: path.to_owned(),
            task,
            places,
        })
    }

    /// Serves nobody new, and gives those who are served a moment to hear that the loop, whose end
    /// of `asked` is dropped before, is gone.
    pub async fn end(self) {
        self.task.abort();
        // One that does not read is not waited for.
        let _ = timeout(FAREWELL, self.places.acquire_many(CONNECTIONS as u32)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // Left over, it would only be replaced by the next daemon.
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(
    listener: UnixListener,
    asked: mpsc::Sender<Asked>,
    snapshot: watch::Receiver<Snapshot>,
    (engine, metering): (Engine, Metering),
    places: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let user = stream.peer_cred().ok().map(|peer| peer.uid());
                let connection = Connection::new(
                    stream,
                    user,
                    asked.clone(),
                    snapshot.clone(),
                    engine.clone(),
                    metering.clone(),
                );
                tokio::spawn(async move {
                    if let Err(error) = connection.serve().await {
                        log::debug!("control connection: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                log::warn!("control socket: {error}");
                // Out of descriptors, most likely: some may be closed meanwhile.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether a user may do what the socket's group may not: root, and who the daemon itself is.
fn is_privileged(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

struct Connection {
    /// Who asks, where the kernel says so.
    user: Option<u32>,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    asked: mpsc::Sender<Asked>,
    snapshot: watch::Receiver<Snapshot>,
    engine: Engine,
    metering: Metering,
}

impl Connection {
    fn new(
        stream: UnixStream,
        user: Option<u32>,
        asked: mpsc::Sender<Asked>,
        snapshot: watch::Receiver<Snapshot>,
        engine: Engine,
        metering: Metering,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            user,
            reader: BufReader::new(reader),
            writer,
            asked,
            snapshot,
            engine,
            metering,
        }
    }

    async fn serve(mut self) -> io::Result<()> {
        // May be a key's; of full length at once, since what grows leaves copies behind.
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_REQUEST + 1));
        let mut patience = FIRST;
        loop {
            line.clear();
            // One more than the limit, to tell a line of that length from a longer one.
            let mut limited = (&mut self.reader).take(MAX_REQUEST as u64 + 1);
            let reading = tokio::select! {
                reading = timeout(patience, limited.read_until(b'\n', &mut line)) => reading,
                // Nothing said half-way can be answered any more.
                () = self.asked.closed() => return Ok(()),
            };
            if reading.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
                return Ok(());
            }
            patience = SLOW;
            if line.last() != Some(&b'\n') && line.len() > MAX_REQUEST {
                let message = format!("the request is longer than {MAX_REQUEST} bytes");
                self.refuse(ErrorReply::new(ErrorCode::BadRequest, message))
                    .await?;
                // Where the next request begins is not known.
                return Ok(());
            }
            match read(&line) {
                Ok(request) => self.answer(request).await?,
                Err(error) => self.refuse(error).await?,
            }
        }
    }

    async fn answer(&mut self, request: Request) -> io::Result<()> {
        if request.needs_privilege() && !self.user.is_some_and(is_privileged) {
            let message = "shared keys, packets and probes are for root only, not for the group \
                           of the socket: run as root";
            return self
                .refuse(ErrorReply::new(ErrorCode::NotAllowed, message))
                .await;
        }
        let answer = match request {
            Request::Watch {
                filter,
                interval_ms,
            } => {
                return self.watch(filter, Duration::from_millis(interval_ms)).await;
            }
            Request::Trace {
                network_interface,
                every,
                count,
            } => {
                return self.trace(&network_interface, every, count).await;
            }
            Request::CapturePackets { properties } => {
                return self.capture_packets(&properties).await;
            }
            Request::StartPacketCapture { .. }
            | Request::StopPacketCapture { .. }
            | Request::DeletePacketCapture { .. }
            | Request::PacketCaptures {} => self.packet_capture(request).await,
            Request::ConnectionMonitors {} => self
                .ask(|answer| Asked::Monitor(MonitorQuestion::List(answer)))
                .await
                .map(Response::ConnectionMonitors),
            Request::Probe { .. } => self.probe(request).await,
            Request::Status {} => self.status().await,
            Request::Ports {} => self.ask(Asked::Ports).await.map(Response::Ports),
            Request::Counters { filter } => self.counters(filter).await,
            Request::Usage { from, to } => self.usage(from, to).await,
            Request::SecurityRules {} => self
                .ask(Asked::SecurityRules)
                .await
                .map(Response::SecurityRules),
            Request::Peerings {} => {
                self.work_out(|snapshot| Ok(Response::Peerings(view::peerings(&snapshot.topology))))
                    .await
            }
            Request::EffectiveRoutes { of } => {
                self.work_out(move |snapshot| {
                    view::effective_routes(&snapshot.topology, &of).map(Response::EffectiveRoutes)
                })
                .await
            }
            Request::EffectiveSecurityGroups { network_interface } => {
                self.work_out(move |snapshot| {
                    view::effective_security_groups(&snapshot.topology, &network_interface)
                        .map(Response::EffectiveSecurityGroups)
                })
                .await
            }
            Request::NextHop {
                network_interface,
                destination,
            } => {
                // Without the loop's word the resources still answer.
                let ports = self.ask(Asked::Ports).await.ok();
                self.work_out(move |snapshot| {
                    view::next_hop(&snapshot, &network_interface, destination, ports.as_ref())
                        .map(|reply| Response::NextHop(Box::new(reply)))
                })
                .await
            }
            Request::Why { packet } => {
                // Without their word the resources still answer.
                let ports = self.ask(Asked::Ports).await.ok();
                let vpn = self.vpn_status().await.ok();
                self.work_out(move |snapshot| {
                    watcher_view::why_packet(&snapshot, &packet, ports.as_ref(), vpn.as_ref())
                        .map(|why| Response::Why(Box::new(why)))
                })
                .await
            }
            Request::IpFlowVerify { flow } => {
                self.work_out(move |snapshot| {
                    watcher_view::ip_flow_verify(&snapshot, &flow).map(Response::IpFlowVerify)
                })
                .await
            }
            Request::ConnectivityCheck { packet } => self.connectivity_check(packet).await,
            Request::Topology { of } => {
                self.work_out(move |snapshot| {
                    watcher_view::topology(&snapshot, &of).map(Response::Topology)
                })
                .await
            }
            Request::Gateways {}
            | Request::Connections {}
            | Request::Connection { .. }
            | Request::IkeSas { .. }
            | Request::ResetConnection { .. }
            | Request::SharedKey { .. }
            | Request::SetSharedKey { .. }
            | Request::ResetSharedKey { .. } => self.vpn(request).await,
        };
        match answer {
            Ok(answer) => self.send(answer).await,
            Err(error) => self.refuse(error).await,
        }
    }

    async fn status(&self) -> Result<Response, ErrorReply> {
        let mut status = self.ask(Asked::Status).await?;
        status.vpn = self.vpn_counts().await?;
        Ok(Response::Status(Box::new(status)))
    }

    async fn counters(&self, filter: CounterFilter) -> Result<Response, ErrorReply> {
        let (counted, uptime) = self.ask(Asked::Counters).await??;
        self.work_out(move |snapshot| {
            view::counters(&snapshot, &counted, &filter, uptime).map(Response::Counters)
        })
        .await
    }

    async fn usage(&self, from: Option<u64>, to: Option<u64>) -> Result<Response, ErrorReply> {
        let period = match (from, to) {
            (None, None) => None,
            (from, to) => Some((from.unwrap_or(0), to.unwrap_or(u64::MAX))),
        };
        let list = self.metering.usage(period).await;
        list.map(Response::Usage).map_err(|error| {
            let code = match error {
                UsageError::Ending => ErrorCode::Ending,
                UsageError::Datapath(_) | UsageError::Store(_) => ErrorCode::Datapath,
            };
            ErrorReply::new(code, error)
        })
    }

    /// Asks the daemon's loop.
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Asked,
    ) -> Result<T, ErrorReply> {
        let ending = || {
            ErrorReply::new(
                ErrorCode::Ending,
                "the daemon ends; ask again when it is back",
            )
        };
        let (answer, answered) = oneshot::channel();
        self.asked
            .send(question(answer))
            .await
            .map_err(|_| ending())?;
        answered.await.map_err(|_| ending())
    }

    /// Works an answer out beside the loop: a table may have a million rows.
    async fn work_out<T: Send + 'static>(
        &self,
        work: impl FnOnce(Snapshot) -> Result<T, ErrorReply> + Send + 'static,
    ) -> Result<T, ErrorReply> {
        let snapshot = self.snapshot.borrow().clone();
        match spawn_blocking(move || work(snapshot)).await {
            Ok(answer) => answer,
            Err(error) => Err(ErrorReply::new(ErrorCode::Ending, error)),
        }
    }

    async fn refuse(&mut self, error: ErrorReply) -> io::Result<()> {
        self.send(Response::Error(error)).await
    }

    async fn send(&mut self, answer: Response) -> io::Result<()> {
        let text = spawn_blocking(move || {
            // May be a key's, which fits without growing.
            let mut text = Zeroizing::new(Vec::with_capacity(KEY_ANSWER));
            serde_json::to_writer(&mut *text, &ResponseLine::new(answer))?;
            text.push(b'\n');
            io::Result::Ok(text)
        });
        let text = text.await.map_err(io::Error::other)??;
        let mut rest = text.as_slice();
        // A long answer may take long; what is limited is how long nothing of it is taken.
        while !rest.is_empty() {
            let written = timeout(SLOW, self.writer.write(rest)).await;
            let written = written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
        }
        Ok(())
    }
}

fn read(line: &[u8]) -> Result<Request, ErrorReply> {
    let bad = |error| ErrorReply::new(ErrorCode::BadRequest, format!("no request: {error}"));
    let value: serde_json::Value = serde_json::from_slice(line).map_err(bad)?;
    // Looked at first: a request of another version need not be readable.
    if let Some(version) = value.get("version").and_then(serde_json::Value::as_u64)
        && version != u64::from(VERSION)
    {
        let message = format!("this daemon speaks version {VERSION}, the request has {version}");
        return Err(ErrorReply::new(ErrorCode::Version, message));
    }
    let line: RequestLine = serde_json::from_value(value).map_err(bad)?;
    Ok(line.request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{EngineOptions, Writer},
        store::{MemoryStore, Store},
    };

    /// What a client gets for a request, from a daemon whose loop is gone.
    async fn ask(request: Request, privileged: bool) -> ErrorCode {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (asked, mut questions) = mpsc::channel(4);
        let (_keep, snapshot) = watch::channel(Snapshot::default());
        let user = if privileged { Some(0) } else { None };
        let store = Arc::new(MemoryStore::new());
        let writer = Writer::open(store, EngineOptions::default()).unwrap();
        let (running, _deliveries) = writer.start().unwrap();
        let engine = running.engine.clone();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let metering = Metering::open(store, asked.clone(), snapshot.clone()).unwrap();
        let mut connection = Connection::new(theirs, user, asked, snapshot, engine, metering);
        let answering = tokio::spawn(async move { connection.answer(request).await });
        let nobody = tokio::spawn(async move { while questions.recv().await.is_some() {} });
        let mut line = String::new();
        let mut reader = BufReader::new(ours);
        reader.read_line(&mut line).await.unwrap();
        answering.await.unwrap().unwrap();
        nobody.await.unwrap();
        match serde_json::from_str::<ResponseLine>(&line).unwrap().answer {
            Response::Error(error) => error.code,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn keys_are_not_for_the_group_of_the_socket() {
        let connection = || "c".to_owned();
        for request in [
            Request::SharedKey {
                connection: connection(),
            },
            Request::SetSharedKey {
                connection: connection(),
                value: super::super::KeyText::new("abc123".to_owned()),
            },
            Request::ResetSharedKey {
                connection: connection(),
                length: 32,
            },
        ] {
            assert_eq!(ask(request.clone(), false).await, ErrorCode::NotAllowed);
            assert_eq!(ask(request, true).await, ErrorCode::Name);
        }
        assert_eq!(
            ask(Request::Status {}, false).await,
            ErrorCode::Ending,
            "all else is"
        );
    }

    #[test]
    fn root_and_the_daemons_own_user_are_privileged() {
        let own = nix::unistd::geteuid().as_raw();
        assert!(is_privileged(0) && is_privileged(own));
        assert!(!is_privileged(own + 1));
    }
}
