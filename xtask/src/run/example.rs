//! The built-in example: the template of `vnet-gw/examples`, its workloads, and a daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vnet_gw_lab::{
    Daemon, Lab, Netns, Workload,
    workload::{DEVICE, Offloads, plug},
};

use crate::{Hook, tree};

/// A workload whose link takes smaller packets than the others', in both families.
pub(super) const NARROW: &str = "vnet4-web2";
pub(super) const NARROW_MTU: u32 = 1400;

/// The example, running. Dropping it removes everything.
pub(super) struct Example {
    pub(super) daemon: Daemon,
    pub(super) workloads: Vec<Workload>,
    pub(super) template: Value,
    /// Last: it removes what the others run in.
    _lab: Lab,
}

impl Example {
    pub(super) fn start(binary: &Path, hook: Hook) -> Result<Self> {
        let path = template_path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("reading the example {}", path.display()))?;
        let template: Value = serde_json::from_str(&text)
            .with_context(|| format!("the example {} is no JSON", path.display()))?;
        let lab = Lab::new()?;
        let host = lab.namespace("host")?;
        let offloads = if hook == Hook::Xdp {
            Offloads::ForXdp
        } else {
            Offloads::Default
        };
        let workloads = plug(&lab, &host, &template, offloads)?;
        narrow(&host, &workloads)?;
        let instance = instance(&lab)?;
        let hook = match hook {
            Hook::Xdp => "xdp",
            Hook::Tcx => "tcx",
            Hook::Auto => "auto",
        };
        let args = ["--ephemeral", "--hook", hook];
        let daemon = Daemon::start(&lab, binary, &host, instance, &template, &args)?;
        Ok(Self {
            daemon,
            workloads,
            template,
            _lab: lab,
        })
    }

    pub(super) fn workload(&self, name: &str) -> Result<&Workload> {
        self.workloads
            .iter()
            .find(|workload| workload.name == name)
            .with_context(|| format!("the example has no networkInterface {name}"))
    }

    /// Has the daemon take another template, and returns when it is in force.
    pub(super) fn reload(&self, template: &Value) -> Result<()> {
        let generation = |status: &Value| status["configuration"]["generation"].as_u64();
        let before = generation(&self.daemon.json(&["status"])?);
        self.daemon.write(template)?;
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let status = self.daemon.json(&["status"])?;
            if generation(&status) > before {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the daemon did not take the changed file: {}",
                    status["configuration"]
                );
            }
            super::nap(Duration::from_millis(50));
        }
    }

    /// Packets dropped or answered so far for `reason`.
    pub(super) fn counted(&self, reason: &str) -> Result<u64> {
        let counters = self.daemon.json(&["counters"])?;
        let reasons = counters["reasons"]
            .as_array()
            .context("counters without reasons")?;
        let row = reasons.iter().find(|row| row["reason"] == reason);
        Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
    }
}

pub(crate) fn template_path() -> PathBuf {
    tree::root().join("vnet-gw/examples/two-regions.json")
}

fn narrow(host: &Netns, workloads: &[Workload]) -> Result<()> {
    let Some(workload) = workloads.iter().find(|workload| workload.name == NARROW) else {
        bail!("the example has no networkInterface {NARROW}");
    };
    host.ip(&format!("link set {} mtu {NARROW_MTU}", workload.device))?;
    workload
        .netns
        .ip(&format!("link set {DEVICE} mtu {NARROW_MTU}"))
}

/// `example`, or where that runs already a name of its own.
fn instance(lab: &Lab) -> Result<String> {
    let taken = ["/sys/fs/bpf/vnet-gw/example", "/run/vnet-gw/example.sock"];
    if taken.iter().any(|path| Path::new(path).exists()) {
        return lab.instance("example");
    }
    lab.adopt_instance("example")?;
    Ok("example".to_owned())
}
