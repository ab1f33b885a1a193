//! `vnet-gw ike-sas`

use std::time::Duration;

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, ConnectionName, OutputFormat},
    output, source,
    table::pairs,
};
use crate::control::{ChildSaRow, IkeSaRow, Request, Response};

pub(super) fn run(cli: &Cli, args: &ConnectionName) -> Result<Verdict> {
    let request = Request::IkeSas {
        connection: args.name.clone(),
    };
    let list = source::ask(cli, request, |answer| match answer {
        Response::IkeSas(list) => Some(list),
        _ => None,
    })?;
    match cli.output {
        OutputFormat::Json => output::json(&list)?,
        OutputFormat::Table if list.value.is_empty() => output::print("no IKE SAs\n")?,
        OutputFormat::Table => {
            let blocks: Vec<String> = list.value.iter().map(text).collect();
            output::print(&blocks.join("\n"))?;
        }
    }
    Ok(Verdict::Good)
}

fn time(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn text(sa: &IkeSaRow) -> String {
    let mut status = sa.connection_status.clone();
    if !sa.reason.is_empty() {
        status.push_str(&format!(": {}", sa.reason));
    }
    let mut lines = vec![("tunnel", sa.tunnel.clone()), ("status", status)];
    if let Some(proposal) = &sa.proposal {
        // A peer that wants ESP in UDP, as our own `gso` engine does, shows a NAT that need not be
        // there; what is behind one for sure has another port.
        let shown = sa.remote.port() == 4500;
        let nat = match (sa.nat_local, sa.nat_remote) {
            (false, false) => "none",
            (true, false) => "here",
            (false, true) if shown => "shown by the peer, so that ESP goes in UDP",
            (true, true) if shown => "here, and shown by the peer, so that ESP goes in UDP",
            (false, true) => "at the peer",
            (true, true) => "at both ends",
        };
        let role = if sa.initiator {
            "initiator"
        } else {
            "responder"
        };
        let quantum = if sa.post_quantum {
            " with ML-KEM-768"
        } else {
            ", no post-quantum exchange"
        };
        let known = |time_of: Option<u64>| time_of.map_or_else(|| "-".to_owned(), time);
        lines.extend([
            (
                "SPIs",
                format!("{} (initiator), {}", sa.initiator_spi, sa.responder_spi),
            ),
            ("role", role.to_owned()),
            ("algorithms", format!("{proposal}{quantum}")),
            (
                "peer",
                sa.peer_identity.clone().unwrap_or_else(|| "-".to_owned()),
            ),
            ("NAT", nat.to_owned()),
            (
                "established",
                format!("{} ago", known(sa.established_seconds)),
            ),
            ("rekey in", known(sa.rekey_seconds)),
        ]);
    }
    let mut text = pairs(&lines);
    for child in &sa.children {
        text.push_str("  CHILD SA\n");
        for line in child_text(child).lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

fn child_text(child: &ChildSaRow) -> String {
    let esn = if child.extended_sequence_numbers {
        "ESN"
    } else {
        "32-bit sequence numbers"
    };
    pairs(&[
        (
            "SPIs",
            format!("{} in, {} out", child.inbound_spi, child.outbound_spi),
        ),
        ("algorithms", format!("{}, {esn}", child.proposal)),
        ("encapsulation", child.encapsulation.clone()),
        ("local", child.local_selectors.join(", ")),
        ("remote", child.remote_selectors.join(", ")),
        ("rekey in", time(child.rekey_seconds)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sa_is_told_with_its_children_and_one_that_is_not_up_without() {
        let mut sa = IkeSaRow {
            tunnel: "192.0.2.1:4500 → 192.0.2.9:4500".into(),
            connection_status: "Connected".into(),
            reason: String::new(),
            initiator: true,
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: "192.0.2.9:4500".parse().unwrap(),
            initiator_spi: "00000000000000aa".into(),
            responder_spi: "00000000000000bb".into(),
            proposal: Some("AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519".into()),
            post_quantum: true,
            peer_identity: Some("192.0.2.9".into()),
            nat_local: true,
            nat_remote: false,
            established_seconds: Some(61),
            rekey_seconds: Some(3600),
            children: vec![ChildSaRow {
                inbound_spi: "c0000001".into(),
                outbound_spi: "c0000002".into(),
                proposal: "AES_GCM_16_256".into(),
                extended_sequence_numbers: true,
                encapsulation: "ESP in UDP, 192.0.2.1:4500 → 192.0.2.9:4500".into(),
                local_selectors: vec!["0.0.0.0/0".into()],
                remote_selectors: vec!["0.0.0.0/0".into()],
                rekey_seconds: 27_000,
            }],
        };
        let shown = text(&sa);
        for part in [
            "role         initiator",
            "CURVE_25519 with ML-KEM-768",
            "1m 1s ago",
            "    SPIs           c0000001 in, c0000002 out",
            "AES_GCM_16_256, ESN",
            "7h 30m",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        for (port, nat) in [
            (4500, "NAT          shown by the peer"),
            (31_004, "NAT          at the peer"),
        ] {
            (sa.nat_local, sa.nat_remote) = (false, true);
            sa.remote.set_port(port);
            assert!(text(&sa).contains(nat), "{}", text(&sa));
        }
        sa.proposal = None;
        sa.children.clear();
        sa.connection_status = "NotConnected".into();
        sa.reason = "the shared key does not match".into();
        assert_eq!(
            text(&sa),
            "tunnel  192.0.2.1:4500 → 192.0.2.9:4500\n\
             status  NotConnected: the shared key does not match\n"
        );
    }
}
