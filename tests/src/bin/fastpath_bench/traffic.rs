//! Traffic from A to B: which generator, the receiver, and what is counted between them.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{
    abi::{AS_SENT, FOREIGN, ROUTED},
    live::{self, Load},
    names,
    object::Object,
    pktgen,
    routes::Set,
    wire::{DEV_A, DEV_B, Wire},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generator {
    /// pktgen where the kernel has it, else live frames
    #[default]
    Auto,
    /// The kernel's packet generator
    Pktgen,
    /// BPF_PROG_TEST_RUN with live frames (kernel 5.18)
    Live,
}

impl Generator {
    /// What `Auto` comes to here; an error where pktgen is asked for and is not there.
    pub(crate) fn choose(self) -> Result<Self> {
        let there = fs::exists(pktgen::DIR).unwrap_or(false);
        match self {
            Self::Auto if there => Ok(Self::Pktgen),
            Self::Auto => Ok(Self::Live),
            Self::Pktgen if !there => bail!(
                "--generator pktgen: this kernel has no pktgen ({} is missing): `modprobe pktgen`, \
                 or use --generator live",
                pktgen::DIR
            ),
            chosen => Ok(chosen),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pktgen => "pktgen",
            Self::Live => "live frames",
        }
    }
}

/// When is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

/// Attaches the receiver to B, at both hooks: what `bpf_redirect_peer` delivers comes in behind
/// XDP. Everything else is counted and dropped at XDP, whoever forwarded it.
pub(crate) fn attach_receiver(object: &mut Object, wire: &Wire) -> Result<()> {
    object.attach_tc("bench_sink_tc", &wire.b, DEV_B)?;
    object.attach_xdp("bench_sink_xdp", &wire.b, DEV_B)
}

/// Attaches ends to A and B that answer each other, at both hooks.
pub(crate) fn attach_answerers(object: &mut Object, wire: &Wire) -> Result<()> {
    for (netns, device) in [(&wire.a, DEV_A), (&wire.b, DEV_B)] {
        object.attach_tc("bench_answer_tc", netns, device)?;
        object.attach_xdp("bench_answer_xdp", netns, device)?;
    }
    Ok(())
}

/// All that arrived so far and was what it should be, of a subject that decrements.
pub(crate) fn arrived(object: &Object) -> Result<u64> {
    let totals = object.totals(names::ARRIVED)?;
    totals
        .get(ROUTED as usize)
        .copied()
        .context("receiver's counters")
}

/// What arrived at B in a window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrived {
    as_sent: u64,
    routed: u64,
    foreign: u64,
    seconds: f64,
}

impl Arrived {
    /// Packets a second with the TTL that the subject owes. An error where others are among them:
    /// a subject that does less than its job must not win by it.
    pub(crate) fn rate(&self, decrements: bool) -> Result<f64> {
        let (good, bad) = match decrements {
            true => (self.routed, self.as_sent + self.foreign),
            false => (self.as_sent, self.routed + self.foreign),
        };
        if good == 0 {
            bail!("nothing arrived at B ({bad} frames were not what they should be)");
        }
        if bad * 1000 > good {
            bail!(
                "{bad} of {} frames at B have a wrong MAC address or TTL",
                good + bad
            );
        }
        Ok(good as f64 / self.seconds)
    }
}

/// Runs the generator of `family` on `cpu` and counts at B.
pub(crate) fn measure(
    generator: Generator,
    object: &mut Object,
    wire: &Wire,
    family: Family,
    set: &Set,
    window: Window,
    cpu: usize,
) -> Result<Arrived> {
    match generator {
        Generator::Pktgen => pktgen::during(wire, family, set, cpu, || count(object, window)),
        Generator::Auto | Generator::Live => {
            let load = Load::to_all(family, set)?;
            live::during(object, wire, &load, cpu, |object| count(object, window))
        }
    }
}

/// What arrives in a window that begins now.
pub(crate) fn count(object: &Object, window: Window) -> Result<Arrived> {
    thread::sleep(window.warm_up);
    let (before, begin) = (object.totals(names::ARRIVED)?, Instant::now());
    thread::sleep(window.length);
    let (after, end) = (object.totals(names::ARRIVED)?, Instant::now());
    let slot = |slot: u32| -> Result<u64> {
        let at = slot as usize;
        let (before, after) = before
            .get(at)
            .zip(after.get(at))
            .context("receiver's counters")?;
        Ok(after - before)
    };
    Ok(Arrived {
        as_sent: slot(AS_SENT)?,
        routed: slot(ROUTED)?,
        foreign: slot(FOREIGN)?,
        seconds: (end - begin).as_secs_f64(),
    })
}
