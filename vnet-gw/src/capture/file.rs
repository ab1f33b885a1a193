//! Capture files: new ones, for their owner alone, where they may be.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Interface, Packet, Pcapng, Progress, Sink, Why};

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the file {0}: an absolute path without `..` is needed")]
    Form(PathBuf),
    #[error("the file {path}: captures that come through the API are kept below {below}")]
    Elsewhere { path: PathBuf, below: PathBuf },
    #[error("the directory {path}: {source}; make it first")]
    Directory { path: PathBuf, source: io::Error },
    #[error("the file {0} is there already: choose another, or remove it")]
    Exists(PathBuf),
    #[error("the file {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Makes a capture's file and writes what stands before its packets. Its directory must be there;
/// and below `below`, where that is said.
///
/// # Errors
/// Nothing is left behind.
pub fn create(
    path: &Path,
    below: Option<&Path>,
    interfaces: &[Interface],
    snap: u32,
) -> Result<Box<dyn Sink>, FileError> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(FileError::Form(path.to_owned()));
    };
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(FileError::Form(path.to_owned()));
    }
    let failed = |source| FileError::Directory {
        path: directory.to_owned(),
        source,
    };
    // Links on the way are followed before it is looked at where they lead.
    let directory = fs::canonicalize(directory).map_err(failed)?;
    if let Some(below) = below {
        let failed = |source| FileError::Directory {
            path: below.to_owned(),
            source,
        };
        let root = fs::canonicalize(below).map_err(failed)?;
        if !directory.starts_with(&root) {
            return Err(FileError::Elsewhere {
                path: path.to_owned(),
                below: below.to_owned(),
            });
        }
    }
    let path = directory.join(name);
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&path);
    let file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(path.clone()),
        _ => FileError::Io {
            path: path.clone(),
            source,
        },
    })?;
    match Pcapng::begin(BufWriter::new(file), interfaces, snap) {
        Ok(pcapng) => Ok(Box::new(CaptureFile { path, pcapng })),
        Err(source) => {
            // It has just been made, and has nothing in it.
            let _ = fs::remove_file(&path);
            Err(FileError::Io { path, source })
        }
    }
}

struct CaptureFile {
    path: PathBuf,
    pcapng: Pcapng<BufWriter<File>>,
}

impl CaptureFile {
    fn failed(&self, error: &io::Error) -> Why {
        Why::Failed(format!("writing {}: {error}", self.path.display()))
    }
}

impl Sink for CaptureFile {
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Why> {
        let written = self.pcapng.packet(packet);
        written.map_err(|error| self.failed(&error))
    }

    fn flush(&mut self) -> Result<(), Why> {
        let flushed = self.pcapng.flush();
        flushed.map_err(|error| self.failed(&error))
    }

    fn written(&self) -> u64 {
        self.pcapng.written()
    }

    fn end(&mut self, progress: &Progress, why: &Why) {
        if matches!(why, Why::Failed(_)) {
            return;
        }
        if let Err(error) = self.pcapng.end(progress, now()) {
            log::warn!("the end of the capture {}: {error}", self.path.display());
        }
    }
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
