//! The pinned maps and programs: adopted where they are, created where not.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    EbpfLoader,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};
use aya_obj::generated::bpf_map_type::{self, *};
use vnet_gw_common::{
    Counter,
    capture::Capture,
    endpoint::EndpointsWord,
    flow::{Denied, Flow, FlowKey4, FlowKey6, Fragment, FragmentKey4, FragmentKey6},
    maps::{self, MAX_CAPTURES, MAX_METERS, MAX_PORTS, MAX_RULE_SETS, MAX_SCOPES, MAX_TABLES},
    meter::MeterKey,
    nsg::Security,
    port::{Port, RateState, Settings, Subnet},
    verdict::REASON_SLOTS,
};

use super::{
    DatapathError, Instance,
    map::{Map, Mapping},
    pinned::Pinned,
    pins::{self, Directory},
    sys,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vnet-gw-ebpf"));

/// ICMP errors a port may cause: this many a second on average, and this many at once (the kernel
/// itself has 1,000 and 50 for the whole host, `icmp_msgs_per_sec` and `icmp_msgs_burst`).
const ICMP_INTERVAL_NS: u64 = 10_000_000;
const ICMP_BURST: u32 = 20;

/// Every pinned map.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) port_by_if: Pinned,
    pub(super) port_by_if_far: Pinned,
    pub(super) ports: Pinned,
    pub(super) devices: Pinned,
    pub(super) subnets: Pinned,
    pub(super) scopes: Pinned,
    pub(super) small: [Pinned; 2],
    pub(super) big: [Pinned; 2],
    pub(super) counters: [Pinned; 2],
    pub(super) endpoints: [Pinned; 2],
    pub(super) reasons: Pinned,
    pub(super) security: Pinned,
    pub(super) rules: [Pinned; 2],
    pub(super) rule_counters: Pinned,
    pub(super) flows: [Pinned; 2],
    pub(super) half_open: [Pinned; 2],
    pub(super) denied: [Pinned; 2],
    pub(super) meter_keys: Pinned,
    pub(super) meters: Pinned,
    pub(super) captures: Pinned,
    /// Rows of every counter map.
    pub(super) cpus: u32,
    settings: Mapping,
}

/// The shape a map must have for this version to work with it.
struct Shape {
    name: &'static str,
    kind: bpf_map_type,
    key_size: usize,
    value_size: usize,
    /// 0: as many as were configured when it was made.
    entries: u32,
}

const fn shape<V>(name: &'static str, kind: bpf_map_type, entries: u32) -> Shape {
    keyed::<u32, V>(name, kind, entries)
}

const fn keyed<K, V>(name: &'static str, kind: bpf_map_type, entries: u32) -> Shape {
    Shape {
        name,
        kind,
        key_size: size_of::<K>(),
        value_size: size_of::<V>(),
        entries,
    }
}

const SHAPES: [Shape; 33] = [
    shape::<Settings>(maps::SETTINGS, BPF_MAP_TYPE_ARRAY, 1),
    shape::<u32>(maps::PORT_BY_IF, BPF_MAP_TYPE_ARRAY, maps::IFINDEX_DIRECT),
    shape::<u32>(maps::PORT_BY_IF_FAR, BPF_MAP_TYPE_HASH, MAX_PORTS),
    shape::<Port>(maps::PORTS, BPF_MAP_TYPE_ARRAY, MAX_PORTS),
    // An interface index, or with it the descriptor of a program that runs at the far end.
    shape::<[u32; 2]>(maps::DEVICES, BPF_MAP_TYPE_DEVMAP, MAX_PORTS),
    shape::<Subnet>(maps::SUBNETS, BPF_MAP_TYPE_ARRAY, MAX_TABLES),
    shape::<u64>(maps::SCOPES, BPF_MAP_TYPE_ARRAY, MAX_SCOPES),
    shape::<u32>(maps::SMALL4, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_TABLES),
    shape::<u32>(maps::SMALL6, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_TABLES),
    shape::<u32>(maps::BIG4, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_TABLES),
    shape::<u32>(maps::BIG6, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_TABLES),
    shape::<u32>(maps::COUNTERS4, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_TABLES),
    shape::<u32>(maps::COUNTERS6, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_TABLES),
    shape::<u32>(maps::ENDPOINTS4, BPF_MAP_TYPE_ARRAY_OF_MAPS, 2),
    shape::<u32>(maps::ENDPOINTS6, BPF_MAP_TYPE_ARRAY_OF_MAPS, 2),
    shape::<Counter>(maps::REASONS, BPF_MAP_TYPE_PERCPU_ARRAY, REASON_SLOTS),
    shape::<MeterKey>(maps::METER_KEYS, BPF_MAP_TYPE_ARRAY, MAX_METERS),
    shape::<Counter>(maps::METERS, BPF_MAP_TYPE_PERCPU_ARRAY, MAX_METERS),
    shape::<RateState>(maps::ICMP_RATE, BPF_MAP_TYPE_ARRAY, MAX_PORTS),
    shape::<Security>(maps::SECURITY, BPF_MAP_TYPE_ARRAY, MAX_PORTS),
    shape::<u32>(maps::RULES4, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_RULE_SETS),
    shape::<u32>(maps::RULES6, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAX_RULE_SETS),
    shape::<u32>(
        maps::RULE_COUNTERS,
        BPF_MAP_TYPE_ARRAY_OF_MAPS,
        MAX_RULE_SETS,
    ),
    keyed::<FlowKey4, Flow>(maps::FLOWS4, BPF_MAP_TYPE_HASH, 0),
    keyed::<FlowKey6, Flow>(maps::FLOWS6, BPF_MAP_TYPE_HASH, 0),
    keyed::<FlowKey4, Flow>(maps::HALF_OPEN4, BPF_MAP_TYPE_LRU_HASH, 0),
    keyed::<FlowKey6, Flow>(maps::HALF_OPEN6, BPF_MAP_TYPE_LRU_HASH, 0),
    keyed::<FlowKey4, Denied>(maps::DENIED4, BPF_MAP_TYPE_LRU_HASH, maps::MAX_DENIED),
    keyed::<FlowKey6, Denied>(maps::DENIED6, BPF_MAP_TYPE_LRU_HASH, maps::MAX_DENIED),
    keyed::<FragmentKey4, Fragment>(maps::FRAGMENTS4, BPF_MAP_TYPE_LRU_HASH, maps::MAX_FRAGMENTS),
    keyed::<FragmentKey6, Fragment>(maps::FRAGMENTS6, BPF_MAP_TYPE_LRU_HASH, maps::MAX_FRAGMENTS),
    shape::<Capture>(maps::CAPTURES, BPF_MAP_TYPE_HASH, MAX_CAPTURES),
    // One entry a CPU.
    shape::<u32>(maps::PACKETS, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 0),
];

impl Maps {
    fn open(instance: &Instance, directory: &Directory) -> Result<Self, DatapathError> {
        let cpus = possible_cpus()?;
        for shape in &SHAPES {
            open_map(instance, directory, shape, cpus)?;
        }
        let open = |name: &'static str| {
            let shape = SHAPES.iter().find(|shape| shape.name == name);
            let shape = shape.ok_or(DatapathError::NoProgram(name))?;
            open_map(instance, directory, shape, cpus)
        };
        let settings = open(maps::SETTINGS)?;
        Ok(Self {
            port_by_if: open(maps::PORT_BY_IF)?,
            port_by_if_far: open(maps::PORT_BY_IF_FAR)?,
            ports: open(maps::PORTS)?,
            devices: open(maps::DEVICES)?,
            subnets: open(maps::SUBNETS)?,
            scopes: open(maps::SCOPES)?,
            small: [open(maps::SMALL4)?, open(maps::SMALL6)?],
            big: [open(maps::BIG4)?, open(maps::BIG6)?],
            counters: [open(maps::COUNTERS4)?, open(maps::COUNTERS6)?],
            endpoints: [open(maps::ENDPOINTS4)?, open(maps::ENDPOINTS6)?],
            reasons: open(maps::REASONS)?,
            security: open(maps::SECURITY)?,
            rules: [open(maps::RULES4)?, open(maps::RULES6)?],
            rule_counters: open(maps::RULE_COUNTERS)?,
            flows: [open(maps::FLOWS4)?, open(maps::FLOWS6)?],
            half_open: [open(maps::HALF_OPEN4)?, open(maps::HALF_OPEN6)?],
            denied: [open(maps::DENIED4)?, open(maps::DENIED6)?],
            meter_keys: open(maps::METER_KEYS)?,
            meters: open(maps::METERS)?,
            captures: open(maps::CAPTURES)?,
            cpus,
            settings: settings.in_memory()?,
        })
    }

    /// The words of [`Settings`], each of which changes at once.
    fn setting(&self, offset: usize) -> &AtomicU64 {
        &self.settings.longs()[offset / 8]
    }

    fn endpoints_setting(&self, family: usize) -> &AtomicU64 {
        const OFFSETS: [usize; 2] = [
            std::mem::offset_of!(Settings, endpoints4),
            std::mem::offset_of!(Settings, endpoints6),
        ];
        self.setting(OFFSETS[family])
    }

    /// The word that says which endpoint table is read; `family` 0 is IPv4.
    pub(super) fn endpoints_word(&self, family: usize) -> u64 {
        self.endpoints_setting(family).load(Ordering::Acquire)
    }

    /// Flips to another endpoint table: one store.
    pub(super) fn set_endpoints_word(&self, family: usize, word: u64) {
        self.endpoints_setting(family)
            .store(word, Ordering::Release);
    }

    /// The internet port, as an endpoint: one store. Whether it was another.
    pub(super) fn set_internet(&self, word: u64) -> bool {
        const AT: usize = std::mem::offset_of!(Settings, internet);
        self.setting(AT).swap(word, Ordering::Release) != word
    }

    /// Whether refused flows are remembered, for the flow log.
    pub(super) fn set_flow_log(&self, on: bool) {
        const BURST: usize = std::mem::offset_of!(Settings, icmp_burst);
        const { assert!(std::mem::offset_of!(Settings, flags) == BURST + 4) };
        let flags = if on { Settings::FLOW_LOG } else { 0 };
        self.setting(BURST)
            .store(pair(ICMP_BURST, flags), Ordering::Relaxed);
    }

    /// Waits until every packet that is under way now has left the programs: puts an endpoint
    /// table where it is already, since an update of an outer map ends with such a wait.
    pub(super) fn grace(&self) -> Result<(), DatapathError> {
        let slot = EndpointsWord(self.endpoints_word(0)).slot();
        match self.endpoints[0].inner(slot)? {
            Some(map) => self.endpoints[0].set_inner(&[(slot, &map)]),
            None => Ok(()),
        }
    }

    /// Everything but the endpoint words.
    fn settle(&self) {
        const RATE: usize = std::mem::offset_of!(Settings, icmp_interval_ns);
        const BURST: usize = std::mem::offset_of!(Settings, icmp_burst);
        const { assert!(BURST.is_multiple_of(8) && std::mem::offset_of!(Settings, cpus) == 4) };
        self.setting(RATE)
            .store(ICMP_INTERVAL_NS, Ordering::Relaxed);
        let flags = (self.setting(BURST).load(Ordering::Relaxed) >> 32) as u32;
        self.setting(BURST)
            .store(pair(ICMP_BURST, flags), Ordering::Relaxed);
        // Last: a version in place says that the rest is, too.
        self.setting(0)
            .store(pair(maps::ABI_VERSION, self.cpus), Ordering::Release);
    }

    /// Whether the settings are what [`Self::settle`] makes them; it sets them right.
    pub(super) fn mend_settings(&self) -> bool {
        const RATE: usize = std::mem::offset_of!(Settings, icmp_interval_ns);
        const BURST: usize = std::mem::offset_of!(Settings, icmp_burst);
        let fine = self.setting(0).load(Ordering::Relaxed) == pair(maps::ABI_VERSION, self.cpus)
            && self.setting(RATE).load(Ordering::Relaxed) == ICMP_INTERVAL_NS
            && self.setting(BURST).load(Ordering::Relaxed) as u32 == ICMP_BURST;
        if !fine {
            self.settle();
        }
        fine
    }
}

/// Two 32-bit fields as the word they stand in.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn open_map(
    instance: &Instance,
    directory: &Directory,
    shape: &Shape,
    cpus: u32,
) -> Result<Pinned, DatapathError> {
    let path = directory.map(shape.name);
    let open = || Map::new(sys::object_get(&path)?, cpus);
    let map = open().map_err(|source| DatapathError::Pin {
        operation: "opening",
        path: path.clone(),
        source,
    })?;
    let info = map.info();
    let devmap = shape.kind == BPF_MAP_TYPE_DEVMAP && info.value_size == 4;
    let fits = info.kind == shape.kind as u32
        && info.key_size as usize == shape.key_size
        && (info.value_size as usize == shape.value_size || devmap)
        && (info.entries == shape.entries || shape.entries == 0);
    if !fits {
        return Err(DatapathError::MapShape {
            instance: instance.name.clone(),
            map: shape.name,
            found: format!(
                "type {}, {} × {} bytes",
                info.kind, info.entries, info.value_size
            ),
            expected: format!(
                "type {}, {} × {} bytes",
                shape.kind as u32, shape.entries, shape.value_size
            ),
        });
    }
    Ok(Pinned::new(shape.name, map))
}

/// A map of an instance as it was left, and the number of CPUs; `None` where it is not there, or has
/// not the shape that this version knows.
pub(super) fn pinned(
    instance: &Instance,
    directory: &Directory,
    name: &'static str,
) -> Result<Option<(Pinned, u32)>, DatapathError> {
    let cpus = possible_cpus()?;
    let Some(shape) = SHAPES.iter().find(|shape| shape.name == name) else {
        return Ok(None);
    };
    Ok(open_map(instance, directory, shape, cpus)
        .ok()
        .map(|map| (map, cpus)))
}

/// The programs of the embedded object.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) xdp: Loaded,
    pub(super) tc: Loaded,
    /// Where they are pinned.
    path: PathBuf,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) fd: OwnedFd,
    pub(super) id: u32,
}

impl Programs {
    fn open(path: PathBuf) -> std::io::Result<Self> {
        let open = |name: &str| {
            let fd = sys::object_get(&path.join(name))?;
            let id = sys::program_id(fd.as_fd())?;
            Ok::<_, std::io::Error>(Loaded { fd, id })
        };
        // All of them or none: one may be missing where loading was cut short.
        open(maps::PROG_XDP_PASS)?;
        Ok(Self {
            xdp: open(maps::PROG_XDP)?,
            tc: open(maps::PROG_TC)?,
            path,
        })
    }

    /// The pin of the program for [`aya`]'s `clsact` attachment.
    pub(super) fn tc_pin(&self) -> PathBuf {
        self.path.join(maps::PROG_TC)
    }

    /// Removes the pins of the programs of other versions, once no link has them any more.
    pub(super) fn forget_others(
        &self,
        directory: &Directory,
    ) -> Result<Vec<PathBuf>, DatapathError> {
        let mut removed = Vec::new();
        for name in pins::names(&directory.programs()) {
            let path = directory.programs().join(name);
            if path != self.path {
                remove_programs(&path)?;
                removed.push(path);
            }
        }
        Ok(removed)
    }
}

/// Removes one directory of program pins.
pub(super) fn remove_programs(path: &Path) -> Result<usize, DatapathError> {
    let names = pins::names(path);
    for name in &names {
        pins::remove(&path.join(name))?;
    }
    fs::remove_dir(path).map_err(|source| DatapathError::Pin {
        operation: "removing",
        path: path.to_owned(),
        source,
    })?;
    Ok(names.len())
}

/// Adopts the pinned maps and programs, or creates what is missing.
pub(super) fn open(
    instance: &Instance,
    directory: &Directory,
    flows: u32,
) -> Result<(Maps, Programs), DatapathError> {
    check_version(instance, directory)?;
    // The object by its content: what was built from the same sources need not be loaded again, and
    // what was not must be, whatever its version says.
    let path = directory.programs().join(format!("{:016x}", hash(OBJECT)));
    let programs = match Programs::open(path.clone()) {
        Ok(programs) => programs,
        Err(_) => {
            load(directory, &path, flows)?;
            Programs::open(path.clone()).map_err(|source| DatapathError::Pin {
                operation: "opening",
                path,
                source,
            })?
        }
    };
    let maps = Maps::open(instance, directory)?;
    maps.mend_settings();
    Ok((maps, programs))
}

/// Refuses maps of another version before anything is written into them.
fn check_version(instance: &Instance, directory: &Directory) -> Result<(), DatapathError> {
    let path = directory.map(maps::SETTINGS);
    let Ok(fd) = sys::object_get(&path) else {
        return Ok(());
    };
    let mut settings = [0u64; size_of::<Settings>() / 8];
    let read = Map::new(fd, 1).and_then(|map| map.get_into(0, &mut settings));
    let abi = match read {
        Ok(_) => settings[0]
            .to_ne_bytes()
            .first_chunk()
            .map_or(0, |abi| u32::from_ne_bytes(*abi)),
        // Another size is another version.
        Err(_) => u32::MAX,
    };
    // 0: made, but not filled, since that was cut short.
    if abi == 0 || abi == maps::ABI_VERSION {
        return Ok(());
    }
    Err(DatapathError::AbiVersion {
        instance: instance.name.clone(),
        found: abi,
        expected: maps::ABI_VERSION,
    })
}

/// Loads the embedded object over the pinned maps (creating those that are missing) and pins its
/// programs. `flows`: of each family, where the maps are new.
fn load(directory: &Directory, path: &Path, flows: u32) -> Result<(), DatapathError> {
    let mut loader = EbpfLoader::new();
    for (name, entries) in [
        (maps::FLOWS4, flows),
        (maps::FLOWS6, flows),
        (maps::HALF_OPEN4, maps::half_open_flows(flows)),
        (maps::HALF_OPEN6, maps::half_open_flows(flows)),
    ] {
        loader.map_max_entries(name, entries);
    }
    for shape in &SHAPES {
        loader.map_pin_path(shape.name, directory.map(shape.name));
    }
    let mut object = loader.load(OBJECT).map_err(Box::new)?;
    if path.is_dir() {
        remove_programs(path)?;
    }
    pins::make(path)?;
    for name in [maps::PROG_XDP, maps::PROG_TC, maps::PROG_XDP_PASS] {
        let program = object
            .program_mut(name)
            .ok_or(DatapathError::NoProgram(name))?;
        let refused = |source: ProgramError| DatapathError::Program {
            program: name,
            source: Box::new(source),
        };
        match program {
            Program::Xdp(program) => Xdp::load(program),
            Program::SchedClassifier(program) => SchedClassifier::load(program),
            _ => return Err(DatapathError::NoProgram(name)),
        }
        .map_err(refused)?;
        let fd = program.fd().map_err(refused)?;
        let pin = path.join(name);
        sys::object_pin(fd.as_fd(), &pin).map_err(|source| DatapathError::Pin {
            operation: "pinning",
            path: pin,
            source,
        })?;
    }
    Ok(())
}

/// FNV-1a, 64 bits.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn possible_cpus() -> Result<u32, DatapathError> {
    let cpus =
        aya::util::nr_cpus().map_err(|(path, source)| DatapathError::Read { path, source })?;
    Ok(cpus as u32)
}
