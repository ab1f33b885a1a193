//! What the data path of one host does: neighbours, peerings, refusals and ICMP.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vnet_gw_lab::{
    probe::{
        Flow, Outcome, Ping,
        arrival::send_marked,
        frame::{self, Mac},
        tcp,
    },
    workload::FABRIC_MAC,
};

use super::{
    Family::{self, V4, V6},
    PATIENCE, PROBES, Proof, TRANSFER, mark,
};
use crate::run::example::{NARROW, NARROW_MTU, Node};

impl Proof<'_> {
    pub(super) fn local_paths(&mut self) -> Result<()> {
        for family in [V4, V6] {
            self.reachable("vnet1-web1", "vnet1-web2", "same subnet", family)?;
            self.reachable("vnet1-web1", "vnet6-web1", "peered, other region", family)?;
            self.reachable("vnet6-web2", "vnet1-web2", "peered, other region", family)?;
        }
        self.reachable("vnet5-web1", "vnet1-web1", "peered, same region", V4)?;
        self.refused("vnet6-web1", "vnet5-web1", "not peered")?;
        self.refused("vnet5-web2", "vnet6-web2", "not peered")?;
        for family in [V4, V6] {
            self.spoofed_address(family)?;
            self.spoofed_mac(family)?;
            self.neighbours(family)?;
            self.expired(family)?;
            self.unreachable(family)?;
            self.too_big(family)?;
        }
        self.one_way_peering()
    }

    fn reachable(&mut self, from: &str, to: &str, why: &str, family: Family) -> Result<()> {
        let example = self.example;
        self.between(&example.node(from)?, &example.node(to)?, why, family)
    }

    /// Ping and TCP.
    pub(super) fn between(
        &mut self,
        near: &Node,
        far: &Node,
        why: &str,
        family: Family,
    ) -> Result<()> {
        let address = family.among(far)?;
        let outcome = Ping::new(address).send(near.netns)?;
        let transfer = tcp::transfer(near.netns, far.netns, address, TRANSFER);
        let (from, to) = (near.name, far.name);
        let title = |kind: &str| format!("{kind} {} {from} → {to} ({why})", family.name());
        let good = matches!(outcome, Outcome::Reply { .. });
        self.row(title("ping"), "reply", outcome.to_string(), good)?;
        let good = matches!(transfer, Ok(Some(_)));
        let seen = match transfer {
            Ok(Some(done)) => {
                format!(
                    "{} MiB at {:.1} Gbit/s",
                    done.bytes >> 20,
                    done.gbit_per_s()
                )
            }
            Ok(None) => "no connection".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        self.row(
            title("TCP"),
            &format!("{} MiB, whole", TRANSFER >> 20),
            seen,
            good,
        )
    }

    pub(super) fn refused(&mut self, from: &str, to: &str, why: &str) -> Result<()> {
        let (near, far) = (self.example.workload(from)?, self.example.workload(to)?);
        let address = V4.of(far)?;
        let mark = mark();
        let arrival = far.watch(mark)?;
        let before = self.example.host_of(from)?.counted("next_hop_none")?;
        send_marked(&near.netns, address, mark, PROBES)?;
        let arrived = arrival.count(PATIENCE)?;
        let counted = self.example.host_of(from)?.counted("next_hop_none")? - before;
        let ping = Ping {
            patience: PATIENCE,
            ..Ping::new(address)
        }
        .send(&near.netns)?;
        let transfer = tcp::transfer(&near.netns, &far.netns, address, 1)?;
        let title = |kind: &str| format!("{kind} IPv4 {from} → {to} ({why})");
        self.row(
            title("UDP"),
            &format!("0 of {PROBES} arrive, next_hop_none +{PROBES}"),
            format!("{arrived} of {PROBES} arrive, next_hop_none +{counted}"),
            arrived == 0 && counted >= PROBES.into(),
        )?;
        let good = !matches!(ping, Outcome::Reply { .. });
        self.row(title("ping"), "no reply", ping.to_string(), good)?;
        let seen = if transfer.is_some() {
            "connected"
        } else {
            "no connection"
        };
        self.row(
            title("TCP"),
            "no connection",
            seen.to_owned(),
            transfer.is_none(),
        )
    }

    /// Frames with the given source from vnet1-web1 to vnet6-web1: how many arrive.
    fn forged(&self, mac: Mac, source: IpAddr) -> Result<u64> {
        let near = self.example.workload("vnet1-web1")?;
        let far = self.example.workload("vnet6-web1")?;
        let to = far.address(source).context("no address of that family")?;
        let mark = mark();
        let arrival = far.watch(mark)?;
        let socket = near.packet_socket()?;
        for _ in 0..PROBES {
            socket.send(&frame::udp_frame(
                FABRIC_MAC,
                mac,
                (source, 9),
                (to, 9),
                &mark,
            ))?;
        }
        arrival.count(PATIENCE)
    }

    fn spoofed(&mut self, what: String, reason: &str, mac: Mac, source: IpAddr) -> Result<()> {
        let before = self.example.host_of("vnet1-web1")?.counted(reason)?;
        let arrived = self.forged(mac, source)?;
        let counted = self.example.host_of("vnet1-web1")?.counted(reason)? - before;
        self.row(
            what,
            &format!("0 of {PROBES} arrive, {reason} +{PROBES}"),
            format!("{arrived} of {PROBES} arrive, {reason} +{counted}"),
            arrived == 0 && counted == u64::from(PROBES),
        )
    }

    fn spoofed_address(&mut self, family: Family) -> Result<()> {
        let near = self.example.workload("vnet1-web1")?;
        let own = family.of(near)?;
        let neighbour = family.of(self.example.workload("vnet1-web2")?)?;
        // The same frames with the right source first: what is refused below is the source.
        let arrived = self.forged(near.mac, own)?;
        let mac = near.mac;
        self.row(
            format!("{} frames by hand from their own source", family.name()),
            &format!("{PROBES} of {PROBES} arrive"),
            format!("{arrived} of {PROBES} arrive"),
            arrived == u64::from(PROBES),
        )?;
        let what = format!("{} source of a neighbour, spoofed", family.name());
        self.spoofed(what, "spoofed_address", mac, neighbour)
    }

    fn spoofed_mac(&mut self, family: Family) -> Result<()> {
        let own = family.of(self.example.workload("vnet1-web1")?)?;
        let mac = self.example.workload("vnet1-web2")?.mac;
        let what = format!(
            "{} from the MAC address of a neighbour, spoofed",
            family.name()
        );
        self.spoofed(what, "spoofed_mac", mac, own)
    }

    /// Who has the router's address, and one that nobody has? The fabric, and no neighbour hears.
    fn neighbours(&mut self, family: Family) -> Result<()> {
        let near = self.example.workload("vnet1-web1")?;
        let own = family.of(near)?;
        for (whose, last) in [("the subnet's router", 1), ("nobody", 200)] {
            let socket = near.packet_socket()?;
            let neighbour = self.example.workload("vnet1-web2")?.packet_socket()?;
            let (request, target): (Vec<u8>, IpAddr) = match own {
                IpAddr::V4(v4) => {
                    let [a, b, c, _] = v4.octets();
                    let target = Ipv4Addr::new(a, b, c, last as u8);
                    (frame::arp_request(near.mac, v4, target), target.into())
                }
                IpAddr::V6(v6) => {
                    let mut segments = v6.segments();
                    segments[7] = last;
                    let target = Ipv6Addr::from(segments);
                    (
                        frame::neighbor_solicitation(near.mac, v6, target),
                        target.into(),
                    )
                }
            };
            socket.send(&request)?;
            let answer = socket.find(Duration::from_secs(1), |frame| match target {
                IpAddr::V4(v4) => frame::arp_reply(frame, v4),
                IpAddr::V6(v6) => frame::neighbor_advertisement(frame, v6),
            })?;
            let heard = neighbour.count(Duration::from_millis(50), |frame| {
                frame.get(6..12) == Some(&near.mac[..])
            })?;
            let protocol = if own.is_ipv4() {
                "ARP"
            } else {
                "neighbour discovery"
            };
            let shown = |mac: Mac| mac.map(|byte| format!("{byte:02x}")).join(":");
            let seen = answer.map_or("no answer".to_owned(), shown);
            let seen = if heard > 0 {
                format!("{seen}, a neighbour heard it")
            } else {
                seen
            };
            self.row(
                format!("{protocol} for {target} ({whose})"),
                &shown(FABRIC_MAC),
                seen,
                answer == Some(FABRIC_MAC) && heard == 0,
            )?;
        }
        Ok(())
    }

    fn expired(&mut self, family: Family) -> Result<()> {
        let near = self.example.workload("vnet1-web1")?;
        let to = family.of(self.example.workload("vnet6-web1")?)?;
        let outcome = Ping {
            ttl: 1,
            ..Ping::new(to)
        }
        .send(&near.netns)?;
        let router = router(family.of(near)?);
        self.row(
            format!("ping {} with TTL 1", family.name()),
            &Outcome::TimeExceeded { from: router }.to_string(),
            outcome.to_string(),
            outcome == Outcome::TimeExceeded { from: router },
        )
    }

    fn unreachable(&mut self, family: Family) -> Result<()> {
        let near = self.example.workload("vnet1-web1")?;
        let nobody: IpAddr = match family {
            V4 => Ipv4Addr::new(10, 61, 0, 200).into(),
            V6 => Ipv6Addr::new(0xfd00, 6, 0, 0, 0, 0, 0, 200).into(),
        };
        // Host unreachable (RFC 792), address unreachable (RFC 4443).
        let code = if family == V4 { 1 } else { 3 };
        let expected = Outcome::Unreachable {
            from: router(family.of(near)?),
            code,
        };
        let outcome = Ping::new(nobody).send(&near.netns)?;
        self.row(
            format!("ping {} to {nobody} (peered, nobody's)", family.name()),
            &expected.to_string(),
            outcome.to_string(),
            outcome == expected,
        )
    }

    fn too_big(&mut self, family: Family) -> Result<()> {
        let near = self.example.workload("vnet1-web1")?;
        let to = family.of(self.example.workload(NARROW)?)?;
        let ping = Ping {
            size: 1440,
            dont_fragment: true,
            ..Ping::new(to)
        };
        let outcome = ping.send(&near.netns)?;
        let expected = Outcome::TooBig {
            from: router(family.of(near)?),
            mtu: NARROW_MTU,
        };
        self.row(
            format!("ping {} larger than {NARROW}'s MTU", family.name()),
            &expected.to_string(),
            outcome.to_string(),
            outcome == expected,
        )
    }

    /// Takes VNet5's side of its peering away and puts it back, while another peering carries a
    /// flow that must not notice.
    fn one_way_peering(&mut self) -> Result<()> {
        let [one, four] = ["vnet1-web1", "vnet6-web1"].map(|name| self.example.workload(name));
        let (one, four) = (one?, four?);
        let flow = Flow::start(&one.netns, &four.netns, V4.of(four)?, 1000)?;
        thread::sleep(Duration::from_millis(300));
        let mut changed = self.example.template.clone();
        remove_peerings(&mut changed, "VNet5")?;
        self.example.reload(&changed)?;
        let peerings = self
            .example
            .host_of("vnet1-web1")?
            .daemon
            .json(&["peerings"])?;
        let state = peerings["value"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|peering| peering["name"] == "VNet1ToVNet5")
            .and_then(|peering| peering["peeringState"].as_str())
            .unwrap_or("absent");
        self.row(
            "peering VNet1ToVNet5 without its counterpart".to_owned(),
            "Initiated or Disconnected",
            state.to_owned(),
            matches!(state, "Initiated" | "Disconnected"),
        )?;
        self.refused("vnet1-web1", "vnet5-web1", "one-way peering")?;
        self.refused("vnet5-web1", "vnet1-web1", "one-way peering")?;
        self.example.reload(&self.example.template)?;
        self.reachable("vnet5-web1", "vnet1-web1", "peered again", V4)?;
        let report = flow.finish()?;
        self.row(
            "UDP IPv4 vnet1-web1 → vnet6-web1 during both changes".to_owned(),
            "all sent are received",
            report.to_string(),
            report.is_whole(),
        )
    }
}

/// The fabric's address in the subnet of `address`, a /24 or /64.
fn router(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff | 1).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64 | 1).into(),
    }
}

fn remove_peerings(template: &mut Value, vnet: &str) -> Result<()> {
    let resources = template["resources"]
        .as_array_mut()
        .context("no resources")?;
    let resource = resources
        .iter_mut()
        .find(|resource| resource["name"] == vnet);
    let peerings = resource
        .and_then(|vnet| vnet["properties"]["virtualNetworkPeerings"].as_array_mut())
        .with_context(|| format!("the example has no VNet {vnet} with peerings"))?;
    ensure!(!peerings.is_empty(), "{vnet} has no peering to take away");
    peerings.clear();
    Ok(())
}
