//! Pages of lists.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vnet_gw_tests::{
    http::SUBSCRIPTION,
    report::{Report, median},
};

use crate::{fill::path, options::Options, subject::Subject};

/// Pages of each list that are timed, at most.
const PAGES: usize = 40;

pub(crate) fn run(subject: &Subject, _: &Options, report: &mut Report) -> Result<()> {
    let lists = [
        ("list_vnets", path("virtualNetworks")),
        ("list_nics", path("networkInterfaces")),
        (
            "list_vnets_everywhere",
            format!("{SUBSCRIPTION}/providers/Microsoft.Network/virtualNetworks"),
        ),
        ("list_resources", format!("{SUBSCRIPTION}/resources")),
        (
            "list_resources_1000",
            format!("{SUBSCRIPTION}/resources?$top=1000"),
        ),
    ];
    for (name, first) in lists {
        let times = subject.host().enter(|| pages(subject, &first))??;
        report.add(name, "https", "ms", median(&times));
    }
    Ok(())
}

/// How long each page of a list takes.
fn pages(subject: &Subject, first: &str) -> Result<Vec<f64>> {
    let mut connection = subject.tls().connect()?;
    let mut times = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next.filter(|_| times.len() < PAGES) {
        let begun = Instant::now();
        let answer = connection.ask("GET", &path, None)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(answer.status == 200, "GET {path}: {}", answer.status);
        let body = answer.json()?;
        let rows = body.get("value").and_then(Value::as_array);
        ensure!(!rows.context("a list")?.is_empty(), "GET {path}: nothing");
        let link = body.get("nextLink").and_then(Value::as_str);
        next = link
            .and_then(|link| link.find("/subscriptions").map(|at| &link[at..]))
            .map(str::to_owned);
    }
    Ok(times)
}
