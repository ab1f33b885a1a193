//! What the data path says of itself, as rows for clients.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use vnet_gw_common::mac_to_u64;
use vnet_gw_core::security::RuleSetId;

use crate::{
    control::{
        DatapathStatus, FlowsReply, PortList, PortRow, PortStatistics, SecurityRuleList,
        SecurityRuleRow, TableRow,
    },
    datapath::{DeviceStats, NetdevStats, PortState, PortStatus, RuleHits, Stats},
    flow_log::FlowCounts,
};

/// A group's rules have one row, wherever they hold.
pub(super) fn security(
    hits: BTreeMap<RuleSetId, Vec<RuleHits>>,
    flows: [FlowCounts; 2],
) -> SecurityRuleList {
    let mut rows: BTreeMap<_, SecurityRuleRow> = BTreeMap::new();
    for (set, rules) in hits {
        for rule in rules {
            let direction = set.direction;
            let key = (
                set.group.clone(),
                direction,
                rule.priority,
                rule.name.clone(),
            );
            let last = rule.last.map(|last| last.as_secs_f64());
            let row = rows.entry(key).or_insert_with(|| SecurityRuleRow {
                network_security_group: set.group.to_string(),
                direction: direction.as_str().to_owned(),
                name: rule.name.to_string(),
                priority: rule.priority,
                access: rule.access.as_str().to_owned(),
                hits: 0,
                last_hit_seconds: None,
            });
            row.hits += rule.hits;
            row.last_hit_seconds = match (row.last_hit_seconds, last) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    let sum = |count: fn(&FlowCounts) -> u64| flows.iter().map(count).sum();
    SecurityRuleList {
        value: rows.into_values().collect(),
        flows: FlowsReply {
            established: sum(|flows| flows.established),
            half_open: sum(|flows| flows.half_open),
            expired: sum(|flows| flows.expired),
        },
    }
}

pub(super) fn ports(ports: Vec<PortStatus>, stats: &DeviceStats) -> PortList {
    let row = |one: PortStatus| {
        let counted = one.ifindex.and_then(|ifindex| stats.get(&ifindex));
        port(one, counted)
    };
    PortList {
        value: ports.into_iter().map(row).collect(),
    }
}

fn family(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
    .to_owned()
}

fn port(port: PortStatus, counted: Option<&NetdevStats>) -> PortRow {
    let (addresses, carries) = match port.internet {
        true => (Vec::new(), port.addresses.iter().map(family).collect()),
        false => (port.addresses, Vec::new()),
    };
    PortRow {
        network_interface: port.nic.to_string(),
        device: port.device,
        gateway: port.gateway,
        internet: port.internet,
        port_id: port.port_id,
        ifindex: port.ifindex,
        hook: port.hook.map(|hook| hook.as_str().to_owned()),
        state: port.state.as_str().to_owned(),
        reason: match port.state {
            PortState::Failed(why) => Some(why),
            PortState::Up | PortState::DeviceDown | PortState::NoDevice => None,
        },
        mac_address: mac(port.mac),
        addresses,
        carries,
        mtu: port.mtu,
        enable_ip_forwarding: port.ip_forwarding,
        trace_every: port.trace_every,
        statistics: counted.map(|counted| PortStatistics {
            rx_packets: counted.rx_packets,
            rx_bytes: counted.rx_bytes,
            rx_dropped: counted.rx_dropped,
            rx_errors: counted.rx_errors,
            tx_packets: counted.tx_packets,
            tx_bytes: counted.tx_bytes,
            tx_dropped: counted.tx_dropped,
            tx_errors: counted.tx_errors,
        }),
        warnings: port.warnings,
    }
}

/// As Azure writes a `macAddress`: `00-0D-3A-1B-2C-3D`.
fn mac(mac: [u8; 6]) -> String {
    let digits = format!("{:012X}", mac_to_u64(mac));
    let pairs: Vec<&str> = (0..6)
        .filter_map(|at| digits.get(at * 2..at * 2 + 2))
        .collect();
    pairs.join("-")
}

/// To the microsecond.
fn milliseconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1e3
}

pub(super) fn datapath(stats: Stats) -> DatapathStatus {
    let tables = stats.tables.iter();
    DatapathStatus {
        routes: tables.clone().map(|table| table.routes).sum(),
        endpoints: stats.endpoints4 + stats.endpoints6,
        bytes: stats.endpoint_bytes
            + stats.rule_sets.bytes
            + stats.rule_sets.counter_bytes
            + tables
                .clone()
                .map(|table| table.table_bytes + table.counter_bytes)
                .sum::<u64>(),
        drift_found: stats.drift_found,
        drift_mended: stats.drift_mended,
        reconciles: stats.reconciles,
        last_apply_ms: stats.last_apply.map(milliseconds),
        last_reconcile_ms: stats.last_reconcile.map(milliseconds),
        tables: tables
            .map(|table| TableRow {
                subnet: table.subnet.to_string(),
                table_id: table.table_id,
                family: table.family,
                form: table.form.as_str().to_owned(),
                routes: table.routes,
                next_hops: table.actions,
                table_bytes: table.table_bytes,
                counter_bytes: table.counter_bytes,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_azures() {
        assert_eq!(mac([0, 0x0d, 0x3a, 0x1b, 0x2c, 0xff]), "00-0D-3A-1B-2C-FF");
    }
}
