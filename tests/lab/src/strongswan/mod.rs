//! strongSwan as a peer: Debian's packages, IKE by charon and ESP by its plugin kernel-libipsec, in
//! user space over a TUN.

mod config;
mod sas;

use std::{
    cell::RefCell,
    fs,
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{Lab, Netns, Process};

pub use config::{Child, Connection, Fragmentation};
pub use sas::{ChildSa, IkeSa};

/// How long starting and ending may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The mark of charon's own packets, which must not go into its tunnels.
const MARK: u32 = 0x42;

/// The plugins that have what RFC 7296 and our algorithms need, and no more.
const PLUGINS: &str = "random nonce openssl aesni chapoly gcm hmac sha1 sha2 kdf curve25519 pem \
                       pkcs1 pubkey x509 revocation constraints kernel-libipsec kernel-netlink \
                       socket-default vici updown";

/// Programs and plugins, and the Debian package that has each; all must be there.
pub const NEEDED: &[(&str, &str)] = &[
    ("charon-systemd", "charon-systemd"),
    ("swanctl", "strongswan-swanctl"),
    (
        "/usr/lib/ipsec/plugins/libstrongswan-socket-default.so",
        "strongswan-libcharon",
    ),
    (
        "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so",
        "libcharon-extra-plugins",
    ),
    (
        "/usr/lib/ipsec/plugins/libstrongswan-chapoly.so",
        "libstrongswan-extra-plugins",
    ),
    (
        "/usr/lib/ipsec/plugins/libstrongswan-openssl.so",
        "libstrongswan-standard-plugins",
    ),
];

/// A charon of its own, in a namespace.
#[derive(Debug)]
pub struct StrongSwan {
    host: Netns,
    dir: PathBuf,
    process: Option<Process>,
    connections: RefCell<Vec<Connection>>,
}

impl StrongSwan {
    /// Starts charon in `host` with files below the lab's directory, and returns when it answers.
    pub fn start(lab: &Lab, host: &Netns) -> Result<Self> {
        Self::start_with(lab, host, "")
    }

    /// With more settings for strongswan.conf, inside its section `charon-systemd`.
    pub fn start_with(lab: &Lab, host: &Netns, settings: &str) -> Result<Self> {
        let dir = lab.dir().join(format!("strongswan-{}", host.name()));
        for part in ["", "conf.d"] {
            let dir = dir.join(part);
            fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let mut swan = Self {
            host: host.clone(),
            dir,
            process: None,
            connections: RefCell::default(),
        };
        // What strongSwan sends into tunnels it routes by its table 220, ahead of the main one. The
        // links of the host itself come before that, or an any-to-any tunnel would swallow them.
        for family in ["", "-6 "] {
            if family.is_empty() || host.has_ipv6() {
                host.ip(&format!(
                    "{family}rule add pref 100 lookup main suppress_prefixlength 0"
                ))?;
            }
        }
        swan.write_settings(settings)?;
        swan.launch()?;
        Ok(swan)
    }

    /// Other settings from now on; those of SAs hold for new ones.
    pub fn set(&self, settings: &str) -> Result<()> {
        self.write_settings(settings)?;
        self.swanctl(&["--reload-settings"]).map(drop)
    }

    fn write_settings(&self, settings: &str) -> Result<()> {
        write_private(
            &self.dir.join("strongswan.conf"),
            &format!(
                "charon-systemd {{\n\
                 load = {PLUGINS}\n\
                 start-scripts {{\n}}\n\
                 plugins {{\n\
                   vici {{\n socket = {uri}\n }}\n\
                   kernel-libipsec {{\n allow_peer_ts = yes\n }}\n\
                   kernel-netlink {{\n fwmark = !{MARK:#x}\n }}\n\
                   socket-default {{\n fwmark = {MARK:#x}\n }}\n\
                 }}\n\
                 journal {{\n default = -1\n }}\n\
                 filelog {{\n\
                   lab {{\n\
                     path = {log}\n\
                     time_format = %T\n\
                     time_add_ms = yes\n\
                     flush_line = yes\n\
                     default = 1\n\
                     ike = 2\n\
                     cfg = 2\n\
                   }}\n\
                 }}\n\
                 {settings}\n\
                 }}\n",
                uri = self.uri(),
                log = self.log_path().display(),
            ),
        )
    }

    /// Starts it again after [`StrongSwan::kill`] or [`StrongSwan::stop`], with the connections it
    /// had.
    pub fn launch(&mut self) -> Result<()> {
        // A socket of a killed charon would be mistaken for the new one's.
        let _ = fs::remove_file(self.socket());
        let mut command = self.host.command("charon-systemd");
        self.environment(&mut command);
        let printed = self.dir.join("printed");
        let mut process = Process::spawn(&mut command, &printed)
            .context("is the package charon-systemd installed?")?;
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            if let Some(status) = process.ended()? {
                bail!(
                    "charon ended, {status}; it said:\n{}{}",
                    process.log(),
                    self.log()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "charon does not answer after {} s; it said:\n{}{}",
                PATIENCE.as_secs(),
                process.log(),
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        if !self.connections.borrow().is_empty() {
            self.write_and_load()?;
        }
        Ok(())
    }

    pub fn host(&self) -> &Netns {
        &self.host
    }

    /// Everything it has logged since its first start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Has it know these connections and no others. SAs that stand, stand on.
    pub fn load(&self, connections: &[Connection]) -> Result<()> {
        self.connections.replace(connections.to_vec());
        self.write_and_load()
    }

    fn write_and_load(&self) -> Result<()> {
        let text = config::swanctl(&self.connections.borrow())?;
        write_private(&self.dir.join("swanctl.conf"), &text)?;
        self.swanctl(&["--load-all", "--clear"]).map(drop)
    }

    /// Initiates the CHILD SA `child`, and its IKE SA where there is none, and waits until it stands:
    /// an error with what charon said where it does not.
    pub fn initiate(&self, child: &str, patience: Duration) -> Result<()> {
        self.swanctl(&[
            "--initiate",
            "--child",
            child,
            "--timeout",
            &seconds(patience),
        ])
        .map(drop)
    }

    /// Deletes the IKE SAs of the connection `ike`.
    pub fn terminate(&self, ike: &str) -> Result<()> {
        self.swanctl(&["--terminate", "--ike", ike, "--timeout", "5"])
            .map(drop)
    }

    /// Deletes the CHILD SAs `child`, and leaves their IKE SA.
    pub fn terminate_child(&self, child: &str) -> Result<()> {
        self.swanctl(&["--terminate", "--child", child, "--timeout", "5"])
            .map(drop)
    }

    /// Forgets the IKE SAs of the connection `ike` without waiting for the peer's word.
    pub fn forget(&self, ike: &str) -> Result<()> {
        self.swanctl(&["--terminate", "--ike", ike, "--force", "--timeout", "1"])
            .map(drop)
    }

    /// Begins to rekey the IKE SA of `ike`.
    pub fn rekey_ike(&self, ike: &str) -> Result<()> {
        self.swanctl(&["--rekey", "--ike", ike]).map(drop)
    }

    /// Begins to rekey the CHILD SA `child`.
    pub fn rekey_child(&self, child: &str) -> Result<()> {
        self.swanctl(&["--rekey", "--child", child]).map(drop)
    }

    /// Its IKE SAs with their CHILD SAs.
    pub fn sas(&self) -> Result<Vec<IkeSa>> {
        sas::parse(&self.swanctl(&["--list-sas", "--raw"])?)
    }

    /// Waits until `done` of its SAs.
    pub fn wait(&self, patience: Duration, done: impl Fn(&[IkeSa]) -> bool) -> Result<Vec<IkeSa>> {
        let deadline = Instant::now() + patience;
        loop {
            let sas = self.sas()?;
            if done(&sas) {
                return Ok(sas);
            }
            if Instant::now() > deadline {
                bail!("strongSwan has {sas:#?} after {patience:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM: it says goodbye to its peers.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("charon does not run")?;
        process.signal(Signal::SIGTERM)?;
        process
            .wait(PATIENCE)?
            .with_context(|| format!("charon still runs {} s after SIGTERM", PATIENCE.as_secs()))?;
        Ok(())
    }

    /// SIGKILL: its peers learn nothing.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("charon does not run")?;
        process.kill()
    }

    /// The device its tunnels end in.
    pub fn device(&self) -> &'static str {
        "ipsec0"
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Has the host itself own `address`, for tunnels without a machine behind it.
    pub fn own(&self, address: IpAddr) -> Result<()> {
        let (length, nodad) = if address.is_ipv4() {
            (32, "")
        } else {
            (128, " nodad")
        };
        self.host
            .ip(&format!("address add {address}/{length} dev lo{nodad}"))
    }

    fn answers(&self) -> bool {
        self.socket().exists() && self.swanctl(&["--stats"]).is_ok()
    }

    fn swanctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.host.command("swanctl");
        self.environment(&mut command);
        let output = command
            .args(args)
            .args(["--uri", &self.uri()])
            .output()
            .context("running swanctl: is the package strongswan-swanctl installed?")?;
        // It tells on standard output what charon did, failures too.
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`swanctl {}` in {} failed, {}: {}{}",
            args.join(" "),
            self.host.name(),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            said.trim_end()
        );
        Ok(said.into_owned())
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("STRONGSWAN_CONF", self.dir.join("strongswan.conf"))
            .env("SWANCTL_DIR", &self.dir);
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("vici")
    }

    fn uri(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }
}

fn seconds(time: Duration) -> String {
    time.as_secs().max(1).to_string()
}

/// Shared keys are in these files.
fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
