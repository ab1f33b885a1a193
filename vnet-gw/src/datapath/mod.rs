//! The thin shell that keeps the kernel equal to the desired [`Image`].
//!
//! Nothing here decides what a packet may do: an image says what should be in the maps, and this
//! module gets it there so that at every moment each packet meets the old state or the new one:
//!
//! 1. everything is planned; an image that cannot be held changes nothing;
//! 2. security rules, and which of them a port has (see `security`);
//! 3. new ports, then new endpoints, since routes may lead there;
//! 4. route tables: built beside and swapped, or edited in place (see `tables`);
//! 5. ports that changed, which may use another table now;
//! 6. what is gone: ports, endpoints, and after a grace period the tables and rules they used.
//!
//! Everything is pinned (see `pins`), so forwarding goes on without us. A restart reads back which
//! id belongs to which resource, by hash, and compares the rest with the first image it is given.
//!
//! Whoever runs in a mount namespace of its own, as under `ip netns exec`, has a bpffs of its own
//! there, which goes with the namespace; `nsenter --net` keeps to the host's.

mod attach;
mod capture;
mod clsact;
mod down;
mod endpoints;
mod error;
pub(crate) mod flows;
mod internet;
mod load;
mod map;
mod meters;
mod mirror;
mod netdev;
mod pinned;
mod pins;
mod ports;
mod probe;
mod reconcile;
mod report;
mod scopes;
mod security;
mod sys;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use vnet_gw_common::{Counter, maps::DEFAULT_FLOWS, verdict::Reason};
use vnet_gw_core::{compile::Image, model::ResourceId, security::RuleSetId};

pub use self::flows::{DeniedFlow, FlowId, FlowNames, FlowRow, FlowTables, PortName, Scan};
use self::{
    attach::Attacher,
    endpoints::{EndpointTables, Wanted},
    internet::{Internet, is_internet},
    load::{Maps, Programs},
    meters::Meters,
    netdev::Netdevs,
    pins::Directory,
    ports::{Place, Places, PortIds, Ports, Which},
    scopes::Scopes,
    security::{RuleSets, RuleSetsPlan},
    tables::{Tables, TablesPlan},
};
pub use self::{
    attach::Features, capture::PacketRings, down::down, error::DatapathError,
    internet::InternetPort, meters::left_meters, netdev::device_stats, pins::Instance,
    probe::ProbePort, report::*,
};

/// Where a port's program is attached.
///
/// | choice | virtual devices (veth, tun, tap, bridge, …) | physical devices |
/// |---|---|---|
/// | `Auto` | TCX: they carry super-packets and partial checksums, which XDP would have to do without | XDP |
/// | `Xdp` | XDP | XDP |
/// | `Tcx` | TCX | TCX |
///
/// XDP is tried in the driver first; refused there, the generic mode is taken, with a warning. TCX
/// needs kernel 6.6; before, a `clsact` filter takes its place. A physical device is one that has a
/// parent (a PCI, virtio, … device) in the kernel's device tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    #[default]
    Auto,
    Xdp,
    Tcx,
}

/// The data path of one instance: what is pinned in the kernel, and the image it should hold.
///
/// Dropping it changes nothing in the kernel: forwarding goes on.
#[derive(Debug)]
pub struct Datapath {
    instance: Instance,
    directory: Directory,
    choice: HookChoice,
    features: Features,
    maps: Maps,
    programs: Programs,
    scopes: Scopes,
    security: RuleSets,
    meters: Meters,
    tables: Tables,
    ports: Ports,
    endpoints: EndpointTables,
    /// The image to reach; in force unless [`Self::unfinished`].
    image: Option<Arc<Image>>,
    port_ids: PortIds,
    wanted: Wanted,
    internet: Internet,
    /// The last change stopped half-way: the kernel may be anywhere between.
    unfinished: bool,
    /// The last change is in force, and what it replaced is still to be freed.
    owed: Option<Owed>,
    totals: Totals,
}

/// What is to be freed once no packet can be using it.
#[derive(Clone, Copy, Debug)]
struct Owed {
    ports_went: bool,
    scopes: bool,
}

#[derive(Debug, Default)]
struct Totals {
    drift_found: u64,
    drift_mended: u64,
    reconciles: u64,
    applies: u64,
    last_apply: Option<std::time::Duration>,
    last_reconcile: Option<std::time::Duration>,
}

impl Datapath {
    /// Adopts what is pinned for the instance, or creates it. Mounts bpffs where it is not.
    /// Programs of another build are replaced in their links when the first image is applied.
    ///
    /// Devices are those of the calling thread's network namespace; so it is for every method, all
    /// of which must be called in that namespace.
    pub fn open(instance: &Instance, hook: HookChoice) -> Result<Self, DatapathError> {
        Self::open_with(instance, hook, Features::detect())
    }

    /// [`Self::open`] for a kernel that can do less than it does.
    pub fn open_with(
        instance: &Instance,
        hook: HookChoice,
        features: Features,
    ) -> Result<Self, DatapathError> {
        Self::open_for(instance, hook, features, DEFAULT_FLOWS)
    }

    /// [`Self::open_with`], with room for `flows` of each family where the maps are new.
    pub fn open_for(
        instance: &Instance,
        hook: HookChoice,
        features: Features,
        flows: u32,
    ) -> Result<Self, DatapathError> {
        let directory = Directory::create(instance)?;
        let (maps, programs) = load::open(instance, &directory, flows)?;
        capture::forget_all(&maps)?;
        Ok(Self {
            scopes: Scopes::read(&maps)?,
            security: RuleSets::read(&maps)?,
            meters: Meters::read(&maps)?,
            tables: Tables::read(&maps)?,
            ports: Ports::read(&maps)?,
            endpoints: EndpointTables::read(&maps)?,
            instance: instance.clone(),
            directory,
            choice: hook,
            features,
            maps,
            programs,
            image: None,
            port_ids: PortIds::new(),
            wanted: Wanted::default(),
            internet: Internet::default(),
            unfinished: false,
            owed: None,
            totals: Totals::default(),
        })
    }

    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Reaches `image` with as few changes as possible, new before old.
    ///
    /// # Errors
    /// An image that the data path cannot hold changes nothing. Where the kernel refuses something
    /// half-way, what is not changed yet stays in force, and the next [`Self::reconcile`] or
    /// [`Self::apply`] goes on from there.
    pub fn apply(&mut self, image: Arc<Image>) -> Result<ApplyReport, DatapathError> {
        let start = Instant::now();
        let mut report = self.put_in_force(image)?;
        self.settle()?;
        self.tables.arrive()?;
        report.duration = start.elapsed();
        self.totals.last_apply = Some(report.duration);
        Ok(report)
    }

    /// The first part of [`Self::apply`]: packets meet the image when it returns, except those that
    /// are being looked up at that moment. [`Self::settle`] is the other part; whatever changes
    /// anything next begins with it. Where nothing but tables was replaced, the next change need not
    /// wait for those packets, unless it concerns the same tables.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn put_in_force(&mut self, image: Arc<Image>) -> Result<ApplyReport, DatapathError> {
        let start = Instant::now();
        // What it could not do leaves the last change unfinished, which is mended here.
        let _ = self.settle();
        let mut report = ApplyReport::default();
        let same = self
            .image
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, &image) || *now == image);
        if self.unfinished {
            self.mend(&mut Drift::default());
        }
        if !same || self.unfinished {
            self.reach(image, &mut report, start)?;
        }
        report
            .warnings
            .extend(self.directory.warning().map(str::to_owned));
        report.warnings.extend(self.ports.warnings());
        report.duration = start.elapsed();
        self.totals.applies += 1;
        self.totals.last_apply = Some(report.duration);
        Ok(report)
    }

    fn reach(
        &mut self,
        image: Arc<Image>,
        report: &mut ApplyReport,
        start: Instant,
    ) -> Result<(), DatapathError> {
        let port_ids = self.ports.plan(&self.internet.wanted(&image))?;
        let plan = self
            .tables
            .plan(&image, &mut self.scopes, &mut self.meters, &self.maps)?;
        let rules = self.security.plan(&image, &port_ids, &self.maps)?;
        let mut places = self.places(&image, &port_ids, &plan)?;
        for nic in &rules.flushed {
            if let Some(place) = places.get_mut(nic) {
                place.generation = place.generation.wrapping_add(1);
            }
        }
        // What becomes of devices meanwhile is for the next reconcile.
        let ports_stand =
            !self.unfinished && (self.ports).stand(&self.internet.wanted(&image), &places);
        let devices = match ports_stand {
            true => None,
            false => Some(Netdevs::read().map_err(DatapathError::Netlink)?),
        };
        let endpoints_same = port_ids == self.port_ids
            && self
                .image
                .as_ref()
                .is_some_and(|now| now.endpoints == image.endpoints);
        if !endpoints_same {
            let ids: HashMap<_, _> = port_ids.iter().map(|(nic, id)| (nic, *id)).collect();
            self.wanted = Wanted::of(&image, &ids, &mut self.scopes)?;
        }
        let scopes_same = !self.unfinished && endpoints_same && self.tables.keeps_scopes(&plan);
        let overtakes =
            scopes_same && ports_stand && rules.is_calm() && self.tables.may_overtake(&plan);
        if !overtakes {
            self.tables.arrive()?;
        }

        // From here on the kernel changes.
        self.unfinished = true;
        self.image = Some(image.clone());
        self.port_ids = port_ids;
        let ports_went = self.carry_out(&image, plan, rules, &places, devices.as_ref(), report)?;
        report.in_force = start.elapsed();
        self.unfinished = false;
        self.owed = Some(Owed {
            ports_went,
            scopes: !scopes_same,
        });
        Ok(())
    }

    /// Frees what the last change replaced, once no packet can be using it: waits for those that may,
    /// unless nothing but tables was replaced.
    ///
    /// # Errors
    /// What the kernel refuses. The next [`Self::reconcile`] or [`Self::apply`] sees to the rest.
    pub fn settle(&mut self) -> Result<(), DatapathError> {
        let Some(owed) = self.owed.take() else {
            return Ok(());
        };
        self.unfinished = true;
        self.free(owed)?;
        self.unfinished = false;
        Ok(())
    }

    /// The internet port from now on; none: what should go there is counted `next_hop_internet`.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn set_internet(&mut self, port: Option<InternetPort>) -> Result<(), DatapathError> {
        if !self.internet.set(port) {
            return Ok(());
        }
        let _ = self.settle();
        match self.image.clone() {
            Some(image) => {
                self.reach(image, &mut ApplyReport::default(), Instant::now())?;
                self.settle()
            }
            // With the first image.
            None => Ok(()),
        }
    }

    /// The numbers of the VNets that packets may come from.
    pub fn scopes(&self) -> BTreeSet<u32> {
        self.scopes.numbers()
    }

    fn places(
        &mut self,
        image: &Image,
        port_ids: &PortIds,
        plan: &TablesPlan,
    ) -> Result<Places, DatapathError> {
        let mut places = Places::new();
        for (nic, port) in self.internet.wanted(image).iter() {
            let internet = is_internet(nic);
            let id = port_ids.get(nic).copied().unwrap_or(0);
            let place = Place {
                id,
                scope: if internet {
                    0
                } else {
                    self.scopes.id(&port.vnet)?
                },
                table: self.tables.id(plan, &port.subnet).unwrap_or(0),
                internet,
                generation: self.ports.generation(nic, id),
            };
            places.insert(nic.clone(), place);
        }
        Ok(places)
    }

    /// Puts the plan into force; whether ports went. Without `devices`, ports stay on theirs.
    fn carry_out(
        &mut self,
        image: &Image,
        plan: TablesPlan,
        rules: RuleSetsPlan,
        places: &Places,
        devices: Option<&Netdevs>,
        report: &mut ApplyReport,
    ) -> Result<bool, DatapathError> {
        let Self {
            maps,
            ports,
            endpoints,
            tables,
            scopes,
            internet,
            security,
            meters,
            ..
        } = self;
        let wanted = internet.wanted(image);
        let attacher = Attacher {
            directory: &self.directory,
            programs: &self.programs,
            features: self.features,
            choice: self.choice,
        };
        scopes.write(maps)?;
        report.rule_sets_changed += security.carry_out(rules, maps)?;
        meters.write(maps)?;
        if let Some(devices) = devices {
            let new = ports.set(maps, &attacher, devices, &wanted, places, Which::New)?;
            report.ports_changed += new.changed;
        }
        // What is taken out below may have to wait for the packets that routes lead there.
        let ahead = devices.is_none() && self.wanted.in_force();
        report.endpoints_rebuilt |= endpoints.add(maps, &self.wanted)?;
        tables.carry_out(plan, maps, ahead, report)?;
        let mut gone = 0;
        if devices.is_none() {
            report.ports_changed += ports.touch(maps, &wanted, places)?;
        }
        if let Some(devices) = devices {
            let changed = ports.set(maps, &attacher, devices, &wanted, places, Which::Changed)?;
            maps.set_internet(internet.word(|id| self.port_ids.get(id).copied()));
            gone = ports.remove_others(maps, &attacher, devices, &self.port_ids)?;
            report.ports_changed += changed.changed + gone;
        }
        report.endpoints_rebuilt |= endpoints.remove(maps, &mut self.wanted)?;
        tables.forget_unknown();
        security.forget_unknown(maps, &self.port_ids)?;
        self.programs.forget_others(&self.directory)?;
        Ok(gone > 0)
    }

    /// Once no packet can be using what was taken out: frees it.
    fn free(&mut self, owed: Owed) -> Result<(), DatapathError> {
        if owed.ports_went
            || self.tables.owes_grace()
            || self.endpoints.owes_grace()
            || self.security.owes_grace()
        {
            self.tables.arrive()?;
            self.maps.grace()?;
            self.scopes.rested();
        }
        self.tables.finish(&self.maps)?;
        self.endpoints.finish(&self.maps)?;
        self.security.finish(&self.maps)?;
        self.ports.rested();
        self.meters.retain(&self.tables.used_meters());
        if !owed.scopes {
            return Ok(());
        }
        // The numbers of VNets that nothing refers to any more.
        let mut used: BTreeSet<u32> = self.tables.used_scopes();
        used.extend(self.endpoints.used_scopes());
        self.scopes.retain(&self.maps, &used)
    }

    /// Counters since the maps were made, summed over CPUs.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        let mut counters = Counters {
            subnets: self.tables.counters(),
            reasons: Vec::new(),
        };
        let mut per_cpu = vec![Counter::default(); self.maps.cpus as usize];
        for reason in Reason::ALL {
            self.maps.reasons.get_into(*reason as u32, &mut per_cpu)?;
            let sum = per_cpu.iter().fold(Counter::default(), |sum, one| Counter {
                packets: sum.packets.wrapping_add(one.packets),
                bytes: sum.bytes.wrapping_add(one.bytes),
            });
            counters.reasons.push((*reason, sum));
        }
        Ok(counters)
    }

    /// How often each security rule decided, in the order in which rules are asked.
    pub fn rule_hits(&self) -> BTreeMap<RuleSetId, Vec<RuleHits>> {
        self.security.hits()
    }

    /// The flow tables, for a thread of its own.
    pub fn flow_tables(&self) -> Result<FlowTables, DatapathError> {
        FlowTables::open(&self.maps)
    }

    /// Whom the ids in flows stand for, as things are now.
    pub fn flow_names(&self) -> FlowNames {
        FlowNames {
            ports: self.ports.names(),
            rules: self.security.names(),
        }
    }

    /// Whether refused flows are remembered, for the flow log.
    pub fn set_flow_log(&self, on: bool) {
        self.maps.set_flow_log(on);
    }

    /// What was handed over from one VNet into another, since each meter was born.
    pub fn meters(&self) -> Result<Vec<MeterReading>, DatapathError> {
        self.meters.readings(&self.maps)
    }

    /// Everything that these meters (by their `born`) have counted when they were read is kept
    /// elsewhere.
    pub fn meters_settled(&mut self, born: &[u64]) -> Result<(), DatapathError> {
        self.meters.settled(&self.maps, born)
    }

    /// Every port of the image, ordered by networkInterface.
    pub fn ports(&self) -> Vec<PortStatus> {
        self.ports.status()
    }

    /// Traces one packet in `every` of a port, or none. Not remembered across restarts.
    pub fn set_trace(&mut self, nic: &ResourceId, every: Option<u32>) -> Result<(), DatapathError> {
        self.ports.set_trace(&self.maps, nic, every)
    }

    /// The ids of the programs, for `aya_log::EbpfLogger::init_from_id`: they share one log.
    pub fn program_ids(&self) -> Vec<u32> {
        vec![self.programs.xdp.id, self.programs.tc.id]
    }

    pub fn stats(&self) -> Stats {
        let (endpoints4, endpoints6, endpoint_bytes) = self.endpoints.size();
        Stats {
            tables: self.tables.stats(),
            rule_sets: self.security.stats(),
            flow_room: FlowRoom {
                established: self.maps.flows[0].entries(),
                half_open: self.maps.half_open[0].entries(),
            },
            endpoints4,
            endpoints6,
            endpoint_bytes,
            drift_found: self.totals.drift_found,
            drift_mended: self.totals.drift_mended,
            reconciles: self.totals.reconciles,
            applies: self.totals.applies,
            last_apply: self.totals.last_apply,
            last_reconcile: self.totals.last_reconcile,
        }
    }
}
