//! `cidrSubnet()`, `cidrHost()` and `parseCidr()`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Args, Result};
use crate::model::template::evaluate::invalid;

pub(super) fn call(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
    Some(match function {
        "cidrsubnet" => cidr_subnet(args),
        "cidrhost" => cidr_host(args),
        "parsecidr" => parse_cidr(args),
        _ => return None,
    })
}

/// `cidrSubnet('10.1.0.0/16', 24, 3)` is `10.1.3.0/24`.
fn cidr_subnet(args: &Args<'_, '_>) -> Result<Value> {
    let [network, length, number] = args.exactly()?;
    let network = prefix(args, network)?;
    let wanted = u8::try_from(args.as_int(length)?).ok();
    let wanted = wanted.filter(|n| (network.prefix_len()..=network.max_prefix_len()).contains(n));
    let wanted = wanted.ok_or_else(|| args.wrong("a longer prefix length", length))?;
    let step = u32::from(network.max_prefix_len() - wanted);
    let bits = u32::from(wanted - network.prefix_len());
    let index = index(args, number, bits)?;
    let address = offset(network, index.checked_shl(step).unwrap_or(0));
    Ok(json!(format!("{address}/{wanted}")))
}

/// `cidrHost('10.1.3.0/24', 3)` is `10.1.3.4`: the first usable address has number 0.
fn cidr_host(args: &Args<'_, '_>) -> Result<Value> {
    let [network, number] = args.exactly()?;
    let network = prefix(args, network)?;
    let bits = u32::from(network.max_prefix_len() - network.prefix_len());
    let index = index(args, number, bits)?.saturating_add(1);
    if bits < 128 && index >> bits != 0 {
        return Err(args.wrong("the number of an address of the network", number));
    }
    Ok(json!(offset(network, index).to_string()))
}

/// The parts of a prefix; of IPv4 with its broadcast address and the hosts around it.
fn parse_cidr(args: &Args<'_, '_>) -> Result<Value> {
    let [network] = args.exactly()?;
    let network = prefix(args, network)?;
    let (first, last) = (network.network(), network.broadcast());
    let mut parts = json!({
        "network": first.to_string(),
        "netmask": network.netmask().to_string(),
        "cidr": network.prefix_len(),
    });
    let hosts = match network {
        // All but the network's own and the broadcast address, where there are others.
        IpNet::V4(_) if network.prefix_len() <= 30 => {
            parts["broadcast"] = json!(last.to_string());
            (offset(network, 1), before(last))
        }
        IpNet::V4(_) => {
            parts["broadcast"] = json!(last.to_string());
            (first, last)
        }
        IpNet::V6(_) => (first, last),
    };
    parts["firstUsable"] = json!(hosts.0.to_string());
    parts["lastUsable"] = json!(hosts.1.to_string());
    Ok(parts)
}

fn before(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().saturating_sub(1)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().saturating_sub(1)).into(),
    }
}

fn prefix(args: &Args<'_, '_>, value: &Value) -> Result<IpNet> {
    let network: Option<IpNet> = value.as_str().and_then(|text| text.parse().ok());
    network
        .map(|network| network.trunc())
        .ok_or_else(|| args.wrong("a prefix", value))
}

fn index(args: &Args<'_, '_>, value: &Value, bits: u32) -> Result<u128> {
    let index = u128::try_from(args.as_int(value)?).ok();
    index
        .filter(|index| index.checked_shr(bits).unwrap_or(0) == 0)
        .ok_or_else(|| {
            invalid(format!(
                "{}() has no number {value} in that network.",
                args.name
            ))
        })
}

fn offset(network: IpNet, by: u128) -> IpAddr {
    match network.network() {
        IpAddr::V4(address) => {
            let by = u32::try_from(by).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits().wrapping_add(by)))
        }
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits().wrapping_add(by))),
    }
}
