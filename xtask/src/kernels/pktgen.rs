//! The kernel's packet generator, `Documentation/networking/pktgen.rst`.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use vnet_gw_lab::{Workload, workload::DEVICE, workload::FABRIC_MAC};

/// Each namespace has its own.
const DIR: &str = "/proc/thread-self/net/pktgen";
/// Long enough that one CPU has taken a packet in before the next is made, so that every queue on
/// the way stays short and a packet that is lost is our doing.
const GAP: Duration = Duration::from_micros(20);

/// Sends `count` UDP packets from the workload to `to`, the discard port, and returns when they
/// are out.
pub(super) fn send(from: &Workload, to: IpAddr, count: u64) -> Result<()> {
    let source = from.address(to).context("no address of that family")?;
    let mac = FABRIC_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let mut commands = vec![
        format!("count {count}"),
        // Ethernet, IPv6, UDP and pktgen's own header, without the checksum of the frame.
        "pkt_size 78".to_owned(),
        format!("delay {}", GAP.as_nanos()),
        format!("dst_mac {mac}"),
        "udp_dst_min 9".to_owned(),
        "udp_dst_max 9".to_owned(),
    ];
    commands.extend(match (source, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            vec![format!("src_min {source}"), format!("dst_min {to}")]
        }
        _ => vec![format!("src6 {source}"), format!("dst6 {to}")],
    });
    let report = from.netns.enter(|| -> Result<String> {
        tell("kpktgend_0", "rem_device_all")?;
        tell("kpktgend_0", &format!("add_device {DEVICE}"))?;
        for command in &commands {
            tell(DEVICE, command)?;
        }
        // Returns when all is sent.
        tell("pgctrl", "start")?;
        let path = format!("{DIR}/{DEVICE}");
        let report = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        tell("kpktgend_0", "rem_device_all")?;
        Ok(report)
    })??;
    let sent = sent(&report);
    ensure!(
        sent == Some(count),
        "pktgen sent {sent:?} of {count}; it says:\n{report}"
    );
    Ok(())
}

fn tell(file: &str, command: &str) -> Result<()> {
    let path = format!("{DIR}/{file}");
    fs::write(&path, format!("{command}\n")).with_context(|| format!("{command:?} to {path}"))
}

/// `     pkts-sofar: 1000  errors: 0`. Errors are packets that the first queue had no room for and
/// pktgen made again: they are not among those sent.
fn sent(report: &str) -> Option<u64> {
    let (_, rest) = report.split_once("pkts-sofar: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_not_among_those_sent() {
        let report = "x\n     pkts-sofar: 1000  errors: 3\n  started: 1us";
        assert_eq!(sent(report), Some(1000));
        assert_eq!(sent("Result: Idle"), None);
    }
}
