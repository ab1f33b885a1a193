//! The process itself, under the names that every exporter has.

use std::{fmt, fs};

use nix::{
    sys::resource::{Resource, UsageWho, getrlimit, getrusage},
    unistd::{SysconfVar, sysconf},
};
use prometheus_client::encoding::DescriptorEncoder;

use super::{Collector, Family, counter, gauge};

/// Read when it is written; what cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        counter(
            encoder,
            Family::seconds(
                "process_cpu",
                "Processor time of all threads, user and system.",
            ),
            cpu(),
        )?;
        let (virtual_memory, resident) = memory().unwrap_or_default();
        gauge(
            encoder,
            Family::bytes("process_resident_memory", "Resident memory."),
            resident,
        )?;
        gauge(
            encoder,
            Family::bytes("process_virtual_memory", "Virtual memory."),
            virtual_memory,
        )?;
        gauge(
            encoder,
            Family::new("process_open_fds", "Open file descriptors."),
            entries("/proc/self/fd"),
        )?;
        let limit = getrlimit(Resource::RLIMIT_NOFILE).ok();
        gauge(
            encoder,
            Family::new("process_max_fds", "File descriptors that may be open."),
            limit.map(|(soft, _)| soft),
        )?;
        gauge(
            encoder,
            Family::new("process_threads", "Threads."),
            entries("/proc/self/task"),
        )?;
        gauge(
            encoder,
            Family::seconds(
                "process_start_time",
                "When the process started, since 1970.",
            ),
            started(),
        )
    }
}

/// Of all threads, user and system, in seconds.
fn cpu() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let used = [usage.user_time(), usage.system_time()];
    let seconds = used.map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    Some(seconds.iter().sum())
}

/// Virtual and resident, in bytes.
fn memory() -> Option<(Option<u64>, Option<u64>)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    let mut pages = text.split_ascii_whitespace().map(|field| {
        let pages: u64 = field.parse().ok()?;
        Some(pages * page)
    });
    Some((pages.next().flatten(), pages.next().flatten()))
}

fn entries(directory: &str) -> Option<u64> {
    Some(fs::read_dir(directory).ok()?.count() as u64)
}

/// Field 22 of /proc/self/stat, in ticks since the machine started.
fn started() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let ticks: f64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / per_second)
}
