//! The object with the bench's programs, loaded once for each wire: its maps are that wire's own.

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, Map, MapData, PerCpuArray},
    programs::{SchedClassifier, TcAttachType, Xdp, XdpMode, tc},
    util::KernelVersion,
};
use vnet_gw_lab::Netns;

use crate::{abi::Flow, names};

/// Newtype: the layout is shared with the programs, the trait is aya's.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct FlowValue(pub(crate) Flow);

// SAFETY: integers only, `repr(C)`, no padding (asserted next to the type).
unsafe impl Pod for FlowValue {}

/// `cargo xtask ebpf` compiles it. Embedded, so that the bench runs where the repository is not.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ebpf/bench"));

pub(crate) struct Object {
    pub(crate) ebpf: Ebpf,
}

impl Object {
    pub(crate) fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .load(OBJECT)
            .context("loading the bench's programs")?;
        // Any state but 0 will do; equal ones make equal runs.
        let mut random: PerCpuArray<_, u64> = map_mut(&mut ebpf, names::RANDOM)?.try_into()?;
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| {
            anyhow::Error::new(error).context(format!("reading {what}"))
        })?;
        let states = (1..=cpus as u64).map(|cpu| cpu.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.set(
            0,
            aya::maps::PerCpuValues::try_from(states.collect::<Vec<_>>())?,
            0,
        )?;
        Ok(Self { ebpf })
    }

    pub(crate) fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        Array::try_from(map_mut(&mut self.ebpf, name)?).with_context(|| format!("map {name}"))
    }

    pub(crate) fn map(&mut self, name: &str) -> Result<&mut Map> {
        map_mut(&mut self.ebpf, name)
    }

    /// The sum over all CPUs of each element.
    pub(crate) fn totals(&self, name: &str) -> Result<Vec<u64>> {
        let map = self
            .ebpf
            .map(name)
            .with_context(|| format!("no map {name} in the object"))?;
        let map: PerCpuArray<_, u64> = map.try_into()?;
        (0..map.len())
            .map(|i| Ok(map.get(&i, 0)?.iter().sum()))
            .collect()
    }

    pub(crate) fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program: &mut Xdp = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program {name} in the object"))?
            .try_into()?;
        if program.fd().is_err() {
            program
                .load()
                .with_context(|| format!("loading program {name}"))?;
        }
        Ok(program)
    }

    /// Attaches the XDP program `name` to `device`; detached when the object is dropped.
    pub(crate) fn attach_xdp(&mut self, name: &str, netns: &Netns, device: &str) -> Result<()> {
        let program = self.xdp(name)?;
        netns
            .enter(|| program.attach(device, XdpMode::Driver))?
            .with_context(|| format!("attaching {name} to {device}"))?;
        Ok(())
    }

    /// Attaches the classifier `name` to `device`'s ingress; detached when the object is dropped.
    pub(crate) fn attach_tc(&mut self, name: &str, netns: &Netns, device: &str) -> Result<()> {
        let program: &mut SchedClassifier = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program {name} in the object"))?
            .try_into()?;
        if program.fd().is_err() {
            program
                .load()
                .with_context(|| format!("loading program {name}"))?;
        }
        netns
            .enter(|| {
                if KernelVersion::current()
                    .is_ok_and(|version| version < KernelVersion::new(6, 6, 0))
                {
                    // Fails where it is there already, which is as well.
                    let _ = tc::qdisc_add_clsact(device);
                }
                program.attach(device, TcAttachType::Ingress)
            })?
            .with_context(|| format!("attaching {name} to {device}"))?;
        Ok(())
    }
}

fn map_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("no map {name} in the object"))
}
