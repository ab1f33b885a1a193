//! What the live example shows: connections, ports, peerings, routes and drops.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vnet_gw_lab::workload::DEVICE;

use super::{
    example::{Connection, Example},
    table::{bit_rate, table, thousands},
};

/// The counters of all hosts: their routes one after the other, their reasons added up.
pub(super) fn counters(example: &Example) -> Result<Value> {
    let mut routes: Vec<Value> = Vec::new();
    let mut reasons: Vec<Value> = Vec::new();
    for host in &example.hosts {
        let counters = host.daemon.json(&["counters"])?;
        routes.extend(list(&counters, "routes")?.iter().cloned());
        for row in list(&counters, "reasons")? {
            match reasons
                .iter_mut()
                .find(|sum| sum["reason"] == row["reason"])
            {
                Some(sum) => {
                    for key in ["packets", "bytes"] {
                        sum[key] = (number(sum, key) + number(row, key)).into();
                    }
                }
                None => reasons.push(row.clone()),
            }
        }
    }
    Ok(json!({"routes": routes, "reasons": reasons}))
}

/// One look at everything.
pub(super) struct Page<'a> {
    pub(super) example: &'a Example,
    pub(super) binary: &'a str,
    pub(super) running: Duration,
    pub(super) flows: (u64, u64),
    pub(super) connections: Vec<Connection>,
    pub(super) peerings: Value,
    pub(super) counters: &'a Value,
    pub(super) before: Option<(Duration, &'a Value)>,
}

impl Page<'_> {
    pub(super) fn text(&self) -> Result<String> {
        let mut out = String::new();
        let hosts = &self.example.hosts;
        let instances: Vec<&str> = hosts.iter().map(|host| host.daemon.instance()).collect();
        let instance = instances.first().context("the example has no host")?;
        let first = self
            .example
            .workloads
            .first()
            .context("the example has no workload")?;
        writeln!(
            out,
            "vnet-gw: the built-in example, instances {}, for {} s; Ctrl-C ends it and leaves \
             nothing behind",
            instances.join(" and "),
            self.running.as_secs()
        )?;
        writeln!(out, "Ask it from another shell:")?;
        let with = format!("--instance {instance}");
        writeln!(
            out,
            "  {} effective-routes --subnet VNet1/FrontEnd {with}",
            self.binary
        )?;
        writeln!(
            out,
            "  {} next-hop --nic {} --dest 10.51.0.4 {with}",
            self.binary, first.name
        )?;
        writeln!(out, "  {} connections --watch {with}", self.binary)?;
        writeln!(
            out,
            "  ip netns exec {} ping 10.41.0.4",
            first.netns.full_name()
        )?;
        writeln!(out, "\n{}", self.connections())?;
        writeln!(out, "{}", self.ports()?)?;
        writeln!(out, "{}", self.peerings()?)?;
        writeln!(out, "{}", self.routes()?)?;
        writeln!(out, "{}", self.reasons()?)?;
        let (sent, received) = self.flows;
        writeln!(
            out,
            "UDP between workloads, counted at the receivers: {} of {} sent",
            thousands(received),
            thousands(sent)
        )?;
        Ok(out)
    }

    /// The same in one line.
    pub(super) fn line(&self) -> Result<String> {
        let tunnels: usize = self.connections.iter().map(Connection::up).sum();
        let of: usize = self.connections.iter().map(|one| one.tunnels.len()).sum();
        let connected = list(&self.peerings, "value")?
            .iter()
            .filter(|peering| peering["peeringState"] == "Connected")
            .count();
        let routes = list(self.counters, "routes")?;
        let packets: u64 = routes.iter().map(|row| number(row, "packets")).sum();
        let rate = routes
            .iter()
            .fold(0.0, |sum, row| sum + self.rate("routes", row).1);
        let dropped: Vec<String> = list(self.counters, "reasons")?
            .iter()
            .filter(|row| row["outcome"] == "dropped")
            .map(|row| {
                format!(
                    "{} {}",
                    text(row, "reason"),
                    thousands(number(row, "packets"))
                )
            })
            .collect();
        Ok(format!(
            "{:>5} s  {tunnels} of {of} tunnels connected  {connected} peerings connected  {} \
             packets  {}  dropped: {}",
            self.running.as_secs(),
            thousands(packets),
            bit_rate(rate),
            if dropped.is_empty() {
                "none".to_owned()
            } else {
                dropped.join(", ")
            }
        ))
    }

    fn connections(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .connections
            .iter()
            .map(|one| {
                vec![
                    one.name.clone(),
                    one.kind.clone(),
                    one.state(),
                    thousands(one.bytes_in),
                    thousands(one.bytes_out),
                    if one.is_whole() {
                        String::new()
                    } else {
                        one.reason.clone()
                    },
                ]
            })
            .collect();
        let headings = [
            "connection",
            "type",
            "state",
            "bytes in",
            "bytes out",
            "why",
        ];
        table(&headings, &rows)
    }

    fn ports(&self) -> Result<String> {
        let mut rows = Vec::new();
        for host in &self.example.hosts {
            let ports = host.daemon.json(&["ports"])?;
            for port in list(&ports, "value")? {
                let addresses = port["addresses"].as_array().into_iter().flatten();
                let addresses: Vec<&str> = addresses.filter_map(Value::as_str).collect();
                let nic = name(port, "networkInterface");
                let (sent, received) = if port["gateway"] == true || port["internet"] == true {
                    // Its far side is the crypto worker or the host, so the device itself counts.
                    let device = text(port, "device");
                    host.link.host().packets(&device).unwrap_or_default()
                } else {
                    // Counted in the workload: what TCX hands straight to the far end of a veth,
                    // the host's end does not see.
                    let workload = self.example.workload(&nic)?;
                    let (received, sent) = workload.netns.packets(DEVICE)?;
                    (sent, received)
                };
                rows.push(vec![
                    nic,
                    host.name.to_owned(),
                    text(port, "device"),
                    text(port, "hook"),
                    text(port, "state"),
                    thousands(sent),
                    thousands(received),
                    addresses.join(", "),
                ]);
            }
        }
        let headings = [
            "port",
            "host",
            "device",
            "hook",
            "state",
            "sent",
            "received",
            "addresses",
        ];
        Ok(table(&headings, &rows))
    }

    fn peerings(&self) -> Result<String> {
        let rows: Vec<Vec<String>> = list(&self.peerings, "value")?
            .iter()
            .map(|peering| {
                vec![
                    name(&peering["virtualNetwork"], "id"),
                    name(&peering["remoteVirtualNetwork"], "id"),
                    text(peering, "peeringState"),
                    text(peering, "nextHopType"),
                ]
            })
            .collect();
        Ok(table(&["peering of", "with", "state", "routes"], &rows))
    }

    fn routes(&self) -> Result<String> {
        let rows: Vec<Vec<String>> = list(self.counters, "routes")?
            .iter()
            .map(|row| {
                let (packets, bytes) = self.rate("routes", row);
                vec![
                    subnet(&text(row, "subnet")),
                    text(row, "addressPrefix"),
                    text(row, "nextHopType"),
                    name(row, "virtualNetwork"),
                    thousands(number(row, "packets")),
                    thousands(number(row, "bytes")),
                    thousands(packets.round() as u64),
                    bit_rate(bytes),
                ]
            })
            .collect();
        let headings = [
            "routes of",
            "prefix",
            "next hop",
            "in",
            "packets",
            "bytes",
            "packets/s",
            "now",
        ];
        Ok(table(&headings, &rows))
    }

    fn reasons(&self) -> Result<String> {
        let rows: Vec<Vec<String>> = list(self.counters, "reasons")?
            .iter()
            .map(|row| {
                vec![
                    text(row, "reason"),
                    text(row, "outcome"),
                    thousands(number(row, "packets")),
                    thousands(number(row, "bytes")),
                    text(row, "help"),
                ]
            })
            .collect();
        Ok(table(
            &["not forwarded", "outcome", "packets", "bytes", "why"],
            &rows,
        ))
    }

    /// Packets and bytes a second since the page before.
    fn rate(&self, of: &str, row: &Value) -> (f64, f64) {
        let Some((time, before)) = self.before else {
            return (0.0, 0.0);
        };
        let same = |old: &&Value| {
            old["subnet"] == row["subnet"] && old["addressPrefix"] == row["addressPrefix"]
        };
        let old = before[of]
            .as_array()
            .into_iter()
            .flatten()
            .find(same)
            .unwrap_or(&Value::Null);
        let per_second = |key: &str| {
            number(row, key).saturating_sub(number(old, key)) as f64 / time.as_secs_f64()
        };
        (per_second("packets"), per_second("bytes"))
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("the daemon's answer has no {key}: {value}"))
}

fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or(0)
}

fn text(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or("").to_owned()
}

/// The last part of a resource id.
fn name(row: &Value, key: &str) -> String {
    text(row, key)
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// `VNET/SUBNET` of a subnet's id.
fn subnet(id: &str) -> String {
    match id.split('/').collect::<Vec<_>>()[..] {
        [.., vnet, _, subnet] => format!("{vnet}/{subnet}"),
        _ => id.to_owned(),
    }
}
