//! Where an instance is pinned, and who may change it.
//!
//! ```text
//! /sys/fs/bpf/vnet-gw/NAME/
//!     VG_…                     the maps, by name
//!     programs/HASH/           the programs of one eBPF object, by name
//!     links/xdp-IFINDEX        the XDP link of a port, by the index of its interface
//!     links/tcx-IFINDEX        the TCX link of a port
//! ```

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{DatapathError, sys};

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
    /// What the operator should know about the place.
    warning: Option<String>,
}

impl Directory {
    /// Makes what is missing, bpffs included.
    pub(super) fn create(instance: &Instance) -> Result<Self, DatapathError> {
        // Names reach here from the command line, too.
        Instance::new(&instance.name)?;
        let mounted = mount_bpffs()?;
        let mut directory = loop {
            make(&instance.pins())?;
            if let Some(directory) = Self::lock(instance)? {
                break directory;
            }
        };
        if mounted && in_own_mount_namespace() {
            directory.warning = Some(format!(
                "{BPFFS} is mounted in this mount namespace only, so forwarding ends with it: start \
                 with `nsenter --net=…` instead of `ip netns exec`, or mount the host's bpffs here"
            ));
        }
        make(&directory.links())?;
        make(&directory.programs())?;
        Ok(directory)
    }

    /// `None` where the instance has no directory.
    pub(super) fn existing(instance: &Instance) -> Result<Option<Self>, DatapathError> {
        Instance::new(&instance.name)?;
        if !instance.pins().is_dir() {
            return Ok(None);
        }
        Self::lock(instance)
    }

    /// `None` where it was removed in the meantime.
    fn lock(instance: &Instance) -> Result<Option<Self>, DatapathError> {
        let path = instance.pins();
        let failed = |operation, source| DatapathError::Pin {
            operation,
            path: path.clone(),
            source,
        };
        let opened = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| failed("opening", source))?,
        };
        let lock = match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => {
                let instance = instance.name.clone();
                return Err(DatapathError::Busy { instance });
            }
            Err((_, errno)) => return Err(failed("locking", errno.into())),
        };
        // What was locked may be a directory that was removed before, and made again since.
        let locked = lock
            .metadata()
            .map_err(|source| failed("reading", source))?
            .ino();
        let same = fs::metadata(&path).is_ok_and(|now| now.ino() == locked);
        Ok(same.then_some(Self {
            path,
            _lock: lock,
            warning: None,
        }))
    }

    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
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
/// Detaches a pinned link and removes its pin. Without the first the program would go on until the
/// kernel gets round to freeing the link.
pub(super) fn remove_link(path: &Path) -> Result<(), DatapathError> {
    if let Ok(link) = sys::object_get(path) {
        // A link whose device is gone is detached already.
        let _ = sys::link_detach(link.as_fd());
    }
    remove(path)
}

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

/// In a mount namespace of its own, as under `ip netns exec`, a bpffs mounted by us is seen by
/// nobody else, and goes with the namespace.
fn in_own_mount_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let (ours, init) = (namespace("self"), namespace("1"));
    ours.is_some() && init.is_some() && ours != init
}

/// Whether it had to be mounted.
fn mount_bpffs() -> Result<bool, DatapathError> {
    let path = Path::new(BPFFS);
    let failed = |source: io::Error| DatapathError::Bpffs {
        path: path.to_owned(),
        source,
    };
    let there = || {
        let kind = statfs(path).map(|found| found.filesystem_type());
        kind.map(|kind| kind == BPF_FS_MAGIC)
            .map_err(|errno| failed(errno.into()))
    };
    if there()? {
        return Ok(false);
    }
    // Of two that find none, the second must not cover what the first mounts and fills.
    let _one_at_a_time = File::open(path)
        .and_then(|file| {
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
        })
        .map_err(failed)?;
    if there()? {
        return Ok(false);
    }
    mount(
        Some("bpf"),
        path,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(|errno| failed(errno.into()))?;
    match there()? {
        true => Ok(true),
        false => Err(DatapathError::NotBpffs {
            path: path.to_owned(),
        }),
    }
}
