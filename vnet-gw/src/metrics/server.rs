//! The listener: HTTP on a port of this host, in a thread of its own.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use super::Sources;

/// Connections at once; whoever comes later waits to be accepted.
const CONNECTIONS: usize = 16;
/// How long the next request may let wait for itself and its headers.
const HEADERS: Duration = Duration::from_secs(90);
/// How long a connection may last; scrapers come again.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest headers.
const BUFFER: usize = 16 * 1024;
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("--metrics {address}: {source}{hint}", hint = hint(.source))]
    Address {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the thread of --metrics: {0}")]
    Thread(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it: choose another port",
        io::ErrorKind::AddrNotAvailable => {
            "; this host does not have the address: `ip address` lists those it has"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root",
        _ => "",
    }
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Listens, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Where the address cannot be had.
    pub fn start(address: SocketAddr, sources: Sources) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError::Address { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(MetricsError::Thread)?;
        let (end, ended) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, sources, ended)) {
                    log::error!("metrics: {error}; they are not served any more");
                }
                runtime.shutdown_background();
            })
            .map_err(MetricsError::Thread)?;
        if !address.ip().is_loopback() {
            log::warn!(
                "metrics: http://{address}/metrics is open to whoever reaches it: names of resources \
                 and addresses of gateways are in it"
            );
        }
        log::info!("metrics: http://{address}/metrics");
        Ok(Self {
            address,
            end,
            thread: Some(thread),
        })
    }

    /// With the port that a 0 became.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was told when it happened.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpListener,
    sources: Sources,
    mut ended: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let sources = Arc::new(sources);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
            _ = ended.wait_for(|ended| *ended) => return Ok(()),
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|ended| *ended) => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&sources), place));
            }
            Err(error) => {
                log::warn!("metrics: {error}");
                // Out of descriptors, most likely: some may be closed meanwhile.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: tokio::net::TcpStream,
    sources: Arc<Sources>,
    _place: OwnedSemaphorePermit,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let sources = Arc::clone(&sources);
        async move { Ok::<_, Infallible>(answer(&sources, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(LONGEST, served).await {
        log::debug!("metrics: connection: {error}");
    }
}

async fn answer(sources: &Sources, request: Request<Incoming>) -> Response<Body> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), reads) {
        ("/metrics", true) => match sources.scrape().await {
            Ok(text) => response(StatusCode::OK, TEXT, text),
            Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        },
        ("/metrics", false) => plain(StatusCode::METHOD_NOT_ALLOWED, "metrics are read with GET"),
        _ => plain(StatusCode::NOT_FOUND, "metrics are at /metrics"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
