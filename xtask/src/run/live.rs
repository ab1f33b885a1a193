//! The example at work: ports, peerings, routes and drops, as they change.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vnet_gw_lab::workload::DEVICE;

use super::{
    caught,
    example::Example,
    nap,
    screen::Screen,
    table::{bit_rate, table, thousands},
    traffic::Traffic,
};
use crate::{Hook, tree};

/// How often a log is told; a terminal is repainted every second.
const TOLD_EVERY: u64 = 5;

pub(super) fn run(binary: &Path, hook: Hook) -> Result<ExitCode> {
    eprintln!(
        "starting the example: {}",
        super::example::template_path().display()
    );
    let mut example = Example::start(binary, hook)?;
    let traffic = Traffic::start(&example)?;
    let screen = Screen::new();
    let shown = show(&mut example, &traffic, &screen, &howto(binary));
    drop(screen);
    let last = shown?;
    if let Some(signal) = caught() {
        eprintln!("{signal}: stopping the traffic and the daemon, removing the namespaces");
    }
    traffic.stop()?;
    drop(example);
    tell(&format!(
        "{last}\nThe example is gone: no process, namespace, pin or socket of it is left."
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line; whether anybody still reads.
fn tell(text: &str) -> Result<bool> {
    let mut out = io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("writing to standard output"),
    }
}

/// How to look around from another shell.
fn howto(binary: &Path) -> String {
    let binary = binary.strip_prefix(tree::root()).unwrap_or(binary);
    binary.display().to_string()
}

/// Until a signal: the last page.
fn show(example: &mut Example, traffic: &Traffic, screen: &Screen, binary: &str) -> Result<String> {
    let started = Instant::now();
    let mut before: Option<(Instant, Value)> = None;
    let mut seconds = 0;
    loop {
        if let Some(status) = example.daemon.ended()? {
            bail!(
                "the daemon ended, {status}; it said:\n{}",
                example.daemon.log().trim_end()
            );
        }
        let now = (Instant::now(), example.daemon.json(&["counters"])?);
        let page = Page {
            example,
            binary,
            running: started.elapsed(),
            flows: traffic.so_far(),
            ports: example.daemon.json(&["ports"])?,
            peerings: example.daemon.json(&["peerings"])?,
            counters: &now.1,
            before: before.as_ref().map(|(then, value)| (now.0 - *then, value)),
        };
        let text = page.text()?;
        if screen.is_terminal() {
            screen.paint(&text).context("painting the terminal")?;
        } else if seconds % TOLD_EVERY == 0 {
            let told = if seconds == 0 {
                text.clone()
            } else {
                page.line()?
            };
            if !tell(&told)? {
                return Ok(text);
            }
        }
        if caught().is_some() {
            return Ok(text);
        }
        before = Some(now);
        seconds += 1;
        nap(Duration::from_secs(seconds).saturating_sub(started.elapsed()));
    }
}

struct Page<'a> {
    example: &'a Example,
    binary: &'a str,
    running: Duration,
    flows: (u64, u64),
    ports: Value,
    peerings: Value,
    counters: &'a Value,
    before: Option<(Duration, &'a Value)>,
}

impl Page<'_> {
    fn text(&self) -> Result<String> {
        let mut out = String::new();
        let instance = self.example.daemon.instance();
        let first = self
            .example
            .workloads
            .first()
            .context("the example has no workload")?;
        writeln!(
            out,
            "vnet-gw: the built-in example, instance {instance}, for {} s; Ctrl-C ends it and \
             leaves nothing behind",
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
        writeln!(
            out,
            "  ip netns exec {} ping 10.41.0.4",
            first.netns.full_name()
        )?;
        writeln!(out, "\n{}", self.ports()?)?;
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
    fn line(&self) -> Result<String> {
        let up = list(&self.ports, "value")?
            .iter()
            .filter(|port| port["state"] == "up")
            .count();
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
            "{:>5} s  {up} ports up  {connected} peerings connected  {} packets  {}  dropped: {}",
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

    fn ports(&self) -> Result<String> {
        let mut rows = Vec::new();
        for port in list(&self.ports, "value")? {
            let addresses = port["addresses"].as_array().into_iter().flatten();
            let addresses: Vec<&str> = addresses.filter_map(Value::as_str).collect();
            let nic = name(port, "networkInterface");
            // Counted in the workload: what TCX hands straight to the far end of a veth, the
            // host's end does not see.
            let workload = self.example.workload(&nic)?;
            let (received, sent) = workload.netns.packets(DEVICE)?;
            rows.push(vec![
                nic,
                text(port, "device"),
                text(port, "hook"),
                text(port, "state"),
                thousands(sent),
                thousands(received),
                addresses.join(", "),
            ]);
        }
        let headings = [
            "port",
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
