//! What goes between hosts: through tunnels, sealed, and past the loss of an address.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use vnet_gw_lab::{
    probe::{Capture, Captured, Flow},
    underlay::Link,
};

use super::{
    Family::{self, V4, V6},
    Proof,
};
use crate::run::{example::Connection, nap, site::SITE};

/// Time for all tunnels to be made, on a busy machine.
const CONNECTING: Duration = Duration::from_secs(20);
/// How soon flows must be on other tunnels.
const FAILOVER: Duration = Duration::from_secs(3);
/// How long an address stays lost.
const LOST: Duration = Duration::from_secs(6);
/// So many that each of four tunnels has some.
const FLOWS: usize = 16;
/// Datagrams a second of each.
const RATE: u32 = 50;

impl Proof<'_> {
    pub(super) fn tunnels(&mut self) -> Result<()> {
        self.connected("", CONNECTING)?;
        let capture = Capture::start(&self.example.underlay)?;
        let sent = self.through_tunnels();
        let captured = capture.finish()?;
        sent?;
        self.sealed(&captured)?;
        self.refused("vnet4-web1", "vnet5-web1", "no transit through a gateway")?;
        // Nobody can know before a second of silence: flows through the address must show a gap, or
        // there were none, and nothing was shown.
        let silent = "fell silent, unnoticed by its host";
        self.lost_address(silent, 1, |link, address| link.silence(address))?;
        self.back(|link, address| link.unsilence(address))?;
        // The host knows at once: that may cost a packet of some flow, or none.
        self.lost_address("taken from its host", 0, |link, address| {
            link.remove_address(address)
        })?;
        self.back(|link, address| link.add_address(address))
    }

    /// A row for each connection: connected, by every tunnel.
    fn connected(&mut self, when: &str, patience: Duration) -> Result<()> {
        let connections = self.example.connected(patience)?;
        self.row(
            format!("connections with tunnels{when}"),
            "3",
            connections.len().to_string(),
            connections.len() == 3,
        )?;
        for connection in &connections {
            let tunnels = connection.tunnels.len();
            let seen = match connection.is_whole() {
                true => connection.state(),
                false => format!("{}: {}", connection.state(), connection.reason),
            };
            self.row(
                format!("{} connection {}{when}", connection.kind, connection.name),
                &format!("Connected, {tunnels} of {tunnels} tunnels"),
                seen,
                connection.is_whole() && tunnels == expected_tunnels(connection),
            )?;
        }
        Ok(())
    }

    fn through_tunnels(&mut self) -> Result<()> {
        for family in [V4, V6] {
            for (from, to, why) in [
                ("vnet1-web1", "vnet4-web1", "VNet to VNet"),
                ("vnet4-web2", "vnet1-web2", "VNet to VNet"),
                ("vnet1-web1", SITE, "to the site"),
                (SITE, "vnet1-web2", "from the site"),
            ] {
                let example = self.example;
                self.between(&example.node(from)?, &example.node(to)?, why, family)?;
                self.datagrams(from, to, why, family)?;
            }
        }
        Ok(())
    }

    /// Counted by the receiver's socket: on the wire they may travel several in one packet.
    fn datagrams(&mut self, from: &str, to: &str, why: &str, family: Family) -> Result<()> {
        let (near, far) = (self.example.node(from)?, self.example.node(to)?);
        let flow = Flow::start(near.netns, far.netns, family.among(&far)?, 1000)?;
        nap(Duration::from_millis(200));
        let report = flow.finish()?;
        self.row(
            format!("UDP {} {from} → {to} ({why})", family.name()),
            "all sent are received",
            report.to_string(),
            report.is_whole(),
        )
    }

    /// Everything above crossed the underlay sealed.
    fn sealed(&mut self, captured: &Captured) -> Result<()> {
        if !captured.examples.is_empty() {
            eprintln!("readable on the underlay: {:#?}", captured.examples);
        }
        self.row(
            "underlay, all packets captured and searched".to_owned(),
            "ESP, nothing in clear text, no mark found",
            captured.to_string(),
            captured.is_clean() && captured.esp_in_udp + captured.esp > 1000,
        )
    }

    /// Takes the first public address of VNet1's gateway away while flows run over all tunnels. At
    /// least `least` of them must have felt it.
    fn lost_address(
        &mut self,
        how: &str,
        least: usize,
        lose: impl Fn(&Link, IpAddr) -> Result<()>,
    ) -> Result<()> {
        let address = self.gateway_address()?;
        let near = self.example.workload("vnet1-web1")?;
        let far = self.example.workload("vnet4-web1")?;
        let flows = (0..FLOWS)
            .map(|i| {
                // In both directions: each gateway must find other tunnels.
                let (from, to) = if i % 2 == 0 { (near, far) } else { (far, near) };
                Flow::start(&from.netns, &to.netns, V4.of(to)?, RATE)
            })
            .collect::<Result<Vec<Flow>>>()?;
        nap(Duration::from_millis(500));
        lose(&self.example.host_of("vnet1-web1")?.link, address)?;
        nap(LOST);
        flows.iter().for_each(Flow::stop);
        // Those that the loss did not reach have lost nothing.
        let mut hit = 0;
        let mut longest = 0;
        let mut lively = 0;
        for flow in flows {
            let report = flow.finish()?;
            hit += usize::from(report.longest_loss() > 0);
            longest = longest.max(report.longest_loss());
            // Its last datagrams arrived.
            let ended = report
                .lost
                .last()
                .is_none_or(|(_, last)| last + 1 < report.sent);
            lively += usize::from(report.received > 0 && ended);
        }
        let gap = Duration::from_secs(longest) / RATE;
        self.row(
            format!("{FLOWS} UDP flows vnet1-web1 ↔ vnet4-web1 while {address} {how}"),
            &match least {
                0 => format!("all go on within {:.1} s", FAILOVER.as_secs_f32()),
                _ => format!(
                    "at least {least} interrupted, all go on within {:.1} s",
                    FAILOVER.as_secs_f32()
                ),
            },
            format!(
                "{lively} go on, {hit} were interrupted, for {:.2} s at most",
                gap.as_secs_f32()
            ),
            lively == FLOWS && hit >= least && gap <= FAILOVER,
        )?;
        let connections = self.example.connections()?;
        let connection = connections
            .iter()
            .find(|connection| connection.name == "VNet1-to-VNet4")
            .context("the daemon knows no connection VNet1-to-VNet4")?;
        self.row(
            format!("Vnet2Vnet connection {} meanwhile", connection.name),
            "Connected",
            connection.state(),
            connection.status == "Connected",
        )
    }

    fn back(&mut self, mend: impl Fn(&Link, IpAddr) -> Result<()>) -> Result<()> {
        let address = self.gateway_address()?;
        mend(&self.example.host_of("vnet1-web1")?.link, address)?;
        let begun = Instant::now();
        self.connected(&format!(", {address} back"), CONNECTING)?;
        if self.progress {
            eprint!(
                "\r\x1b[Kall tunnels back after {:.1} s",
                begun.elapsed().as_secs_f32()
            );
        }
        // What the flows left behind in queues is no concern of the next proof.
        thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    fn gateway_address(&self) -> Result<IpAddr> {
        let host = self.example.host_of("vnet1-web1")?;
        let first = host.link.addresses().first().copied();
        first.context("the host has no address")
    }
}

/// Two instances with two of the other gateway, or with the site's one (A10).
fn expected_tunnels(connection: &Connection) -> usize {
    if connection.kind == "Vnet2Vnet" { 4 } else { 2 }
}
