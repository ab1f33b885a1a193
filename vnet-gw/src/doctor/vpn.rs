//! What VPN gateways need.

use std::{
    fs::OpenOptions,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use super::{Check, process};
use crate::vpn::local_addresses;

const VPN: &str = "vpn";
const TUN: &str = "/dev/net/tun";
/// `linux/if_tun.h`; not among the constants of libc.
const TUN_F_USO4: libc::c_uint = 0x20;
const TUN_F_USO6: libc::c_uint = 0x40;

/// Of a host that has gateways at these addresses. `running`: their daemon runs, so that the ports
/// are taken by it.
pub(super) fn checks(addresses: &[IpAddr], running: bool) -> Vec<Check> {
    let mut checks = vec![tun(), aes(), process::vpn_check(VPN)];
    let present = local_addresses().unwrap_or_default();
    for address in addresses {
        if !present.contains(address) {
            checks.push(Check::fail(
                VPN,
                "public-address",
                format!("this host does not have {address}"),
                format!("ip address add {address} dev DEVICE, or correct the publicIPAddress"),
            ));
            continue;
        }
        let finding = format!("this host has {address}");
        checks.push(Check::ok(VPN, "public-address", finding));
        if !running {
            checks.extend([port(*address, 500), port(*address, 4500)]);
        }
    }
    checks
}

fn port(address: IpAddr, port: u16) -> Check {
    let at = SocketAddr::new(address, port);
    match UdpSocket::bind(at) {
        Ok(_) => Check::ok(VPN, "udp-port", format!("port {port} of {address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::fail(
            VPN,
            "udp-port",
            format!("port {port} of {address} is taken"),
            format!("see who has it with `ss -ulnp sport = {port}`, and end that IKE daemon"),
        ),
        Err(error) => Check::fail(
            VPN,
            "udp-port",
            format!("port {port} of {address}: {error}"),
            "run as root, or with CAP_NET_BIND_SERVICE",
        ),
    }
}

fn tun() -> Check {
    let file = match OpenOptions::new().read(true).write(true).open(TUN) {
        Ok(file) => file,
        Err(error) => {
            return Check::fail(
                VPN,
                "tun",
                format!("{TUN}: {error}"),
                "modprobe tun; in a container, pass the device /dev/net/tun on",
            );
        }
    };
    let mut features: libc::c_uint = 0;
    // SAFETY: the request writes one unsigned integer to a live one.
    let asked = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETFEATURES, &raw mut features) };
    let vnet_header = libc::IFF_VNET_HDR.cast_unsigned();
    if asked < 0 || features & vnet_header == 0 {
        let finding = format!("{TUN} has no virtio-net headers");
        return Check::fail(VPN, "tun", finding, "install a newer kernel");
    }
    uso(&file)
}

/// Whether a tap takes UDP super-packets (6.2). Known of an attached file only, so a device of this
/// process is made for a moment, in a network namespace of its own.
fn uso(file: &std::fs::File) -> Check {
    let attached = std::thread::scope(|scope| {
        let probe = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
            probe(file)
        };
        let probed = scope.spawn(probe).join();
        probed.unwrap_or_else(|_| Err(io::Error::other("the probe panicked")))
    });
    match attached {
        Ok(true) => Check::ok(VPN, "tun", "takes TCP and UDP super-packets whole"),
        Ok(false) => Check::warn(
            VPN,
            "tun",
            "takes TCP super-packets whole, but not UDP ones",
            "install kernel 6.2 or later for faster UDP",
        ),
        Err(error) => Check::warn(
            VPN,
            "tun",
            format!("{TUN} is there; what it can do is not known: {error}"),
            "run as root: `sudo vnet-gw doctor`",
        ),
    }
}

fn probe(file: &std::fs::File) -> io::Result<bool> {
    // SAFETY: integers and an array of them; all zeroes is a value of each.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request is live, and has a name that ends, an empty one.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let offloads = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
    // SAFETY: the request takes its argument by value.
    let set = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(offloads),
        )
    };
    Ok(set == 0)
}

/// AES in software is slower by an order of magnitude, and no safer.
fn aes() -> Check {
    #[cfg(target_arch = "x86_64")]
    let there = std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let there = std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let there = false;
    if there {
        return Check::ok(VPN, "aes", "the CPU has AES instructions");
    }
    Check::warn(
        VPN,
        "aes",
        "the CPU has no AES instructions: AES-GCM is slow here",
        "pass the CPU's features on to the virtual machine",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn verdicts(checks: &[Check], name: &str) -> Vec<Verdict> {
        let named = checks.iter().filter(|check| check.check == name);
        named.map(|check| check.verdict).collect()
    }

    #[test]
    fn addresses_and_ports_are_looked_at() {
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let socket = UdpSocket::bind((here, 0)).unwrap();
        let taken = port(here, socket.local_addr().unwrap().port());
        assert_eq!(taken.verdict, Verdict::Fail);
        assert!(taken.finding.ends_with("is taken"), "{taken:?}");

        let away: IpAddr = "192.0.2.77".parse().unwrap();
        let checks = checks(&[here, away], true);
        assert_eq!(
            verdicts(&checks, "public-address"),
            [Verdict::Ok, Verdict::Fail]
        );
        // Of a daemon that runs they are taken, as they should be.
        assert!(verdicts(&checks, "udp-port").is_empty());
        assert_eq!(verdicts(&checks, "aes").len(), 1);
    }
}
