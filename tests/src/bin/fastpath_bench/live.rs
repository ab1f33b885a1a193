//! The live-frames generator: `BPF_PROG_TEST_RUN` of a program of ours, whose frames really leave
//! by A's device (kernel 5.18 and later).

use std::{
    fs::File,
    io,
    net::IpAddr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::Pid,
};
use vnet_gw_lab::Netns;

use crate::{
    abi::{DESTINATIONS, FRAME, Flow},
    frame, names,
    object::{FlowValue, Object},
    routes::Set,
    traffic::Family,
    wire::{A4, A6, DEV_A, Wire},
};

/// Frames a batch has; the kernel's own default.
const BATCH: u32 = 64;

/// Hands the destinations of `set` to the generator.
pub(crate) fn load_destinations(object: &mut Object, set: &Set) -> Result<()> {
    let mut map = object.array::<u32>(names::DESTINATIONS4)?;
    for (i, address) in set.destinations4.iter().enumerate() {
        map.set(i as u32, u32::from_ne_bytes(address.octets()), 0)?;
    }
    let mut map = object.array::<[u8; 16]>(names::DESTINATIONS6)?;
    for (i, address) in set.destinations6.iter().enumerate() {
        map.set(i as u32, address.octets(), 0)?;
    }
    Ok(())
}

/// What is sent.
pub(crate) struct Load {
    /// The program that writes it.
    pub(crate) program: &'static str,
    pub(crate) frame: [u8; FRAME],
    /// As in [`Flow`].
    pub(crate) sum: u32,
    pub(crate) mask: u32,
    pub(crate) flows: u32,
}

impl Load {
    /// UDP packets to all destinations of `set`.
    pub(crate) fn to_all(family: Family, set: &Set) -> Result<Self> {
        let (program, source, destinations) = match family {
            Family::V4 => ("bench_gen4", IpAddr::V4(A4), set.destinations4.len()),
            Family::V6 => ("bench_gen6", IpAddr::V6(A6), set.destinations6.len()),
        };
        Self::new(program, frame::template(source), destinations)
    }

    pub(crate) fn new(
        program: &'static str,
        (frame, sum): ([u8; FRAME], u32),
        destinations: usize,
    ) -> Result<Self> {
        if !destinations.is_power_of_two() || destinations > DESTINATIONS as usize {
            bail!("{destinations} destinations: not a power of two up to {DESTINATIONS}");
        }
        Ok(Self {
            program,
            frame,
            sum,
            mask: destinations as u32 - 1,
            flows: 0,
        })
    }
}

/// Sends on `cpu` while `work` runs.
pub(crate) fn during<T>(
    object: &mut Object,
    wire: &Wire,
    load: &Load,
    cpu: usize,
    work: impl FnOnce(&Object) -> Result<T>,
) -> Result<T> {
    let flow = Flow {
        frame: frame::words(load.frame),
        sum: load.sum,
        ifindex: wire.a.enter(|| if_nametoindex(DEV_A))??,
        mask: load.mask,
        shift: load.mask.count_ones(),
        flows: load.flows,
        reserved: 0,
    };
    object
        .array::<FlowValue>(names::FLOW)?
        .set(0, FlowValue(flow), 0)?;
    object.xdp(load.program)?;

    let object = &*object;
    let stop = AtomicBool::new(false);
    let thread_id = OnceLock::new();
    interruptible()?;
    thread::scope(|scope| {
        let generator = thread::Builder::new()
            .name("generator".to_owned())
            .spawn_scoped(scope, || {
                // SAFETY: no arguments, cannot fail.
                thread_id.get_or_init(|| unsafe { libc::pthread_self() });
                join(&wire.a)?;
                pin(cpu)?;
                generate(object, load.program, &load.frame, &stop)
            })
            .context("starting the generator")?;
        let result = work(object);
        let early = generator.is_finished();
        stop.store(true, Ordering::Release);
        while !generator.is_finished() {
            if let Some(id) = thread_id.get() {
                // SAFETY: the thread is not joined yet, so the id is still its own.
                unsafe { libc::pthread_kill(*id, libc::SIGUSR1) };
            }
            thread::sleep(Duration::from_millis(2));
        }
        generator
            .join()
            .map_err(|_| anyhow!("the generator panicked"))??;
        if early {
            bail!("the generator ended before its time");
        }
        result
    })
}

/// One long test run: each call idles some 25 ms at its end.
fn generate(object: &Object, name: &str, frame: &[u8; FRAME], stop: &AtomicBool) -> Result<()> {
    let program: &Xdp = object
        .ebpf
        .program(name)
        .context("no generator in the object")?
        .try_into()?;
    while !stop.load(Ordering::Acquire) {
        let run = program.test_run(TestRunOptions {
            data_in: Some(frame),
            repeat: u32::MAX,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        });
        if let Err(error) = run
            && !interrupted(&error)
        {
            return Err(error).context(
                "sending live frames (BPF_PROG_TEST_RUN, kernel 5.18 and later); on an older \
                 kernel load pktgen and use --generator pktgen",
            );
        }
    }
    Ok(())
}

/// Makes SIGUSR1 end a system call, and nothing else.
fn interruptible() -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.context("installing a signal handler")?;
    Ok(())
}

fn interrupted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::Interrupted
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Moves the calling thread into a namespace. A thread of its own, since that lasts.
fn join(netns: &Netns) -> Result<()> {
    let path = format!("/run/netns/{}", netns.full_name());
    let file = File::open(&path).with_context(|| format!("opening {path}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {path}"))
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to CPU {cpu}"))
}
