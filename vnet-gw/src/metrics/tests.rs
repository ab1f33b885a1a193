//! What the writing does with what resources and devices may be called.

use std::time::Duration;

use prometheus_client::{
    encoding::{DescriptorEncoder, text::encode},
    registry::Registry,
};
use vnet_gw_core::{
    model::{Access, Direction, ResourceId},
    security::RuleSetId,
};

use super::*;
use crate::{
    datapath::{FlowRoom, NetdevStats, PortState, PortStatus, RuleHits, Stats},
    flow_log::FlowCounts,
};

fn nic(subscription: &str, name: &str) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/{subscription}/resourceGroups/G/providers/Microsoft.Network/networkInterfaces/{name}"
    ))
}

fn port(nic: ResourceId, device: &str) -> PortStatus {
    PortStatus {
        nic,
        device: device.to_owned(),
        gateway: false,
        internet: false,
        port_id: 1,
        ifindex: Some(1),
        hook: None,
        state: PortState::Up,
        warnings: Vec::new(),
        mac: [0; 6],
        addresses: Vec::new(),
        mtu: None,
        ip_forwarding: false,
        trace_every: None,
    }
}

fn written(collector: impl Collector) -> String {
    let mut registry = Registry::with_prefix("vnet_gw");
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

fn ports(ports: Vec<PortStatus>) -> String {
    written(DatapathMetrics {
        image: Default::default(),
        ports,
        device_stats: || {
            let stats = NetdevStats {
                rx_bytes: 7,
                ..NetdevStats::default()
            };
            Ok([(1, stats)].into())
        },
        counters: None,
        stats: Stats::default(),
        generation: 1,
        behind: false,
        applied_seconds: 0.0,
        read_in: Duration::ZERO,
    })
}

#[test]
fn labels_are_escaped() {
    // A device may be called so: all but slashes and white space.
    let text = ports(vec![port(nic("s", "web"), r#"a"b\c"#)]);
    let sample =
        r#"vnet_gw_port_receive_bytes_total{network_interface="G/web",device="a\"b\\c"} 7"#;
    assert!(text.lines().any(|line| line == sample), "{text}");
}

#[test]
fn two_resources_never_make_one_series() {
    let all = [nic("s", "web"), nic("t", "web"), nic("t", "app")];
    let text = ports(all.iter().map(|id| port(id.clone(), "d")).collect());
    let up: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("vnet_gw_port_up{"))
        .collect();
    assert_eq!(up.len(), 3, "{text}");
    assert!(up.iter().any(|line| line.contains("\"G/app\"")), "{up:?}");
    for id in &all[..2] {
        assert!(up.iter().any(|line| line.contains(id.as_str())), "{up:?}");
    }
}

#[test]
fn ten_thousand_ports_are_written_in_no_time() {
    let all = (0..10_000).map(|n| port(nic("s", &format!("nic-{n}")), &format!("veth{n}")));
    let all: Vec<PortStatus> = all.collect();
    let begun = std::time::Instant::now();
    let text = ports(all);
    let took = begun.elapsed();
    assert_eq!(text.matches("\nvnet_gw_port_up{").count(), 10_000);
    // Some 30 ms of an optimised build; what is excluded is work that grows with the square.
    assert!(took.as_secs() < 3, "{took:?}");
}

#[test]
fn help_and_type_stand_before_samples() {
    #[derive(Debug)]
    struct One;
    impl Collector for One {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
            let encoder = &mut encoder;
            counter(encoder, Family::bytes("one", "One."), Some(1u64))?;
            counter::<u64>(encoder, Family::new("none", "Not known."), None)?;
            gauge(encoder, Family::seconds("two", "Two."), Some(1.5))
        }
    }
    assert_eq!(
        written(One),
        "# HELP vnet_gw_one_bytes One.\n# TYPE vnet_gw_one_bytes counter\n\
         # UNIT vnet_gw_one_bytes bytes\nvnet_gw_one_bytes_total 1\n\
         # HELP vnet_gw_two_seconds Two.\n# TYPE vnet_gw_two_seconds gauge\n\
         # UNIT vnet_gw_two_seconds seconds\nvnet_gw_two_seconds 1.5\n# EOF\n"
    );
}

#[test]
fn a_rule_is_one_series_wherever_its_group_is() {
    let group = ResourceId::new(
        "/subscriptions/s/resourceGroups/G/providers/Microsoft.Network/networkSecurityGroups/web",
    );
    let rule = |name: &str, access, hits| RuleHits {
        name: name.into(),
        priority: 100,
        access,
        hits,
        last: None,
    };
    let set = |context, direction, rules| {
        let id = RuleSetId {
            group: group.clone(),
            direction,
            context,
        };
        (id, rules)
    };
    let (allow, deny) = (
        rule("https", Access::Allow, 3),
        rule("DenyAllInBound", Access::Deny, 5),
    );
    let hits = [
        set(1, Direction::Inbound, vec![allow.clone(), deny.clone()]),
        set(2, Direction::Inbound, vec![allow, deny]),
        set(
            1,
            Direction::Outbound,
            vec![rule("https", Access::Allow, 7)],
        ),
    ];
    let text = written(SecurityMetrics {
        hits: hits.into_iter().collect(),
        flows: [
            FlowCounts {
                established: 4,
                half_open: 1,
                expired: 9,
            },
            FlowCounts {
                established: 6,
                ..FlowCounts::default()
            },
        ],
        room: FlowRoom {
            established: 64,
            half_open: 32,
        },
    });
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        samples,
        [
            r#"vnet_gw_security_rule_hits_total{network_security_group="G/web",direction="Inbound",rule="DenyAllInBound",access="Deny"} 10"#,
            r#"vnet_gw_security_rule_hits_total{network_security_group="G/web",direction="Inbound",rule="https",access="Allow"} 6"#,
            r#"vnet_gw_security_rule_hits_total{network_security_group="G/web",direction="Outbound",rule="https",access="Allow"} 7"#,
            r#"vnet_gw_flows{family="ipv4",state="established"} 4"#,
            r#"vnet_gw_flows{family="ipv4",state="half_open"} 1"#,
            r#"vnet_gw_flows{family="ipv6",state="established"} 6"#,
            r#"vnet_gw_flows{family="ipv6",state="half_open"} 0"#,
            r#"vnet_gw_flows_limit{family="ipv4",state="established"} 64"#,
            r#"vnet_gw_flows_limit{family="ipv4",state="half_open"} 32"#,
            r#"vnet_gw_flows_limit{family="ipv6",state="established"} 64"#,
            r#"vnet_gw_flows_limit{family="ipv6",state="half_open"} 32"#,
            r#"vnet_gw_flows_expired_total{family="ipv4"} 9"#,
            r#"vnet_gw_flows_expired_total{family="ipv6"} 0"#,
        ]
    );
}
