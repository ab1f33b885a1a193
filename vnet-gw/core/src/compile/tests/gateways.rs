//! VPN gateways in an image.

mod placed;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    compile::{
        ActionImage, CompileOptions, ConnectionImage, GATEWAY_ENDPOINT4, GATEWAY_ENDPOINT6,
        GatewayImage, Image, SubnetImage, compile,
    },
    effective::tests::build::{ip, net},
    ike::{ConnectionMode, EncapsulationChoice, EspProposal, Group, Identity, IkeCipher, Prf},
    model::{
        DeployOptions, DhGroup, IkeEncryption, IkeIntegrity, IpsecEncryption, IpsecIntegrity,
        IpsecPolicy, PfsGroup, ResourceId, Route, RouteNextHop, RouteTable, Topology,
        TrafficSelectorPolicy, parse_template,
    },
    sa::{EspIntegrity, EspSuite, TrafficSelector},
    secret::Secret,
};

const TEMPLATE: &str = include_str!("../../../tests/fixtures/gateways.json");

/// VNet1 (host west) and VNet4 (host east), both active-active, and a site connected with VNet1.
fn topology() -> Topology {
    parse_template(TEMPLATE, &DeployOptions::default()).unwrap()
}

fn id(rest: &str) -> ResourceId {
    let group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/vnet-gw";
    ResourceId::new(&format!("{group}/providers/Microsoft.Network/{rest}"))
}

fn gateway(name: &str) -> ResourceId {
    id(&format!("virtualNetworkGateways/{name}"))
}

fn connection(name: &str) -> ResourceId {
    id(&format!("connections/{name}"))
}

fn vnet(name: &str) -> ResourceId {
    id(&format!("virtualNetworks/{name}"))
}

fn image_on(t: &Topology, host: &str) -> Image {
    let options = CompileOptions {
        host_name: Some(host),
        ..CompileOptions::default()
    };
    compile(t, &options, None).unwrap()
}

fn only_gateway(t: &Topology, host: &str) -> GatewayImage {
    let mut gateways = image_on(t, host).gateways;
    assert_eq!(gateways.len(), 1);
    gateways.remove(0)
}

fn find<'g>(gateway: &'g GatewayImage, name: &str) -> &'g ConnectionImage {
    let found = gateway.connections.iter().find(|c| c.id.name() == name);
    found.unwrap()
}

fn ends(connection: &ConnectionImage) -> Vec<(IpAddr, IpAddr)> {
    let tunnels = connection.tunnels.iter();
    tunnels
        .map(|tunnel| (tunnel.local, tunnel.remote))
        .collect()
}

#[test]
fn both_active_active_makes_four_tunnels() {
    let west = only_gateway(&topology(), "west");
    assert_eq!(west.id, gateway("VNet1GW"));
    assert_eq!(
        west.local_prefixes,
        [net("10.11.0.0/16"), net("fd00:11::/48")]
    );
    assert_eq!(west.bandwidth, None);
    let instances: Vec<_> = west
        .instances
        .iter()
        .map(|i| (i.name.as_str(), i.private_address, i.public_address))
        .collect();
    assert_eq!(
        instances,
        [
            ("gwipconfig1", ip("10.11.255.4"), ip("203.0.113.1")),
            ("gwipconfig2", ip("10.11.255.5"), ip("203.0.113.2")),
        ]
    );
    let to_vnet4 = find(&west, "VNet1-to-VNet4");
    assert!(to_vnet4.vnet_to_vnet);
    assert_eq!(
        to_vnet4.remote_prefixes,
        [net("10.41.0.0/16"), net("fd00:41::/48")]
    );
    assert_eq!(
        ends(to_vnet4),
        [
            (ip("203.0.113.1"), ip("203.0.113.9")),
            (ip("203.0.113.1"), ip("203.0.113.10")),
            (ip("203.0.113.2"), ip("203.0.113.9")),
            (ip("203.0.113.2"), ip("203.0.113.10")),
        ]
    );
    let site = find(&west, "VNet1-to-OnPremises");
    assert!(!site.vnet_to_vnet);
    assert_eq!(ends(site).len(), 2);
    let all: BTreeSet<_> = west
        .connections
        .iter()
        .flat_map(|connection| connection.tunnels.iter().map(|tunnel| tunnel.id))
        .collect();
    assert_eq!(all.len(), 6);
    // The other side sees the same four, from its end.
    let east = only_gateway(&topology(), "east");
    let mut back: Vec<_> = ends(find(&east, "VNet4-to-VNet1"))
        .into_iter()
        .map(|(local, remote)| (remote, local))
        .collect();
    back.sort();
    let mut there = ends(to_vnet4);
    there.sort();
    assert_eq!(back, there);
}

#[test]
fn a_tunnel_without_a_policy_has_the_defaults() {
    let west = only_gateway(&topology(), "west");
    let tunnel = &find(&west, "VNet1-to-VNet4").tunnels[1];
    assert_eq!(&*tunnel.name, "VNet1-to-VNet4 203.0.113.1 → 203.0.113.10");
    assert_eq!(tunnel.local_id, Identity::Ip(ip("203.0.113.1")));
    assert!(tunnel.remote_ids.is_empty());
    assert_eq!(tunnel.key, Secret::new(*b"MadeUpForTheExample1"));
    assert_eq!(tunnel.mode, ConnectionMode::Default);
    assert_eq!(tunnel.dpd, Duration::from_secs(45));
    assert_eq!(tunnel.encapsulation, EncapsulationChoice::Udp);
    assert!(tunnel.post_quantum);
    let times = tunnel.lifetimes;
    assert_eq!(
        (times.ike.as_secs(), times.child.as_secs()),
        (28_800, 27_000)
    );
    assert_eq!(times.child_bytes, Some(102_400_000 * 1_024));
    let any = ["0.0.0.0/0", "::/0"].map(|prefix| TrafficSelector::prefix(net(prefix)));
    assert_eq!(tunnel.local_selectors, any);
    assert_eq!(tunnel.remote_selectors, any);

    let first = tunnel.ike[0];
    assert_eq!(
        (first.cipher, first.group),
        (IkeCipher::Aes256Gcm, Group::Curve25519)
    );
    let groups: BTreeSet<_> = tunnel.ike.iter().map(|proposal| proposal.group).collect();
    assert!(
        !groups.contains(&Group::Modp1024) && groups.len() == 4,
        "{groups:?}"
    );
    let first = tunnel.esp[0];
    assert_eq!(
        (first.suite, first.pfs),
        (EspSuite::Aes256Gcm, Some(Group::Curve25519))
    );
    // Azure's own defaults have no forward secrecy (section C).
    let sha1 = |key_bits| EspSuite::AesCbc {
        key_bits,
        integrity: EspIntegrity::HmacSha1_96,
    };
    for suite in [EspSuite::Aes256Gcm, sha1(256), sha1(128)] {
        let azures = EspProposal { suite, pfs: None };
        assert!(tunnel.esp.contains(&azures), "{suite:?}");
    }
}

#[test]
fn a_policy_is_the_only_proposal() {
    let mut t = topology();
    let policy = IpsecPolicy {
        sa_life_time: Duration::from_secs(300),
        sa_data_size_kilobytes: 1_024,
        ipsec_encryption: IpsecEncryption::Aes192,
        ipsec_integrity: IpsecIntegrity::Sha256,
        ike_encryption: IkeEncryption::Aes256,
        ike_integrity: IkeIntegrity::Sha384,
        dh_group: DhGroup::DhGroup2,
        pfs_group: PfsGroup::Pfs2048,
    };
    let tunnel =
        |t: &Topology| find(&only_gateway(t, "west"), "VNet1-to-OnPremises").tunnels[0].clone();
    let set = |t: &mut Topology, policy| {
        let connection = t.connections.get_mut(&connection("VNet1-to-OnPremises"));
        connection.unwrap().ipsec_policy = Some(policy);
    };
    set(&mut t, policy);
    let made = tunnel(&t);
    assert_eq!(made.ike.len(), 1);
    let ike = made.ike[0];
    assert_eq!((ike.group, ike.prf), (Group::Modp1024, Prf::HmacSha2_384));
    assert_eq!(
        ike.cipher,
        IkeCipher::AesCbc {
            key_bits: 256,
            integrity: crate::ike::IkeIntegrity::HmacSha2_384_192
        }
    );
    let suite = EspSuite::AesCbc {
        key_bits: 192,
        integrity: EspIntegrity::HmacSha2_256_128,
    };
    let pfs = Some(Group::Modp2048);
    assert_eq!(made.esp, [EspProposal { suite, pfs }]);
    assert_eq!(made.lifetimes.child, Duration::from_secs(300));
    assert_eq!(made.lifetimes.child_bytes, Some(1_048_576));

    let gcm = IpsecPolicy {
        ipsec_encryption: IpsecEncryption::GcmAes192,
        ipsec_integrity: IpsecIntegrity::GcmAes192,
        ike_encryption: IkeEncryption::GcmAes128,
        ike_integrity: IkeIntegrity::GcmAes128,
        dh_group: DhGroup::Ecp384,
        pfs_group: PfsGroup::None,
        ..policy
    };
    set(&mut t, gcm);
    let made = tunnel(&t);
    let prfs: Vec<_> = made.ike.iter().map(|ike| ike.prf).collect();
    assert_eq!(prfs, [Prf::HmacSha2_384, Prf::HmacSha2_256]);
    assert!(
        made.ike
            .iter()
            .all(|ike| ike.cipher == IkeCipher::Aes128Gcm)
    );
    let suite = EspSuite::Aes192Gcm;
    assert_eq!(made.esp, [EspProposal { suite, pfs: None }]);
    // SHA beside GCM names the PRF.
    set(
        &mut t,
        IpsecPolicy {
            ike_integrity: IkeIntegrity::Sha256,
            ..gcm
        },
    );
    let prfs: Vec<_> = tunnel(&t).ike.iter().map(|ike| ike.prf).collect();
    assert_eq!(prfs, [Prf::HmacSha2_256]);
}

#[test]
fn selectors_are_any_to_any_every_pair_or_as_given() {
    let mut t = topology();
    let selectors = |t: &Topology| {
        let made = find(&only_gateway(t, "west"), "VNet1-to-OnPremises").tunnels[0].clone();
        (made.local_selectors, made.remote_selectors)
    };
    let of = |prefixes: &[&str]| -> Vec<_> {
        prefixes
            .iter()
            .map(|p| TrafficSelector::prefix(net(p)))
            .collect()
    };
    let change = |t: &mut Topology, change: &dyn Fn(&mut crate::model::Connection)| {
        let connection = t.connections.get_mut(&connection("VNet1-to-OnPremises"));
        change(connection.unwrap());
    };
    change(&mut t, &|c| c.use_policy_based_traffic_selectors = true);
    let pairs = (
        of(&["10.11.0.0/16", "fd00:11::/48"]),
        of(&["192.168.10.0/24", "fd00:aa::/48"]),
    );
    assert_eq!(selectors(&t), pairs);
    change(&mut t, &|c| {
        c.traffic_selector_policies = vec![
            TrafficSelectorPolicy {
                local_address_ranges: vec![net("10.11.0.0/24")],
                remote_address_ranges: vec![net("192.168.10.0/25")],
            },
            TrafficSelectorPolicy {
                local_address_ranges: vec![net("10.11.0.0/24")],
                remote_address_ranges: vec![net("192.168.10.128/25")],
            },
        ];
    });
    let given = (
        of(&["10.11.0.0/24"]),
        of(&["192.168.10.0/25", "192.168.10.128/25"]),
    );
    assert_eq!(selectors(&t), given);
    // They are proposed only when initiating.
    change(&mut t, &|c| c.mode = ConnectionMode::ResponderOnly);
    assert_eq!(selectors(&t), pairs);
}

#[test]
fn identities_and_choices_reach_every_tunnel() {
    let mut t = topology();
    let c = t
        .connections
        .get_mut(&connection("VNet1-to-OnPremises"))
        .unwrap();
    c.local_id = Some(Identity::Fqdn("west.example".to_owned()));
    c.remote_id = Some(Identity::KeyId(b"hq".to_vec()));
    c.encapsulation = EncapsulationChoice::ByNat;
    c.post_quantum = false;
    c.mode = ConnectionMode::InitiatorOnly;
    c.dpd_timeout = Duration::from_secs(9);
    let west = only_gateway(&t, "west");
    for tunnel in &find(&west, "VNet1-to-OnPremises").tunnels {
        assert_eq!(tunnel.local_id, Identity::Fqdn("west.example".to_owned()));
        assert_eq!(tunnel.remote_ids, [Identity::KeyId(b"hq".to_vec())]);
        assert_eq!(tunnel.encapsulation, EncapsulationChoice::ByNat);
        assert_eq!(tunnel.mode, ConnectionMode::InitiatorOnly);
        assert_eq!(tunnel.dpd, Duration::from_secs(9));
        assert!(!tunnel.post_quantum);
    }
}

#[test]
fn tunnels_are_between_addresses_of_one_family() {
    let mut t = topology();
    let west = t
        .virtual_network_gateways
        .get_mut(&gateway("VNet1GW"))
        .unwrap();
    west.public_addresses[1] = ip("2001:db8::2");
    let west = only_gateway(&t, "west");
    let ours = ends(find(&west, "VNet1-to-VNet4"));
    assert!(
        ours.iter().all(|(local, _)| *local == ip("203.0.113.1")),
        "{ours:?}"
    );
    assert_eq!(ours.len(), 2);
}

/// The keys of the tunnels between the VNets, from both sides.
fn keys(t: &Topology, made: &BTreeMap<ResourceId, Secret>) -> [Vec<Secret>; 2] {
    [("west", "VNet1-to-VNet4"), ("east", "VNet4-to-VNet1")].map(|(host, name)| {
        let options = CompileOptions {
            host_name: Some(host),
            shared_keys: made,
        };
        let image = compile(t, &options, None).unwrap();
        let tunnels = &find(&image.gateways[0], name).tunnels;
        tunnels.iter().map(|tunnel| tunnel.key.clone()).collect()
    })
}

#[test]
fn the_two_of_a_pair_share_a_key() {
    let mut t = topology();
    let none = BTreeMap::new();
    let (there, back) = (connection("VNet1-to-VNet4"), connection("VNet4-to-VNet1"));
    let example = Secret::new(*b"MadeUpForTheExample1");
    assert!(t.connections_without_key().is_empty());
    // One side's holds for both.
    t.connections.get_mut(&back).unwrap().shared_key = None;
    assert!(t.connections_without_key().is_empty());
    assert_eq!(
        keys(&t, &none),
        [vec![example.clone(); 4], vec![example.clone(); 4]]
    );
    // Two that differ are each side's own, and IKE tells.
    let other = Secret::new(*b"Other");
    t.connections.get_mut(&back).unwrap().shared_key = Some(other.clone());
    assert_eq!(keys(&t, &none), [vec![example; 4], vec![other; 4]]);
    // With none at all there are no tunnels until one is made, under either name.
    for id in [&there, &back] {
        t.connections.get_mut(id).unwrap().shared_key = None;
    }
    let pair = vec![there.clone(), back.clone()];
    assert_eq!(t.connections_without_key(), [pair]);
    assert_eq!(keys(&t, &none), [vec![], vec![]]);
    let key = Secret::new(*b"Made");
    for id in [there, back] {
        let made = BTreeMap::from([(id, key.clone())]);
        assert_eq!(
            keys(&t, &made),
            [vec![key.clone(); 4], vec![key.clone(); 4]]
        );
    }
    let site = connection("VNet1-to-OnPremises");
    t.connections.get_mut(&site).unwrap().shared_key = None;
    assert_eq!(t.connections_without_key()[0], [site]);
}
