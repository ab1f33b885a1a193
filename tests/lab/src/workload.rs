//! The virtual machines of a template: a namespace for each networkInterface, plugged into the
//! host by a veth pair.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Lab, Netns,
    probe::{Arrival, PacketSocket, frame::Mac},
};

/// The device inside every workload.
pub const DEVICE: &str = "eth0";
/// The fabric's MAC address and its link-local address, as in Azure.
pub const FABRIC_MAC: Mac = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
pub const FABRIC_LINK_LOCAL: &str = "fe80::1234:5678:9abc";

/// A namespace that has a networkInterface.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Of the networkInterface.
    pub name: String,
    pub netns: Netns,
    /// `VNET/SUBNET` of the primary address.
    pub subnet: String,
    /// Tag `vnet-gw:device`: the far end of [`DEVICE`], in the host's namespace.
    pub device: String,
    pub mac: Mac,
    pub addresses: Vec<IpAddr>,
}

/// What the workload's device offloads to the other end of the veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// As the kernel makes them: super-packets and partial checksums.
    Default,
    /// Whole checksums, and GRO at the receiver: what an XDP redirect into a veth needs.
    ForXdp,
}

impl Workload {
    pub fn ipv4(&self) -> Option<IpAddr> {
        self.addresses.iter().copied().find(IpAddr::is_ipv4)
    }

    pub fn ipv6(&self) -> Option<IpAddr> {
        self.addresses.iter().copied().find(IpAddr::is_ipv6)
    }

    /// Of the family that `like` is of.
    pub fn address(&self, like: IpAddr) -> Option<IpAddr> {
        if like.is_ipv4() {
            self.ipv4()
        } else {
            self.ipv6()
        }
    }

    fn settle(&self) -> Result<()> {
        if self.ipv6().is_some() {
            self.netns.settle(DEVICE)
        } else {
            Ok(())
        }
    }

    pub fn packet_socket(&self) -> Result<PacketSocket> {
        PacketSocket::open(&self.netns, DEVICE)
    }

    pub fn watch(&self, mark: [u8; 16]) -> Result<Arrival> {
        Arrival::watch(&self.netns, DEVICE, mark)
    }
}

/// Makes and plugs in every networkInterface of `template` that has a device tag. The device's
/// host side is in `host`.
pub fn plug(
    lab: &Lab,
    host: &Netns,
    template: &Value,
    offloads: Offloads,
) -> Result<Vec<Workload>> {
    plug_where(lab, host, template, offloads, |_| true)
}

/// The same for those of a deployment of several hosts that live on the host `name`, as their tag
/// `vnet-gw:host` says.
pub fn plug_host(
    lab: &Lab,
    host: &Netns,
    name: &str,
    template: &Value,
    offloads: Offloads,
) -> Result<Vec<Workload>> {
    plug_where(lab, host, template, offloads, |nic| {
        nic["tags"]["vnet-gw:host"] == name
    })
}

fn plug_where(
    lab: &Lab,
    host: &Netns,
    template: &Value,
    offloads: Offloads,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Vec<Workload>> {
    let resources = template["resources"]
        .as_array()
        .context("the template has no resources")?;
    let workloads: Vec<Workload> = resources
        .iter()
        .filter(|resource| is_type(resource, "networkInterfaces"))
        .filter(|nic| nic["tags"]["vnet-gw:device"].is_string() && wanted(nic))
        .map(|nic| {
            plug_one(lab, host, resources, nic, offloads)
                .with_context(|| format!("networkInterface {}", nic["name"]))
        })
        .collect::<Result<_>>()?;
    // Together, not one by one: the kernel settles all of them at once.
    for workload in &workloads {
        workload.settle()?;
    }
    Ok(workloads)
}

/// Plugs in one networkInterface of `template`, by its name.
pub fn plug_nic(
    lab: &Lab,
    host: &Netns,
    template: &Value,
    name: &str,
    offloads: Offloads,
) -> Result<Workload> {
    let resources = template["resources"]
        .as_array()
        .context("the template has no resources")?;
    let nic = resources
        .iter()
        .find(|resource| is_type(resource, "networkInterfaces") && resource["name"] == name)
        .with_context(|| format!("the template has no networkInterface {name}"))?;
    let workload = plug_one(lab, host, resources, nic, offloads)?;
    workload.settle()?;
    Ok(workload)
}

fn is_type(resource: &Value, kind: &str) -> bool {
    resource["type"].as_str() == Some(&format!("Microsoft.Network/{kind}"))
}

fn plug_one(
    lab: &Lab,
    host: &Netns,
    resources: &[Value],
    nic: &Value,
    offloads: Offloads,
) -> Result<Workload> {
    let text = |value: &Value, what: &str| -> Result<String> {
        Ok(value
            .as_str()
            .with_context(|| format!("no {what}"))?
            .to_owned())
    };
    let name = text(&nic["name"], "name")?;
    let device = text(&nic["tags"]["vnet-gw:device"], "device tag")?;
    let properties = &nic["properties"];
    let mac = parse_mac(&text(&properties["macAddress"], "macAddress")?)?;
    let netns = lab.namespace(&name)?;
    lab.veth((host, &device), (&netns, DEVICE))?;
    // The host's side carries the workloads' packets only: none of its own.
    if host.has_ipv6() {
        host.sysctl(&format!("net.ipv6.conf.{device}.disable_ipv6"), "1")?;
    }
    host.ip(&format!("link set {device} up"))?;
    netns.ip(&format!("link set {DEVICE} address {}", show_mac(mac)))?;
    let configurations = properties["ipConfigurations"]
        .as_array()
        .context("no ipConfigurations")?;
    let mut addresses = Vec::new();
    let mut home = None;
    for configuration in configurations {
        let properties = &configuration["properties"];
        let address: IpAddr = text(&properties["privateIPAddress"], "privateIPAddress")?
            .parse()
            .context("address")?;
        let (vnet, subnet) = subnet_of(&text(&properties["subnet"]["id"], "subnet id")?)?;
        let prefixes = prefixes_of(resources, &vnet, &subnet)?;
        home.get_or_insert(format!("{vnet}/{subnet}"));
        addresses.push((address, prefix_with(&prefixes, address)?));
    }
    if !addresses.iter().any(|(address, _)| address.is_ipv6()) && netns.has_ipv6() {
        netns.sysctl(&format!("net.ipv6.conf.{DEVICE}.disable_ipv6"), "1")?;
    }
    netns.ip(&format!("link set {DEVICE} up"))?;
    if offloads == Offloads::ForXdp {
        // After the devices are up: the host's side learns that it may be redirected into when GRO
        // changes on a device that is up, or when it comes up itself after that.
        netns.ethtool(&format!("-K {DEVICE} tx off gro on"))?;
    }
    for (i, (address, (base, length))) in addresses.iter().enumerate() {
        netns.ip(&format!("address add {address}/{length} dev {DEVICE}"))?;
        let first = !addresses[..i]
            .iter()
            .any(|(other, _)| other.is_ipv4() == address.is_ipv4());
        match base {
            IpAddr::V4(base) if first => {
                let gateway = Ipv4Addr::from_bits(base.to_bits() + 1);
                netns.ip(&format!("route add default via {gateway} dev {DEVICE}"))?;
            }
            IpAddr::V6(_) if first => {
                netns.ip(&format!(
                    "-6 route add default via {FABRIC_LINK_LOCAL} dev {DEVICE}"
                ))?;
            }
            _ => {}
        }
    }
    Ok(Workload {
        name,
        netns,
        subnet: home.context("no ipConfiguration")?,
        device,
        mac,
        addresses: addresses.into_iter().map(|(address, _)| address).collect(),
    })
}

/// VNet and subnet of a `resourceId` expression or of an id written out.
fn subnet_of(id: &str) -> Result<(String, String)> {
    let parts: Vec<&str> = match id.strip_prefix('[') {
        Some(expression) => expression.split('\'').skip(1).step_by(2).collect(),
        None => id
            .split('/')
            .filter(|part| !part.eq_ignore_ascii_case("subnets"))
            .collect(),
    };
    match parts[..] {
        [.., vnet, subnet] => Ok((vnet.to_owned(), subnet.to_owned())),
        _ => anyhow::bail!("{id} is no id of a subnet"),
    }
}

fn prefixes_of(resources: &[Value], vnet: &str, subnet: &str) -> Result<Vec<(IpAddr, u8)>> {
    let properties = resources
        .iter()
        .filter(|resource| is_type(resource, "virtualNetworks") && resource["name"] == vnet)
        .filter_map(|resource| resource["properties"]["subnets"].as_array())
        .flatten()
        .find(|candidate| candidate["name"] == subnet)
        .map(|found| &found["properties"])
        .with_context(|| format!("the template has no subnet {vnet}/{subnet}"))?;
    let many = properties["addressPrefixes"]
        .as_array()
        .into_iter()
        .flatten();
    many.chain(properties.get("addressPrefix"))
        .filter_map(Value::as_str)
        .map(|prefix| {
            let (base, length) = prefix.split_once('/').context("no length")?;
            Ok((base.parse()?, length.parse()?))
        })
        .collect::<Result<_>>()
        .with_context(|| format!("the prefixes of {vnet}/{subnet}"))
}

fn prefix_with(prefixes: &[(IpAddr, u8)], address: IpAddr) -> Result<(IpAddr, u8)> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let contains = |(base, length): (IpAddr, u8)| {
        base.is_ipv4() == address.is_ipv4()
            && (length == 0 || (bits(base) ^ bits(address)) >> (128 - u32::from(length)) == 0)
    };
    prefixes
        .iter()
        .copied()
        .find(|&prefix| contains(prefix))
        .with_context(|| format!("{address} is in none of the subnet's prefixes"))
}

fn parse_mac(text: &str) -> Result<Mac> {
    let bytes: Vec<u8> = text
        .split(['-', ':'])
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("{text} is no MAC address"))?;
    ensure!(bytes.len() == 6, "{text} is no MAC address");
    Ok(std::array::from_fn(|i| bytes[i]))
}

fn show_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnet_ids_in_both_forms() {
        let expected = ("VNet1".to_owned(), "FrontEnd".to_owned());
        let expression =
            "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'VNet1', 'FrontEnd')]";
        assert_eq!(subnet_of(expression).unwrap(), expected);
        let written = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/VNet1/subnets/FrontEnd";
        assert_eq!(subnet_of(written).unwrap(), expected);
    }

    #[test]
    fn prefixes_are_found_by_family_and_length() {
        let prefixes: Vec<(IpAddr, u8)> = vec![
            ("fd00::".parse().unwrap(), 64),
            ("10.1.0.0".parse().unwrap(), 24),
        ];
        let inside: IpAddr = "10.1.0.9".parse().unwrap();
        assert_eq!(prefix_with(&prefixes, inside).unwrap(), prefixes[1]);
        assert!(prefix_with(&prefixes, "10.1.1.9".parse().unwrap()).is_err());
        assert_eq!(
            prefix_with(&prefixes, "fd00::5".parse().unwrap()).unwrap(),
            prefixes[0]
        );
    }
}
