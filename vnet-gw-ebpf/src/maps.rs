//! The maps of the data path. Names, shapes and meaning: `vnet_gw_common::maps`.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, DevMap, HashMap, LruHashMap, PerCpuArray, PerfEventByteArray},
    macros::btf_map,
};
use vnet_gw_common::{
    Counter,
    capture::Capture,
    endpoint::{Bucket4, Bucket6},
    flow::{Denied, Flow, FlowKey4, FlowKey6, Fragment, FragmentKey4, FragmentKey6},
    maps::{
        DEFAULT_FLOWS, IFINDEX_DIRECT, INNER_FLAGS, MAX_CAPTURES, MAX_DENIED, MAX_FRAGMENTS,
        MAX_METERS, MAX_PORTS, MAX_RULE_SETS, MAX_SCOPES, MAX_TABLES, MMAPABLE, half_open_flows,
    },
    meter::MeterKey,
    nsg::{RuleCounter, Security},
    port::{Port, RateState, Settings, Subnet},
    table::{Block, SmallTable4, SmallTable6},
    verdict::REASON_SLOTS,
};

/// Entries of the definition only; each table's own map has its own size.
const ANY: usize = 256;
const INNER: usize = INNER_FLAGS as usize;
const TABLES: usize = MAX_TABLES as usize;
const PORTS: usize = MAX_PORTS as usize;
const RULE_SETS: usize = MAX_RULE_SETS as usize;
/// The loader makes these maps as large as configured.
const FLOWS: usize = DEFAULT_FLOWS as usize;
const HALF_OPEN: usize = half_open_flows(DEFAULT_FLOWS) as usize;
const DENIED: usize = MAX_DENIED as usize;
const FRAGMENTS: usize = MAX_FRAGMENTS as usize;

pub type Blocks = Array<Block, ANY, INNER>;
pub type Counters = Array<Counter, ANY, INNER>;
pub type RuleCounters = Array<RuleCounter, ANY, INNER>;
pub type Endpoints4 = Array<Bucket4, ANY, INNER>;
pub type Endpoints6 = Array<Bucket6, ANY, INNER>;

#[btf_map]
pub static VG_SETTINGS: Array<Settings, 1, { MMAPABLE as usize }> = Array::new();
#[btf_map]
pub static VG_PORT_BY_IF: Array<u32, { IFINDEX_DIRECT as usize }> = Array::new();
#[btf_map]
pub static VG_PORT_BY_FAR: HashMap<u32, u32, PORTS> = HashMap::new();
#[btf_map]
pub static VG_PORTS: Array<Port, PORTS> = Array::new();
#[btf_map]
pub static VG_DEVICES: DevMap<PORTS> = DevMap::new();
#[btf_map]
pub static VG_SUBNETS: Array<Subnet, TABLES> = Array::new();
#[btf_map]
pub static VG_SCOPES: Array<u64, { MAX_SCOPES as usize }> = Array::new();
#[btf_map]
pub static VG_SMALL4: ArrayOfMaps<Array<SmallTable4, 1>, TABLES> = ArrayOfMaps::new();
#[btf_map]
pub static VG_SMALL6: ArrayOfMaps<Array<SmallTable6, 1>, TABLES> = ArrayOfMaps::new();
#[btf_map]
pub static VG_BIG4: ArrayOfMaps<Blocks, TABLES> = ArrayOfMaps::new();
#[btf_map]
pub static VG_BIG6: ArrayOfMaps<Blocks, TABLES> = ArrayOfMaps::new();
#[btf_map]
pub static VG_COUNTERS4: ArrayOfMaps<Counters, TABLES> = ArrayOfMaps::new();
#[btf_map]
pub static VG_COUNTERS6: ArrayOfMaps<Counters, TABLES> = ArrayOfMaps::new();
#[btf_map]
pub static VG_ENDPOINTS4: ArrayOfMaps<Endpoints4, 2> = ArrayOfMaps::new();
#[btf_map]
pub static VG_ENDPOINTS6: ArrayOfMaps<Endpoints6, 2> = ArrayOfMaps::new();
#[btf_map]
pub static VG_REASONS: PerCpuArray<Counter, { REASON_SLOTS as usize }> = PerCpuArray::new();
#[btf_map]
pub static VG_METER_KEYS: Array<MeterKey, { MAX_METERS as usize }> = Array::new();
#[btf_map]
pub static VG_METERS: PerCpuArray<Counter, { MAX_METERS as usize }> = PerCpuArray::new();
#[btf_map]
pub static VG_ICMP_RATE: Array<RateState, PORTS> = Array::new();
#[btf_map]
pub static VG_SECURITY: Array<Security, PORTS> = Array::new();
#[btf_map]
pub static VG_RULES4: ArrayOfMaps<Blocks, RULE_SETS> = ArrayOfMaps::new();
#[btf_map]
pub static VG_RULES6: ArrayOfMaps<Blocks, RULE_SETS> = ArrayOfMaps::new();
#[btf_map]
pub static VG_RULE_COUNTS: ArrayOfMaps<RuleCounters, RULE_SETS> = ArrayOfMaps::new();
#[btf_map]
pub static VG_FLOWS4: HashMap<FlowKey4, Flow, FLOWS> = HashMap::new();
#[btf_map]
pub static VG_FLOWS6: HashMap<FlowKey6, Flow, FLOWS> = HashMap::new();
#[btf_map]
pub static VG_HALF_OPEN4: LruHashMap<FlowKey4, Flow, HALF_OPEN> = LruHashMap::new();
#[btf_map]
pub static VG_HALF_OPEN6: LruHashMap<FlowKey6, Flow, HALF_OPEN> = LruHashMap::new();
#[btf_map]
pub static VG_DENIED4: LruHashMap<FlowKey4, Denied, DENIED> = LruHashMap::new();
#[btf_map]
pub static VG_DENIED6: LruHashMap<FlowKey6, Denied, DENIED> = LruHashMap::new();
#[btf_map]
pub static VG_FRAGMENTS4: LruHashMap<FragmentKey4, Fragment, FRAGMENTS> = LruHashMap::new();
#[btf_map]
pub static VG_FRAGMENTS6: LruHashMap<FragmentKey6, Fragment, FRAGMENTS> = LruHashMap::new();
#[btf_map]
pub static VG_CAPTURES: HashMap<u32, Capture, { MAX_CAPTURES as usize }> = HashMap::new();
#[btf_map]
pub static VG_PACKETS: PerfEventByteArray = PerfEventByteArray::new();

/// The port of an interface.
#[inline(always)]
pub fn port_id(ifindex: u32) -> Option<u32> {
    let id = if ifindex < IFINDEX_DIRECT {
        VG_PORT_BY_IF.get(ifindex).copied()?
    } else {
        let id = VG_PORT_BY_FAR.get_ptr(ifindex)?;
        // SAFETY: a live element of the map; a concurrent update of these four bytes is atomic.
        unsafe { *id }
    };
    if id == 0 { None } else { Some(id) }
}

#[inline(always)]
pub fn port(id: u32) -> Option<&'static Port> {
    let port = VG_PORTS.get(id)?;
    if port.flags & Port::PRESENT == 0 {
        None
    } else {
        Some(port)
    }
}

/// Adds to a counter that only this CPU writes.
#[inline(always)]
pub fn add(counter: *mut Counter, packets: u64, bytes: u64) {
    // SAFETY: a live element of a map whose row belongs to this CPU; the program is not re-entered
    // on a CPU (both hooks run with softirqs off).
    unsafe {
        (*counter).packets = (*counter).packets.wrapping_add(packets);
        (*counter).bytes = (*counter).bytes.wrapping_add(bytes);
    }
}
