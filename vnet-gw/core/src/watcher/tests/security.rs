//! Security groups on the way.

use super::paths::short;
use crate::{
    compile::CompileOptions,
    effective::tests::build::{
        Build, appliance, hub_and_spokes, ip, nic_id, route, subnet_id, vnet_id,
    },
    model::{
        Access, Direction, NetworkSecurityGroup, PortRange, ResourceId, SecurityRule,
        SecurityRuleAddresses, SecurityRuleEnd, SecurityRuleProtocol, Topology,
    },
    watcher::{Packet, Predictor, RoundTrip, Source},
};

fn group_id(name: &str) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/{name}"
    ))
}

/// TCP to that port, from anywhere to anywhere.
pub(super) fn rule(
    name: &str,
    priority: u16,
    direction: Direction,
    access: Access,
    port: u16,
) -> SecurityRule {
    let end = |ports| SecurityRuleEnd {
        addresses: SecurityRuleAddresses::Any,
        ports: vec![ports],
    };
    let port = PortRange {
        first: port,
        last: port,
    };
    SecurityRule {
        name: name.into(),
        direction,
        priority,
        access,
        protocol: SecurityRuleProtocol::Tcp,
        source: end(PortRange::ANY),
        destination: end(port),
    }
}

pub(super) fn group(t: &mut Topology, name: &str, rules: Vec<SecurityRule>) -> Option<ResourceId> {
    let id = group_id(name);
    let group = NetworkSecurityGroup {
        id: id.clone(),
        rules,
        flush_connection: false,
        tags: Default::default(),
    };
    t.network_security_groups.insert(id.clone(), group.into());
    Some(id)
}

pub(super) fn on_nic(t: &mut Topology, nic: &str, group: Option<ResourceId>) {
    let nic = t.network_interfaces.get_mut(&nic_id(nic)).unwrap();
    nic.network_security_group = group;
}

fn on_subnet(t: &mut Topology, vnet: &str, group: Option<ResourceId>) {
    let network = t.virtual_networks.get_mut(&vnet_id(vnet)).unwrap();
    let subnet = network
        .subnets
        .get_mut(&subnet_id(vnet, "FrontEnd"))
        .unwrap();
    subnet.network_security_group = group;
}

fn trip<R>(
    t: &Topology,
    nic: &str,
    source: &str,
    destination: &str,
    port: u16,
    look: impl FnOnce(&RoundTrip<'_>) -> R,
) -> R {
    let packet = Packet::new(Packet::TCP, ip(source), ip(destination)).with_ports(50_000, port);
    let nic = nic_id(nic);
    let predictor = Predictor::new(t, CompileOptions::default());
    let trip = predictor.round_trip(Source::NetworkInterface(&nic), &packet);
    look(&trip.unwrap())
}

fn sent(t: &Topology, nic: &str, source: &str, destination: &str, port: u16) -> String {
    trip(t, nic, source, destination, port, |trip| short(&trip.there))
}

#[test]
fn each_group_has_to_allow() {
    let mut t = hub_and_spokes();
    let inbound = |name, access, port| rule(name, 100, Direction::Inbound, access, port);
    let outer = group(&mut t, "outer", vec![inbound("no-25", Access::Deny, 25)]);
    let inner = group(&mut t, "inner", vec![inbound("no-80", Access::Deny, 80)]);
    on_subnet(&mut t, "Near", outer);
    on_nic(&mut t, "near", inner);
    assert_eq!(sent(&t, "hub", "10.1.0.4", "10.2.0.4", 443), "hub -> near");
    for port in [25, 80] {
        assert_eq!(
            sent(&t, "hub", "10.1.0.4", "10.2.0.4", port),
            "hub -> nsg_inbound"
        );
    }
    // Which groups were asked, and what each said.
    let asked = |port| {
        trip(&t, "hub", "10.1.0.4", "10.2.0.4", port, |trip| {
            let step = &trip.there.steps[0];
            let decisions = step.checkpoints.iter().flat_map(|point| &point.decisions);
            let named =
                decisions.map(|one| format!("{} {}", one.group.name(), one.rule_name().unwrap()));
            named.collect::<Vec<_>>()
        })
    };
    assert_eq!(asked(25), ["outer securityRules/no-25"]);
    let vnet = "defaultSecurityRules/AllowVnetInBound";
    assert_eq!(
        asked(80),
        [
            format!("outer {vnet}"),
            "inner securityRules/no-80".to_owned()
        ]
    );
    assert_eq!(
        asked(443),
        [format!("outer {vnet}"), format!("inner {vnet}")]
    );
}

#[test]
fn outbound_comes_first_and_what_a_route_refuses_asks_nobody() {
    let mut t = hub_and_spokes();
    let closed = |direction| vec![rule("no", 100, direction, Access::Deny, 80)];
    let out = group(&mut t, "out", closed(Direction::Outbound));
    let into = group(&mut t, "in", closed(Direction::Inbound));
    on_nic(&mut t, "hub", out);
    on_nic(&mut t, "near", into);
    assert_eq!(
        sent(&t, "hub", "10.1.0.4", "10.2.0.4", 80),
        "hub -> nsg_outbound"
    );
    assert_eq!(
        sent(&t, "hub", "10.1.0.4", "10.2.0.5", 80),
        "hub -> endpoint_unreachable"
    );
    assert_eq!(sent(&t, "far", "10.3.0.4", "10.1.0.4", 80), "far -> hub");
    t.network_interfaces
        .get_mut(&nic_id("near"))
        .unwrap()
        .device = None;
    assert_eq!(
        sent(&t, "hub", "10.1.0.4", "10.2.0.4", 80),
        "hub -> port_down"
    );
}

#[test]
fn replies_pass_where_the_flow_is_known() {
    let mut t = hub_and_spokes();
    // Nobody may open a flow to hub, nor near one out.
    let everything = |direction| {
        let mut closed = rule("none", 100, direction, Access::Deny, 0);
        closed.protocol = SecurityRuleProtocol::Any;
        closed.destination.ports = vec![PortRange::ANY];
        vec![closed]
    };
    let shut = group(&mut t, "shut", everything(Direction::Inbound));
    let silent = group(&mut t, "silent", everything(Direction::Outbound));
    on_nic(&mut t, "hub", shut);
    on_nic(&mut t, "near", silent);
    trip(&t, "hub", "10.1.0.4", "10.2.0.4", 80, |trip| {
        assert!(trip.answered());
        let points = &trip.back.as_ref().unwrap().steps[0].checkpoints;
        assert!(points.iter().all(|point| point.established));
    });
    assert_eq!(
        sent(&t, "near", "10.2.0.4", "10.1.0.4", 80),
        "near -> nsg_outbound"
    );
    assert_eq!(
        sent(&t, "far", "10.3.0.4", "10.1.0.4", 80),
        "far -> nsg_inbound"
    );

    // By way of an appliance there, and straight back: a flow that nobody has seen.
    t.table("rt", vec![route("r", "10.2.0.0/16", appliance("10.1.9.4"))]);
    t.attach("Hub", "FrontEnd", "rt");
    trip(&t, "hub", "10.1.0.4", "10.2.0.4", 80, |trip| {
        assert_eq!(short(&trip.there), "hub -> nva -> near");
        assert_eq!(short(trip.back.as_ref().unwrap()), "near -> nsg_outbound");
        assert!(!trip.answered());
    });
}

#[test]
fn an_appliance_is_a_checkpoint_with_the_packets_own_addresses() {
    let mut t = hub_and_spokes();
    t.table("rt", vec![route("r", "10.3.0.0/16", appliance("10.1.9.4"))]);
    t.attach("Near", "FrontEnd", "rt");
    t.side("Far", "Hub").allow_forwarded_traffic = true;
    assert_eq!(
        sent(&t, "near", "10.2.0.4", "10.3.0.4", 80),
        "near -> nva -> far"
    );
    let closed = vec![rule("no", 100, Direction::Outbound, Access::Deny, 80)];
    let nva = group(&mut t, "nva", closed);
    on_nic(&mut t, "nva", nva);
    assert_eq!(
        sent(&t, "near", "10.2.0.4", "10.3.0.4", 80),
        "near -> nva -> nsg_outbound"
    );
    // Near is none of Far's peers: to Far's groups it is no VirtualNetwork.
    assert_eq!(
        sent(&t, "near", "10.2.0.4", "10.3.0.4", 443),
        "near -> nva -> far"
    );
    let far = group(&mut t, "far", Vec::new());
    on_nic(&mut t, "far", far);
    assert_eq!(
        sent(&t, "near", "10.2.0.4", "10.3.0.4", 443),
        "near -> nva -> nsg_inbound"
    );
    assert_eq!(sent(&t, "hub", "10.1.0.4", "10.3.0.4", 443), "hub -> far");
}
