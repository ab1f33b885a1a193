//! Measures the fast path against the kernel's own forwarding and against a bare XDP redirect, in
//! namespaces. `cargo xtask bench fastpath` builds and runs it.

#[path = "../../../../vnet-gw-ebpf/src/bin/bench/abi.rs"]
mod abi;
mod forward;
mod frame;
mod live;
mod load;
mod lookup;
#[path = "../../../../vnet-gw-ebpf/src/bin/bench/names.rs"]
mod names;
mod noise;
mod nsg;
mod object;
mod options;
mod ours;
mod pktgen;
mod routes;
mod security;
mod subject;
mod svg;
mod tcp;
mod traffic;
mod wire;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use vnet_gw_lab::Lab;
use vnet_gw_tests::report::{Bar, Report};

use crate::{
    forward::Plan,
    options::{Options, Section},
    subject::Kind,
    traffic::{Family, Generator},
};

/// Ratio, measurement, above, below, and the least it has to be.
const RATIOS: [(&str, &str, &str, &str, Option<f64>); 11] = [
    (
        "xdp_over_kernel_64b_ipv4",
        "64b_ipv4",
        "xdp",
        "kernel",
        Some(3.2),
    ),
    (
        "xdp_over_kernel_64b_ipv6",
        "64b_ipv6",
        "xdp",
        "kernel",
        None,
    ),
    (
        "xdp_over_bare_64b_ipv4",
        "64b_ipv4",
        "xdp",
        "bare",
        Some(0.7),
    ),
    (
        "xdp_over_kernel_1m_routes",
        "64b_ipv4_1m",
        "xdp",
        "kernel",
        Some(1.7),
    ),
    (
        "tcx_over_kernel_64b_ipv4",
        "64b_ipv4",
        "tcx",
        "kernel",
        Some(1.5),
    ),
    (
        "tcx_over_kernel_64b_ipv6",
        "64b_ipv6",
        "tcx",
        "kernel",
        None,
    ),
    ("tcx_over_kernel_tcp1", "tcp1", "tcx", "kernel", Some(0.95)),
    ("tcx_over_kernel_tcp4", "tcp4", "tcx", "kernel", Some(0.9)),
    ("xdp_over_kernel_tcp1", "tcp1", "xdp", "kernel", None),
    ("xdp_over_kernel_tcp4", "tcp4", "xdp", "kernel", None),
    (
        "lookup_1m_lpm_over_ours",
        "lookup_1m",
        "lpm",
        "ours",
        Some(10.0),
    ),
];

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
    let generator = options.generator.choose()?;
    // Removes what is made in it, also after a failure or a signal.
    let lab = Lab::new()?;
    let mut report = Report::default();
    let noise = measure(&lab, options, generator, &mut report)?;
    options.progress("");
    for (name, row, above, below, bar) in RATIOS {
        report.ratio(name, row, above, below);
        if let Some(bar) = bar {
            report.bar(name, Bar::AtLeast(bar));
        }
    }
    nsg::ratios(&mut report);
    print!("{}", report.table());
    println!();
    noise::describe(noise, generator, options.cpu());
    let path = options.svg();
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    let title = "vnet-gw fast path: medians, and lowest to highest round";
    fs::write(&path, svg::draw(&report, title))
        .with_context(|| format!("writing {}", path.display()))?;
    println!("plot: {}", path.display());
    if let Some(path) = &options.json {
        report.write_json(path)?;
        println!("JSON: {}", path.display());
    }
    Ok(())
}

fn measure(
    lab: &Lab,
    options: &Options,
    generator: Generator,
    report: &mut Report,
) -> Result<noise::Share> {
    let mut noise = noise::Share::default();
    let mut families = Vec::new();
    if options.section(Section::Fwd64) {
        families.push((Family::V4, "64b_ipv4"));
    }
    if options.section(Section::Fwd64v6) {
        families.push((Family::V6, "64b_ipv6"));
    }
    if !families.is_empty() {
        let plan = Plan {
            prefix: "few",
            generator,
            families: &families,
            kinds: &[Kind::Kernel, Kind::Bare, Kind::Xdp, Kind::Tcx],
            set: &routes::sixteen(),
        };
        noise += forward::run(lab, options, report, &plan)?;
    }
    if options.section(Section::Fwd1m) {
        let plan = Plan {
            prefix: "many",
            // pktgen draws from a range; these destinations are spread over all routes.
            generator: Generator::Live,
            families: &[(Family::V4, "64b_ipv4_1m")],
            kinds: &[Kind::Kernel, Kind::Xdp, Kind::Tcx],
            set: &routes::many(1_000_000),
        };
        noise += forward::run(lab, options, report, &plan)?;
    }
    if options.section(Section::Nsg) {
        noise += nsg::established(lab, options, report)?;
    }
    if options.section(Section::NsgNew) {
        noise += nsg::first_packets(lab, options, report)?;
        noise += nsg::new_flows(lab, options, report)?;
    }
    if options.section(Section::Tcp) {
        tcp::run(lab, options, report)?;
    }
    if options.section(Section::Lookup) {
        lookup::run(options, report)?;
    }
    if options.section(Section::Load) {
        load::run(lab, options, report)?;
    }
    Ok(noise)
}
