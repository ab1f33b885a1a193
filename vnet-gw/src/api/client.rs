//! How the command line talks to the API of a running daemon: over its Unix socket, one request
//! after the other, long operations waited for.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, Request, Uri, header},
};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::UnixStream,
    runtime::{self, Runtime},
    time::{sleep, timeout},
};

use crate::{control::RuntimeDir, datapath::Instance};

/// Sent with every request that does not say one.
pub const API_VERSION: &str = "2024-07-01";
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at an operation: the daemon holds each of them for a while.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("instance {instance}: {path}: {source}; {hint}")]
    Connect {
        instance: String,
        path: PathBuf,
        source: io::Error,
        hint: String,
    },
    #[error("several instances run: {}; choose one with --instance", .0.join(", "))]
    Several(Vec<String>),
    #[error("{path}: {why}; see the daemon's log")]
    Talk { path: PathBuf, why: String },
    #[error("{0} is no path of a URL: begin it with /")]
    Url(String),
    #[error("{0}")]
    Refused(Box<Refused>),
}

/// The daemon says no.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// The whole body: `{"error": {…}}`.
    pub body: Value,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        let details = self
            .body
            .pointer("/error/details")
            .and_then(Value::as_array);
        for detail in details.into_iter().flatten() {
            let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default();
            let target = match text("target") {
                "" => String::new(),
                target => format!("{target}: "),
            };
            write!(f, "\n  {}: {target}{}", text("code"), text("message"))?;
        }
        Ok(())
    }
}

/// An answer that is no refusal.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null where there is none.
    pub body: Value,
}

impl Reply {
    /// What of the request has no effect here.
    pub fn warnings(&self) -> Vec<String> {
        let header = self.headers.get("x-vnet-gw-warnings");
        let list = header.and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
        list.unwrap_or_default()
    }
}

/// A daemon's API.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    runtime: Runtime,
    /// Until the daemon closes it.
    connection: Option<SendRequest<Body>>,
}

impl Client {
    /// That of the instance named; unnamed, of `default`, or of the only one that runs.
    ///
    /// # Errors
    ///
    /// Where it does not run, or may not be asked.
    pub fn connect(dir: &RuntimeDir, instance: Option<&Instance>) -> Result<Self, ClientError> {
        let default = || Instance {
            name: Instance::DEFAULT.to_owned(),
        };
        let instance = match (instance, dir.running().as_slice()) {
            (Some(instance), _) => instance.clone(),
            (None, names) if names.contains(&default().name) => default(),
            (None, []) => default(),
            (None, [name]) => Instance { name: name.clone() },
            (None, names) => return Err(ClientError::Several(names.to_vec())),
        };
        let path = dir.api_socket(&instance);
        let mut client = Self::at(&path)?;
        client.open().map_err(|source| ClientError::Connect {
            hint: match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run as root, or as a member of the socket's group".to_owned()
                }
                _ => format!(
                    "start it with `vnet-gw run --instance {0} --config FILE`",
                    instance.name
                ),
            },
            instance: instance.name,
            path,
            source,
        })?;
        Ok(client)
    }

    /// That at a socket; it is connected when it is first asked.
    ///
    /// # Errors
    ///
    /// Where this process can have no runtime.
    pub fn at(path: &Path) -> Result<Self, ClientError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            path: path.to_owned(),
            runtime: runtime.map_err(|error| ClientError::Talk {
                path: path.to_owned(),
                why: error.to_string(),
            })?,
            connection: None,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `path` may have a query; without an `api-version` in it, [`API_VERSION`] is sent.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] for every status from 400, and where there is no answer.
    pub fn get(&mut self, path: &str) -> Result<Reply, ClientError> {
        self.request(Method::GET, path, None)
    }

    /// Waits until the operation is done; the answer is then that of a GET of the same resource.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and why the operation failed.
    pub fn put(&mut self, path: &str, body: &Value) -> Result<Reply, ClientError> {
        self.follow(Method::PUT, path, Some(body))
    }

    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn patch(&mut self, path: &str, body: &Value) -> Result<Reply, ClientError> {
        self.follow(Method::PATCH, path, Some(body))
    }

    /// Waits until the operation is done; the answer is its result.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn post(&mut self, path: &str, body: Option<&Value>) -> Result<Reply, ClientError> {
        self.follow(Method::POST, path, body)
    }

    /// Waits until it is gone.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&mut self, path: &str) -> Result<Reply, ClientError> {
        self.follow(Method::DELETE, path, None)
    }

    /// Every item of a list, page after page.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn list(&mut self, path: &str) -> Result<Vec<Value>, ClientError> {
        let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let mut body = self.get(&path)?.body;
            if let Some(Value::Array(page)) = body.get_mut("value").map(Value::take) {
                all.extend(page);
            }
            next = body
                .get("nextLink")
                .and_then(Value::as_str)
                .map(str::to_owned);
        }
        Ok(all)
    }

    /// A request and its answer; long operations are waited for.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn follow(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, ClientError> {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        self.follow_bytes(method, path, bytes)
    }

    /// The same with a body as it stands, which need not be JSON.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn follow_bytes(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Reply, ClientError> {
        let first = self.request(method.clone(), path, body)?;
        let link = |name: &str| {
            let value = first.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let location = link("location");
        if let Some(operation) = link("azure-asyncoperation") {
            self.wait_for(&operation)?;
            let result = match (&method, location) {
                (&Method::PUT | &Method::PATCH, _) => Some(path.to_owned()),
                (_, location) => location,
            };
            let Some(result) = result else {
                return Ok(first);
            };
            let mut last = self.get(&result)?;
            if let Some(warnings) = first.headers.get("x-vnet-gw-warnings") {
                last.headers.insert("x-vnet-gw-warnings", warnings.clone());
            }
            last.status = first.status;
            return Ok(last);
        }
        match location.filter(|_| first.status == 202) {
            Some(location) => loop {
                let reply = self.get(&location)?;
                if reply.status != 202 {
                    return Ok(reply);
                }
                self.pause();
            },
            None => Ok(first),
        }
    }

    fn pause(&self) {
        // Made inside: a timer belongs to the runtime that it is made in.
        self.runtime.block_on(async { sleep(PAUSE).await });
    }

    fn wait_for(&mut self, operation: &str) -> Result<(), ClientError> {
        loop {
            let reply = self.get(operation)?;
            let status = reply.body.get("status").and_then(Value::as_str);
            match status.unwrap_or_default() {
                "Succeeded" => return Ok(()),
                "Failed" | "Canceled" => return Err(refused(reply.status, reply.body)),
                _ => self.pause(),
            }
        }
    }

    fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Reply, ClientError> {
        let uri = relative(path).ok_or_else(|| ClientError::Url(path.to_owned()))?;
        // A connection that was kept may have been closed; a new one is not.
        let mut fresh = self.connection.is_none();
        loop {
            if self.connection.is_none() {
                self.open().map_err(|error| self.talk(&error))?;
            }
            match self.send(&method, &uri, body.clone()) {
                Ok(reply) if reply.status >= 400 => return Err(refused(reply.status, reply.body)),
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.connection = None;
                    if fresh || !error.is_canceled() {
                        return Err(self.talk(&error));
                    }
                    fresh = true;
                }
            }
        }
    }

    fn send(
        &mut self,
        method: &Method,
        uri: &Uri,
        body: Option<Bytes>,
    ) -> Result<Reply, SendError> {
        let Some(connection) = &mut self.connection else {
            return Err(SendError::Other("not connected".to_owned()));
        };
        let mut request = Request::new(body.clone().map_or_else(Body::empty, Body::from));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        self.runtime.block_on(async {
            let answer = async {
                let response = connection.send_request(request).await?;
                let (parts, body) = response.into_parts();
                let bytes = body.collect().await?.to_bytes();
                Ok::<_, hyper::Error>((parts, bytes))
            };
            let answer = timeout(PATIENCE, answer).await;
            let answer = answer.map_err(|_| SendError::Other("no answer".to_owned()))?;
            let (parts, bytes) = answer.map_err(SendError::Http)?;
            let body = match bytes.is_empty() {
                true => Value::Null,
                false => serde_json::from_slice(&bytes)
                    .map_err(|error| SendError::Other(format!("the answer: {error}")))?,
            };
            Ok(Reply {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            })
        })
    }

    fn open(&mut self) -> io::Result<()> {
        let path = self.path.clone();
        let connection = self.runtime.block_on(async {
            let stream = UnixStream::connect(&path).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            tokio::spawn(async move {
                // Whoever sends is told.
                let _ = connection.await;
            });
            io::Result::Ok(sender)
        })?;
        self.connection = Some(connection);
        Ok(())
    }

    fn talk(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::Talk {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Http(hyper::Error),
    #[error("{0}")]
    Other(String),
}

impl SendError {
    /// Nothing of the request went out: the connection was closed before.
    fn is_canceled(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_canceled())
    }
}

fn refused(status: u16, body: Value) -> ClientError {
    let text = |name: &str| {
        let value = body.get("error").and_then(|error| error.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    ClientError::Refused(Box::new(Refused {
        status,
        code: text("code"),
        message: text("message"),
        body,
    }))
}

/// Path and query of a URL, absolute or not, with an api-version.
fn relative(url: &str) -> Option<Uri> {
    let path = match url.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => url,
    };
    if !path.starts_with('/') {
        return None;
    }
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let versioned = query.split('&').any(|part| {
        part.split('=')
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("api-version"))
    });
    let text = match (versioned, query) {
        (true, query) => format!("{bare}?{query}"),
        (false, "") => format!("{bare}?api-version={API_VERSION}"),
        (false, query) => format!("{bare}?{query}&api-version={API_VERSION}"),
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_relative_and_have_a_version() {
        for (url, becomes) in [
            ("/a", Some("/a?api-version=2024-07-01")),
            ("/a?x=1", Some("/a?x=1&api-version=2024-07-01")),
            ("/a?Api-Version=3", Some("/a?Api-Version=3")),
            (
                "http://localhost/a/b?api-version=3&$skipToken=x",
                Some("/a/b?api-version=3&$skipToken=x"),
            ),
            ("a", None),
            ("http://localhost", None),
            ("/a b", None),
        ] {
            assert_eq!(
                relative(url).map(|uri| uri.to_string()).as_deref(),
                becomes,
                "{url}"
            );
        }
    }
}
