//! The example at work, as it changes.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    caught,
    example::Example,
    nap,
    page::{Page, counters},
    screen::Screen,
    traffic::Traffic,
};
use crate::{Hook, tree};

/// How often a log is told; a terminal is repainted every second.
const TOLD_EVERY: u64 = 5;
/// How long the traffic waits for tunnels.
const CONNECTING: Duration = Duration::from_secs(15);

pub(super) fn run(binary: &Path, hook: Hook) -> Result<ExitCode> {
    eprintln!(
        "starting the example: {}",
        super::example::template_path().display()
    );
    let mut example = Example::start(binary, hook)?;
    // What is sent before there is a tunnel would be missing in the counts for good.
    example.connected(CONNECTING)?;
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
        for host in &mut example.hosts {
            if let Some(status) = host.daemon.ended()? {
                bail!(
                    "the daemon on {} ended, {status}; it said:\n{}",
                    host.name,
                    host.daemon.log().trim_end()
                );
            }
        }
        let now = (Instant::now(), counters(example)?);
        let page = Page {
            example,
            binary,
            running: started.elapsed(),
            flows: traffic.so_far(),
            connections: example.connections()?,
            // Every host knows all of them.
            peerings: example.host_of("vnet1-web1")?.daemon.json(&["peerings"])?,
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
