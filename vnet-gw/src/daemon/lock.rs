//! One daemon an instance.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use nix::fcntl::{Flock, FlockArg};

use crate::{control::RuntimeDir, datapath::Instance};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "instance {instance}: vnet-gw runs already (process {pid}); stop that one first, or choose another --instance"
    )]
    Taken { instance: String, pid: String },
    #[error("{path}: {source}; run as root")]
    Io { path: PathBuf, source: io::Error },
}

/// Held by whoever changes an instance: the daemon, or `down`. The kernel lets go of it when the
/// process ends, however it ends. The file stays: removing it would let two processes hold two
/// locks of one name.
#[derive(Debug)]
pub struct InstanceLock {
    _file: Flock<File>,
}

impl InstanceLock {
    pub fn take(dir: &RuntimeDir, instance: &Instance) -> Result<Self, LockError> {
        let path = dir.lock(instance);
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        dir.create().map_err(|source| LockError::Io {
            path: dir.path().to_owned(),
            source,
        })?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0).map_err(failed)?;
                file.rewind().map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                Ok(Self { _file: file })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                // Only for the message; the holder may be about to write it.
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() {
                    "unknown"
                } else {
                    pid.trim()
                };
                Err(LockError::Taken {
                    instance: instance.name.clone(),
                    pid: pid.to_owned(),
                })
            }
            Err((_, error)) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cannot_have_one_instance() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::new(scratch.path().join("run"));
        let (one, other) = (
            Instance { name: "one".into() },
            Instance {
                name: "other".into(),
            },
        );
        let held = InstanceLock::take(&dir, &one).unwrap();
        let error = InstanceLock::take(&dir, &one).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        InstanceLock::take(&dir, &other).unwrap();
        drop(held);
        InstanceLock::take(&dir, &one).unwrap();
    }
}
