//! The API of a daemon: with the identities that its store and its state directory have.

use std::{
    fs::{self, DirBuilder},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use axum::Router;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Api, ApiMetrics, Circles, Listen, ListenError, Operations, Server, Settings};
use crate::{
    control::{ApiStatus, Asked, RuntimeDir},
    datapath::Instance,
    engine::{Caller, Engine, Who, activity::ActivityStatus},
    identity::{self, Identity, TlsOptions},
};

/// Where the API is served over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// [`DEFAULT`], if nobody else has it: another instance may.
    Default,
    /// On the Unix socket only.
    Off,
    Given(Vec<SocketAddr>),
}

/// Where the API is served if nobody says otherwise: to this host only.
pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// How a daemon serves its API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    pub listen: Addresses,
    /// Names of this host for its certificate, besides those it knows.
    pub tls_names: Vec<String>,
    /// The operator's certificate chain and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub subscription: String,
    pub location: String,
    /// What this host is called, as in the tag `vnet-gw:host`.
    pub host: Option<String>,
    /// Whether routes to the internet lead through the host's network stack.
    pub internet: bool,
}

impl ApiOptions {
    /// On the Unix socket only.
    pub fn off() -> Self {
        Self {
            listen: Addresses::Off,
            tls_names: Vec::new(),
            certificate: None,
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            location: "local".to_owned(),
            host: None,
            internet: false,
        }
    }
}

/// The API, served; dropped, it ends.
#[derive(Debug)]
pub struct Serving {
    status: ApiStatus,
    metrics: ApiMetrics,
    // Ends before what it answers from is taken away.
    server: Server,
    _passing: Option<Passing>,
}

impl Serving {
    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn status(&self) -> &ApiStatus {
        &self.status
    }

    pub fn metrics(&self) -> &ApiMetrics {
        &self.metrics
    }
}

/// Whose API it is, and where its files are.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub instance: &'a Instance,
    pub runtime_dir: &'a RuntimeDir,
    /// Keys and certificates are kept in it; nothing: they end with the process.
    pub state_dir: Option<&'a Path>,
    /// Who besides root may open the Unix socket.
    pub group: Option<u32>,
}

/// Serves the API of an engine. `questions` lead to the daemon's loop.
///
/// # Errors
///
/// Where an address is not to be had, or a file with keys is not what it should be.
pub fn start(
    options: &ApiOptions,
    place: Place<'_>,
    engine: &Engine,
    questions: mpsc::Sender<Asked>,
) -> Result<Serving> {
    let name = &place.instance.name;
    let published = place.runtime_dir.ca_certificate(place.instance);
    let passing = match place.state_dir {
        Some(_) => None,
        None => Some(Passing::make(place.runtime_dir, name, &published)?),
    };
    let directory = match (&passing, place.state_dir) {
        (Some(passing), _) => passing.directory.as_path(),
        (None, Some(directory)) => directory,
        (None, None) => place.runtime_dir.path(),
    };
    let identity = Arc::new(Identity::open(directory, Arc::clone(engine.store()))?);
    let auditor = engine.clone();
    identity.audit(move |client, address, code| {
        let client: String = client.chars().take(64).collect();
        let caller = Caller {
            who: Who::Principal {
                client_id: client.clone(),
                name: client.clone(),
            },
            address,
            correlation_id: Uuid::new_v4().to_string(),
        };
        let resource = format!("/vnet-gw/principals/{client}");
        let refused = ActivityStatus::Refused;
        auditor.note(caller, "vnet-gw/signIn/action", &resource, refused, code);
    });
    let (addresses, tls) = match &options.listen {
        Addresses::Off => (Vec::new(), None),
        given => {
            let tls = identity::tls(&TlsOptions {
                directory: directory.to_owned(),
                published: Some(published.clone()),
                names: options.tls_names.clone(),
                own: options.certificate.clone(),
            })
            .context("the API's certificate")?;
            let addresses = match given {
                Addresses::Given(addresses) => addresses.clone(),
                _ => vec![DEFAULT],
            };
            (addresses, Some(tls))
        }
    };
    let metrics = ApiMetrics::default();
    let api = Arc::new(Api {
        engine: engine.clone(),
        questions,
        authenticator: Arc::clone(&identity) as _,
        operations: Operations::default(),
        settings: Settings {
            subscription: options.subscription.clone(),
            tenant: identity.tenant().to_owned(),
            location: options.location.clone(),
            host: options.host.clone(),
            internet: options.internet,
        },
        administration: identity::admin(Arc::clone(&identity)),
        metrics: metrics.clone(),
        circles: Circles::default(),
    });
    let open = match tls {
        Some(_) => identity::router(Arc::clone(&identity)),
        None => Router::new(),
    };
    let listen = Listen {
        addresses,
        tls,
        socket: place.runtime_dir.api_socket(place.instance),
        group: place.group,
    };
    let server = match Server::start(Arc::clone(&api), open.clone(), &listen) {
        Err(error @ ListenError::Address { .. }) if options.listen == Addresses::Default => {
            log::warn!("api: {error}. It is served on the Unix socket only");
            let local = Listen {
                addresses: Vec::new(),
                ..listen
            };
            Server::start(api, open, &local)
        }
        started => started,
    }?;
    let by_ca = !server.addresses().is_empty() && options.certificate.is_none();
    if by_ca {
        log::info!(
            "api: clients trust its certificate by {}",
            published.display()
        );
    }
    let addresses = server.addresses().iter();
    Ok(Serving {
        status: ApiStatus {
            addresses: addresses.map(|at| format!("https://{at}")).collect(),
            socket: place
                .runtime_dir
                .api_socket(place.instance)
                .display()
                .to_string(),
            ca_certificate: by_ca.then(|| published.display().to_string()),
            tenant: identity.tenant().to_owned(),
        },
        metrics,
        server,
        _passing: passing,
    })
}

/// A directory for the keys of a daemon that keeps nothing; it goes with it.
#[derive(Debug)]
struct Passing {
    directory: PathBuf,
    /// The certificate of a CA that nobody has any more.
    published: PathBuf,
}

impl Passing {
    fn make(runtime_dir: &RuntimeDir, name: &str, published: &Path) -> Result<Self> {
        let path = runtime_dir.path().join(format!("{name}.keys"));
        let make = || {
            // Of a daemon that was killed: whoever makes this one holds the instance's lock.
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            DirBuilder::new().mode(0o700).create(&path)
        };
        make().with_context(|| format!("the directory of the API's keys, {}", path.display()))?;
        Ok(Self {
            directory: path,
            published: published.to_owned(),
        })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.published);
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            log::warn!("{}: {error}", self.directory.display());
        }
    }
}
