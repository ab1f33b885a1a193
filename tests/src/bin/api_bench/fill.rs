//! The resources that are there while something is measured: VNets with a subnet, route tables that
//! the subnets use, NICs, public IP addresses.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vnet_gw_tests::{
    http::{Connection, SUBSCRIPTION, Server},
    report::Report,
};

use crate::{
    options::Options,
    subject::{PORTS, Subject, device},
};

/// How many write at once.
const WRITERS: usize = 32;
/// Of ten resources, so many are VNets, and as many route tables.
const TENTHS: usize = 2;

/// Below the group that everything is in.
pub(crate) fn path(of: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/bench/providers/Microsoft.Network/{of}")
}

/// VNets that there are, each with a route table of the same number.
pub(crate) const fn networks(options: &Options) -> usize {
    let count = options.resources * TENTHS / 10;
    if count == 0 { 1 } else { count }
}

/// The prefix of a VNet: each has 256 addresses of 10.0.0.0/8.
pub(crate) fn prefix(number: usize, length: u8) -> String {
    format!("10.{}.{}.0/{length}", number / 256 % 256, number % 256)
}

pub(crate) fn run(subject: &Subject, options: &Options, report: &mut Report) -> Result<()> {
    let group = json!({ "location": "westeurope" });
    let group_path = format!("{SUBSCRIPTION}/resourceGroups/bench");
    put(&mut subject.unix().connect()?, &group_path, &group)?;
    let networks = networks(options);
    let begun = Instant::now();
    all(subject.unix(), networks, &|n| {
        (
            path(&format!("routeTables/t{n}")),
            json!({"location": "westeurope", "properties": {"routes": [route(n, 0)]}}),
        )
    })?;
    all(subject.unix(), networks, &|n| {
        (path(&format!("virtualNetworks/v{n}")), network(n))
    })?;
    let rest = options.resources.saturating_sub(2 * networks);
    let nics = rest * 2 / 3;
    all(subject.unix(), nics, &|n| {
        (path(&format!("networkInterfaces/n{n}")), nic(n, networks))
    })?;
    all(subject.unix(), rest - nics, &|n| {
        (
            path(&format!("networkSecurityGroups/g{n}")),
            json!({"location": "westeurope"}),
        )
    })?;
    let rate = options.resources as f64 / begun.elapsed().as_secs_f64();
    report.add("fill", "unix", "PUT/s", rate);
    Ok(())
}

pub(crate) fn network(n: usize) -> Value {
    json!({"location": "westeurope", "properties": {
        "addressSpace": {"addressPrefixes": [prefix(n, 24)]},
        "subnets": [{"name": "s", "properties": {
            "addressPrefix": prefix(n, 25),
            "routeTable": {"id": path(&format!("routeTables/t{n}"))},
        }}],
    }})
}

/// Its prefix changes with `turn`.
pub(crate) fn route(n: usize, turn: usize) -> Value {
    json!({"name": "r", "properties": {
        "addressPrefix": format!("172.{}.{}.0/24", 16 + turn % 16, n % 256),
        "nextHopType": "None",
    }})
}

pub(crate) fn nic(n: usize, networks: usize) -> Value {
    let subnet = path(&format!("virtualNetworks/v{}/subnets/s", n % networks));
    let mut nic = json!({"location": "westeurope", "properties": {"ipConfigurations": [{
        "name": "a",
        "properties": {"subnet": {"id": subnet}},
    }]}});
    if n < PORTS {
        nic["tags"] = json!({ "vnet-gw:device": device(n) });
    }
    nic
}

/// Writes `count` resources, many at once.
fn all(
    server: &Server,
    count: usize,
    make: &(dyn Fn(usize) -> (String, Value) + Sync),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut connection = server.connect()?;
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return Ok(());
                        }
                        let (path, body) = make(n);
                        put(&mut connection, &path, &body)?;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a writer panicked"))?;
        }
        Ok(())
    })
}

pub(crate) fn put(connection: &mut Connection, path: &str, body: &Value) -> Result<()> {
    let answer = connection.ask("PUT", path, Some(body))?;
    ensure!(
        matches!(answer.status, 200 | 201),
        "PUT {path}: {} {}",
        answer.status,
        String::from_utf8_lossy(&answer.bytes)
    );
    Ok(())
}
