//! A daemon whose API is served, in a namespace of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vnet_gw::{control::RuntimeDir, datapath::Instance};
use vnet_gw_lab::{Daemon, Lab, Netns};

use crate::http::Server;

/// Where it listens, in its namespace.
pub const ADDRESS: &str = "127.0.0.1:8443";

pub struct ApiBed {
    pub host: Netns,
    pub daemon: Daemon,
    pub unix: Server,
    /// As a service principal that may change everything.
    pub tls: Server,
    pub tenant: String,
}

impl ApiBed {
    /// `name` is the daemon's, in the lab.
    pub fn start(lab: &Lab, binary: &Path, name: &str) -> Result<Self> {
        let host = lab.namespace(name)?;
        let instance = lab.instance(name)?;
        let empty = json!({ "resources": [] });
        let args = ["--listen", ADDRESS, "--log-level", "warn"];
        let daemon = Daemon::start(lab, binary, &host, instance.clone(), &empty, &args)?;
        let dir = Path::new(RuntimeDir::PATH);
        let ca: PathBuf = dir.join(format!("{instance}.ca.pem"));
        let tls = Server::tls(ADDRESS.parse()?, &ca, "")?;
        let instance = Instance::new(&instance)?;
        let mut bed = Self {
            unix: Server::Unix(RuntimeDir::default().api_socket(&instance)),
            host,
            daemon,
            tls,
            tenant: String::new(),
        };
        bed.tls = bed.principal("contributor", "Network Contributor")?;
        Ok(bed)
    }

    /// The server as a new service principal sees it, with a role at the subscription.
    pub fn principal(&mut self, name: &str, role: &str) -> Result<Server> {
        let made = output(self.daemon.command(&[
            "principal",
            "create",
            name,
            "--role",
            role,
            "--output",
            "json",
        ]))?;
        let text = |name: &str| {
            let value = made.get(name).and_then(Value::as_str);
            value.with_context(|| format!("no {name} of a principal"))
        };
        self.tenant = text("tenant")?.to_owned();
        let token = self.host.enter(|| {
            self.tls
                .sign_in(text("tenant")?, text("appId")?, text("password")?)
        })??;
        Ok(self.tls.with_token(&token))
    }
}

fn output(mut command: Command) -> Result<Value> {
    let output = command.output().context("running vnet-gw principal")?;
    ensure!(
        output.status.success(),
        "vnet-gw principal: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("the principal")
}
