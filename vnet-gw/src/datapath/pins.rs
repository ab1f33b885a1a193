//! Where an instance is pinned, and who may change it.
//!
//! ```text
//! /sys/fs/bpf/vnet-gw/NAME/
//!     VG_…                     the maps, by name
//!     programs/HASH/           the programs of one eBPF object, by name
//!     links/xdp-NIC            the XDP link of a port, by the hash of its NIC's resource id
//!     links/tcx-NIC            the TCX link of a port
//! ```

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::DatapathError;

const BPFFS: &str = "/sys/fs/bpf";

/// A data path of its own: its name chooses its directory in bpffs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    pub name: String,
}

impl Instance {
    pub const DEFAULT: &str = "default";

    /// # Errors
    /// A name that bpffs or a socket path cannot carry (bpffs refuses dots).
    pub fn new(name: &str) -> Result<Self, DatapathError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fine) {
            return Err(DatapathError::InstanceName(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// `/sys/fs/bpf/vnet-gw/NAME`
    pub fn pins(&self) -> PathBuf {
        Path::new(BPFFS).join("vnet-gw").join(&self.name)
    }

    /// Every instance that has something pinned, ordered by name.
    pub fn pinned() -> Vec<Self> {
        let entries = fs::read_dir(Path::new(BPFFS).join("vnet-gw"))
            .into_iter()
            .flatten();
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<Self> = names.map(|name| Self { name }).collect();
        found.sort();
        found
    }
}

/// The instance's directory, locked: one process at a time changes an instance. The lock goes with
/// the process, however it ends.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Directory {
    /// Makes what is missing, bpffs included.
    pub(super) fn create(instance: &Instance) -> Result<Self, DatapathError> {
        // Names reach here from the command line, too.
        Instance::new(&instance.name)?;
        mount_bpffs()?;
        let path = instance.pins();
        make(&path)?;
        let directory = Self::lock(instance, path)?;
        make(&directory.links())?;
        make(&directory.programs())?;
        Ok(directory)
    }

    /// `None` where the instance has no directory.
    pub(super) fn existing(instance: &Instance) -> Result<Option<Self>, DatapathError> {
        Instance::new(&instance.name)?;
        let path = instance.pins();
        if !path.is_dir() {
            return Ok(None);
        }
        Self::lock(instance, path).map(Some)
    }

    fn lock(instance: &Instance, path: PathBuf) -> Result<Self, DatapathError> {
        let opened = File::open(&path).map_err(|source| DatapathError::Pin {
            operation: "opening",
            path: path.clone(),
            source,
        })?;
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(DatapathError::Busy {
                instance: instance.name.clone(),
            }),
            Err((_, errno)) => Err(DatapathError::Pin {
                operation: "locking",
                path,
                source: errno.into(),
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    pub(super) fn programs(&self) -> PathBuf {
        self.path.join("programs")
    }
}

/// For root alone: whoever may write here may forward what he likes.
pub(super) fn make(path: &Path) -> Result<(), DatapathError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DatapathError::Pin {
            operation: "making directory",
            path: path.to_owned(),
            source,
        })
}

/// Removes a pin; fine where there is none.
pub(super) fn remove(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DatapathError::Pin {
            operation: "removing",
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// The names in a directory, ordered; none where it does not exist.
pub(super) fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn mount_bpffs() -> Result<(), DatapathError> {
    let path = Path::new(BPFFS);
    let failed = |source: Errno| DatapathError::Bpffs {
        path: path.to_owned(),
        source: source.into(),
    };
    if statfs(path).map_err(failed)?.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    mount(
        Some("bpf"),
        path,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(failed)?;
    match statfs(path).map_err(failed)?.filesystem_type() {
        BPF_FS_MAGIC => Ok(()),
        _ => Err(DatapathError::NotBpffs {
            path: path.to_owned(),
        }),
    }
}
