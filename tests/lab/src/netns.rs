//! One network namespace: commands, threads and sockets inside it.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

/// A network namespace. Clones name the same one.
#[derive(Clone, Debug)]
pub struct Netns {
    name: Arc<str>,
    full: Arc<str>,
    file: Arc<File>,
}

impl Netns {
    pub(crate) fn open(name: &str, full: &str) -> Result<Self> {
        let path = format!("/run/netns/{full}");
        let file = File::open(&path).with_context(|| format!("opening {path}"))?;
        Ok(Self {
            name: name.into(),
            full: full.into(),
            file: Arc::new(file),
        })
    }

    /// As given to `Lab::namespace`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As `ip netns` knows it.
    pub fn full_name(&self) -> &str {
        &self.full
    }

    pub(crate) fn prepare(&self) -> Result<()> {
        self.ip("link set lo up")?;
        // A namespace may inherit these from the machine; loose ends of either kind would drop or
        // add packets that the lab counts.
        for scope in ["all", "default"] {
            self.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), "0")?;
            self.sysctl(&format!("net.ipv4.conf.{scope}.send_redirects"), "0")?;
            if self.has_ipv6() {
                self.sysctl(&format!("net.ipv6.conf.{scope}.accept_ra"), "0")?;
                self.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "0")?;
                self.sysctl(&format!("net.ipv6.conf.{scope}.router_solicitations"), "0")?;
            }
        }
        Ok(())
    }

    /// Whether the kernel has IPv6.
    pub fn has_ipv6(&self) -> bool {
        self.enter(|| fs::exists("/proc/sys/net/ipv6").unwrap_or(false))
            .unwrap_or(false)
    }

    /// Runs `work` in a thread that is in the namespace. Sockets it opens stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&*self.file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("entering the namespace {}", self.full))?;
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow!("a thread in the namespace {} panicked", self.full))?
        })
    }

    /// Takes the calling thread into the namespace, for good.
    pub fn stay(&self) -> Result<()> {
        setns(&*self.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("entering the namespace {}", self.full))
    }

    /// A command that will run in the namespace. Only the network namespace changes: unlike under
    /// `ip netns exec`, `/sys` and the bpffs in it stay what they are.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = self.file.clone();
        // SAFETY: the closure makes one system call on a descriptor that it keeps open, and
        // allocates nothing: it is async-signal-safe, as code between fork and exec must be.
        unsafe {
            command.pre_exec(move || {
                setns(&*file, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
        command
    }

    /// `ip ARGS`, split at white space.
    pub fn ip(&self, args: &str) -> Result<()> {
        run(self.command("ip").args(args.split_whitespace()))
            .map(drop)
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// `ethtool ARGS`, split at white space.
    pub fn ethtool(&self, args: &str) -> Result<()> {
        run(self.command("ethtool").args(args.split_whitespace()))
            .map(drop)
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Waits until IPv6 works on `device`, whose both ends are up: the kernel finishes that in the
    /// background, up to a second later.
    pub fn settle(&self, device: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // `/proc/net` would be the main thread's.
            let addresses =
                self.enter(|| fs::read_to_string("/proc/thread-self/net/if_inet6"))??;
            let mut mine = addresses
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .filter(|words| words.last() == Some(&device));
            // Address, index, prefix length, scope, flags, name; tentative is 0x40.
            let ready = |words: &Vec<&str>| {
                words.get(3) == Some(&"20")
                    && words
                        .get(4)
                        .and_then(|flags| u8::from_str_radix(flags, 16).ok())
                        .is_some_and(|flags| flags & 0x40 == 0)
            };
            if mine.any(|words| ready(&words)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{device} in {} has no IPv6 link-local address after 10 s",
                    self.name
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `device` has a carrier: the kernel sees that of a veth in the background, and drops
    /// what is sent before.
    pub fn carrier(&self, device: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut command = self.command("ip");
            let shown = run(command.args(["-o", "link", "show", device]))?;
            if shown.contains(" state UP ") {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{device} in {} has no carrier after 10 s: {shown}",
                    self.name
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Packets that `device` has received and sent.
    pub fn packets(&self, device: &str) -> Result<(u64, u64)> {
        let text = self.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        let fields = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == device)
            .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>())
            .with_context(|| format!("{} has no device {device}", self.name))?;
        // Eight fields of what was received, bytes and packets first, then as many of what was sent.
        let number = |at: usize| fields.get(at).and_then(|word: &&str| word.parse().ok());
        number(1)
            .zip(number(9))
            .with_context(|| format!("/proc/net/dev shows {device} in an unknown form"))
    }

    /// Sets `key`, with dots between its parts, to `value`. Not for keys with a dot in a part.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.enter(|| fs::write(&path, value))?
            .with_context(|| format!("writing {value} to {path} in namespace {}", self.name))
    }
}

/// Runs a command to its end: its output, or an error that says what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = || {
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        // A script is told by its name, not by its text.
        let args = args.iter().filter(|arg| !arg.contains('\n'));
        let words: Vec<_> = args.map(|arg| arg.as_ref()).collect();
        format!(
            "{} {}",
            command.get_program().to_string_lossy(),
            words.join(" ")
        )
    };
    let shown = shown();
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let program = shown.split(' ').next().unwrap_or_default().to_owned();
            anyhow!("{program}: not found: install its package (`cargo xtask ebpf` does)")
        }
        _ => anyhow!("{shown}: {error}"),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed, {}: {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading what `{shown}` printed"))
}
