//! The network that joins hosts: a router in a namespace of its own, one veth pair to each host.
//!
//! Routed rather than bridged: an address can fall silent without its host noticing, a narrow link
//! is told of by ICMP, and a capture on the router sees each packet once.

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result, ensure};

use crate::{Lab, Netns};

/// The device of a host that leads to the underlay.
pub const UPLINK: &str = "underlay0";
/// The router's address on every IPv6 link.
const ROUTER6: &str = "fe80::1";
/// The longest name of a device.
const NAME: usize = 15;

/// A router between hosts.
pub struct Underlay {
    netns: Netns,
    router4: Ipv4Addr,
    ports: RefCell<Vec<Port>>,
}

/// A link of the router, with the addresses that were given to it.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) device: String,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Underlay {
    /// A router without links, in the namespace `name`.
    pub fn new(lab: &Lab, name: &str) -> Result<Self> {
        Self::with_router(lab, name, Ipv4Addr::new(169, 254, 0, 1))
    }

    /// With an address of its own for the router: a host refuses a next hop that is itself.
    pub(crate) fn with_router(lab: &Lab, name: &str, router4: Ipv4Addr) -> Result<Self> {
        let netns = lab.namespace(name)?;
        netns.sysctl("net.ipv4.ip_forward", "1")?;
        if netns.has_ipv6() {
            netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        }
        Ok(Self {
            netns,
            router4,
            ports: RefCell::default(),
        })
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Links `host` to the router, its device [`UPLINK`] with these addresses and the default
    /// routes through it.
    pub fn attach(&self, lab: &Lab, host: &Netns, addresses: &[IpAddr]) -> Result<Link> {
        let port: String = host.name().chars().take(NAME).collect();
        ensure!(
            !self.ports.borrow().iter().any(|other| other.device == port),
            "the underlay has a link {port} already"
        );
        lab.veth((&self.netns, &port), (host, UPLINK))?;
        let router = &self.netns;
        router.ip(&format!("address add {}/32 dev {port}", self.router4))?;
        let has_ipv6 = router.has_ipv6();
        if has_ipv6 {
            router.ip(&format!("address add {ROUTER6}/64 dev {port} nodad"))?;
        }
        router.ip(&format!("link set {port} up"))?;
        host.ip(&format!("link set {UPLINK} up"))?;
        self.ports.borrow_mut().push(Port {
            device: port.clone(),
            addresses: addresses.to_vec(),
        });
        let link = Link {
            host: host.clone(),
            router: router.clone(),
            router4: self.router4,
            port,
            addresses: addresses.to_vec(),
        };
        for &address in addresses {
            link.route(address)?;
            link.add_address(address)?;
        }
        if has_ipv6 {
            host.settle(UPLINK)?;
        }
        link.default_routes()?;
        Ok(link)
    }

    pub(crate) fn ports(&self) -> Vec<Port> {
        self.ports.borrow().clone()
    }

    pub(crate) fn router4(&self) -> Ipv4Addr {
        self.router4
    }
}

/// A host's link to the underlay.
#[derive(Clone, Debug)]
pub struct Link {
    host: Netns,
    router: Netns,
    router4: Ipv4Addr,
    port: String,
    addresses: Vec<IpAddr>,
}

impl Link {
    pub fn host(&self) -> &Netns {
        &self.host
    }

    /// The router's device.
    pub fn port(&self) -> &str {
        &self.port
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Of both ends. What is larger and comes from elsewhere, the router answers with ICMP.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.host.ip(&format!("link set {UPLINK} mtu {mtu}"))?;
        self.router.ip(&format!("link set {} mtu {mtu}", self.port))
    }

    /// Of both ends; 1 makes every packet that crosses the link one of the link's MTU, as on a NIC
    /// without segmentation offload.
    pub fn set_gso_max_segs(&self, segments: u32) -> Result<()> {
        self.host
            .ip(&format!("link set {UPLINK} gso_max_segs {segments}"))?;
        self.router
            .ip(&format!("link set {} gso_max_segs {segments}", self.port))
    }

    /// Takes the carrier away.
    pub fn cut(&self) -> Result<()> {
        self.router.ip(&format!("link set {} down", self.port))
    }

    /// Undoes [`Link::cut`]; the router has lost the routes by it.
    pub fn mend(&self) -> Result<()> {
        self.router.ip(&format!("link set {} up", self.port))?;
        if self.router.has_ipv6() {
            self.router.ip(&format!(
                "address replace {ROUTER6}/64 dev {} nodad",
                self.port
            ))?;
        }
        for &address in &self.addresses {
            self.route(address)?;
        }
        self.router.carrier(&self.port)?;
        self.host.carrier(UPLINK)?;
        self.default_routes()
    }

    /// The host loses `address`.
    pub fn remove_address(&self, address: IpAddr) -> Result<()> {
        self.host.ip(&format!(
            "address del {} dev {UPLINK}",
            host_prefix(address)
        ))
    }

    /// The host has `address` (again).
    pub fn add_address(&self, address: IpAddr) -> Result<()> {
        self.host.ip(&format!(
            "address add {} dev {UPLINK}{}",
            host_prefix(address),
            if address.is_ipv6() { " nodad" } else { "" }
        ))?;
        // The last address of a family took the routes of the family with it.
        self.default_routes()
    }

    /// The underlay swallows what comes from and goes to `address`; the host does not notice.
    pub fn silence(&self, address: IpAddr) -> Result<()> {
        self.silencing(address, "add")
    }

    /// Undoes [`Link::silence`].
    pub fn unsilence(&self, address: IpAddr) -> Result<()> {
        self.silencing(address, "del")
    }

    fn silencing(&self, address: IpAddr, verb: &str) -> Result<()> {
        let family = if address.is_ipv6() { "-6 " } else { "" };
        for direction in ["from", "to"] {
            self.router.ip(&format!(
                "{family}rule {verb} {direction} {address} blackhole"
            ))?;
        }
        Ok(())
    }

    /// The router's way to `address`.
    fn route(&self, address: IpAddr) -> Result<()> {
        let family = if address.is_ipv6() { "-6 " } else { "" };
        self.router.ip(&format!(
            "{family}route replace {} dev {}",
            host_prefix(address),
            self.port
        ))
    }

    fn default_routes(&self) -> Result<()> {
        self.host.ip(&format!(
            "route replace default via {} dev {UPLINK} onlink",
            self.router4
        ))?;
        if self.host.has_ipv6() {
            self.host.ip(&format!(
                "-6 route replace default via {ROUTER6} dev {UPLINK}"
            ))?;
        }
        Ok(())
    }
}

fn host_prefix(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// A machine behind `gateway`, which forwards for it: the namespace `name`, its device `eth0` with
/// the second address of each entry and a default route by the first, which the gateway gets, both
/// with this prefix length.
pub fn lan(
    lab: &Lab,
    gateway: &Netns,
    name: &str,
    wires: &[(IpAddr, IpAddr, u8)],
) -> Result<Netns> {
    let machine = lab.namespace(name)?;
    let port: String = name.chars().take(NAME).collect();
    lab.veth((gateway, &port), (&machine, "eth0"))?;
    gateway.sysctl("net.ipv4.ip_forward", "1")?;
    if gateway.has_ipv6() {
        gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    }
    for (netns, device) in [(gateway, port.as_str()), (&machine, "eth0")] {
        netns.ip(&format!("link set {device} up"))?;
    }
    for &(near, far, length) in wires {
        ensure!(
            near.is_ipv4() == far.is_ipv4(),
            "{near} and {far} are of two families"
        );
        let (family, nodad) = match near {
            IpAddr::V4(_) => ("", ""),
            IpAddr::V6(_) => ("-6 ", " nodad"),
        };
        gateway.ip(&format!("address add {near}/{length} dev {port}{nodad}"))?;
        machine.ip(&format!("address add {far}/{length} dev eth0{nodad}"))?;
        machine
            .ip(&format!("{family}route add default via {near}"))
            .with_context(|| format!("the default route of {name}"))?;
    }
    if machine.has_ipv6() {
        machine.settle("eth0")?;
    }
    Ok(machine)
}
