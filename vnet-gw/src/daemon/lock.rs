//! One daemon an instance.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
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
/// process ends, however it ends. The file goes while it is locked, and who locks a file that has
/// gone tries again: else two processes could hold two locks of one name.
#[derive(Debug)]
pub struct InstanceLock {
    path: PathBuf,
    _file: Flock<File>,
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // Left over, it would only be locked by the next one.
        let _ = fs::remove_file(&self.path);
    }
}

impl InstanceLock {
    pub fn take(dir: &RuntimeDir, instance: &Instance) -> Result<Self, LockError> {
        let path = dir.lock(instance);
        dir.create().map_err(|source| LockError::Io {
            path: dir.path().to_owned(),
            source,
        })?;
        loop {
            if let Some(lock) = Self::attempt(&path, instance)? {
                return Ok(lock);
            }
        }
    }

    /// `None` where the file was removed before it was locked.
    fn attempt(path: &Path, instance: &Instance) -> Result<Option<Self>, LockError> {
        let failed = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let locked = file.metadata().map_err(failed)?;
                let same = |named: fs::Metadata| {
                    (named.dev(), named.ino()) == (locked.dev(), locked.ino())
                };
                if !fs::metadata(path).is_ok_and(same) {
                    return Ok(None);
                }
                file.set_len(0).map_err(failed)?;
                file.rewind().map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                Ok(Some(Self {
                    path: path.to_owned(),
                    _file: file,
                }))
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
        assert!(!dir.lock(&one).exists(), "left over");
        InstanceLock::take(&dir, &one).unwrap();
    }
}
