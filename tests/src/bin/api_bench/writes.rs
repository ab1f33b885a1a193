//! PUTs of many clients, each of which writes what is its own, one request after the other. The
//! answer to a PUT means that it is durable and that the data path carries it.

use std::{thread, time::Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use vnet_gw_tests::{http::Server, report::Report};

use crate::{
    fill::{self, path},
    options::Options,
    subject::Subject,
};

/// What a row is called.
pub(crate) fn row(clients: usize, what: &str) -> String {
    format!("put_{clients}_clients_{what}")
}

pub(crate) fn run(
    subject: &Subject,
    server: &Server,
    name: &str,
    clients: usize,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let begun = Instant::now();
    let mut times: Vec<f64> = subject.host().enter(|| {
        thread::scope(|scope| -> Result<Vec<f64>> {
            // Threads that are made in a namespace are in it.
            let writers: Vec<_> = (0..clients)
                .map(|client| scope.spawn(move || write(server, client, options)))
                .collect();
            let mut all = Vec::new();
            for writer in writers {
                let times = writer.join();
                all.extend(times.unwrap_or_else(|_| anyhow::bail!("a client panicked"))?);
            }
            Ok(all)
        })
    })??;
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    ensure!(!times.is_empty(), "nothing was written");
    for (what, part) in [("p50", 0.5), ("p99", 0.99)] {
        let at = (times.len() as f64 * part) as usize;
        let at = at.min(times.len() - 1);
        report.add(&row(clients, what), name, "ms", times[at]);
    }
    report.add(&row(clients, "rate"), name, "PUT/s", rate);
    Ok(())
}

/// One client: how long each of its PUTs takes.
fn write(server: &Server, client: usize, options: &Options) -> Result<Vec<f64>> {
    let networks = fill::networks(options);
    let n = client % networks;
    let mut connection = server.connect()?;
    let until = Instant::now() + options.time();
    let mut times = Vec::new();
    for turn in 0.. {
        if Instant::now() >= until {
            break;
        }
        let (path, body) = match turn % 3 {
            // A route of a port's table: packets take it.
            0 => (
                path(&format!("routeTables/t{n}/routes/r")),
                fill::route(n, turn),
            ),
            1 => {
                let mut body = fill::network(n);
                body["tags"] = json!({ "turn": turn.to_string() });
                (path(&format!("virtualNetworks/v{n}")), body)
            }
            _ => {
                let mut body = fill::nic(n, networks);
                body["properties"]["enableIPForwarding"] = json!(turn % 2 == 0);
                (path(&format!("networkInterfaces/n{n}")), body)
            }
        };
        let begun = Instant::now();
        fill::put(&mut connection, &path, &body)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
