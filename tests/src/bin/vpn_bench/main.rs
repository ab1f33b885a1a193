//! Measures VPN gateways side by side in namespaces: ours, strongSwan, wireguard-go and boringtun, and
//! plain forwarding as the ceiling. `cargo xtask bench vpn` builds and runs it.

mod handshakes;
mod options;
mod ours;
mod rtt;
mod seal;
mod strongswan;
mod subject;
mod tcp;
mod udp;
mod wire;
mod wireguard;

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use vnet_gw_lab::Lab;
use vnet_gw_tests::report::{Report, median};

use crate::{
    options::{Options, Section},
    subject::{Kind, Subject},
};

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
    let traffic = [Section::Tcp, Section::Udp1300, Section::Udp64, Section::Rtt];
    if traffic.iter().any(|section| options.section(*section)) {
        gateways(&lab, options, &mut report)?;
    }
    if options.section(Section::Seal) {
        options.progress("sealing and opening");
        seal::run(options, &mut report);
    }
    if options.section(Section::Handshakes) {
        options.progress("handshakes");
        handshakes::run(&lab, options, &mut report)?;
    }
    options.progress("");
    ratios(&mut report);
    print!("{}", report.table());
    if let Some(path) = &options.json {
        report.write_json(path)?;
        println!("\nJSON: {}", path.display());
    }
    Ok(())
}

/// Every subject in every round, each round beginning with another one. All are up all the time, and
/// idle but for the one that is measured.
fn gateways(lab: &Lab, options: &Options, report: &mut Report) -> Result<()> {
    let mut subjects = Vec::new();
    for kind in Kind::ALL {
        if options.wants(kind) {
            options.progress(&format!("setting up {kind}"));
            subjects.push(Subject::new(lab, options, kind)?);
        }
    }
    for round in 0..options.rounds() {
        for i in 0..subjects.len() {
            let at = (i + round) % subjects.len();
            let Some(subject) = subjects.get_mut(at) else {
                continue;
            };
            let kind = subject.kind;
            let tell = |what: &str| {
                options.progress(&format!("round {}: {kind}, {what}", round + 1));
            };
            if options.section(Section::Rtt) {
                tell("RTT");
                rtt::measure(subject, report)?;
            }
            if options.section(Section::Tcp) {
                for segmentation in [true, false] {
                    subject.wire.segmentation(segmentation)?;
                    tell(if segmentation {
                        "TCP"
                    } else {
                        "TCP, no segmentation"
                    });
                    tcp::measure(subject, segmentation, options.tcp_seconds(), report)?;
                }
                subject.wire.segmentation(true)?;
            }
            for (section, row) in [(Section::Udp1300, udp::LARGE), (Section::Udp64, udp::SMALL)] {
                if options.section(section) {
                    tell(row.name);
                    udp::measure(subject, row, options.udp_seconds(), report)?;
                }
            }
        }
    }
    Ok(())
}

/// What the bars are about. The best peer is the one with the best median.
fn ratios(report: &mut Report) {
    let ours = Kind::VnetGw.name();
    for (ratio, row) in [
        ("tcp1_over_best_peer", "tcp1"),
        ("tcp4_over_best_peer", "tcp4"),
        ("tcp1_nouso_over_best_peer", "tcp1_nouso"),
        ("tcp4_nouso_over_best_peer", "tcp4_nouso"),
        ("udp1300_over_best_peer", "udp1300"),
        ("udp64_over_best_peer", "udp64"),
    ] {
        if let Some(peer) = best_peer(report, row, f64::total_cmp) {
            report.ratio(ratio, row, ours, &peer);
        }
    }
    if let Some(peer) = best_peer(report, "rtt", |a, b| b.total_cmp(a)) {
        report.ratio("rtt_over_best_peer", "rtt", ours, &peer);
    }
    report.ratio("tcp1_over_plain", "tcp1", ours, Kind::Plain.name());
    report.ratio("tcp4_over_plain", "tcp4", ours, Kind::Plain.name());
    let strongswan = Kind::StrongswanAes.name();
    for row in [
        "tcp1",
        "tcp4",
        "tcp1_nouso",
        "tcp4_nouso",
        "udp1300",
        "udp64",
    ] {
        report.ratio(&format!("{row}_over_strongswan"), row, ours, strongswan);
    }
    report.ratio("esp_seal_over_aead", "seal_1400", "esp", "aead");
    report.ratio("esp_open_over_aead", "open_1400", "esp", "aead");
    report.ratio("esp_seal_64_over_aead", "seal_64", "esp", "aead");
    report.ratio("esp_open_64_over_aead", "open_64", "esp", "aead");
}

fn best_peer(
    report: &Report,
    row: &str,
    order: impl Fn(&f64, &f64) -> std::cmp::Ordering,
) -> Option<String> {
    let peers: BTreeSet<&str> = Kind::ALL
        .iter()
        .filter(|kind| kind.is_peer())
        .map(|kind| kind.name())
        .collect();
    report
        .rows
        .iter()
        .filter(|one| one.name == row && peers.contains(one.subject.as_str()))
        .max_by(|a, b| order(&median(&a.values), &median(&b.values)))
        .map(|row| row.subject.clone())
}
