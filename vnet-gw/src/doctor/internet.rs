//! What routes to the internet need of the host.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::Check;

const INTERNET: &str = "internet";

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![forwarding()];
    if !has_nft() {
        checks.push(Check::warn(
            INTERNET,
            "nftables",
            "there is no program nft, so nothing leaves for the internet; it is counted as next_hop_internet",
            "apt-get install nftables, or start with `--internet off`",
        ));
        return checks;
    }
    checks.push(Check::ok(INTERNET, "nftables", "there is a program nft"));
    checks.extend(others());
    checks
}

fn has_nft() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|place| place.join("nft").is_file())
}

fn forwarding() -> Check {
    let on =
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|value| value.trim() == "1");
    let finding = if on {
        "net.ipv4.ip_forward is on"
    } else {
        "net.ipv4.ip_forward is off; `vnet-gw run` switches it on where the host has a route to the internet, unless `--internet off`"
    };
    Check::ok(INTERNET, "forwarding", finding)
}

/// Firewalls of others that drop what they do not know: a table of ours cannot admit what another
/// one drops.
fn others() -> Option<Check> {
    let output = Command::new("nft")
        .args(["-j", "list", "chains"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let listed: Value = serde_json::from_slice(&output.stdout).ok()?;
    let chains = listed["nftables"].as_array()?;
    let dropping: Vec<String> = chains
        .iter()
        .map(|entry| &entry["chain"])
        .filter(|chain| chain["hook"] == "forward" && chain["policy"] == "drop")
        .filter_map(|chain| {
            let part = |name: &str| chain[name].as_str();
            Some(format!(
                "{} {} {}",
                part("family")?,
                part("table")?,
                part("name")?
            ))
        })
        .collect();
    if dropping.is_empty() {
        return None;
    }
    let first = dropping.first()?;
    Some(Check::warn(
        INTERNET,
        "firewall",
        format!(
            "the chain {} drops what is forwarded and not admitted, traffic of VNets to the internet included",
            dropping.join(", ")
        ),
        format!(
            "nft insert rule {first} iifname \"vnh*\" accept; nft insert rule {first} oifname \"vnh*\" accept"
        ),
    ))
}
