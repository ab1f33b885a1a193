//! The daemon that is measured, and how it is reached.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vnet_gw::{control::RuntimeDir, datapath::Instance};
use vnet_gw_lab::{Daemon, Lab, Netns};
use vnet_gw_tests::http::Server;

use crate::options::Options;

pub(crate) struct Subject {
    pub(crate) host: Netns,
    pub(crate) unix: Server,
    pub(crate) tls: Server,
    _daemon: Daemon,
}

const ADDRESS: &str = "127.0.0.1:8443";

impl Subject {
    pub(crate) fn start(lab: &Lab, options: &Options) -> Result<Self> {
        let host = lab.namespace("host")?;
        let name = lab.instance("api")?;
        let empty = json!({ "resources": [] });
        let args = ["--listen", ADDRESS, "--log-level", "warn"];
        let daemon = Daemon::start(lab, &options.daemon, &host, name.clone(), &empty, &args)?;
        let made = daemon.command(&[
            "principal",
            "create",
            "bench",
            "--role",
            "Network Contributor",
            "--output",
            "json",
        ]);
        let made = output(made)?;
        let text = |name: &str| {
            let value = made.get(name).and_then(Value::as_str);
            value.with_context(|| format!("no {name} of a principal"))
        };
        let dir = Path::new(RuntimeDir::PATH);
        let ca = dir.join(format!("{name}.ca.pem"));
        let address = ADDRESS.parse()?;
        let token = host.enter(|| {
            Server::tls(address, &ca, "")?.sign_in(
                text("tenant")?,
                text("appId")?,
                text("password")?,
            )
        })??;
        let instance = Instance::new(&name)?;
        Ok(Self {
            host,
            unix: Server::Unix(RuntimeDir::default().api_socket(&instance)),
            tls: Server::tls(address, &ca, &token)?,
            _daemon: daemon,
        })
    }

    pub(crate) const fn servers(&self) -> [(&'static str, &Server); 2] {
        [("unix", &self.unix), ("https", &self.tls)]
    }
}

fn output(mut command: std::process::Command) -> Result<Value> {
    let output = command.output().context("running vnet-gw principal")?;
    ensure!(
        output.status.success(),
        "vnet-gw principal: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("the principal")
}
