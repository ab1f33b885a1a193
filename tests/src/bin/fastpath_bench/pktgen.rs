//! The kernel's own packet generator (`Documentation/networking/pktgen.rst`).

use std::{
    fs::{self, File},
    io::Write,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};

use crate::{
    abi::{FRAME, UDP_PORT},
    routes::Set,
    traffic::Family,
    wire::{A_MAC, A4, A6, DEV_A, Wire, mac_text},
};

/// Of the namespace of the thread that asks.
pub(crate) const DIR: &str = "/proc/thread-self/net/pktgen";

/// Ethernet, IPv6, UDP and pktgen's own header, which it does not go without.
const FRAME6: usize = 14 + 40 + 8 + 16;

const NO_RANGE: &str = "pktgen draws from a range, and these destinations are none";

/// Sends on `cpu` while `work` runs.
pub(crate) fn during<T>(
    wire: &Wire,
    family: Family,
    set: &Set,
    cpu: usize,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    wire.a.enter(|| set_up(family, set, cpu))??;
    let result = thread::scope(|scope| {
        // The write returns when the generator has stopped.
        let running = scope.spawn(|| wire.a.enter(|| tell("pgctrl", "start")));
        let result = work();
        let early = running.is_finished();
        while !running.is_finished() {
            wire.a.enter(|| tell("pgctrl", "stop"))??;
            thread::sleep(Duration::from_millis(20));
        }
        running
            .join()
            .map_err(|_| anyhow!("the thread that runs pktgen panicked"))???;
        if early {
            let said = wire
                .a
                .enter(|| fs::read_to_string(format!("{DIR}/{DEV_A}")))?;
            bail!(
                "pktgen ended before its time: {}",
                said.unwrap_or_default().trim()
            );
        }
        result
    });
    wire.a
        .enter(|| tell(&format!("kpktgend_{cpu}"), "rem_device_all"))??;
    result
}

fn set_up(family: Family, set: &Set, cpu: usize) -> Result<()> {
    let thread = format!("kpktgend_{cpu}");
    tell(&thread, "rem_device_all")?;
    tell(&thread, &format!("add_device {DEV_A}"))?;
    let mut lines = vec![
        "count 0".to_owned(),
        "delay 0".to_owned(),
        // A veth hands the very packet on, so none may be sent twice.
        "clone_skb 0".to_owned(),
        format!(
            "pkt_size {}",
            if family == Family::V4 { FRAME } else { FRAME6 }
        ),
        format!("src_mac {}", mac_text(A_MAC)),
        format!("dst_mac {}", mac_text(mac_from_u64(FABRIC_MAC))),
        format!("udp_src_min {UDP_PORT}"),
        format!("udp_src_max {UDP_PORT}"),
        format!("udp_dst_min {UDP_PORT}"),
        format!("udp_dst_max {UDP_PORT}"),
        "flag IPDST_RND".to_owned(),
        // A clock read for each packet costs as much as forwarding it.
        "flag NO_TIMESTAMP".to_owned(),
    ];
    match family {
        Family::V4 => {
            let (first, last) = set.range4.context(NO_RANGE)?;
            let past = u32::from(last).wrapping_add(1);
            lines.extend([
                format!("src_min {A4}"),
                format!("src_max {A4}"),
                format!("dst_min {first}"),
                // The first address that is not drawn.
                format!("dst_max {}", std::net::Ipv4Addr::from(past)),
            ]);
        }
        Family::V6 => {
            // Bits that differ between the two are drawn, the others are theirs.
            let (first, last) = set.range6.context(NO_RANGE)?;
            lines.extend([
                format!("src6 {A6}"),
                format!("dst6_min {first}"),
                format!("dst6_max {last}"),
            ]);
        }
    }
    lines.iter().try_for_each(|line| tell(DEV_A, line))
}

fn tell(file: &str, line: &str) -> Result<()> {
    let path = format!("{DIR}/{file}");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .with_context(|| format!("telling pktgen `{line}` ({path})"))
}
