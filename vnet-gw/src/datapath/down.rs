//! Taking an instance out of the kernel, with or without a daemon.

use std::{fs, os::fd::AsFd, path::Path};

use vnet_gw_common::{maps, port::Port};

use super::{
    DatapathError, DownReport, Instance, clsact,
    load::remove_programs,
    map::Map,
    netdev::Netdevs,
    pins::{self, Directory},
    sys,
};

/// Removes everything of an instance from the kernel: links and filters first, so that no packet
/// meets a program without its maps. Fine where nothing is there; works on what other versions and
/// interrupted starts left, too.
///
/// # Errors
/// [`DatapathError::Busy`] while a daemon has the instance in hand; what could not be removed.
pub fn down(instance: &Instance) -> Result<DownReport, DatapathError> {
    let mut report = DownReport::default();
    let Some(directory) = Directory::existing(instance)? else {
        return Ok(report);
    };
    // Without a list of devices everything but filters can still be removed.
    let devices = Netdevs::read().unwrap_or_default();
    let name = |ifindex: u32| {
        let name = devices.get(ifindex).map(|device| device.name.clone());
        name.unwrap_or_else(|| format!("interface {ifindex}"))
    };

    for pin in pins::names(&directory.links()) {
        let path = directory.links().join(pin);
        let info = sys::object_get(&path).and_then(|link| sys::link_info(link.as_fd()));
        pins::remove_link(&path)?;
        report.links += 1;
        if let Ok(info) = info
            && info.ifindex != 0
        {
            report.detached.push(name(info.ifindex));
        }
    }
    for ifindex in filtered(&directory.map(maps::PORTS)) {
        let Some(device) = devices.get(ifindex) else {
            continue;
        };
        if clsact::detach(&device.name).map_err(DatapathError::Netlink)? {
            report.filters += 1;
            report.detached.push(device.name.clone());
        }
    }
    for name in pins::names(&directory.programs()) {
        report.programs += remove_programs(&directory.programs().join(name))?;
    }
    remove_directory(&directory.links())?;
    remove_directory(&directory.programs())?;
    for name in pins::names(directory.path()) {
        pins::remove(&directory.map(&name))?;
        report.maps += 1;
    }
    remove_directory(directory.path())?;
    if let Some(parent) = directory.path().parent() {
        // Other instances may be there.
        let _ = fs::remove_dir(parent);
    }
    report.detached.sort();
    report.detached.dedup();
    Ok(report)
}

/// Interfaces of ports at the `tc` hook: those without a link have a filter. Maps of another version
/// cannot be read; their ports' filters are found by name all the same where a later version
/// attached to the same devices.
fn filtered(ports: &Path) -> Vec<u32> {
    let ports = sys::object_get(ports)
        .and_then(|fd| Map::new(fd, 1))
        .and_then(|map| map.read_all(Port::default()));
    let at_tc = |port: &Port| port.flags & Port::TC != 0 && port.ifindex != 0;
    ports
        .unwrap_or_default()
        .iter()
        .filter(|port| at_tc(port))
        .map(|port| port.ifindex)
        .collect()
}

fn remove_directory(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DatapathError::Pin {
            operation: "removing",
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}
