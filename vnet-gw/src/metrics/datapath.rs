//! Ports, routes, reasons, tables, and the configuration that is in force.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use prometheus_client::encoding::DescriptorEncoder;
use vnet_gw_common::{
    Counter,
    verdict::{Kind, Reason},
};
use vnet_gw_core::compile::{ActionImage, Image, TableImage};

use super::{Collector, Family, Names, counter, counters, gauge, gauges};
use crate::datapath::{Counters, NetdevStats, PortState, PortStatus, ReadDeviceStats, Stats};

/// What the daemon's loop knows.
#[derive(Debug)]
pub struct DatapathMetrics {
    pub image: Arc<Image>,
    pub ports: Vec<PortStatus>,
    /// Called when the values are written.
    pub device_stats: ReadDeviceStats,
    /// `None` where the maps could not be read.
    pub counters: Option<Counters>,
    pub stats: Stats,
    pub generation: u64,
    /// What is in the store or in the files is not in force.
    pub behind: bool,
    /// Since 1970.
    pub applied_seconds: f64,
    /// How long the loop took to read all this.
    pub read_in: Duration,
}

impl Collector for DatapathMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.ports(encoder)?;
        self.routes(encoder)?;
        self.reasons(encoder)?;
        self.tables(encoder)?;
        self.configuration(encoder)
    }
}

impl DatapathMetrics {
    fn ports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names = Names::of(self.ports.iter().map(|port| &port.nic));
        let labels = |port: &PortStatus| {
            [
                ("network_interface", names.get(&port.nic).into_owned()),
                ("device", port.device.clone()),
            ]
        };
        let labelled: Vec<_> = self.ports.iter().map(|port| (labels(port), port)).collect();
        gauges(
            encoder,
            Family::new(
                "port_up",
                "Whether the port is in service: its program is attached and its device is up.",
            ),
            labelled
                .iter()
                .map(|(labels, port)| (labels.as_slice(), u64::from(port.state == PortState::Up))),
        )?;
        // Without them, the rest is worth as much.
        let stats = (self.device_stats)().unwrap_or_default();
        let counted: Vec<_> = labelled
            .iter()
            .filter_map(|(labels, port)| Some((labels.as_slice(), stats.get(&port.ifindex?)?)))
            .collect();
        type Field = fn(&NetdevStats) -> u64;
        let families: [(Family, Field); 8] = [
            (
                Family::bytes(
                    "port_receive",
                    "Bytes that the workload of a port sent, by its device, with Ethernet headers.",
                ),
                |stats| stats.rx_bytes,
            ),
            (
                Family::new(
                    "port_receive_packets",
                    "Packets that the workload of a port sent, by its device.",
                ),
                |stats| stats.rx_packets,
            ),
            (
                Family::new(
                    "port_receive_drop",
                    "Packets from the workload that the device dropped before the program saw them.",
                ),
                |stats| stats.rx_dropped,
            ),
            (
                Family::new(
                    "port_receive_errors",
                    "Receive errors of the port's device.",
                ),
                |stats| stats.rx_errors,
            ),
            (
                Family::bytes(
                    "port_transmit",
                    "Bytes that were sent to the workload of a port, by its device, with Ethernet headers.",
                ),
                |stats| stats.tx_bytes,
            ),
            (
                Family::new(
                    "port_transmit_packets",
                    "Packets that were sent to the workload of a port, by its device.",
                ),
                |stats| stats.tx_packets,
            ),
            (
                Family::new(
                    "port_transmit_drop",
                    "Packets to the workload that the device dropped.",
                ),
                |stats| stats.tx_dropped,
            ),
            (
                Family::new(
                    "port_transmit_errors",
                    "Transmit errors of the port's device.",
                ),
                |stats| stats.tx_errors,
            ),
        ];
        for (family, field) in families {
            let samples = counted
                .iter()
                .map(|(labels, stats)| (*labels, field(stats)));
            counters(encoder, family, samples)?;
        }
        Ok(())
    }

    /// By subnet and next hop type: a subnet may have a million routes.
    fn routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names = Names::of(self.image.subnets.keys());
        let mut sums = Vec::new();
        for (id, image) in &self.image.subnets {
            let counted = self.counters.as_ref().and_then(|all| all.subnets.get(id));
            let v4 = sum(&image.v4, counted.map(|one| one.v4.as_slice()));
            let v6 = sum(&image.v6, counted.map(|one| one.v6.as_slice()));
            for (family, by_type) in [("ipv4", v4), ("ipv6", v6)] {
                for (next_hop_type, sum) in by_type {
                    let labels = [
                        ("subnet", names.get(id)),
                        ("family", family.into()),
                        ("next_hop_type", next_hop_type.into()),
                    ];
                    sums.push((labels, sum));
                }
            }
        }
        gauges(
            encoder,
            Family::new("routes", "Active routes of a subnet."),
            sums.iter()
                .map(|(labels, sum)| (labels.as_slice(), sum.routes)),
        )?;
        if self.counters.is_none() {
            return Ok(());
        }
        counters(
            encoder,
            Family::bytes(
                "route",
                "Bytes of layer-3 packets that routes of a subnet matched, whatever became of them. A route that goes takes its count with it.",
            ),
            sums.iter()
                .map(|(labels, sum)| (labels.as_slice(), sum.counted.bytes)),
        )?;
        counters(
            encoder,
            Family::new(
                "route_packets",
                "Packets that routes of a subnet matched, whatever became of them. A route that goes takes its count with it.",
            ),
            sums.iter()
                .map(|(labels, sum)| (labels.as_slice(), sum.counted.packets)),
        )
    }

    fn reasons(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(all) = &self.counters else {
            return Ok(());
        };
        let some = |kinds: &'static [Kind], value: fn(&Counter) -> u64| {
            let some = all.reasons.iter();
            some.filter(|(reason, _)| kinds.contains(&reason.kind()))
                .map(move |(reason, counted)| (label(*reason), value(counted)))
        };
        counters(
            encoder,
            Family::new(
                "drop_packets",
                "Packets that the data path dropped, by reason.",
            ),
            some(&[Kind::Drop], |counted| counted.packets),
        )?;
        counters(
            encoder,
            Family::bytes(
                "drop",
                "Bytes of layer-3 packets that the data path dropped, by reason.",
            ),
            some(&[Kind::Drop], |counted| counted.bytes),
        )?;
        counters(
            encoder,
            Family::new(
                "answer_packets",
                "Packets that the fabric answered (ARP, neighbour discovery), and ICMP errors it sent or held back, by reason.",
            ),
            some(&[Kind::Answer, Kind::NotSent], |counted| counted.packets),
        )?;
        counters(
            encoder,
            Family::new(
                "slow_packets",
                "Packets that the data path forwarded by a slower way, by reason.",
            ),
            some(&[Kind::Slow], |counted| counted.packets),
        )
    }

    fn tables(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Stats {
            tables,
            rule_sets,
            flow_room: _,
            endpoints4,
            endpoints6,
            endpoint_bytes,
            drift_found,
            drift_mended,
            reconciles,
            applies,
            last_apply,
            last_reconcile,
        } = &self.stats;
        let endpoints = [("ipv4", *endpoints4), ("ipv6", *endpoints6)];
        gauges(
            encoder,
            Family::new(
                "endpoints",
                "Addresses of network interfaces that the data path knows.",
            ),
            endpoints.map(|(family, count)| ([("family", family)], count as u64)),
        )?;
        let mut forms: BTreeMap<(&str, u8), u64> = BTreeMap::new();
        for table in tables {
            *forms
                .entry((table.form.as_str(), table.family))
                .or_default() += 1;
        }
        gauges(
            encoder,
            Family::new("route_tables", "Route tables in the kernel, by their form."),
            forms.iter().map(|((form, family), count)| {
                let family = if *family == 4 { "ipv4" } else { "ipv6" };
                ([("form", *form), ("family", family)], *count)
            }),
        )?;
        let sum = |bytes: fn(&crate::datapath::TableStats) -> u64| tables.iter().map(bytes).sum();
        gauge(
            encoder,
            Family::new(
                "security_rule_sets",
                "Sets of security rules in the kernel: a group in one direction and place.",
            ),
            Some(rule_sets.sets as u64),
        )?;
        gauge(
            encoder,
            Family::new(
                "security_rules",
                "Security rules in the kernel, over all sets.",
            ),
            Some(rule_sets.rules as u64),
        )?;
        let memory: [(&str, u64); 5] = [
            ("routes", sum(|table| table.table_bytes)),
            ("counters", sum(|table| table.counter_bytes)),
            ("endpoints", *endpoint_bytes),
            ("rules", rule_sets.bytes),
            ("rule_counters", rule_sets.counter_bytes),
        ];
        gauges(
            encoder,
            Family::bytes(
                "datapath_memory",
                "Memory of the data path's tables in the kernel.",
            ),
            memory.map(|(what, bytes)| ([("what", what)], bytes)),
        )?;
        for (family, value) in [
            (
                Family::new(
                    "datapath_drift",
                    "Differences between kernel and configuration that reconciling found, orphans included.",
                ),
                drift_found,
            ),
            (
                Family::new(
                    "datapath_drift_mended",
                    "Differences that reconciling mended.",
                ),
                drift_mended,
            ),
            (
                Family::new(
                    "datapath_reconciles",
                    "Comparisons of the kernel with the configuration.",
                ),
                reconciles,
            ),
            (
                Family::new("datapath_applies", "Images that were put into force."),
                applies,
            ),
        ] {
            counter(encoder, family, Some(*value))?;
        }
        for (family, took) in [
            (
                Family::seconds(
                    "datapath_last_apply",
                    "How long the last change of the data path took.",
                ),
                last_apply,
            ),
            (
                Family::seconds(
                    "datapath_last_reconcile",
                    "How long the last reconcile took.",
                ),
                last_reconcile,
            ),
        ] {
            gauge(encoder, family, took.map(|took| took.as_secs_f64()))?;
        }
        Ok(())
    }

    fn configuration(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counter(
            encoder,
            Family::new(
                "configuration_generations",
                "Configurations that have been in force since the daemon started.",
            ),
            Some(self.generation),
        )?;
        gauge(
            encoder,
            Family::seconds(
                "configuration_applied_timestamp",
                "When the configuration came into force, since 1970.",
            ),
            Some(self.applied_seconds),
        )?;
        gauge(
            encoder,
            Family::new(
                "configuration_behind",
                "Whether the files or the store have something that is not in force.",
            ),
            Some(u64::from(self.behind)),
        )?;
        gauge(
            encoder,
            Family::seconds(
                "scrape_loop_duration",
                "How long the daemon's loop read values for this scrape; it does nothing else meanwhile.",
            ),
            Some(self.read_in.as_secs_f64()),
        )
    }
}

fn label(reason: Reason) -> [(&'static str, &'static str); 1] {
    [("reason", reason.name())]
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    routes: u64,
    counted: Counter,
}

/// By next hop type. The counters are in the order of the routes; a table that changed between the
/// two has counters for some only.
fn sum<P: Copy + Ord>(
    table: &TableImage<P>,
    counted: Option<&[(P, Counter)]>,
) -> BTreeMap<&'static str, Sum> {
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    let mut counted = counted.unwrap_or_default().iter().peekable();
    for (prefix, action) in table.routes.iter() {
        let Some(action) = table.actions.get(*action as usize) else {
            continue;
        };
        let sum = sums.entry(next_hop_type(action)).or_default();
        sum.routes += 1;
        while counted.next_if(|(other, _)| other < prefix).is_some() {}
        if let Some((_, counted)) = counted.next_if(|(other, _)| other == prefix) {
            sum.counted.packets = sum.counted.packets.wrapping_add(counted.packets);
            sum.counted.bytes = sum.counted.bytes.wrapping_add(counted.bytes);
        }
    }
    sums
}

/// Azure's word for it. The image does not tell a global peering from a local one.
fn next_hop_type(action: &ActionImage) -> &'static str {
    match action {
        ActionImage::Local { .. } => "VnetLocal",
        ActionImage::Peering { .. } => "VNetPeering",
        ActionImage::Appliance { .. } => "VirtualAppliance",
        ActionImage::Internet => "Internet",
        ActionImage::Gateway { .. } => "VirtualNetworkGateway",
        ActionImage::None => "None",
    }
}
