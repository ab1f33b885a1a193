//! `vnet-gw probe`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat, ProbeArgs, ProbeProtocol},
    output, source,
};
use crate::control::{ProbeReply, Request, Response, TryRow, short};

pub(super) fn run(cli: &Cli, args: &ProbeArgs) -> Result<Verdict> {
    let port = match (args.protocol, args.port) {
        (Some(ProbeProtocol::Icmp), Some(_)) => {
            anyhow::bail!("--port: ICMP has no ports; leave it out, or choose --protocol tcp")
        }
        (Some(ProbeProtocol::Tcp), None) => anyhow::bail!("--protocol tcp: give a --port, too"),
        (_, port) => port,
    };
    let request = Request::Probe {
        network_interface: args.from.clone(),
        destination: args.to,
        port,
        count: args.count,
        interval_ms: u64::try_from(args.interval.as_millis()).unwrap_or(u64::MAX),
        patience_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let mut daemon = source::daemon(cli)?;
    // It takes as long as its tries.
    daemon.patient()?;
    let reply = match daemon.ask(request)? {
        Response::Probe(reply) => *reply,
        _ => return Err(crate::control::ClientError::Unexpected.into()),
    };
    match cli.output {
        OutputFormat::Json => output::json(&reply)?,
        OutputFormat::Table => output::print(&text(&reply))?,
    }
    Ok(match reply.connection_status.as_str() {
        "Unreachable" => Verdict::Bad,
        _ => Verdict::Good,
    })
}

fn text(reply: &ProbeReply) -> String {
    let to = reply.destination.map(|to| to.to_string());
    let mut text = format!(
        "{} to {}: {}\n",
        short(&reply.source),
        to.unwrap_or_default(),
        reply.connection_status
    );
    for (at, one) in reply.tries.iter().enumerate() {
        text.push_str(&format!("  {:>3}  {}\n", at + 1, try_text(one)));
    }
    text.push_str(&format!(
        "{} sent, {} failed",
        reply.probes_sent, reply.probes_failed
    ));
    if let (Some(least), Some(average), Some(most)) = (
        reply.min_latency_in_ms,
        reply.avg_latency_in_ms,
        reply.max_latency_in_ms,
    ) {
        text.push_str(&format!(
            "; {least:.3} ms at least, {average:.3} ms on average, {most:.3} ms at most"
        ));
    }
    text + "\n"
}

fn try_text(one: &TryRow) -> String {
    let latency = one.latency_in_ms.map(|latency| format!("{latency:.3} ms"));
    let from = one.from.map(|from| format!("from {from}"));
    let parts = [Some(one.outcome.clone()), from, one.reason.clone(), latency];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_reads_try_by_try() {
        let reply = ProbeReply {
            source: "web1".into(),
            destination: "10.1.0.4".parse().ok(),
            connection_status: "Degraded".into(),
            min_latency_in_ms: Some(0.25),
            avg_latency_in_ms: Some(0.25),
            max_latency_in_ms: Some(0.25),
            probes_sent: 2,
            probes_failed: 1,
            tries: vec![
                TryRow {
                    outcome: "reply".into(),
                    latency_in_ms: Some(0.25),
                    ..TryRow::default()
                },
                TryRow {
                    outcome: "dropped".into(),
                    reason: Some("no_route".into()),
                    ..TryRow::default()
                },
            ],
        };
        assert_eq!(
            text(&reply),
            "web1 to 10.1.0.4: Degraded\n    1  reply, 0.250 ms\n    2  dropped, no_route\n\
             2 sent, 1 failed; 0.250 ms at least, 0.250 ms on average, 0.250 ms at most\n"
        );
    }
}
