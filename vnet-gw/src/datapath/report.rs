//! What the datapath tells about itself: plain values, ready to print or to serialise.

use std::{collections::BTreeMap, fmt, io, net::IpAddr, sync::Arc, time::Duration};

use ipnet::{Ipv4Net, Ipv6Net};
use vnet_gw_common::{Counter, verdict::Reason};
use vnet_gw_core::{
    metering::MeterKey,
    model::{Access, ResourceId},
};

/// What [`Datapath::apply`](super::Datapath::apply) did. All zero where the image was in force
/// already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Ports that came, went or changed.
    pub ports_changed: usize,
    /// Subnets that came, went or changed.
    pub subnets_changed: usize,
    /// Route tables built beside the old one and swapped.
    pub tables_rebuilt: usize,
    /// Route tables edited in place.
    pub tables_edited: usize,
    /// Routes that came, went or got another action, over all tables.
    pub routes_changed: usize,
    /// Sets of security rules that came, went or changed.
    pub rule_sets_changed: usize,
    /// Whether the endpoint tables were built anew.
    pub endpoints_rebuilt: bool,
    /// Ports that are in the image but not in service, and other things worth telling, one line
    /// each. They do not fail the apply: a device may appear later.
    pub warnings: Vec<String>,
    /// Until every packet saw the new state.
    pub in_force: Duration,
    /// Until what was replaced was freed, too: about a grace period more.
    pub duration: Duration,
}

/// What [`Datapath::reconcile`](super::Datapath::reconcile) found in the kernel that differed from
/// the desired image, one line each: what, where, what it was, what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Values that differed, and were set right.
    pub differences: Vec<String>,
    /// Entries, pins and links that belong to nothing desired, and were removed.
    pub orphans: Vec<String>,
    /// Events outside of us that were followed: devices that appeared, vanished, were renamed or
    /// got another MTU. No drift, but a change of state.
    pub followed: Vec<String>,
    /// What could not be mended, and why; the next reconcile tries again.
    pub failed: Vec<String>,
}

impl Drift {
    /// Differences and orphans together: what `vnet-gw` counts as drift.
    pub fn found(&self) -> usize {
        self.differences.len() + self.orphans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.found() == 0 && self.followed.is_empty() && self.failed.is_empty()
    }
}

/// Counters since the maps were made, summed over CPUs. They survive restarts and updates of the
/// tables; a route that goes away takes its counter with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    pub subnets: BTreeMap<ResourceId, SubnetCounters>,
    /// Every [`Reason`], also those that are zero.
    pub reasons: Vec<(Reason, Counter)>,
}

/// Packets and bytes per route of a subnet, ordered by prefix. Every route of the image is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubnetCounters {
    pub v4: Vec<(Ipv4Net, Counter)>,
    pub v6: Vec<(Ipv6Net, Counter)>,
}

/// One meter: what was handed over from one VNet into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterReading {
    /// Of its key: how it is known where that is not.
    pub hash: u64,
    /// Of this use of the meter alone: what it counts begins at zero with it.
    pub born: u64,
    /// `None` for one of an earlier life that nothing in the image has.
    pub key: Option<MeterKey>,
    /// It counts no more; [`Datapath::meters_settled`](super::Datapath::meters_settled) frees it.
    pub over: bool,
    pub counter: Counter,
}

/// The hook at which a port's program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP after an skb was built: about the speed of kernel forwarding.
    XdpGeneric,
    /// TCX link (kernel 6.6 and later).
    Tcx,
    /// A `clsact` filter, where the kernel has no TCX.
    Clsact,
}

impl Hook {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::XdpNative | Self::XdpGeneric)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// The program is attached and the device is up.
    Up,
    /// The program is attached; the device is administratively down.
    DeviceDown,
    /// There is no such device (yet). Packets to the NIC are counted as `port_down`.
    NoDevice,
    /// The device is there, but the program could not be attached: why, and what to do.
    Failed(String),
}

impl PortState {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::DeviceDown => "device-down",
            Self::NoDevice => "no-device",
            Self::Failed(_) => "failed",
        }
    }
}

/// One port as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct PortStatus {
    /// The networkInterface, or the virtualNetworkGateway.
    pub nic: ResourceId,
    /// `vnet-gw:device`, or the gateway's tap.
    pub device: String,
    /// The port of a VPN gateway.
    pub gateway: bool,
    /// The way to the internet.
    pub internet: bool,
    /// Index into the port map.
    pub port_id: u32,
    /// `None` without a device.
    pub ifindex: Option<u32>,
    /// `None` unless attached.
    pub hook: Option<Hook>,
    pub state: PortState,
    /// Traps of the device or the hook, each with its remedy.
    pub warnings: Vec<String>,
    pub mac: [u8; 6],
    /// Of the internet port: `0.0.0.0` and `::`, each where it carries that family.
    pub addresses: Vec<IpAddr>,
    /// Largest layer-3 packet, in bytes; `None` without a device.
    pub mtu: Option<u32>,
    pub ip_forwarding: bool,
    /// One packet in this many is traced.
    pub trace_every: Option<u32>,
}

/// By ifindex.
pub type DeviceStats = BTreeMap<u32, NetdevStats>;

/// What reads the counters of all devices of the calling thread's network namespace.
pub type ReadDeviceStats = fn() -> io::Result<DeviceStats>;

/// The counters a netdev keeps, from the host's side: `rx` is what the workload sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetdevStats {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
}

/// The form of a route table in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableForm {
    /// No route of this family, no table.
    Empty,
    /// Intervals in one array element.
    Small,
    /// 16-8-4-4 multibit trie (IPv4).
    Directory,
    /// Static B-tree (IPv6).
    Tree,
}

impl TableForm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Small => "small",
            Self::Directory => "directory",
            Self::Tree => "tree",
        }
    }
}

/// One route table as it is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    pub subnet: ResourceId,
    pub table_id: u32,
    /// 4 or 6
    pub family: u8,
    pub form: TableForm,
    pub routes: usize,
    pub actions: usize,
    /// Bytes of the table's array.
    pub table_bytes: u64,
    /// Bytes of its counters, all CPUs, with the list of prefixes.
    pub counter_bytes: u64,
}

/// How often a security rule decided, since the set it is in was first in force. Counts stay with
/// the rule's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHits {
    pub name: Arc<str>,
    pub priority: u16,
    pub access: Access,
    /// Flows that it admitted, or packets that it refused.
    pub hits: u64,
    /// How long ago the last time was.
    pub last: Option<Duration>,
}

/// The sets of security rules in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSetStats {
    pub sets: usize,
    pub rules: usize,
    /// Bytes of both families' forms.
    pub bytes: u64,
    /// Bytes of their counters, all CPUs.
    pub counter_bytes: u64,
}

/// How many flows the tables of each family have room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRoom {
    pub established: u32,
    /// A new one takes the place of the oldest.
    pub half_open: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub tables: Vec<TableStats>,
    pub rule_sets: RuleSetStats,
    pub flow_room: FlowRoom,
    pub endpoints4: usize,
    pub endpoints6: usize,
    /// Bytes of both endpoint tables in use.
    pub endpoint_bytes: u64,
    /// Since the daemon started: differences and orphans that reconciles found, and how many of
    /// them they mended.
    pub drift_found: u64,
    pub drift_mended: u64,
    pub reconciles: u64,
    pub applies: u64,
    pub last_apply: Option<Duration>,
    pub last_reconcile: Option<Duration>,
}

/// What [`down`](super::down) removed. All zero where nothing was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownReport {
    /// Devices whose program was detached.
    pub detached: Vec<String>,
    pub programs: usize,
    pub maps: usize,
    pub links: usize,
    /// `clsact` filters removed.
    pub filters: usize,
}

impl DownReport {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
