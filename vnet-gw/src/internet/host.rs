//! What the host's network stack must be set to, and which way it has to the internet.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Found, InternetError};
use crate::io::rtnl::{Rtnl, attribute, family, find, number, octets};

/// `struct rtmsg`
const RTMSG: usize = 12;
const RTAX_MTU: u16 = 2;
/// The kernel's `LOOPBACK_IFINDEX`.
const LOOPBACK: u32 = 1;
/// Nothing is sent to them: a host with a route to one has a route to the internet.
const SOMEWHERE4: [Ipv4Addr; 2] = [Ipv4Addr::new(1, 0, 0, 1), Ipv4Addr::new(193, 0, 0, 1)];
const SOMEWHERE6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 1),
];
/// IPv6 asks for that much (RFC 8200, section 5).
const LEAST_MTU: u32 = 1_280;
const USUAL_MTU: u32 = 1_500;

/// The way to the internet of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uplink {
    device: String,
    mtu: u32,
}

impl Uplink {
    /// What fits all of them: what is too big is answered by the data path, which knows to whom.
    pub(super) fn mtu(all: &[Option<Self>]) -> u32 {
        let least = all.iter().flatten().map(|uplink| uplink.mtu).min();
        least.unwrap_or(USUAL_MTU).max(LEAST_MTU)
    }
}

/// Of IPv4 and IPv6; `own` is the host's end of the pair, which leads nowhere.
pub(super) fn uplinks(rtnl: &mut Rtnl, own: u32) -> [Option<Uplink>; 2] {
    let v4 = SOMEWHERE4.iter().map(|address| IpAddr::V4(*address));
    let v6 = SOMEWHERE6.iter().map(|address| IpAddr::V6(*address));
    let mut first = |mut all: Vec<IpAddr>| all.drain(..).find_map(|to| uplink(rtnl, to, own));
    [first(v4.collect()), first(v6.collect())]
}

fn uplink(rtnl: &mut Rtnl, to: IpAddr, own: u32) -> Option<Uplink> {
    let destination = octets(to);
    let mut request = vec![0; RTMSG];
    request[0] = family(to);
    request[1] = (destination.len() * 8) as u8;
    request.extend(attribute(libc::RTA_DST, &destination));
    // An error is the kernel's way to say that there is none.
    let answers = rtnl.ask(libc::RTM_GETROUTE, 0, &request).ok()?;
    let (head, attributes) = answers.first()?.split_at_checked(RTMSG)?;
    let device = find(attributes, libc::RTA_OIF).and_then(number)?;
    if *head.get(7)? != libc::RTN_UNICAST || device == LOOPBACK || device == own {
        return None;
    }
    let metrics = find(attributes, libc::RTA_METRICS);
    let route = metrics.and_then(|all| find(all, RTAX_MTU)).and_then(number);
    let link = rtnl.link(device).ok()?;
    Some(Uplink {
        mtu: route.unwrap_or(link.mtu),
        device: link.name,
    })
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?;
    Some(text.trim().to_owned())
}

/// Whether it had another value.
fn set(path: &str, value: &str) -> Result<bool, InternetError> {
    if read(path).as_deref() == Some(value) {
        return Ok(false);
    }
    let name = path.replace('/', ".");
    fs::write(format!("/proc/sys/net/{path}"), value)
        .map_err(InternetError::at(format!("sysctl net.{name}={value}")))?;
    Ok(true)
}

/// Where the kernel has it.
fn set_if_there(path: &str, value: &str) -> Result<bool, InternetError> {
    match set(path, value) {
        Err(InternetError::Kernel { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        result => result,
    }
}

/// Routing between devices, and the host's end of the pair.
pub(super) fn prepare(host: &str, found: &mut Found) -> Result<(), InternetError> {
    if set("ipv4/ip_forward", "1")? {
        found.done.push(
            "switched net.ipv4.ip_forward on: this host routes between its devices now".to_owned(),
        );
    }
    let own = |name: &str| format!("ipv4/conf/{host}/{name}");
    set(&own("forwarding"), "1")?;
    // Senders' addresses lead back by the rule for their mark, which strict filters then find, too.
    set(&own("src_valid_mark"), "1")?;
    set(&own("rp_filter"), "0")?;
    set(&own("send_redirects"), "0")?;
    set(&own("accept_redirects"), "0")?;
    Ok(())
}

/// Whether IPv6 is routed between devices, these among them. `forwarding` is of all devices or none,
/// whatever it says of one; `force_forwarding` of each (kernel 6.17 and later).
pub(super) fn forwards_v6(host: &str, uplink: &Uplink) -> bool {
    let on = |path: &str| read(path).as_deref() == Some("1");
    on("ipv6/conf/all/forwarding")
        || [host, &uplink.device]
            .iter()
            .all(|device| on(&format!("ipv6/conf/{device}/force_forwarding")))
}

/// The same for IPv6; whether the host routes it. `forwarding` is not touched: it would have the host
/// forget the routes that routers advertise to it.
pub(super) fn prepare_v6(
    host: &str,
    uplink: &Uplink,
    found: &mut Found,
) -> Result<bool, InternetError> {
    let own = |name: &str| format!("ipv6/conf/{host}/{name}");
    set(&own("disable_ipv6"), "0")?;
    set(&own("accept_ra"), "0")?;
    if forwards_v6(host, uplink) {
        return Ok(true);
    }
    set_if_there(&own("force_forwarding"), "1")?;
    let device = &uplink.device;
    if set_if_there(&format!("ipv6/conf/{device}/force_forwarding"), "1")? {
        found.done.push(format!(
            "switched net.ipv6.conf.{device}.force_forwarding on: this host routes what comes from there"
        ));
    }
    if forwards_v6(host, uplink) {
        return Ok(true);
    }
    found.warnings.push(
        "internet: IPv6 is not routed between devices, so what is for the IPv6 internet is counted as \
         next_hop_internet: `sysctl -w net.ipv6.conf.all.forwarding=1`, and before it \
         `sysctl -w net.ipv6.conf.DEVICE.accept_ra=2` where routes come by router advertisements"
            .to_owned(),
    );
    Ok(false)
}
