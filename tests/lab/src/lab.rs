//! The owner of the namespaces, and its guardian.

use std::{
    cell::RefCell,
    fs::{self, File, OpenOptions},
    io::Write,
    os::fd::OwnedFd,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::netns::{Netns, run};

/// Where labs keep their directories.
const ROOT: &str = "/run/vnet-gw-lab";
/// Held while a directory of [`ROOT`] is made or swept, never longer. Not below `ROOT`, which the
/// last lab removes.
const ROOT_LOCK: &str = "/run/vnet-gw-lab.lock";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Namespaces, what runs in them, and a scratch directory. Dropping it removes everything and
/// returns when that is done.
pub struct Lab {
    id: String,
    dir: PathBuf,
    guardian: Option<(Child, OwnedFd)>,
    /// The names given to [`Lab::namespace`], for messages.
    names: RefCell<Vec<String>>,
}

impl Lab {
    /// A lab of its own, after sweeping those that nobody owns any more.
    pub fn new() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("network namespaces need root: run as root (nothing was changed)");
        }
        let _lock = root_lock()?;
        sweep()?;
        let id = format!(
            "lab{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let dir = Path::new(ROOT).join(&id);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let guardian = guard(&dir).inspect_err(|_| {
            // Nothing else is in it yet; the error that is reported is the guardian's.
            let _ = fs::remove_dir_all(&dir);
        })?;
        Ok(Self {
            id,
            dir,
            guardian: Some(guardian),
            names: RefCell::default(),
        })
    }

    /// Unique on this machine while the lab lives.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A scratch directory; removed with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a namespace, known to `ip netns` as the lab's id and `name`, with its loopback up.
    pub fn namespace(&self, name: &str) -> Result<Netns> {
        if self.names.borrow().iter().any(|other| other == name) {
            bail!("the lab already has a namespace {name}");
        }
        let full = format!("{}-{name}", self.id);
        // Written first: a namespace that is not there yet does not hurt the guardian.
        self.note("namespaces", &full)?;
        run(Command::new("ip").args(["netns", "add", &full]))?;
        self.names.borrow_mut().push(name.to_owned());
        let netns = Netns::open(name, &full)?;
        netns.prepare()?;
        Ok(netns)
    }

    /// A name for an instance of the daemon whose pins and sockets are removed with the lab.
    pub fn instance(&self, name: &str) -> Result<String> {
        let full = format!("{}-{name}", self.id);
        self.adopt_instance(&full)?;
        Ok(full)
    }

    /// Has the pins and sockets of the instance `name` removed with the lab.
    pub fn adopt_instance(&self, name: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            bail!("{name:?} is no name for an instance: letters, digits, '-' and '_' only");
        }
        self.note("instances", name)
    }

    /// Wires two namespaces: device `a.1` in `a.0` and `b.1` in `b.0`, both down.
    pub fn veth(&self, a: (&Netns, &str), b: (&Netns, &str)) -> Result<()> {
        // Made inside `a`, so that the names never appear in the caller's namespace.
        a.0.ip(&format!(
            "link add name {} type veth peer name {} netns {}",
            a.1,
            b.1,
            b.0.full_name()
        ))
    }

    fn note(&self, file: &str, line: &str) -> Result<()> {
        let path = self.dir.join(file);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((mut guardian, pipe)) = self.guardian.take() {
            drop(pipe);
            // A wait that fails leaves the guardian to finish on its own.
            let _ = guardian.wait();
        }
    }
}

fn root_lock() -> Result<Flock<File>> {
    let file =
        File::create(ROOT_LOCK).with_context(|| format!("creating the lock file {ROOT_LOCK}"))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("locking {ROOT_LOCK}"))
}

/// Starts the guardian of `dir`. It and the lab share the lock on the directory, so the lock is
/// free only when both are gone.
fn guard(dir: &Path) -> Result<(Child, OwnedFd)> {
    let lock = dir.join("lock");
    let file = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("locking {}", lock.display()))?;
    let file = held
        .try_clone()
        .context("duplicating the lock of the lab")?;
    // Unlocking is left to the last close, which is the guardian's.
    std::mem::forget(held);
    let (reader, writer) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC).context("making the guardian's pipe")?;
    let guardian = cleaner(dir, std::process::id())
        .stdin(reader)
        .stdout(file)
        .process_group(0)
        .spawn()
        .context("starting the lab's guardian (sh)")?;
    Ok((guardian, writer))
}

fn cleaner(dir: &Path, owner: u32) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", include_str!("clean.sh"), "vnet-gw-lab"])
        .arg(dir)
        .arg(owner.to_string())
        .current_dir("/");
    command
}

/// Cleans up after labs that have neither owner nor guardian.
fn sweep() -> Result<()> {
    let entries = match fs::read_dir(ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {ROOT}")),
    };
    for entry in entries {
        let dir = entry.with_context(|| format!("reading {ROOT}"))?.path();
        let Ok(file) = File::open(dir.join("lock")) else {
            // Its guardian is removing it right now.
            continue;
        };
        if let Ok(_abandoned) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            run(cleaner(&dir, 0).stdin(Stdio::null()))
                .with_context(|| format!("cleaning up after {}", dir.display()))?;
        }
    }
    Ok(())
}
