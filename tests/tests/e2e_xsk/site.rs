//! A host with a workload, its data path, and an engine as its gateway.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use vnet_gw::{
    datapath::{Datapath, HookChoice, Instance, PortState, down},
    worker::EngineChoice,
};
use vnet_gw_core::{
    compile::{CompileOptions, compile},
    model::{DeployOptions, parse_template},
    sa::Encapsulation,
};
use vnet_gw_lab::{
    Lab, Netns, Workload,
    template::{Nic, Template},
    workload::{Offloads, plug},
};
use vnet_gw_tests::{gateway::GatewayPort, pump::Pump};

/// A host, its data path and its gateway.
pub(crate) struct Site {
    pub(crate) host: Netns,
    pub(crate) workload: Workload,
    instance: Instance,
    datapath: Datapath,
    pub(crate) pump: Pump,
    pub(crate) public: IpAddr,
}

/// What differs between the two.
pub(crate) struct Plan {
    vnet: &'static str,
    nic: &'static str,
    space: [&'static str; 2],
    gateway_subnet: [&'static str; 2],
    remote: [&'static str; 2],
    addresses: [&'static str; 2],
    hook: HookChoice,
    engine: EngineChoice,
}

pub(crate) fn left(hook: HookChoice) -> Plan {
    Plan {
        vnet: "VNet1",
        nic: "a",
        space: ["10.1.0.0/16", "fd00:1::/48"],
        gateway_subnet: ["10.1.255.0/27", "fd00:1:0:ff::/64"],
        remote: ["10.41.0.0/16", "fd00:41::/48"],
        addresses: ["10.1.0.4", "fd00:1::4"],
        hook,
        engine: EngineChoice::Xsk,
    }
}

pub(crate) fn right() -> Plan {
    Plan {
        vnet: "VNet4",
        nic: "b",
        space: ["10.41.0.0/16", "fd00:41::/48"],
        gateway_subnet: ["10.41.255.0/27", "fd00:41:0:ff::/64"],
        remote: ["10.1.0.0/16", "fd00:1::/48"],
        addresses: ["10.41.0.4", "fd00:41::4"],
        hook: HookChoice::Tcx,
        engine: EngineChoice::Gso,
    }
}

impl Plan {
    fn template(&self) -> Template {
        let mut template = Template::new();
        let subnet = format!("{}/FrontEnd", self.vnet);
        let prefixes = match self.vnet {
            "VNet1" => ["10.1.0.0/24", "fd00:1::/64"],
            _ => ["10.41.0.0/24", "fd00:41::/64"],
        };
        template
            .vnet(self.vnet, "eastus", &self.space)
            .subnet(self.vnet, "FrontEnd", &prefixes, None)
            .nic(&Nic {
                name: self.nic,
                subnet: &subnet,
                addresses: &self.addresses,
                device: "port0",
                forwarding: false,
            });
        template
    }

    pub(crate) fn build(&self, lab: &Lab, host: &Netns, path: Encapsulation) -> Result<Site> {
        let template = self.template().value();
        let offloads = match self.hook {
            HookChoice::Xdp => Offloads::ForXdp,
            _ => Offloads::Default,
        };
        let mut workloads = plug(lab, host, &template, offloads)?;
        let workload = workloads.pop().context("no workload")?;
        let topology = parse_template(&template.to_string(), &DeployOptions::default())
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut image = compile(&topology, &CompileOptions::default(), None)?;
        let gateway = GatewayPort::new(&image, self.vnet, "vgw0", &self.gateway_subnet)?;
        gateway.add(&mut image, &self.space, &self.remote)?;
        gateway.route(&mut image, &self.remote, Some(&gateway.vnet))?;
        let pump = Pump::start(host, &gateway, self.engine, path)?;
        let instance = Instance::new(&lab.instance(self.nic)?)?;
        let datapath = host.enter(|| -> Result<_> {
            let mut datapath = Datapath::open(&instance, self.hook)?;
            datapath.apply(Arc::new(image))?;
            Ok(datapath)
        })??;
        let ports = datapath.ports();
        let port = ports.iter().find(|port| port.gateway).unwrap();
        ensure!(
            port.state == PortState::Up && port.mtu == Some(1400),
            "{port:?}"
        );
        let public = match path {
            Encapsulation::Esp { local, .. } => local,
            Encapsulation::Udp { local, .. } => local.ip(),
        };
        Ok(Site {
            host: host.clone(),
            workload,
            instance,
            datapath,
            pump,
            public,
        })
    }
}

impl Site {
    /// What came in to the host's own IP stack, and left from it.
    pub(crate) fn stack(&self) -> Result<u64> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let (v4, v6) = self.host.enter(|| (read("snmp"), read("snmp6")))?;
        let v4 = v4?;
        let mut lines = v4.lines().filter(|line| line.starts_with("Ip:"));
        let (names, values) = lines.next().zip(lines.next()).context("no Ip: lines")?;
        let mut fields = names.split(' ').zip(values.split(' '));
        let mut of = |wanted: &str| fields.find(|(name, _)| *name == wanted);
        let (received, sent) = (of("InReceives"), of("OutRequests"));
        let number =
            |field: Option<(&str, &str)>| field.and_then(|(_, value)| value.parse::<u64>().ok());
        let sum6: u64 = v6
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("Ip6InReceives") || line.starts_with("Ip6OutRequests"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum();
        let sum4: u64 =
            number(received).context("InReceives")? + number(sent).context("OutRequests")?;
        Ok(sum4 + sum6)
    }

    pub(crate) fn close(self) -> Result<()> {
        self.pump.stop()?;
        drop(self.datapath);
        let instance = self.instance;
        self.host.enter(|| down(&instance))??;
        let shown = self.host.command("ip").arg("link").output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(!shown.contains("vgw0"), "the port is still there: {shown}");
        ensure!(!shown.contains("xdp"), "a program is still there: {shown}");
        Ok(())
    }
}
