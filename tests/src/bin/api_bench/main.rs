//! Measures the API of a daemon in a namespace: a list page among many resources, and PUTs that are
//! durable and carried out, in the kernel's tables too, while many clients write. `cargo xtask bench
//! api` builds and runs it.

mod fill;
mod lists;
mod options;
mod subject;
mod writes;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vnet_gw_lab::Lab;
use vnet_gw_tests::report::{Ratio, Report};

use crate::{options::Options, subject::Subject};

/// A list page takes less, in milliseconds.
const LIST_BAR: f64 = 50.0;
/// The median PUT takes less, in milliseconds.
const PUT_BAR: f64 = 20.0;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\rerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    // Removes what is made in it, also after a failure or a signal.
    let lab = Lab::new()?;
    let mut report = Report::default();
    options.progress("starting the daemon");
    let subject = Subject::start(&lab, options)?;
    options.progress(&format!("making {} resources", options.resources));
    fill::run(&subject, options, &mut report)?;
    for round in 0..options.rounds {
        options.progress(&format!("round {}: lists", round + 1));
        lists::run(&subject, options, &mut report)?;
        for (name, server) in subject.servers() {
            options.progress(&format!("round {}: one client, {name}", round + 1));
            writes::run(&subject, server, name, 1, options, &mut report)?;
            let clients = options.clients;
            options.progress(&format!("round {}: {clients} clients, {name}", round + 1));
            writes::run(&subject, server, name, clients, options, &mut report)?;
        }
    }
    options.progress("");
    bars(&mut report, options.clients);
    print!("{}", report.table());
    println!(
        "\nbars: a list page under {LIST_BAR} ms, a PUT under {PUT_BAR} ms at the median; a ratio \
         below 1 holds it"
    );
    if let Some(path) = &options.json {
        report.write_json(path)?;
        println!("JSON: {}", path.display());
    }
    Ok(())
}

/// What was measured over what it may take.
fn bars(report: &mut Report, clients: usize) {
    let mut ratios = Vec::new();
    for row in &report.rows {
        let bar = match row.name.as_str() {
            name if name.starts_with("list_") => LIST_BAR,
            name if *name == writes::row(clients, "p50") => PUT_BAR,
            _ => continue,
        };
        ratios.push(Ratio {
            name: format!("{} {} over its bar", row.name, row.subject),
            value: row.median / bar,
            bar: None,
        });
    }
    report.ratios.extend(ratios);
}
