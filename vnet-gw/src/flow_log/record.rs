//! Lines in the shape of Azure's VNet flow logs, version 4: one record for each NIC.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use vnet_gw_common::flow::TICK_SHIFT;
use vnet_gw_core::{model::ResourceId, security::RuleSetId};

use super::book::Event;

/// From this priority on rules are default rules.
const DEFAULTS: u16 = 65_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    time: String,
    flow_log_version: u32,
    #[serde(rename = "flowLogGUID")]
    flow_log_guid: String,
    mac_address: String,
    category: &'static str,
    #[serde(rename = "flowLogResourceID")]
    flow_log_resource_id: String,
    #[serde(rename = "targetResourceID")]
    target_resource_id: &'a str,
    operation_name: &'static str,
    flow_records: FlowRecords,
}

#[derive(Serialize)]
struct FlowRecords {
    flows: Vec<Acl>,
}

/// What one security group said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Acl {
    #[serde(rename = "aclID")]
    acl_id: String,
    flow_groups: Vec<Group>,
}

/// What one rule said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    rule: String,
    flow_tuples: Vec<String>,
}

/// The moment, in both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time: SystemTime,
    /// In ticks of flows.
    pub(super) ticks: u32,
}

impl Moment {
    /// Milliseconds of Unix time at `ticks`.
    fn millis(self, ticks: u32) -> u128 {
        let before = self.ticks.wrapping_sub(ticks) as i32;
        let age = Duration::from_nanos(u64::from(before.max(0) as u32) << TICK_SHIFT);
        let at = self.time.checked_sub(age).unwrap_or(UNIX_EPOCH);
        at.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis()
    }
}

/// Events of one look, as lines.
pub(super) struct Lines<'a> {
    instance: &'a str,
    moment: Moment,
    /// By NIC, then security group (the name shows direction and place apart), then rule.
    nics: BTreeMap<&'a ResourceId, Nic<'a>>,
}

struct Nic<'a> {
    mac: [u8; 6],
    vnet: &'a ResourceId,
    groups: BTreeMap<&'a ResourceId, BTreeMap<String, Vec<String>>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(instance: &'a str, moment: Moment) -> Self {
        Self {
            instance,
            moment,
            nics: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, event: &Event<'a>) {
        let nic = self.nics.entry(&event.port.nic).or_insert_with(|| Nic {
            mac: event.port.mac,
            vnet: &event.port.vnet,
            groups: BTreeMap::new(),
        });
        let RuleSetId { group, .. } = event.set;
        let prefix = if event.rule.priority >= DEFAULTS {
            "DefaultRule_"
        } else {
            "UserRule_"
        };
        let rules = nic.groups.entry(group).or_default();
        let tuples = rules
            .entry(format!("{prefix}{}", event.rule.name))
            .or_default();
        tuples.push(tuple(event, self.moment));
    }

    pub(super) fn finish(self) -> Vec<String> {
        let time = humantime::format_rfc3339_millis(self.moment.time).to_string();
        let lines = self.nics.into_values().map(|nic| {
            let acl = |(group, rules): (&ResourceId, BTreeMap<String, Vec<String>>)| Acl {
                acl_id: guid(group.stable_hash()),
                flow_groups: rules
                    .into_iter()
                    .map(|(rule, flow_tuples)| Group { rule, flow_tuples })
                    .collect(),
            };
            let [a, b, c, d, e, f] = nic.mac;
            let subscription = nic.vnet.as_str().split('/').nth(2).unwrap_or_default();
            let flow_log_resource_id = format!(
                "/subscriptions/{subscription}/resourceGroups/NetworkWatcherRG/providers/\
                 Microsoft.Network/networkWatchers/vnet-gw/flowLogs/{}",
                self.instance
            );
            let record = Record {
                time: time.clone(),
                flow_log_version: 4,
                flow_log_guid: guid(ResourceId::new(&flow_log_resource_id).stable_hash()),
                mac_address: format!("{a:02X}{b:02X}{c:02X}{d:02X}{e:02X}{f:02X}"),
                category: "FlowLogFlowEvent",
                flow_log_resource_id,
                target_resource_id: nic.vnet.as_str(),
                operation_name: "FlowLogFlowEvent",
                flow_records: FlowRecords {
                    flows: nic.groups.into_iter().map(acl).collect(),
                },
            };
            serde_json::to_string(&record)
        });
        // Strings and numbers always have a form in JSON.
        lines.filter_map(Result::ok).collect()
    }
}

/// `time,source,destination,ports,protocol,direction,state,encryption,sent,received`: packets and
/// bytes of each way since the flow was told of last.
fn tuple(event: &Event<'_>, moment: Moment) -> String {
    let [(source, source_port), (destination, destination_port)] = event.ends;
    let direction = if event.inbound { 'I' } else { 'O' };
    format!(
        "{},{source},{destination},{source_port},{destination_port},{},{direction},{},NX,{},{},{},{}",
        moment.millis(event.at),
        event.protocol,
        event.state.letter(),
        event.packets[0],
        event.bytes[0],
        event.packets[1],
        event.bytes[1],
    )
}

/// An identifier made of a hash, the same for the same resource everywhere (RFC 9562, version 8).
fn guid(hash: u64) -> String {
    let other = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 31;
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        hash >> 32,
        hash >> 16 & 0xffff,
        hash & 0xfff,
        0x8000 | other >> 48 & 0x3fff,
        other & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vnet_gw_common::flow::{Denied, Flow, rule};
    use vnet_gw_core::{
        model::{Access, Direction, PortRange, SecurityRuleProtocol},
        security::{Rule, RuleAddresses},
    };

    use super::*;
    use crate::{
        datapath::{DeniedFlow, FlowId, FlowNames, FlowRow, PortName},
        flow_log::book::{self, Book},
    };

    fn names() -> FlowNames {
        let id = |path: &str| {
            ResourceId::new(&format!(
                "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Network/{path}"
            ))
        };
        let rule = |name: &str, priority| {
            Arc::new(Rule {
                name: name.into(),
                priority,
                access: Access::Allow,
                protocol: SecurityRuleProtocol::Any,
                source: RuleAddresses::Any,
                source_ports: vec![PortRange::ANY],
                destination: RuleAddresses::Any,
                destination_ports: vec![PortRange::ANY],
            })
        };
        let set = |name: &str, direction, rules: [Arc<Rule>; 2]| {
            let id = RuleSetId {
                group: id(&format!("networkSecurityGroups/{name}")),
                direction,
                context: 1,
            };
            (id, (0..).zip(rules).collect())
        };
        let port = |name: &str, last| PortName {
            nic: id(&format!("networkInterfaces/{name}")),
            vnet: id("virtualNetworks/VNet1"),
            mac: [0, 0x22, 0x48, 0x71, 0xc2, last],
        };
        FlowNames {
            ports: [(5, port("Web", 5)), (6, port("Db", 6))].into(),
            rules: [
                (
                    1,
                    set(
                        "Out",
                        Direction::Outbound,
                        [rule("Tls", 100), rule("AllowVnetOutBound", 65_000)],
                    ),
                ),
                (
                    2,
                    set(
                        "In",
                        Direction::Inbound,
                        [rule("Db", 100), rule("DenyAllInBound", 65_500)],
                    ),
                ),
            ]
            .into(),
        }
    }

    /// Begun by the high end, 10.0.0.9 behind port 5, to 10.0.0.4 behind port 6.
    fn row(packets: [u64; 2]) -> FlowRow {
        let key = FlowId::for_test(["10.0.0.4", "10.0.0.9"], 6, [1433, 50_000], [6, 5]);
        let flow = Flow {
            since: 1_000,
            last: 1_060,
            state: Flow::FROM_HIGH,
            admitted: [rule(1, 1), 0, rule(2, 0), 0],
            packets,
            bytes: packets.map(|packets| packets * 100),
            ..Flow::default()
        };
        FlowRow {
            key,
            flow,
            established: true,
        }
    }

    fn lines(
        names: &FlowNames,
        ticks: u32,
        fill: impl FnOnce(&mut dyn FnMut(Event<'_>)),
    ) -> Vec<serde_json::Value> {
        let _ = names;
        let time = UNIX_EPOCH + Duration::from_millis(1_663_146_003_599);
        let mut all = Vec::new();
        // Events live as long as the names.
        fill(&mut |event| {
            let mut lines = Lines::new("default", Moment { time, ticks });
            lines.add(&event);
            all.extend(lines.finish());
        });
        all.iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn tuples(records: &[serde_json::Value]) -> Vec<&str> {
        let of = |record: &'_ serde_json::Value| {
            record
                .pointer("/flowRecords/flows/0/flowGroups/0/flowTuples/0")
                .is_some()
        };
        assert!(records.iter().all(of), "{records:?}");
        (records.iter())
            .filter_map(|record| {
                record["flowRecords"]["flows"][0]["flowGroups"][0]["flowTuples"][0].as_str()
            })
            .collect()
    }

    #[test]
    fn a_flow_begins_goes_on_and_ends() {
        let names = names();
        let mut book = Book::default();
        book.begin();
        let begun = lines(&names, 1_000, |tell| {
            book.saw(&row([1, 2]), false, 1_000, &names, &mut |event| tell(event));
        });
        assert_eq!(
            tuples(&begun),
            [
                "1663146003599,10.0.0.9,10.0.0.4,50000,1433,6,O,B,NX,0,0,0,0",
                "1663146003599,10.0.0.9,10.0.0.4,50000,1433,6,I,B,NX,0,0,0,0",
            ]
        );
        let out = &begun[0];
        assert_eq!(out["flowLogVersion"], 4);
        assert_eq!(out["category"], "FlowLogFlowEvent");
        assert_eq!(out["operationName"], "FlowLogFlowEvent");
        assert_eq!(out["macAddress"], "00224871C205");
        assert_eq!(out["time"], "2022-09-14T09:00:03.599Z");
        assert!(
            out["targetResourceID"]
                .as_str()
                .unwrap()
                .ends_with("/VNet1")
        );
        assert!(
            out["flowLogResourceID"]
                .as_str()
                .unwrap()
                .ends_with("/flowLogs/default")
        );
        assert_eq!(out["flowLogGUID"].as_str().unwrap().len(), 36);
        let acl = &out["flowRecords"]["flows"][0];
        assert_eq!(acl["aclID"].as_str().unwrap().len(), 36);
        assert_eq!(
            acl["flowGroups"][0]["rule"],
            "DefaultRule_AllowVnetOutBound"
        );
        let acl = &begun[1]["flowRecords"]["flows"][0];
        assert_eq!(begun[1]["macAddress"], "00224871C206");
        assert_eq!(acl["flowGroups"][0]["rule"], "UserRule_Db");

        book.begin();
        let quiet = lines(&names, 1_060, |tell| {
            book.saw(&row([3, 4]), false, 1_060, &names, &mut |event| tell(event));
        });
        assert!(quiet.is_empty(), "nothing new within five minutes");
        book.begin();
        let later = 1_000 + 17_882;
        let going = lines(&names, later, |tell| {
            book.saw(&row([5, 7]), false, later, &names, &mut |event| tell(event));
        });
        assert!(
            tuples(&going)[0].ends_with(",50000,1433,6,O,C,NX,7,700,5,500"),
            "{going:?}"
        );
        book.begin();
        let over = lines(&names, later + 60, |tell| {
            book.saw(&row([6, 9]), true, later + 60, &names, &mut |event| {
                tell(event)
            });
        });
        assert!(
            tuples(&over)[1].ends_with(",I,E,NX,2,200,1,100"),
            "what was counted since: {over:?}"
        );
    }

    #[test]
    fn a_flow_that_went_unseen_ends_too() {
        let names = names();
        let mut book = Book::default();
        book.begin();
        book.saw(&row([1, 0]), false, 1_000, &names, &mut |_| {});
        book.begin();
        let gone = lines(&names, 1_060, |tell| {
            book.finish(&names, &mut |event| tell(event))
        });
        assert!(tuples(&gone)[0].ends_with(",O,E,NX,0,0,1,100"), "{gone:?}");
        book.begin();
        let mut again = 0;
        book.finish(&names, &mut |_| again += 1);
        assert_eq!(again, 0);
    }

    #[test]
    fn a_refused_flow_is_told_of_at_whom_refused_it() {
        let names = names();
        let row = DeniedFlow {
            key: row([0; 2]).key,
            denied: Denied {
                last: 1_000,
                rule: rule(2, 1),
                state: u32::from(Flow::FROM_HIGH) | Denied::INBOUND,
                packets: 3,
            },
        };
        let told = lines(&names, 1_000, |tell| {
            tell(book::denied(&row, &names).expect("names for it"));
        });
        assert_eq!(
            tuples(&told),
            ["1663146003599,10.0.0.9,10.0.0.4,50000,1433,6,I,D,NX,0,0,0,0"]
        );
        let group = &told[0]["flowRecords"]["flows"][0]["flowGroups"][0];
        assert_eq!(group["rule"], "DefaultRule_DenyAllInBound");
        assert_eq!(told[0]["macAddress"], "00224871C206");
    }
}
