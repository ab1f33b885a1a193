//! Reading the programs' trace records: `trace port=3 cpu=1 step=route table=1 route=7 …`.

use std::net::IpAddr;

use vnet_gw_common::{table::ActionKind, verdict::Reason};
use vnet_gw_core::{compile::ActionImage, effective::NextHopType};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) port: u32,
    /// 0 where the record does not say.
    pub(super) cpu: u32,
    pub(super) step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Ethernet,
    Parse {
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        ttl: u8,
        length: u32,
    },
    Route {
        route: u32,
        kind: u32,
    },
    Endpoint {
        port: u32,
        mac: Mac,
    },
    /// 0 for forwarded, else the reason's number plus one.
    Verdict {
        refused: u32,
    },
}

/// As the program printed it; told as Azure writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mac(String);

impl Mac {
    pub(super) fn text(&self) -> String {
        self.0.to_ascii_uppercase().replace(':', "-")
    }
}

/// `None` for what is no record of tracing.
pub(super) fn parse(text: &str) -> Option<Line> {
    let (head, rest) = text.strip_prefix("trace ")?.split_once("step=")?;
    let (step, fields) = rest.split_once(' ').unwrap_or((rest, ""));
    let step = match step {
        "ethernet" => Step::Ethernet,
        "parse" => Step::Parse {
            source: field(fields, "source")?,
            destination: field(fields, "destination")?,
            protocol: field(fields, "protocol")?,
            ttl: field(fields, "ttl")?,
            length: field(fields, "length")?,
        },
        "route" => Step::Route {
            route: field(fields, "route")?,
            kind: field(fields, "kind")?,
        },
        "endpoint" => Step::Endpoint {
            port: field(fields, "port")?,
            mac: Mac(field(fields, "mac")?),
        },
        "verdict" => Step::Verdict {
            refused: field(fields, "refused")?,
        },
        _ => return None,
    };
    Some(Line {
        port: field(head, "port")?,
        cpu: field(head, "cpu").unwrap_or(0),
        step,
    })
}

fn field<T: std::str::FromStr>(fields: &str, name: &str) -> Option<T> {
    let fields = fields.split_ascii_whitespace();
    let mut values = fields.filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    values.next()?.parse().ok()
}

/// The reason behind the number in a verdict.
pub(super) fn reason(refused: u32) -> Option<Reason> {
    Reason::ALL.get(refused.checked_sub(1)? as usize).copied()
}

/// How the data path numbers an action.
pub(super) fn kind_of(action: &ActionImage) -> u32 {
    (match action {
        ActionImage::Local { .. } => ActionKind::Local,
        ActionImage::Peering { .. } => ActionKind::Peering,
        ActionImage::Appliance { .. } => ActionKind::Appliance,
        ActionImage::Internet => ActionKind::Internet,
        ActionImage::Gateway { .. } => ActionKind::Gateway,
        ActionImage::None => ActionKind::None,
    }) as u32
}

/// What can be said of a number alone. Whether a peering is global cannot.
pub(super) fn next_hop_type(kind: u32) -> Option<NextHopType> {
    [
        (ActionKind::Local, NextHopType::VnetLocal),
        (ActionKind::Peering, NextHopType::VNetPeering),
        (ActionKind::Appliance, NextHopType::VirtualAppliance),
        (ActionKind::Internet, NextHopType::Internet),
        (ActionKind::Gateway, NextHopType::VirtualNetworkGateway),
        (ActionKind::None, NextHopType::None),
    ]
    .into_iter()
    .find_map(|(known, hop)| (known as u32 == kind).then_some(hop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_read() {
        for (text, line) in [
            (
                "trace port=3 step=ethernet",
                Line {
                    port: 3,
                    cpu: 0,
                    step: Step::Ethernet,
                },
            ),
            (
                "trace port=3 cpu=1 step=parse source=fd00::1 destination=fd00::2 protocol=58 ttl=255 length=64",
                Line {
                    port: 3,
                    cpu: 1,
                    step: Step::Parse {
                        source: "fd00::1".parse().unwrap(),
                        destination: "fd00::2".parse().unwrap(),
                        protocol: 58,
                        ttl: 255,
                        length: 64,
                    },
                },
            ),
            (
                "trace port=9 step=route table=2 route=7 action=1 kind=2 scope=4",
                Line {
                    port: 9,
                    cpu: 0,
                    step: Step::Route { route: 7, kind: 2 },
                },
            ),
            (
                "trace port=9 step=endpoint port=12 mac=00:0D:3A:01:02:03",
                Line {
                    port: 9,
                    cpu: 0,
                    step: Step::Endpoint {
                        port: 12,
                        mac: Mac("00:0D:3A:01:02:03".into()),
                    },
                },
            ),
            (
                "trace port=9 step=verdict refused=0",
                Line {
                    port: 9,
                    cpu: 0,
                    step: Step::Verdict { refused: 0 },
                },
            ),
        ] {
            assert_eq!(parse(text), Some(line), "{text}");
        }
        for text in [
            "",
            "other",
            "trace port=1 step=dance",
            "trace step=ethernet",
            "trace port=1 step=parse source=x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn verdicts_name_their_reason() {
        assert_eq!(reason(0), None);
        assert_eq!(reason(1), Some(Reason::UnknownPort));
        assert_eq!(
            reason(Reason::TtlExpired as u32 + 1),
            Some(Reason::TtlExpired)
        );
        assert_eq!(reason(10_000), None);
    }
}
