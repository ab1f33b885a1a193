//! Binding what is listened at.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use super::Listen;

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("--listen {address}: {source}{hint}", hint = hint(.source))]
    Address {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the API's socket {path}: {source}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("the API's thread: {0}")]
    Thread(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another daemon may have it: choose another with --listen ADDRESS:PORT, or serve the \
             Unix socket only with --listen off"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this host does not have the address: `ip address` lists those it has"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root",
        _ => "",
    }
}

/// Bound, and not yet known to a runtime.
pub(super) struct Sockets {
    network: Vec<TcpListener>,
    local: UnixListener,
}

/// Known to the runtime.
pub(super) enum Listener {
    Network(tokio::net::TcpListener),
    Local(tokio::net::UnixListener),
}

impl Sockets {
    pub(super) fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let network = listen.addresses.iter().map(|address| {
            let bind = || {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            };
            bind().map_err(|source| ListenError::Address {
                address: *address,
                source,
            })
        });
        let network = match listen.tls {
            Some(_) => network.collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let local = local(&listen.socket, listen.group).map_err(|source| ListenError::Socket {
            path: listen.socket.clone(),
            source,
        })?;
        Ok(Self { network, local })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.network.iter();
        listeners
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// To be called in the runtime.
    pub(super) fn into_listeners(self) -> io::Result<Vec<Listener>> {
        let network = self
            .network
            .into_iter()
            .map(|listener| tokio::net::TcpListener::from_std(listener).map(Listener::Network));
        let local = tokio::net::UnixListener::from_std(self.local).map(Listener::Local);
        network.chain([local]).collect()
    }
}

fn local(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    // It takes its place only when its mode is right, and in one step.
    let new = path.with_extension("sock.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    if group.is_some() {
        chown(&new, None, group)?;
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    Ok(listener)
}
