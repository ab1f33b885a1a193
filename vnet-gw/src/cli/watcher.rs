//! `vnet-gw ip-flow-verify`, `connectivity-check` and `topology`

use anyhow::Result;
use vnet_gw_core::watcher::{Connectivity, Status};

use super::{
    Verdict,
    args::{Cli, ConnectivityCheckArgs, IpFlowVerifyArgs, OutputFormat, TopologyArgs},
    output, source,
    table::{Left, Table, pairs},
};
use crate::control::{
    Request, Response, TopologyReply, connectivity_check, ip_flow_verify, short, topology,
};

pub(super) fn flow(cli: &Cli, args: &IpFlowVerifyArgs) -> Result<Verdict> {
    let question = args.question();
    let verdict = source::answer(
        cli,
        &args.source,
        |snapshot| ip_flow_verify(snapshot, &question),
        Request::IpFlowVerify {
            flow: question.clone(),
        },
        |answer| match answer {
            Response::IpFlowVerify(verdict) => Some(verdict),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&verdict)?,
        OutputFormat::Table => {
            let mut lines = vec![("access", verdict.access)];
            lines.push((
                "rule",
                match (verdict.rule_name, verdict.network_security_group) {
                    (Some(rule), Some(group)) => format!("{rule} of {}", short(&group)),
                    (_, Some(group)) => format!("none of {} matches", short(&group)),
                    _ => "none: no network security group holds for it".to_owned(),
                },
            ));
            output::print(&pairs(&lines))?;
        }
    }
    Ok(Verdict::Good)
}

pub(super) fn check(cli: &Cli, args: &ConnectivityCheckArgs) -> Result<Verdict> {
    let question = args.packet.question();
    let check = source::answer(
        cli,
        &args.packet.source,
        |snapshot| connectivity_check(snapshot, &question, None),
        Request::ConnectivityCheck {
            packet: question.clone(),
        },
        |answer| match answer {
            Response::ConnectivityCheck(check) => Some(*check),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&check)?,
        OutputFormat::Table => output::print(&hops(&check))?,
    }
    Ok(match check.connection_status {
        Status::Disconnected => Verdict::Bad,
        _ => Verdict::Good,
    })
}

fn hops(check: &Connectivity) -> String {
    let mut table = Table::new(&[
        ("HOP", Left),
        ("ADDRESS", Left),
        ("RESOURCE", Left),
        ("ISSUES", Left),
    ]);
    for hop in &check.hops {
        let issues = hop.issues.iter().map(|issue| {
            let context = issue.context.iter().filter_map(|pair| pair.get("value"));
            let context: Vec<String> = context.map(|value| short(value)).collect();
            format!("{:?} {}", issue.kind, context.join(" "))
        });
        table.row([
            format!("{:?}", hop.kind),
            hop.address.clone().unwrap_or_default(),
            short(hop.resource_id.as_deref().unwrap_or_default()).to_owned(),
            issues.collect::<Vec<_>>().join("; "),
        ]);
    }
    let status = pairs(&[
        ("status", format!("{:?}", check.connection_status)),
        ("probes", probes(check)),
    ]);
    format!("{status}\n{}", table.text())
}

fn probes(check: &Connectivity) -> String {
    let (Some(sent), Some(failed)) = (check.probes_sent, check.probes_failed) else {
        return "none: the resources say it".to_owned();
    };
    let mut text = format!("{sent} sent, {failed} failed");
    if let (Some(least), Some(average), Some(most)) = (
        check.min_latency_in_ms,
        check.avg_latency_in_ms,
        check.max_latency_in_ms,
    ) {
        text.push_str(&format!(
            "; {least} ms at least, {average} ms on average, {most} ms at most"
        ));
    }
    text
}

pub(super) fn show(cli: &Cli, args: &TopologyArgs) -> Result<Verdict> {
    let reply = source::answer(
        cli,
        &args.source,
        |snapshot| topology(snapshot, &args.of),
        Request::Topology {
            of: args.of.clone(),
        },
        |answer| match answer {
            Response::Topology(reply) => Some(reply),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&reply)?,
        OutputFormat::Table => output::print(&resources(&reply))?,
    }
    Ok(Verdict::Good)
}

fn resources(reply: &TopologyReply) -> String {
    let mut table = Table::new(&[("RESOURCE", Left), ("TYPE", Left), ("ASSOCIATIONS", Left)]);
    for one in &reply.resources {
        let kind = one.id.rsplit('/').nth(1).unwrap_or_default();
        let all = one.associations.iter().map(|other| {
            let verb = format!("{:?}", other.association_type).to_lowercase();
            format!("{verb} {}", other.name)
        });
        table.row([
            short(&one.id).to_owned(),
            kind.to_owned(),
            all.collect::<Vec<_>>().join(", "),
        ]);
    }
    table.text()
}
