//! The daemon as it is shipped, with workloads around it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use vnet_gw_lab::{
    Daemon, Lab, Netns, Workload,
    probe::{Arrival, Outcome, Ping, tcp},
    template::Template,
    workload::{Offloads, plug, plug_nic},
};

/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a packet that must not arrive is waited for.
pub const SILENCE: Duration = Duration::from_millis(150);

/// `--hook` of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tcx,
}

impl Hook {
    pub const ALL: [Self; 2] = [Self::Xdp, Self::Tcx];

    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tcx => "tcx",
        }
    }

    fn offloads(self) -> Offloads {
        match self {
            Self::Xdp => Offloads::ForXdp,
            Self::Tcx => Offloads::Default,
        }
    }
}

/// A binary of the workspace, built if it is not: Cargo tells tests the paths of their own
/// package's binaries only. `VNET_GW_BIN_DIR` names a directory to take them from instead.
pub fn binary(name: &str) -> Result<PathBuf> {
    if let Some(dir) = env::var_os("VNET_GW_BIN_DIR") {
        let path = Path::new(&dir).join(name);
        ensure!(path.is_file(), "VNET_GW_BIN_DIR has no {name}");
        return Ok(path);
    }
    // Once a process: several tests ask at the same time.
    static BUILT: Mutex<Vec<(String, PathBuf)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, path)) = built.iter().find(|(known, _)| known == name) {
        return Ok(path.clone());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace's features, as `cargo test --workspace` has them: the same build.
    let output = Command::new(cargo)
        .args([
            "build",
            "--workspace",
            "--message-format=json",
            "--bin",
            name,
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "cargo did not build {name}");
    let path = String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo named no binary {name}"))?;
    built.push((name.to_owned(), path.clone()));
    Ok(path)
}

/// A template's workloads, and a daemon that has it.
pub struct Bed {
    pub daemon: Daemon,
    pub workloads: Vec<Workload>,
    pub hook: Hook,
    pub host: Netns,
    /// Last: it removes what the others run in.
    pub lab: Lab,
}

impl Bed {
    pub fn start(template: &Template, hook: Hook) -> Result<Self> {
        Self::start_with(template, hook, &["--ephemeral"], |_, _| Ok(()))
    }

    /// With other arguments for the daemon, and with `prepare` done to the host and its workloads
    /// before it starts.
    pub fn start_with(
        template: &Template,
        hook: Hook,
        args: &[&str],
        prepare: impl FnOnce(&Netns, &[Workload]) -> Result<()>,
    ) -> Result<Self> {
        Self::start_with_lab(template, hook, args, |_, host, workloads| {
            prepare(host, workloads)
        })
    }

    /// The same where more namespaces are made.
    pub fn start_with_lab(
        template: &Template,
        hook: Hook,
        args: &[&str],
        prepare: impl FnOnce(&Lab, &Netns, &[Workload]) -> Result<()>,
    ) -> Result<Self> {
        let binary = binary("vnet-gw")?;
        let lab = Lab::new()?;
        let host = lab.namespace("host")?;
        let template = template.value();
        let workloads = plug(&lab, &host, &template, hook.offloads())?;
        prepare(&lab, &host, &workloads)?;
        let instance = lab.instance("e2e")?;
        let mut all = vec!["--hook", hook.name()];
        all.extend(args);
        let daemon = Daemon::start(&lab, &binary, &host, instance, &template, &all)?;
        Ok(Self {
            daemon,
            workloads,
            hook,
            host,
            lab,
        })
    }

    /// The workload of the networkInterface `name`.
    pub fn workload(&self, name: &str) -> &Workload {
        let found = self.workloads.iter().find(|workload| workload.name == name);
        found.unwrap_or_else(|| panic!("the bed has no networkInterface {name}"))
    }

    /// Plugs in a networkInterface that a changed template has more.
    pub fn plug(&mut self, template: &Template, name: &str) -> Result<()> {
        let offloads = self.hook.offloads();
        let workload = plug_nic(&self.lab, &self.host, &template.value(), name, offloads)?;
        self.workloads.push(workload);
        Ok(())
    }

    /// How many configurations have been in force.
    pub fn generation(&self) -> Result<u64> {
        let status = self.daemon.json(&["status"])?;
        status["configuration"]["generation"]
            .as_u64()
            .context("no generation")
    }

    /// Rewrites the daemon's file and returns when it is in force.
    pub fn apply(&self, template: &Template) -> Result<()> {
        let before = self.generation()?;
        self.daemon.write(&template.value())?;
        self.wait(|| Ok(self.generation()? > before))
            .context("a changed file was not taken")
    }

    /// Waits until `done`.
    pub fn wait(&self, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done()? {
            if Instant::now() > deadline {
                bail!(
                    "not after {} s; the daemon said:\n{}",
                    PATIENCE.as_secs(),
                    self.daemon.log()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Packets counted so far for `reason`.
    pub fn counted(&self, reason: &str) -> Result<u64> {
        let counters = self.daemon.json(&["counters"])?;
        let reasons = counters["reasons"]
            .as_array()
            .context("counters without reasons")?;
        let row = reasons.iter().find(|row| row["reason"] == reason);
        Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
    }

    /// Sends `frames` from the workload `from`: how many of them arrive at `to` (which finds them
    /// by `mark`), and by how much the counter of `reason` grows.
    pub fn shoot(
        &self,
        from: &str,
        to: &str,
        mark: [u8; 16],
        frames: &[Vec<u8>],
        reason: &str,
    ) -> Result<(u64, u64)> {
        let before = self.counted(reason)?;
        let arrival: Arrival = self.workload(to).watch(mark)?;
        let socket = self.workload(from).packet_socket()?;
        for frame in frames {
            socket.send(frame)?;
        }
        let arrived = arrival.count(SILENCE)?;
        Ok((arrived, self.counted(reason)? - before))
    }

    /// Fails unless ping and TCP work between two workloads, in every family that both have.
    pub fn assert_reachable(&self, from: &str, to: &str) -> Result<()> {
        let (near, far) = (self.workload(from), self.workload(to));
        let mut tried = 0;
        for &address in &far.addresses {
            if near.address(address).is_none() {
                continue;
            }
            let outcome = Ping::new(address).send(&near.netns)?;
            ensure!(
                matches!(outcome, Outcome::Reply { .. }),
                "ping {from} → {address}: {outcome}"
            );
            let transfer = tcp::transfer(&near.netns, &far.netns, address, 1 << 20)
                .with_context(|| format!("TCP {from} → {address}"))?;
            ensure!(transfer.is_some(), "TCP {from} → {address}: no connection");
            tried += 1;
        }
        ensure!(tried > 0, "{from} and {to} have no family in common");
        Ok(())
    }

    /// Fails if ping gets through between two workloads in any family that both have.
    pub fn assert_unreachable(&self, from: &str, to: &str) -> Result<()> {
        let (near, far) = (self.workload(from), self.workload(to));
        for &address in &far.addresses {
            if near.address(address).is_none() {
                continue;
            }
            let mark = mark();
            let arrival = far.watch(mark)?;
            vnet_gw_lab::probe::arrival::send_marked(&near.netns, address, mark, 5)?;
            let arrived = arrival.count(SILENCE)?;
            ensure!(
                arrived == 0,
                "{arrived} of 5 packets {from} → {address} arrived"
            );
            let ping = Ping {
                patience: SILENCE,
                ..Ping::new(address)
            };
            let outcome = ping.send(&near.netns)?;
            ensure!(
                !matches!(outcome, Outcome::Reply { .. }),
                "ping {from} → {address}: {outcome}"
            );
        }
        Ok(())
    }

    /// Files of the instance in bpffs.
    pub fn pins(&self) -> Vec<PathBuf> {
        let dir = Path::new("/sys/fs/bpf/vnet-gw").join(self.daemon.instance());
        fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, out)
                } else {
                    out.push(path)
                }
            }
        }
        let mut out = Vec::new();
        walk(&dir, &mut out);
        out
    }
}

/// Different for each probe, so that no late packet of another is counted.
pub fn mark() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut mark = *b"e2e-mark........";
    mark[8..].copy_from_slice(&number.to_be_bytes());
    mark
}
