//! `vnet-gw why`

use anyhow::Result;
use vnet_gw_core::watcher::{Arrives, Way, Why};

use super::{
    Verdict,
    args::{Cli, OutputFormat, WhyArgs},
    output, source,
    table::pairs,
};
use crate::control::{Request, Response, short, why_packet};

pub(super) fn run(cli: &Cli, args: &WhyArgs) -> Result<Verdict> {
    let question = args.question();
    let answer = source::answer(
        cli,
        &args.source,
        |snapshot| why_packet(snapshot, &question, None, None),
        Request::Why {
            packet: question.clone(),
        },
        |answer| match answer {
            Response::Why(why) => Some(*why),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&answer)?,
        OutputFormat::Table => output::print(&text(&answer))?,
    }
    Ok(match answer.arrives {
        Arrives::Yes | Arrives::Leaves => Verdict::Good,
        Arrives::No => Verdict::Bad,
    })
}

fn text(why: &Why) -> String {
    let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" port {port}"));
    let arrives = match why.arrives {
        Arrives::Yes => "yes, and so does the answer",
        Arrives::Leaves => "it leaves what is known here",
        Arrives::No => "no",
    };
    let mut text = pairs(&[
        ("from", format!("{} ({})", short(&why.from), why.source)),
        (
            "to",
            format!(
                "{} {}{}",
                why.destination,
                why.protocol,
                port(why.destination_port)
            ),
        ),
        ("arrives", arrives.to_owned()),
    ]);
    text.push_str("\nTHERE\n");
    text.push_str(&way(&why.there));
    if let Some(back) = &why.back {
        text.push_str("\nBACK\n");
        text.push_str(&way(back));
    }
    if !why.to_do.is_empty() {
        text.push_str("\nTO DO\n");
        for (at, advice) in why.to_do.iter().enumerate() {
            text.push_str(&format!("{:>3}. {advice}\n", at + 1));
        }
    }
    text
}

fn way(way: &Way) -> String {
    let steps = way.steps.iter().map(|step| step.text.as_str());
    let lines = steps.chain([way.text.as_str()]).enumerate();
    lines
        .map(|(at, line)| format!("{:>3}. {line}\n", at + 1))
        .collect()
}
