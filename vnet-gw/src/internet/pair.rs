//! The veth pair: one end is the port, the other the host's.

use std::io;

use vnet_gw_common::{internet::host_mac, mac_from_u64};
use vnet_gw_core::model::ResourceId;

use super::InternetError;
use crate::{
    datapath::Instance,
    io::{
        ethtool::{self, Offload},
        link,
        rtnl::{Rtnl, number},
    },
};

const QUEUE: u32 = 1_000;
/// `struct ifinfomsg`
const IFINFO: usize = 16;

/// What an instance calls its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// At most 15 bytes, as Linux wants it.
    pub(super) port: String,
    pub(super) host: String,
    /// The nftables table of the family `inet`.
    pub(super) table: String,
    /// Of the port's end, whom nobody sends to.
    mac: [u8; 6],
}

impl Names {
    pub(super) fn of(instance: &Instance) -> Self {
        let hash = ResourceId::new(&instance.name).stable_hash();
        let [a, b, c, d, ..] = hash.to_be_bytes();
        Self {
            port: format!("vni{:012x}", hash >> 16),
            host: format!("vnh{:012x}", hash >> 16),
            // A dash would be a minus.
            table: format!("vnet_gw_{}", instance.name.replace('-', "_")),
            mac: [0x02, 0x46, a, b, c, d],
        }
    }
}

/// Interface indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) port: u32,
    pub(super) host: u32,
}

fn index(name: &str) -> io::Result<Option<u32>> {
    match nix::net::if_::if_nametoindex(name) {
        Ok(index) => Ok(Some(index)),
        Err(nix::errno::Errno::ENODEV) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Both ends; half a pair is removed.
pub(super) fn find(rtnl: &mut Rtnl, names: &Names) -> Result<Option<Ends>, InternetError> {
    let looking =
        |name: &str| index(name).map_err(InternetError::at(format!("looking for {name}")));
    match (looking(&names.port)?, looking(&names.host)?) {
        (Some(port), Some(host)) => Ok(Some(Ends { port, host })),
        (None, None) => Ok(None),
        (Some(half), None) | (None, Some(half)) => {
            rtnl.delete(half)
                .map_err(InternetError::at("removing half of its veth pair"))?;
            Ok(None)
        }
    }
}

/// Makes the pair where there is none, and sees to it that both ends are up and have the MTU.
pub(super) fn ensure(
    rtnl: &mut Rtnl,
    names: &Names,
    ends: Option<Ends>,
    mtu: u32,
) -> Result<Ends, InternetError> {
    let Names { port, host, .. } = names;
    let configuring = |name: &str| InternetError::at(format!("configuring {name}"));
    let Some(ends) = ends else {
        rtnl.create_veth(port, host, None)
            .map_err(InternetError::at(format!("making the veth pair {port}")))?;
        let found = find(rtnl, names)?.ok_or(io::ErrorKind::NotFound);
        let ends = found
            .map_err(io::Error::from)
            .map_err(InternetError::at(format!("looking for {port}")))?;
        // What ports at XDP redirect into it arrives only so.
        ethtool::set(host, Offload::GenericReceive, true).map_err(configuring(host))?;
        link::prepare(port, names.mac, mtu, QUEUE).map_err(configuring(port))?;
        link::prepare_for_host(host, mtu).map_err(configuring(host))?;
        return Ok(ends);
    };
    for (name, index) in [(port, ends.port), (host, ends.host)] {
        let now = rtnl.link(index).map_err(configuring(name))?;
        if now.mtu != mtu {
            link::set_mtu(name, mtu).map_err(configuring(name))?;
        }
        if !is_up(rtnl, index).map_err(configuring(name))? {
            link::up(name).map_err(configuring(name))?;
        }
    }
    Ok(ends)
}

fn is_up(rtnl: &mut Rtnl, index: u32) -> io::Result<bool> {
    let mut request = [0; IFINFO];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    let answers = rtnl.ask(libc::RTM_GETLINK, 0, &request)?;
    let flags = answers.first().and_then(|answer| number(answer.get(8..)?));
    Ok(flags.unwrap_or(0) & libc::IFF_UP as u32 != 0)
}

/// The host's end says by its address which slot the instance has.
pub(super) fn set_host_mac(
    rtnl: &mut Rtnl,
    names: &Names,
    host: u32,
    slot: u32,
) -> Result<(), InternetError> {
    let mac = mac_from_u64(host_mac(slot));
    let now = rtnl.link(host).map(|link| link.mac);
    if now.is_ok_and(|now| now == Some(mac)) {
        return Ok(());
    }
    link::set_mac(&names.host, mac)
        .map_err(InternetError::at(format!("configuring {}", names.host)))
}

/// Whether there was any.
pub(super) fn remove(rtnl: &mut Rtnl, names: &Names) -> Result<bool, InternetError> {
    let Some(ends) = find(rtnl, names)? else {
        return Ok(false);
    };
    rtnl.delete(ends.port)
        .map_err(InternetError::at(format!("removing {}", names.port)))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let names = |name: &str| Names::of(&Instance::new(name).unwrap());
        let (one, two) = (names("default"), names("other-1"));
        assert!(one.port.len() <= 15 && one.host.len() <= 15);
        assert_ne!(one.port, one.host);
        assert_ne!(one.port, two.port);
        assert_eq!(two.table, "vnet_gw_other_1");
    }
}
