//! Where an instance is pinned.

use std::path::{Path, PathBuf};

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
        Ok(Self { name: name.to_owned() })
    }

    /// `/sys/fs/bpf/vnet-gw/NAME`
    pub fn pins(&self) -> PathBuf {
        Path::new(BPFFS).join("vnet-gw").join(&self.name)
    }
}
