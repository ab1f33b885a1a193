use super::*;
use crate::{
    compile::ActionImage,
    model::{DeployOptions, ResourceId, Topology, parse_template},
};

fn vnet(name: &str) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/vnet-gw/providers/Microsoft.Network/virtualNetworks/{name}"
    ))
}

fn subnet(of: &str, name: &str) -> ResourceId {
    ResourceId::new(&format!("{}/subnets/{name}", vnet(of)))
}

fn crossing(subnet: &ResourceId, action: &ActionImage) -> Option<(Crossing, String)> {
    let key = MeterKey::of(subnet, &vnet("VA"), action)?;
    assert_eq!(key.from, vnet("VA"));
    Some((key.crossing, key.to.name().to_owned()))
}

#[test]
fn an_action_is_metered_by_what_it_crosses() {
    let (front, gateway) = (subnet("VA", "FrontEnd"), subnet("VA", "gatewaysubnet"));
    let peering = ActionImage::Peering {
        vnet: vnet("VB"),
        accepts_forwarded: false,
    };
    let appliance = |peered| ActionImage::Appliance {
        vnet: Some(vnet("VB")),
        address: "10.0.0.4".parse().unwrap(),
        peered,
        accepts_forwarded: true,
    };
    let to = |name: &str| ActionImage::gateway(Some(vnet(name)));
    use Crossing::*;
    let b = |crossing| Some((crossing, "VB".to_owned()));
    assert_eq!(crossing(&front, &peering), b(Peering));
    assert_eq!(crossing(&front, &appliance(true)), b(Peering));
    assert_eq!(crossing(&front, &appliance(false)), None);
    assert_eq!(crossing(&front, &to("VB")), b(TransitOut));
    // A VNet's own gateway: the tunnel counts.
    assert_eq!(crossing(&front, &to("VA")), None);
    assert_eq!(crossing(&front, &to("va")), None);
    assert_eq!(crossing(&gateway, &peering), b(TransitIn));
    let own = ActionImage::Local { vnet: vnet("VA") };
    for none in [own, ActionImage::None, ActionImage::gateway(None)] {
        assert_eq!(crossing(&front, &none), None);
    }
    let internet = crossing(&front, &ActionImage::Internet);
    assert_eq!(internet, Some((Internet, "VA".to_owned())));
}

#[test]
fn a_meter_is_known_again_and_each_has_its_own() {
    let key = |crossing, from: &str, to: &str| MeterKey {
        crossing,
        from: vnet(from),
        to: vnet(to),
    };
    let ab = key(Crossing::Peering, "VA", "VB").stable_hash();
    assert_eq!(ab, key(Crossing::Peering, "va", "vb").stable_hash());
    // In the kernel and in stores: it must not change.
    assert_eq!(ab, 0xb340_5de0_9312_a1ba);
    for other in [
        key(Crossing::Peering, "VB", "VA"),
        key(Crossing::TransitOut, "VA", "VB"),
        key(Crossing::TransitIn, "VA", "VB"),
    ] {
        assert_ne!(ab, other.stable_hash());
    }
}

fn topology() -> Topology {
    let vnet = |name: &str, location: &str, prefix: &str| {
        serde_json::json!({
            "type": "Microsoft.Network/virtualNetworks", "name": name, "location": location,
            "properties": {"addressSpace": {"addressPrefixes": [prefix]}},
        })
    };
    let template = serde_json::json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [vnet("VA", "eastus", "10.1.0.0/16"), vnet("VB", "East US", "10.2.0.0/16"),
            vnet("VC", "westus", "10.3.0.0/16")],
    });
    parse_template(&template.to_string(), &DeployOptions::default()).unwrap()
}

fn lines(crossing: Crossing, from: &str, to: &str) -> Vec<String> {
    let key = MeterKey {
        crossing,
        from: vnet(from),
        to: vnet(to),
    };
    let metered = Metered::crossing(&key, &topology()).unwrap();
    let name = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
    let rows = metered.rows();
    let line = |row: &Row<'_>| {
        format!(
            "{} {} {} {} {}→{} {}",
            row.class.name(),
            row.direction.name(),
            name(row.virtual_network),
            name(row.peer),
            row.source_region,
            row.destination_region,
            if row.billed { "billed" } else { "free" }
        )
    };
    rows.iter().map(line).collect()
}

#[test]
fn a_peering_is_billed_to_both_and_transit_to_the_spoke() {
    assert_eq!(
        lines(Crossing::Peering, "VA", "VB"),
        [
            "peering egress VA VB eastus→eastus billed",
            "peering ingress VB VA eastus→eastus billed"
        ]
    );
    assert_eq!(
        lines(Crossing::Peering, "VC", "VA"),
        [
            "globalPeering egress VC VA westus→eastus billed",
            "globalPeering ingress VA VC westus→eastus billed"
        ]
    );
    let spoke = "gatewayTransit egress VA VC eastus→westus billed";
    assert_eq!(lines(Crossing::TransitOut, "VA", "VC"), [spoke]);
    let back = "gatewayTransit ingress VA VC westus→eastus free";
    assert_eq!(lines(Crossing::TransitIn, "VC", "VA"), [back]);
    assert_eq!(
        lines(Crossing::Internet, "VA", "VA"),
        ["internet egress VA  eastus→ billed"]
    );
    let gone = MeterKey {
        crossing: Crossing::Peering,
        from: vnet("VA"),
        to: vnet("VD"),
    };
    assert_eq!(Metered::crossing(&gone, &topology()), None);
}

#[test]
fn a_connection_is_billed_by_the_regions_of_its_ends() {
    let text = include_str!("../../tests/fixtures/gateways.json");
    let topology = parse_template(text, &DeployOptions::default()).unwrap();
    let mut seen = Vec::new();
    for connection in topology.connections.values() {
        let [out, back] = Metered::connection(connection, &topology).unwrap();
        assert_eq!((&out.from, &out.to), (&back.to, &back.from));
        assert_ne!(out.stable_hash(), back.stable_hash());
        let (out, back) = (out.rows(), back.rows());
        assert_eq!((out.len(), back.len()), (1, 1));
        assert_eq!(out[0].direction, Direction::Egress);
        assert_eq!(back[0].direction, Direction::Ingress);
        assert_eq!(out[0].virtual_network, back[0].virtual_network);
        assert!(out[0].billed && !back[0].billed);
        assert_eq!(out[0].connection, Some(connection.id.as_str()));
        seen.push(out[0].class);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [Class::VnetToVnetInterRegion, Class::SiteToSite]);

    // The same two VNets in one region: counted, and free.
    let text = text.replace("westeurope", "eastus");
    let topology = parse_template(&text, &DeployOptions::default()).unwrap();
    let connections = topology.connections.values();
    let free = connections
        .flat_map(|connection| Metered::connection(connection, &topology).unwrap())
        .filter(|one| one.class == Class::VnetToVnet);
    let billed: Vec<bool> = free.map(|one| one.rows()[0].billed).collect();
    assert_eq!(billed, [false; 4]);
}

#[test]
fn time_is_answered_in_the_finest_buckets_that_reach_back() {
    const DAY: u64 = 86_400;
    let now = 1_000 * DAY + 1_234;
    let of = |from, to| {
        let Period { tier, from, to } = Period::of(from, to, now);
        (tier.name, from, to)
    };
    // Moved outwards, to whole buckets.
    assert_eq!(
        of(now - 1_000, now - 600),
        ("5m", 1_000 * DAY, 1_000 * DAY + 900)
    );
    let (from, to) = (1_000 * DAY - 7_200, 1_000 * DAY - 3_600);
    assert_eq!(of(from, to), ("5m", from, to));
    assert_eq!(of(now - 3 * DAY, now).0, "1h");
    assert_eq!(of(now - 3 * DAY, now).1 % 3_600, 0);
    assert_eq!(of(now - 100 * DAY, now).0, "1d");
    // Before everything, and after: what there is.
    assert_eq!(of(0, u64::MAX).0, "1d");
    assert_eq!(of(0, now).1, 269 * DAY);
    let empty = of(now, now - 10_000);
    assert!(empty.1 <= empty.2);
    for tier in TIERS {
        assert!(tier.oldest(now) <= now - tier.kept && tier.oldest(now) % tier.width == 0);
    }
}
