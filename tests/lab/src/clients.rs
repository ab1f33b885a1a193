//! Azure's own clients, the CLI and the Python SDKs, in a virtual environment that is made once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Every package with its version.
const REQUIREMENTS: &str = include_str!("../../clients/requirements.txt");
/// What Python needs to make virtual environments, as Debian calls it.
pub const PACKAGE: &str = "python3-venv";
/// A registry that is out of breath once is asked again.
const TRIES: u32 = 3;

/// The virtual environment.
#[derive(Clone, Debug)]
pub struct Clients {
    dir: PathBuf,
}

impl Clients {
    /// The one below `target`, a directory for what is built; made where it is not there or of other
    /// versions.
    ///
    /// # Errors
    ///
    /// Where no Python here can make it, or the packages cannot be had.
    pub fn ensure(target: &Path) -> Result<Self> {
        let tools = target.join("tools");
        fs::create_dir_all(&tools).with_context(|| format!("creating {}", tools.display()))?;
        let tools = tools.canonicalize().context("finding target/tools")?;
        let clients = Self {
            dir: tools.join("azure-clients"),
        };
        let _lock = lock(&tools.join("azure-clients.lock"))?;
        // It names where it is in its own files: moved, it is of no use.
        let stamp = format!("{}\n{REQUIREMENTS}", clients.dir.display());
        let done = clients.dir.join("complete");
        if fs::read_to_string(&done).is_ok_and(|found| found == stamp) {
            return Ok(clients);
        }
        clients.make()?;
        fs::write(&done, stamp).with_context(|| format!("writing {}", done.display()))?;
        Ok(clients)
    }

    /// A program of the environment: `az`, `python`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Where Python may keep what it compiled: not beside sources.
    pub fn bytecode(&self) -> PathBuf {
        self.dir.join("bytecode")
    }

    fn make(&self) -> Result<()> {
        let python = python().with_context(|| {
            format!("no Python here makes virtual environments: apt-get install {PACKAGE}")
        })?;
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)
                .with_context(|| format!("removing the old {}", self.dir.display()))?;
        }
        run(Command::new(python).args(["-m", "venv"]).arg(&self.dir))?;
        let list = self.dir.join("requirements.txt");
        fs::write(&list, REQUIREMENTS).with_context(|| format!("writing {}", list.display()))?;
        let mut last = None;
        for _ in 0..TRIES {
            let mut pip = Command::new(self.program("python"));
            pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "--no-compile"])
                // Nothing is built here, and nothing comes along that the list does not name.
                .args(["--only-binary", ":all:", "--no-deps"])
                .arg("--requirement")
                .arg(&list);
            match run(&mut pip) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error.context("installing the Azure CLI and SDKs")),
            None => Ok(()),
        }
    }
}

/// A Python that can make virtual environments: the first in `PATH`, or else the system's.
pub fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut command = Command::new(python);
        command.args(["-c", "import ensurepip, venv"]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Several test programs may want it at the same time.
fn lock(path: &Path) -> Result<Flock<File>> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("locking {}", path.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
