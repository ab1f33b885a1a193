//! Map names, shapes and capacities. A name is at most 15 bytes (the kernel's `BPF_OBJ_NAME_LEN`).

/// Changes whenever a name, a layout or the meaning of a value in this crate changes.
/// Pins of another version are not adopted; the instance must be taken down first.
pub const ABI_VERSION: u32 = 3;

/// `ARRAY[1]` of [`Settings`](crate::port::Settings), `BPF_F_MMAPABLE`: its words are stored one
/// by one.
pub const SETTINGS: &str = "VG_SETTINGS";
/// `ARRAY[IFINDEX_DIRECT]` of `u32`: interface index → port id, 0 for none.
pub const PORT_BY_IF: &str = "VG_PORT_BY_IF";
/// `HASH[MAX_PORTS]` `u32` → `u32`: the same for interface indexes from [`IFINDEX_DIRECT`] on.
pub const PORT_BY_IF_FAR: &str = "VG_PORT_BY_FAR";
/// `ARRAY[MAX_PORTS]` of [`Port`](crate::port::Port), by port id; id 0 stays empty.
pub const PORTS: &str = "VG_PORTS";
/// `DEVMAP[MAX_PORTS]`: port id → netdev, what XDP ports redirect into.
pub const DEVICES: &str = "VG_DEVICES";
/// `ARRAY[MAX_TABLES]` of [`Subnet`](crate::port::Subnet), by table id; id 0 stays empty.
pub const SUBNETS: &str = "VG_SUBNETS";
/// `ARRAY[MAX_SCOPES]` of `u64`: scope id → hash of the VNet's resource id, 0 for free.
pub const SCOPES: &str = "VG_SCOPES";
/// `ARRAY_OF_MAPS[MAX_TABLES]`; inner `ARRAY[1]` of [`SmallTable4`](crate::table::SmallTable4).
pub const SMALL4: &str = "VG_SMALL4";
/// `ARRAY_OF_MAPS[MAX_TABLES]`; inner `ARRAY[1]` of [`SmallTable6`](crate::table::SmallTable6).
pub const SMALL6: &str = "VG_SMALL6";
/// `ARRAY_OF_MAPS[MAX_TABLES]`; inner `ARRAY[n]` of [`Block`](crate::table::Block), flags
/// [`INNER_FLAGS`]. Read only where [`SMALL4`] has no entry.
pub const BIG4: &str = "VG_BIG4";
/// The same for IPv6.
pub const BIG6: &str = "VG_BIG6";
/// `ARRAY_OF_MAPS[MAX_TABLES]`; inner `ARRAY[cpus × stride]` of [`Counter`](crate::Counter), flags
/// [`INNER_FLAGS`]; element `cpu × stride + route`, `stride` in the table's header; after them the
/// list of prefixes ([`counter_elements`](crate::table::counter_elements)).
pub const COUNTERS4: &str = "VG_COUNTERS4";
/// The same for IPv6.
pub const COUNTERS6: &str = "VG_COUNTERS6";
/// `ARRAY_OF_MAPS[2]`; inner `ARRAY[2^bits]` of [`Bucket4`](crate::endpoint::Bucket4), flags
/// [`INNER_FLAGS`]. [`Settings::endpoints4`](crate::port::Settings) says which of the two is read.
pub const ENDPOINTS4: &str = "VG_ENDPOINTS4";
/// The same for IPv6 with [`Bucket6`](crate::endpoint::Bucket6).
pub const ENDPOINTS6: &str = "VG_ENDPOINTS6";
/// `PERCPU_ARRAY[REASONS]` of [`Counter`](crate::Counter), by [`Reason`](crate::verdict::Reason).
pub const REASONS: &str = "VG_REASONS";
/// `ARRAY[MAX_PORTS]` of [`RateState`](crate::port::RateState): ICMP errors, by port id.
pub const ICMP_RATE: &str = "VG_ICMP_RATE";
/// `ARRAY[MAX_METERS]` of [`MeterKey`](crate::meter::MeterKey), by meter; meter 0 stays empty.
pub const METER_KEYS: &str = "VG_METER_KEYS";
/// `PERCPU_ARRAY[MAX_METERS]` of [`Counter`](crate::Counter): packets that were handed over by an
/// action with that meter, as they are on the wire.
pub const METERS: &str = "VG_METERS";

/// `ARRAY[MAX_PORTS]` of [`Security`](crate::nsg::Security), by port id.
pub const SECURITY: &str = "VG_SECURITY";
/// `ARRAY_OF_MAPS[MAX_RULE_SETS]`; inner `ARRAY[n]` of [`Block`](crate::table::Block), flags
/// [`INNER_FLAGS`]: a set of rules for IPv4 (see [`nsg`](crate::nsg)). Id 0 stays empty.
pub const RULES4: &str = "VG_RULES4";
/// The same for IPv6.
pub const RULES6: &str = "VG_RULES6";
/// `ARRAY_OF_MAPS[MAX_RULE_SETS]`; inner `ARRAY[cpus × stride]` of
/// [`RuleCounter`](crate::nsg::RuleCounter), flags [`INNER_FLAGS`], for both families; after them the
/// list of the rules ([`rule_counter_elements`]).
pub const RULE_COUNTERS: &str = "VG_RULE_COUNTS";
/// `HASH` [`FlowKey4`](crate::flow::FlowKey4) → [`Flow`](crate::flow::Flow): flows that came about.
/// As large as configured.
pub const FLOWS4: &str = "VG_FLOWS4";
/// The same for IPv6.
pub const FLOWS6: &str = "VG_FLOWS6";
/// `LRU_HASH`, keys and values as [`FLOWS4`]: flows that may yet come about.
pub const HALF_OPEN4: &str = "VG_HALF_OPEN4";
/// The same for IPv6.
pub const HALF_OPEN6: &str = "VG_HALF_OPEN6";
/// `LRU_HASH[MAX_DENIED]` [`FlowKey4`](crate::flow::FlowKey4) → [`Denied`](crate::flow::Denied).
pub const DENIED4: &str = "VG_DENIED4";
/// The same for IPv6.
pub const DENIED6: &str = "VG_DENIED6";
/// `LRU_HASH[MAX_FRAGMENTS]` [`FragmentKey4`](crate::flow::FragmentKey4) →
/// [`Fragment`](crate::flow::Fragment): datagrams in pieces.
pub const FRAGMENTS4: &str = "VG_FRAGMENTS4";
/// The same for IPv6.
pub const FRAGMENTS6: &str = "VG_FRAGMENTS6";
/// `HASH[MAX_CAPTURES]` `u32` → [`Capture`](crate::capture::Capture), by port id.
pub const CAPTURES: &str = "VG_CAPTURES";
/// `PERF_EVENT_ARRAY`, by CPU: an [`Event`](crate::capture::Event) and the bytes of a packet.
pub const PACKETS: &str = "VG_PACKETS";

/// Program names (also the names of their pins).
pub const PROG_XDP: &str = "vnet_gw_xdp";
pub const PROG_TC: &str = "vnet_gw_tc";
/// XDP program for the far end of a veth that XDP ports redirect into: it passes everything.
pub const PROG_XDP_PASS: &str = "vnet_gw_pass";

/// `BPF_F_MMAPABLE`
pub const MMAPABLE: u32 = 1 << 10;

pub const IFINDEX_DIRECT: u32 = 65_536;
pub const MAX_PORTS: u32 = 16_384;
pub const MAX_TABLES: u32 = 8_192;
pub const MAX_SCOPES: u32 = 8_192;
pub const MAX_METERS: u32 = 16_384;
pub const MAX_RULE_SETS: u32 = 8_192;
pub const MAX_DENIED: u32 = 8_192;
pub const MAX_FRAGMENTS: u32 = 8_192;
/// Flows of each family that come about, unless configured.
pub const DEFAULT_FLOWS: u32 = 131_072;
pub const MIN_FLOWS: u32 = 64;
pub const MAX_FLOWS: u32 = 16_777_216;

/// Flows of each family that may yet come about, given how many may have.
pub const fn half_open_flows(flows: u32) -> u32 {
    let quarter = flows / 4;
    if quarter < 4_096 { 4_096 } else { quarter }
}

/// Elements of a rule set's counter map: `cpus` rows of `stride`, then, one `u64` a rule, the hash of
/// the name of what each counts (0: the number is free).
pub const fn rule_counter_elements(cpus: u32, stride: u32) -> u32 {
    cpus * stride + stride.div_ceil(2)
}
/// Ports whose packets are copied at one time.
pub const MAX_CAPTURES: u32 = 256;

/// `BPF_F_MMAPABLE | BPF_F_INNER_MAP`: user space reads and writes these arrays through a mapping,
/// and each may have a size of its own (kernel 5.10).
pub const INNER_FLAGS: u32 = MMAPABLE | 1 << 12;
