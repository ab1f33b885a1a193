//! Who else was on the CPU that was measured.

use std::{
    fs,
    ops::{AddAssign, Sub},
};

use anyhow::{Context, Result};

use crate::traffic::Generator;

/// More than this, and the absolute figures are too low.
const WORTH_A_WORD: f64 = 0.03;

/// Ticks of a CPU: those that others had, and all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    others: u64,
    all: u64,
}

impl Sub for Share {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            others: self.others - before.others,
            all: self.all - before.all,
        }
    }
}

impl AddAssign for Share {
    fn add_assign(&mut self, more: Self) {
        self.others += more.others;
        self.all += more.all;
    }
}

/// Generating and forwarding are the kernel's work from end to end, so whatever ran in user mode, and
/// what the hypervisor took, was somebody else's.
pub(crate) fn read(cpu: usize) -> Result<Share> {
    const PATH: &str = "/proc/stat";
    let text = fs::read_to_string(PATH).with_context(|| format!("reading {PATH}"))?;
    let name = format!("cpu{cpu} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    let line = line.with_context(|| format!("no CPU {cpu} in {PATH}"))?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user's.
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .flat_map(str::parse)
        .collect();
    let at = |i: usize| ticks.get(i).copied().unwrap_or(0);
    Ok(Share {
        others: at(0) + at(1) + at(7),
        all: ticks.iter().sum(),
    })
}

/// Says what sent, and whether the machine was ours.
pub(crate) fn describe(noise: Share, generator: Generator, cpu: usize) {
    let Share { others, all } = noise;
    if all == 0 {
        return;
    }
    println!("generator: {}, on CPU {cpu}", generator.name());
    let share = others as f64 / all as f64;
    if share > WORTH_A_WORD {
        println!(
            "others had {:.0}% of CPU {cpu} while forwarding was measured: ratios of a round suffer \
             little from that, packets a second do",
            share * 100.0
        );
    }
}
