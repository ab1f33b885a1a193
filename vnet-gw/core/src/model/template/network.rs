//! `cidrSubnet()` and `cidrHost()`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{evaluate::invalid, functions::Args};
use crate::model::ArmError;

/// `cidrSubnet('10.1.0.0/16', 24, 3)` is `10.1.3.0/24`.
pub(super) fn cidr_subnet(args: &Args<'_, '_>) -> Result<Value, ArmError> {
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
pub(super) fn cidr_host(args: &Args<'_, '_>) -> Result<Value, ArmError> {
    let [network, number] = args.exactly()?;
    let network = prefix(args, network)?;
    let bits = u32::from(network.max_prefix_len() - network.prefix_len());
    let index = index(args, number, bits)?.saturating_add(1);
    if bits < 128 && index >> bits != 0 {
        return Err(args.wrong("the number of an address of the network", number));
    }
    Ok(json!(offset(network, index).to_string()))
}

fn prefix(args: &Args<'_, '_>, value: &Value) -> Result<IpNet, ArmError> {
    let network: Option<IpNet> = value.as_str().and_then(|text| text.parse().ok());
    network
        .map(|network| network.trunc())
        .ok_or_else(|| args.wrong("a prefix", value))
}

fn index(args: &Args<'_, '_>, value: &Value, bits: u32) -> Result<u128, ArmError> {
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
