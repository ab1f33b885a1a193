//! The network devices of our namespace, by rtnetlink: /sys/class/net shows the namespace that was
//! current when /sys was mounted, which need not be ours.
//!
//! Only the attributes asked for here are decoded, so that an attribute of a newer kernel on some
//! unrelated device cannot make a port's device look as if it had vanished.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use netlink_packet_core::{
    NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::report::{DeviceStats, NetdevStats};

const NLMSG_HEADER: usize = 16;
const IFINFO: usize = 16;
/// `struct if_stats_msg`
const IFSTATS: usize = 12;
/// The most that the kernel puts into one datagram of a dump is 32 KiB, and so much only for who has
/// shown room for it.
const DATAGRAM: usize = 64 << 10;
/// Not among the constants of libc.
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;
/// For `IFLA_EXT_MASK`: no counters, which are most of what a device has to tell.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const RTM_NEWSTATS: u16 = 92;
const RTM_GETSTATS: u16 = 94;
const IFLA_STATS_LINK_64: u16 = 1;

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Netdev {
    pub(super) ifindex: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
    /// Administratively up.
    pub(super) up: bool,
    /// `IFLA_INFO_KIND`: `veth`, `tun`, `bridge`, …; physical devices have none.
    pub(super) kind: Option<String>,
    /// It has a parent in the kernel's device tree (PCI, virtio, …).
    pub(super) parent: bool,
    pub(super) loopback: bool,
    /// Its link (a veth's peer) is in another network namespace.
    pub(super) peer_elsewhere: bool,
    /// An XDP program is attached, and not in the driver.
    pub(super) xdp_generic: bool,
    /// The XDP program on it, whoever put it there.
    pub(super) xdp_program: Option<u32>,
}

impl Netdev {
    /// Whether a driver stands behind it. Kernels before 5.14 do not tell of the parent; there, a
    /// device of no kind is taken for physical.
    pub(super) fn is_physical(&self) -> bool {
        self.parent || (self.kind.is_none() && !self.loopback)
    }

    /// Whether `bpf_redirect_peer` works on it: the kernel refuses it where both ends are in one
    /// namespace.
    pub(super) fn redirects_to_peer(&self) -> bool {
        self.peer_elsewhere && matches!(self.kind.as_deref(), Some("veth" | "netkit"))
    }
}

/// All devices at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Netdevs {
    by_index: BTreeMap<u32, Netdev>,
    by_name: HashMap<String, u32>,
}

impl Netdevs {
    /// Of the calling thread's network namespace.
    pub(super) fn read() -> io::Result<Self> {
        // A dump during which a device came or went says so; a few tries find a quiet moment.
        for _ in 0..8 {
            if let Some(devices) = dump()? {
                let named = devices.iter().map(|d| (d.name.clone(), d.ifindex));
                return Ok(Self {
                    by_name: named.collect(),
                    by_index: devices.into_iter().map(|d| (d.ifindex, d)).collect(),
                });
            }
        }
        Err(io::Error::other(
            "devices come and go faster than they can be listed",
        ))
    }

    pub(super) fn get(&self, ifindex: u32) -> Option<&Netdev> {
        self.by_index.get(&ifindex)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Netdev> {
        self.get(*self.by_name.get(name)?)
    }
}

/// `None` where the list changed meanwhile.
fn dump() -> io::Result<Option<Vec<Netdev>>> {
    let mut body = [0; IFINFO + NLA_HEADER_SIZE + 4];
    let mask = [
        &(NLA_HEADER_SIZE as u16 + 4).to_ne_bytes()[..],
        &libc::IFLA_EXT_MASK.to_ne_bytes(),
        &RTEXT_FILTER_SKIP_STATS.to_ne_bytes(),
    ];
    body[IFINFO..].copy_from_slice(&mask.concat());
    let mut devices = Vec::new();
    let whole = ask(libc::RTM_GETLINK, &body, libc::RTM_NEWLINK, |message| {
        devices.extend(device(message)?);
        Ok(())
    })?;
    Ok(whole.then_some(devices))
}

/// The counters of all devices in the calling thread's network namespace, by ifindex.
///
/// # Errors
/// Where the kernel does not list them.
pub fn device_stats() -> io::Result<DeviceStats> {
    let mut body = [0; IFSTATS];
    let filter = 1u32 << (IFLA_STATS_LINK_64 - 1);
    body[8..].copy_from_slice(&filter.to_ne_bytes());
    let mut all = DeviceStats::new();
    // Where devices come and go meanwhile, those that stay are in it.
    ask(RTM_GETSTATS, &body, RTM_NEWSTATS, |message| {
        let Some((header, attributes)) = message.split_at_checked(IFSTATS) else {
            return Ok(());
        };
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute.map_err(io::Error::other)?;
            if attribute.kind() == IFLA_STATS_LINK_64
                && let Some(index) = number(header.get(4..8))
            {
                all.insert(index, stats(attribute.value()));
            }
        }
        Ok(())
    })?;
    Ok(all)
}

/// Has the kernel list something, and takes each message of the `kind` that answers. Whether nothing
/// changed meanwhile.
fn ask(
    question: u16,
    body: &[u8],
    kind: u16,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = [&[0; NLMSG_HEADER], body].concat();
    let length = request.len() as u32;
    let mut header = NetlinkBuffer::new(&mut request);
    header.set_length(length);
    header.set_message_type(question);
    header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    header.set_sequence_number(1);
    socket.send(&request, 0)?;

    let mut interrupted = false;
    let mut datagram = Vec::with_capacity(DATAGRAM);
    loop {
        datagram.clear();
        socket.recv(&mut datagram, 0)?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            interrupted |= message.flags() & libc::NLM_F_DUMP_INTR as u16 != 0;
            let length = message.length() as usize;
            let payload = rest.get(NLMSG_HEADER..length).unwrap_or_default();
            match message.message_type() {
                NLMSG_DONE => return Ok(!interrupted),
                NLMSG_ERROR => return Err(refusal(payload)),
                other if other == kind => take(payload)?,
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn refusal(payload: &[u8]) -> io::Error {
    let code = payload
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(-code)
}

/// One `RTM_NEWLINK`: `struct ifinfomsg`, then attributes. `None` for one that is too short.
fn device(message: &[u8]) -> io::Result<Option<Netdev>> {
    let Some((header, attributes)) = message.split_at_checked(IFINFO) else {
        return Ok(None);
    };
    let Some(index) = number(header.get(4..8)) else {
        return Ok(None);
    };
    let flags = number(header.get(8..12)).unwrap_or(0);
    let mut device = Netdev {
        ifindex: index,
        up: flags & libc::IFF_UP as u32 != 0,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        ..Netdev::default()
    };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(io::Error::other)?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => device.name = text(value),
            libc::IFLA_MTU => device.mtu = number(Some(value)).unwrap_or(0),
            libc::IFLA_LINK_NETNSID => device.peer_elsewhere = true,
            libc::IFLA_LINKINFO => device.kind = nested(value, libc::IFLA_INFO_KIND).map(text),
            IFLA_PARENT_DEV_NAME => device.parent = true,
            libc::IFLA_XDP => {
                let attached = nested(value, IFLA_XDP_ATTACHED);
                device.xdp_generic = attached == Some(&[XDP_ATTACHED_SKB]);
                device.xdp_program = number(nested(value, IFLA_XDP_PROG_ID));
            }
            _ => {}
        }
    }
    Ok(Some(device))
}

fn nested(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(NLA_HEADER_SIZE..length)
}

fn number(bytes: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes?.first_chunk()?))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The first eight counters of `struct rtnl_link_stats64`.
fn stats(value: &[u8]) -> NetdevStats {
    let at = |field: usize| {
        let bytes = value.get(field * 8..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    NetdevStats {
        rx_packets: at(0),
        tx_packets: at(1),
        rx_bytes: at(2),
        tx_bytes: at(3),
        rx_errors: at(4),
        tx_errors: at(5),
        rx_dropped: at(6),
        tx_dropped: at(7),
    }
}
