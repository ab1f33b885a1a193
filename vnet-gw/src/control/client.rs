//! The command line's end of the socket: blocking, since it has nothing else to do.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{ErrorReply, Request, RequestLine, Response, ResponseLine, RuntimeDir, VERSION};
use crate::datapath::Instance;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("instance {instance}: no daemon answers at {path}: {source}; {}", hint(.source, .instance, .running))]
    Connect {
        instance: String,
        path: PathBuf,
        source: io::Error,
        running: Vec<String>,
    },
    #[error("several instances run: {}; choose one with --instance", .0.join(", "))]
    Several(Vec<String>),
    #[error("the daemon at {path}: {source}")]
    Talk { path: PathBuf, source: io::Error },
    #[error(
        "the daemon at {path} did not answer within {} s; it is busy, or too many clients are \
         connected: try again, and see what it logged", PATIENCE.as_secs()
    )]
    Silent { path: PathBuf },
    #[error("the daemon at {0} went away before it answered; see what it logged")]
    Gone(PathBuf),
    #[error(
        "the daemon's answer is not understood: {0}; is it of the same version as this command?"
    )]
    Answer(serde_json::Error),
    #[error(
        "the daemon speaks version {0} of the protocol, this command version {VERSION}; use the same version of both"
    )]
    Version(u32),
    #[error("the daemon's answer is not one to this question; use the same version of both")]
    Unexpected,
    #[error("{0}")]
    Refused(#[from] ErrorReply),
}

fn hint(error: &io::Error, instance: &str, running: &[String]) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "run as root, or as a member of the socket's group".to_owned();
    }
    match running {
        [] if Instance::pinned()
            .iter()
            .any(|pinned| pinned.name == instance) =>
        {
            format!(
                "its data path forwards on without one: start it with `vnet-gw run --instance {instance} --config FILE`, or remove it with `vnet-gw down --instance {instance}`"
            )
        }
        [] => format!("start it with `vnet-gw run --instance {instance} --config FILE`"),
        names => format!("running: {} (choose with --instance)", names.join(", ")),
    }
}

/// How long an answer may take: a reload of a million routes is in the way for a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the instance named; unnamed, to `default`, or to the only one that runs.
    pub fn connect(dir: &RuntimeDir, instance: Option<&Instance>) -> Result<Self, ClientError> {
        let default = Instance {
            name: Instance::DEFAULT.to_owned(),
        };
        if let Some(instance) = instance {
            return Self::to(dir, instance);
        }
        let running = dir.running();
        match running.as_slice() {
            names if names.contains(&default.name) => Self::to(dir, &default),
            [name] => Self::to(dir, &Instance { name: name.clone() }),
            [] => Self::to(dir, &default),
            _ => Err(ClientError::Several(running)),
        }
    }

    fn to(dir: &RuntimeDir, instance: &Instance) -> Result<Self, ClientError> {
        let path = dir.socket(instance);
        let stream = UnixStream::connect(&path).map_err(|source| ClientError::Connect {
            instance: instance.name.clone(),
            path: path.clone(),
            source,
            running: dir.running(),
        })?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(|source| ClientError::Talk {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            stream: BufReader::new(stream),
            path,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One question, one answer. An error answer is an error.
    pub fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        let line = RequestLine {
            version: VERSION,
            request,
        };
        // May be a key's, which fits without growing.
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        serde_json::to_writer(&mut *text, &line).map_err(ClientError::Answer)?;
        text.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&text)
            .map_err(|source| self.talk(source))?;
        self.receive()?
            .ok_or_else(|| ClientError::Gone(self.path.clone()))
    }

    /// Waits for the answers of a stream for as long as they take.
    pub fn patient(&mut self) -> Result<(), ClientError> {
        self.stream
            .get_ref()
            .set_read_timeout(None)
            .map_err(|source| self.talk(source))
    }

    /// The next answer of a stream; `None` where the daemon closed it.
    pub fn receive(&mut self) -> Result<Option<Response>, ClientError> {
        let mut line = Zeroizing::new(String::with_capacity(4096));
        if self
            .stream
            .read_line(&mut line)
            .map_err(|source| self.talk(source))?
            == 0
        {
            return Ok(None);
        }
        let answer: ResponseLine = match serde_json::from_str(&line) {
            Ok(answer) => answer,
            Err(error) => {
                // Of another version, perhaps: what that is can be read whatever the rest is.
                let version = serde_json::from_str::<serde_json::Value>(&line).ok();
                let version = version.and_then(|value| value.get("version")?.as_u64());
                return Err(match version {
                    Some(version) if version != u64::from(VERSION) => {
                        ClientError::Version(u32::try_from(version).unwrap_or(u32::MAX))
                    }
                    _ => ClientError::Answer(error),
                });
            }
        };
        match answer {
            ResponseLine { version, .. } if version != VERSION => {
                Err(ClientError::Version(version))
            }
            ResponseLine {
                answer: Response::Error(error),
                ..
            } => Err(error.into()),
            ResponseLine { answer, .. } => Ok(Some(answer)),
        }
    }

    fn talk(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent { path },
            _ => ClientError::Talk { path, source },
        }
    }
}
