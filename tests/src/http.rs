//! HTTP/1.1 by hand, over TLS or a Unix socket: requests that no library would send, too.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// For requests that do not try another.
pub const API_VERSION: &str = "2024-07-01";
/// The subscription that a daemon has if nobody says otherwise.
pub const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000000";

/// Where an API is.
#[derive(Clone, Debug)]
pub enum Server {
    Tls {
        address: SocketAddr,
        config: Arc<ClientConfig>,
        token: String,
    },
    Unix(PathBuf),
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection that is kept.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    head: String,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null where there is none.
    pub fn json(&self) -> Result<Value> {
        match self.bytes.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&self.bytes)
                .with_context(|| format!("an answer: {}", String::from_utf8_lossy(&self.bytes))),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Server {
    /// Over TLS, trusting the CA in a file.
    pub fn tls(address: SocketAddr, ca: &Path, token: &str) -> Result<Self> {
        let pem = fs::read(ca).with_context(|| format!("reading {}", ca.display()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.context("the CA's certificate")?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::Tls {
            address,
            config: Arc::new(config),
            token: token.to_owned(),
        })
    }

    /// The same server, for the bearer of another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(path.clone()),
            Self::Tls {
                address, config, ..
            } => Self::Tls {
                address: *address,
                config: Arc::clone(config),
                token: token.to_owned(),
            },
        }
    }

    /// Connects, from the network namespace of the calling thread.
    pub fn connect(&self) -> Result<Connection> {
        let mut head = String::new();
        let stream: Box<dyn Stream> = match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)
                    .with_context(|| format!("connecting to {}", path.display()))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                head.push_str("host: localhost\r\n");
                Box::new(stream)
            }
            Self::Tls {
                address,
                config,
                token,
            } => {
                let stream = TcpStream::connect(address)
                    .with_context(|| format!("connecting to {address}"))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                let name = ServerName::from(address.ip());
                let tls = ClientConnection::new(Arc::clone(config), name)?;
                // Writing to a string does not fail.
                let _ = write!(head, "host: {address}\r\n");
                if !token.is_empty() {
                    let _ = write!(head, "authorization: Bearer {token}\r\n");
                }
                Box::new(StreamOwned::new(tls, stream))
            }
        };
        Ok(Connection {
            stream: BufReader::new(stream),
            head,
        })
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.connect()?.ask(method, path, body)
    }

    /// A token for a service principal.
    pub fn sign_in(&self, tenant: &str, client_id: &str, secret: &str) -> Result<String> {
        let scope = match self {
            Self::Tls { address, .. } => format!("https%3A%2F%2F{address}%2F.default"),
            Self::Unix(_) => String::new(),
        };
        let form = format!(
            "grant_type=client_credentials&client_id={client_id}&client_secret={secret}&scope={scope}"
        );
        let answer = self.connect()?.send(
            "POST",
            &format!("/{tenant}/oauth2/v2.0/token"),
            &[("content-type", "application/x-www-form-urlencoded")],
            form.as_bytes(),
        )?;
        match answer.json()?.get("access_token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => bail!(
                "no token: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.bytes)
            ),
        }
    }
}

impl Connection {
    /// A request with an api-version, and a body of JSON if any.
    pub fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = match path.contains("api-version") {
            true => path.to_owned(),
            false => format!("{path}{joint}api-version={API_VERSION}"),
        };
        match body {
            Some(body) => {
                let headers = [("content-type", "application/json")];
                self.send(method, &path, &headers, body.to_string().as_bytes())
            }
            None => self.send(method, &path, &[], b""),
        }
    }

    /// A request as it is, but for the headers that say how long it is, from whom and to whom.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let mut text = format!("{method} {path} HTTP/1.1\r\n{}", self.head);
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "content-length: {}\r\n\r\n", body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    /// Whatever bytes, and the answer to them.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<Answer> {
        let stream = self.stream.get_mut();
        // A server that refuses early may close before all is written; its answer counts.
        let _ = stream.write_all(bytes).and_then(|()| stream.flush());
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let status = self.line()?;
        let status: u16 = match status.split(' ').nth(1).map(str::parse) {
            Some(Ok(status)) => status,
            _ => bail!("no status: {status:?}"),
        };
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let mut answer = Answer {
            status,
            headers,
            bytes: Vec::new(),
        };
        let length = answer.header("content-length").map(str::parse::<usize>);
        if answer.header("transfer-encoding").is_some() {
            bail!("the answer is chunked");
        }
        answer.bytes = vec![0; length.transpose()?.unwrap_or_default()];
        self.stream.read_exact(&mut answer.bytes)?;
        Ok(answer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// A virtual network as its PUT says it, with one subnet of its first 256 addresses.
pub fn virtual_network(a: u8, b: u8) -> Value {
    json!({
        "location": "westeurope",
        "properties": {
            "addressSpace": { "addressPrefixes": [format!("10.{a}.{b}.0/24")] },
            "subnets": [{
                "name": "s",
                "properties": { "addressPrefix": format!("10.{a}.{b}.0/25") },
            }],
        },
    })
}
