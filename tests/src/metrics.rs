//! What daemons tell Prometheus.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use vnet_gw_lab::Netns;

use crate::az::clients;

/// Where daemons of the tests serve metrics: each has a namespace of its own.
pub const ADDRESS: &str = "127.0.0.1:9464";
const PATIENCE: Duration = Duration::from_secs(20);
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/metrics.py");

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub head: String,
    pub body: String,
}

/// Asks the daemon in `netns`.
pub fn ask(netns: &Netns, method: &str, path: &str) -> Result<Answer> {
    let text = netns.enter(|| -> Result<String> {
        let address: SocketAddr = ADDRESS.parse()?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })??;
    let (head, body) = text.split_once("\r\n\r\n").context("no end of headers")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: unchunked(head, body)?,
    })
}

/// A body of many pieces, put together.
fn unchunked(head: &str, body: &str) -> Result<String> {
    if !head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return Ok(body.to_owned());
    }
    let (mut whole, mut rest) = (String::new(), body);
    loop {
        let (length, after) = rest.split_once("\r\n").context("no length of a piece")?;
        let length = usize::from_str_radix(length.trim(), 16)?;
        if length == 0 {
            return Ok(whole);
        }
        whole.push_str(after.get(..length).context("a piece is cut off")?);
        rest = after.get(length + 2..).context("a piece without an end")?;
    }
}

/// What Prometheus makes of a scrape.
#[derive(Debug, Deserialize)]
pub struct Scrape {
    pub families: Vec<Family>,
    /// What is against the conventions.
    pub wrong: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Family {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub unit: String,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    /// Scrapes the daemon in `netns`, and reads it as Prometheus does.
    pub fn of(netns: &Netns) -> Result<Self> {
        let answer = ask(netns, "GET", "/metrics")?;
        ensure!(answer.status == 200, "{}\n{}", answer.head, answer.body);
        Self::read(&answer.body)
    }

    pub fn read(text: &str) -> Result<Self> {
        let mut reader = std::process::Command::new(clients()?.program("python"))
            .arg(Path::new(READER))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting Python")?;
        let mut input = reader.stdin.take().context("no input")?;
        input.write_all(text.as_bytes())?;
        drop(input);
        let output = reader.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Samples of that name whose labels are among theirs.
    pub fn samples(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let fits = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.name == name
                && labels.all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        };
        samples.filter(fits).collect()
    }

    /// The sum of those samples; fails where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let samples = self.samples(name, labels);
        ensure!(!samples.is_empty(), "no sample {name} with {labels:?}");
        Ok(samples.iter().map(|sample| sample.value).sum())
    }
}
