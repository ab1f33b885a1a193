//! The listeners: a thread and a runtime of their own.

mod connection;
mod listen;
mod patient;
mod places;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::Router;
use rustls::ServerConfig;
use tokio::{runtime, sync::watch};

use super::{Api, router};
pub use listen::ListenError;
use listen::{Listener, Sockets};

/// Connections over TLS at once; one more takes the place of one that waits.
const NETWORK: usize = 512;
/// On the Unix socket, so that neither side keeps the other out.
const LOCAL: usize = 256;
/// How long requests that are under way have when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the API is served.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Over TLS.
    pub addresses: Vec<SocketAddr>,
    /// Nothing is served over the network without it.
    pub tls: Option<Arc<ServerConfig>>,
    pub socket: PathBuf,
    /// Who besides root and the daemon's own user may open the socket.
    pub group: Option<u32>,
}

/// The API while it is served.
#[derive(Debug)]
pub struct Server {
    thread: Option<JoinHandle<()>>,
    end: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
    socket: PathBuf,
}

impl Server {
    /// Listens, and serves until it is ended. The caller holds the instance's lock: a socket that
    /// is there is nobody's.
    ///
    /// # Errors
    ///
    /// Where an address or the socket cannot be had.
    pub fn start(api: Arc<Api>, open: Router, listen: &Listen) -> Result<Self, ListenError> {
        let sockets = Sockets::bind(listen)?;
        let addresses = sockets.addresses();
        let tls = listen.tls.clone();
        let (end, ended) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ListenError::Thread)?;
        let thread = thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || {
                let served = runtime.block_on(serve(router(api, open), sockets, tls, ended));
                if let Err(error) = served {
                    log::error!("api: {error}; it is not served any more");
                }
                // Operations that nobody waits for any more.
                runtime.shutdown_background();
            })
            .map_err(ListenError::Thread)?;
        for address in &addresses {
            log::info!("api: https://{address}");
        }
        log::info!("api: {}", listen.socket.display());
        Ok(Self {
            thread: Some(thread),
            end,
            addresses,
            socket: listen.socket.clone(),
        })
    }

    /// Where it listens over TLS: with the port that a 0 became.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Server {
    /// Serves nobody new; requests that are under way have a moment.
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was told when it happened.
            let _ = thread.join();
        }
        // Left over, it would only be replaced by the next daemon.
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn serve(
    router: Router,
    sockets: Sockets,
    tls: Option<Arc<ServerConfig>>,
    mut ended: watch::Receiver<bool>,
) -> io::Result<()> {
    let network = places::Places::new(NETWORK);
    let local = places::Places::new(LOCAL);
    for listener in sockets.into_listeners()? {
        match (listener, &tls) {
            (Listener::Network(listener), Some(tls)) => {
                let accept = connection::accept_tls(
                    listener,
                    Arc::clone(tls),
                    router.clone(),
                    network.clone(),
                    ended.clone(),
                );
                tokio::spawn(accept);
            }
            (Listener::Network(_), None) => {}
            (Listener::Local(listener), _) => {
                let accept = connection::accept_local(
                    listener,
                    router.clone(),
                    local.clone(),
                    ended.clone(),
                );
                tokio::spawn(accept);
            }
        }
    }
    // Its sender going means the same.
    let _ = ended.wait_for(|ended| *ended).await;
    let all = async {
        network.all_free().await;
        local.all_free().await;
    };
    let _ = tokio::time::timeout(FAREWELL, all).await;
    Ok(())
}
