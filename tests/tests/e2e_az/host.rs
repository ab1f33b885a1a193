//! A host whose daemon serves its API, with somebody signed in.

use std::{cell::RefCell, net::IpAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vnet_gw_lab::{
    Daemon, Lab, Netns, Underlay, Workload,
    workload::{Offloads, plug_nic},
};
use vnet_gw_tests::{
    az::{Account, Az},
    bed::binary,
    shape::check,
};

pub(crate) const GROUP: &str = "rg";
/// Of an instance that nobody gave another.
pub(crate) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";
const ADDRESS: &str = "127.0.0.1:8443";
/// For `az rest`; any is served.
const API_VERSION: &str = "2024-05-01";

pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) netns: Netns,
    pub(crate) daemon: Daemon,
    pub(crate) az: Az,
    /// Answers that do not look like Azure's, so that a run tells all of them.
    unlike: RefCell<Vec<String>>,
}

impl Host {
    /// With these addresses on the underlay.
    pub(crate) fn start(
        lab: &Lab,
        underlay: &Underlay,
        name: &'static str,
        public: &[&str],
        args: &[&str],
    ) -> Result<Self> {
        let netns = lab.namespace(name)?;
        let public: Vec<IpAddr> = public
            .iter()
            .map(|address| address.parse().context("address"))
            .collect::<Result<_>>()?;
        underlay.attach(lab, &netns, &public)?;
        let mut all = vec!["--host", name, "--listen", ADDRESS, "--ephemeral"];
        all.extend(args);
        let instance = lab.instance(name)?;
        let daemon = Daemon::start_without_file(lab, &binary("vnet-gw")?, &netns, instance, &all)?;
        let account = account(&daemon, "tester", "network-contributor")?;
        let az = Az::login(&netns, lab.dir().join(format!("{name}.azure")), account)?;
        Ok(Self {
            name,
            netns,
            daemon,
            az,
            unlike: RefCell::default(),
        })
    }

    /// Remembers where `answer` does not look like `pattern`.
    pub(crate) fn look(&self, what: &str, answer: &Value, pattern: &Value) {
        if let Err(error) = check(what, answer, pattern) {
            self.unlike.borrow_mut().push(error.to_string());
        }
    }

    /// Fails where anything that was looked at was not like Azure's.
    pub(crate) fn assert_like_azure(&self) {
        let unlike = self.unlike.borrow();
        assert!(unlike.is_empty(), "{}: {}", self.name, unlike.join("\n\n"));
    }

    /// The resource with this type and name (`connections/c1`), as it is on the wire.
    pub(crate) fn raw(&self, resource: &str) -> Result<Value> {
        let url = format!("{}?api-version={API_VERSION}", id(resource));
        self.az.json(&["rest", "--method", "get", "--url", &url])
    }

    /// Makes a virtual machine for a networkInterface, by what the API says of that.
    pub(crate) fn plug(&self, lab: &Lab, vnet: &str, nic: &str) -> Result<Workload> {
        let resources = json!({"resources": [
            self.raw(&format!("virtualNetworks/{vnet}"))?,
            self.raw(&format!("networkInterfaces/{nic}"))?,
        ]});
        plug_nic(lab, &self.netns, &resources, nic, Offloads::Default)
    }
}

/// Makes a service principal, as the operator of the daemon does.
pub(crate) fn account(daemon: &Daemon, name: &str, role: &str) -> Result<Account> {
    let made = daemon.json(&["principal", "create", name, "--role", role])?;
    let text = |property: &str| {
        let value = made[property].as_str();
        value
            .with_context(|| format!("no {property}: {made:#}"))
            .map(str::to_owned)
    };
    Ok(Account {
        endpoint: format!("https://{ADDRESS}"),
        ca: daemon.state().join("ca.pem"),
        tenant: text("tenant")?,
        subscription: SUBSCRIPTION.to_owned(),
        client_id: text("appId")?,
        secret: text("password")?,
    })
}

pub(crate) fn id(resource: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/{resource}"
    )
}
