//! Where an instance has its socket and its lock.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use crate::datapath::Instance;

/// The directory of sockets and locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl Default for RuntimeDir {
    fn default() -> Self {
        Self::new(Self::PATH)
    }
}

impl RuntimeDir {
    pub const PATH: &str = "/run/vnet-gw";

    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self, instance: &Instance) -> PathBuf {
        self.0.join(format!("{}.sock", instance.name))
    }

    /// Where the API is served to local users.
    pub fn api_socket(&self, instance: &Instance) -> PathBuf {
        self.0.join(format!("{}.api.sock", instance.name))
    }

    /// The certificate of the CA that clients of the API trust.
    pub fn ca_certificate(&self, instance: &Instance) -> PathBuf {
        self.0.join(format!("{}.ca.pem", instance.name))
    }

    /// Takes away what a daemon leaves behind for its successor; the caller holds the lock.
    pub fn clear(&self, instance: &Instance) -> io::Result<()> {
        let left = [
            self.socket(instance),
            self.api_socket(instance),
            self.ca_certificate(instance),
        ];
        for path in left {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn lock(&self, instance: &Instance) -> PathBuf {
        self.0.join(format!("{}.lock", instance.name))
    }

    /// Makes the directory, open to all for passing through: the sockets in it are not.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o755))
    }

    /// The instances whose daemon accepts connections, by name.
    pub fn running(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path
                    .file_name()?
                    .to_str()?
                    .strip_suffix(".sock")?
                    .to_owned();
                // Others are no control sockets: names of instances have no dots.
                Instance::new(&name).ok()?;
                // A socket without a listener is what a killed daemon left behind.
                UnixStream::connect(&path).ok()?;
                Some(name)
            })
            .collect();
        names.sort();
        names
    }
}
