//! Networks made up from a seed: VNets and peerings, route tables, network security groups, NICs.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde_json::{Value, json};
use vnet_gw_lab::template::{Allow, Nic, Template};

/// How many devices there are.
pub(crate) const DEVICES: usize = 6;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in so many of a hundred cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A networkInterface, on the device of the same number.
pub(crate) struct Port {
    vnet: usize,
    subnet: usize,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    pub(crate) forwarding: bool,
}

impl Port {
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        IpAddr::V4(self.v4) == address || IpAddr::V6(self.v6) == address
    }

    /// Of the family that `like` is of.
    pub(crate) fn address(&self, like: IpAddr) -> IpAddr {
        match like {
            IpAddr::V4(_) => self.v4.into(),
            IpAddr::V6(_) => self.v6.into(),
        }
    }

    /// One that no NIC has, in the same subnet.
    pub(crate) fn nobody(&self) -> [IpAddr; 2] {
        let [a, b, c, _] = self.v4.octets();
        let [d, e, f, g, ..] = self.v6.segments();
        [
            Ipv4Addr::new(a, b, c, 250).into(),
            Ipv6Addr::new(d, e, f, g, 0, 0, 0, 250).into(),
        ]
    }
}

struct Network {
    location: &'static str,
    /// The third byte of each subnet's IPv4 prefix.
    subnets: Vec<usize>,
    groups: Vec<String>,
}

pub(crate) struct World {
    pub(crate) template: Value,
    pub(crate) nics: Vec<Port>,
}

fn spaces(vnet: usize) -> [String; 2] {
    [format!("10.{vnet}.0.0/16"), format!("fd00:{vnet:x}::/48")]
}

fn prefixes(vnet: usize, third: usize) -> [String; 2] {
    [
        format!("10.{vnet}.{third}.0/24"),
        format!("fd00:{vnet:x}:0:{third:x}::/64"),
    ]
}

/// Outside of every VNet.
pub(crate) const FOREIGN: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const FOREIGN_PREFIXES: [&str; 2] = ["198.51.100.0/24", "2001:db8::/32"];

impl World {
    /// The NIC on the device of that number, and the device, are named so.
    pub(crate) fn device(number: usize) -> String {
        format!("n{number}")
    }

    pub(crate) fn mac(number: usize) -> [u8; 6] {
        [0x00, 0x0d, 0x3a, 0, 0, number as u8 + 1]
    }

    /// Networks whose seeds differ by less than 100 have no address in common, nor have their
    /// packets, then, a flow.
    pub(crate) fn new(seed: u64, attempt: u64) -> Self {
        let mut random = Random::new(seed ^ attempt << 32);
        let third = (seed % 100) as usize * 2;
        let mut networks: Vec<Network> = (0..1 + random.below(3))
            .map(|_| Network {
                location: ["eastus", "westeurope"][random.below(2)],
                subnets: (0..1 + random.below(2)).map(|n| third + n).collect(),
                groups: Vec::new(),
            })
            .collect();
        let nics: Vec<Port> = (0..4 + random.below(DEVICES - 3))
            .map(|number| {
                let at = random.below(networks.len());
                let subnet = random.below(networks[at].subnets.len());
                let (vnet, third) = (at as u16 + 1, networks[at].subnets[subnet] as u16);
                let last = number as u16 + 4;
                Port {
                    vnet: at,
                    subnet,
                    v4: Ipv4Addr::new(10, vnet as u8, third as u8, last as u8),
                    v6: Ipv6Addr::new(0xfd00, vnet, 0, third, 0, 0, 0, last),
                    forwarding: random.chance(50),
                }
            })
            .collect();
        let mut template = Template::new();
        for (at, network) in networks.iter().enumerate() {
            let [v4, v6] = spaces(at + 1);
            template.vnet(&vnet(at), network.location, &[&v4, &v6]);
            for (number, third) in network.subnets.iter().enumerate() {
                let table = random.chance(60).then(|| format!("table-{at}-{number}"));
                if let Some(table) = &table {
                    let routes = routes(&mut random, &networks, &nics);
                    let routes: Vec<(&str, &str, Option<&str>)> = routes
                        .iter()
                        .map(|(prefix, hop, address)| (&**prefix, *hop, address.as_deref()))
                        .collect();
                    template.route_table(table, network.location, &routes);
                }
                let [v4, v6] = prefixes(at + 1, *third);
                template.subnet(&vnet(at), &subnet(number), &[&v4, &v6], table.as_deref());
            }
        }
        peerings(&mut random, &mut template, networks.len());
        for (number, port) in nics.iter().enumerate() {
            let name = Self::device(number);
            template.nic(&Nic {
                name: &name,
                subnet: &format!("{}/{}", vnet(port.vnet), subnet(port.subnet)),
                addresses: &[&port.v4.to_string(), &port.v6.to_string()],
                device: &name,
                forwarding: port.forwarding,
            });
        }
        let mut template = template.value();
        secure(&mut random, &mut template, &mut networks, &nics);
        Self { template, nics }
    }
}

fn vnet(at: usize) -> String {
    format!("v{}", at + 1)
}

fn subnet(number: usize) -> String {
    format!("s{number}")
}

fn peerings(random: &mut Random, template: &mut Template, count: usize) {
    for a in 0..count {
        for b in a + 1..count {
            if !random.chance(70) {
                continue;
            }
            let one_sided = random.chance(15);
            for (from, to) in [(a, b), (b, a)] {
                if one_sided && from == b {
                    continue;
                }
                let allow = Allow {
                    virtual_network_access: random.chance(80),
                    forwarded_traffic: random.chance(50),
                    ..Allow::default()
                };
                template.peering(&vnet(from), &vnet(to), allow);
            }
        }
    }
}

/// Prefixes with something in them: address spaces, subnets, NICs, and what is outside.
fn pool(networks: &[Network], nics: &[Port]) -> Vec<String> {
    let mut pool: Vec<String> = FOREIGN_PREFIXES.map(str::to_owned).into();
    for (at, network) in networks.iter().enumerate() {
        pool.extend(spaces(at + 1));
        for third in &network.subnets {
            pool.extend(prefixes(at + 1, *third));
        }
    }
    for nic in nics {
        pool.extend([format!("{}/32", nic.v4), format!("{}/128", nic.v6)]);
    }
    pool
}

fn routes(
    random: &mut Random,
    networks: &[Network],
    nics: &[Port],
) -> Vec<(String, &'static str, Option<String>)> {
    let mut pool = pool(networks, nics);
    pool.extend(["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
    let mut used = BTreeSet::new();
    let mut routes = Vec::new();
    for _ in 0..1 + random.below(4) {
        let prefix = random.one(&pool).clone();
        if !used.insert(prefix.clone()) {
            continue;
        }
        let hop = *random.one(&[
            "VirtualAppliance",
            "VirtualAppliance",
            "VirtualAppliance",
            "VirtualAppliance",
            "None",
            "VnetLocal",
            "Internet",
            "VirtualNetworkGateway",
        ]);
        let address = (hop == "VirtualAppliance").then(|| {
            let nic = random.one(nics);
            let [v4, v6] = match random.chance(15) {
                true => nic.nobody(),
                false => [nic.v4.into(), nic.v6.into()],
            };
            if prefix.contains(':') { v6 } else { v4 }.to_string()
        });
        routes.push((prefix, hop, address));
    }
    routes
}

fn reference(kind: &str, names: &str) -> Value {
    json!({"id": format!("[resourceId('Microsoft.Network/{kind}', '{names}')]")})
}

/// Adds groups, and their references from subnets and NICs.
fn secure(random: &mut Random, template: &mut Value, networks: &mut [Network], nics: &[Port]) {
    let pool = pool(networks, nics);
    let mut made = Vec::new();
    for (at, network) in networks.iter_mut().enumerate() {
        made.push(json!({
            "type": "Microsoft.Network/applicationSecurityGroups",
            "apiVersion": "2024-05-01",
            "name": format!("members-{at}"),
            "location": network.location,
            "properties": {},
        }));
        for number in 0..random.below(4).min(2) {
            let name = format!("group-{at}-{number}");
            made.push(json!({
                "type": "Microsoft.Network/networkSecurityGroups",
                "apiVersion": "2024-05-01",
                "name": name,
                "location": network.location,
                "properties": {"securityRules": rules(random, at, &pool)},
            }));
            network.groups.push(name);
        }
    }
    let Some(resources) = template["resources"].as_array_mut() else {
        return;
    };
    let vnets = networks.iter().enumerate();
    for (at, network) in vnets {
        let name = vnet(at);
        let mut found = resources.iter_mut().filter(|one| one["name"] == name);
        let subnets = found
            .next()
            .and_then(|one| one["properties"]["subnets"].as_array_mut());
        for subnet in subnets.into_iter().flatten() {
            if !network.groups.is_empty() && random.chance(50) {
                subnet["properties"]["networkSecurityGroup"] = reference(
                    "networkSecurityGroups",
                    random.one::<String>(&network.groups),
                );
            }
        }
    }
    for (number, nic) in nics.iter().enumerate() {
        let name = World::device(number);
        let Some(resource) = resources.iter_mut().find(|one| one["name"] == name) else {
            continue;
        };
        let properties = &mut resource["properties"];
        let mac = World::mac(number).map(|byte| format!("{byte:02X}"));
        properties["macAddress"] = mac.join("-").into();
        let groups = &networks[nic.vnet].groups;
        if !groups.is_empty() && random.chance(40) {
            properties["networkSecurityGroup"] =
                reference("networkSecurityGroups", random.one::<String>(groups));
        }
        if random.chance(50) {
            let group = reference(
                "applicationSecurityGroups",
                &format!("members-{}", nic.vnet),
            );
            let configurations = properties["ipConfigurations"].as_array_mut();
            for configuration in configurations.into_iter().flatten() {
                configuration["properties"]["applicationSecurityGroups"] = json!([group]);
            }
        }
    }
    resources.extend(made);
}

fn rules(random: &mut Random, vnet: usize, pool: &[String]) -> Vec<Value> {
    let mut priorities = BTreeSet::new();
    for _ in 0..random.below(7) {
        priorities.insert(100 + random.below(3997));
    }
    let rule = |priority: usize| {
        let mut properties = json!({
            "priority": priority,
            "direction": random.one(&["Inbound", "Outbound"]),
            "access": random.one(&["Allow", "Deny"]),
            "protocol": random.one(&["*", "*", "Tcp", "Udp", "Icmp", "Esp"]),
        });
        for end in ["source", "destination"] {
            match random.below(20) {
                0..6 => properties[format!("{end}AddressPrefix")] = "*".into(),
                6..10 => {
                    properties[format!("{end}AddressPrefix")] = (*random.one(&[
                        "VirtualNetwork",
                        "VirtualNetwork",
                        "Internet",
                        "AzureLoadBalancer",
                    ]))
                    .into();
                }
                10..17 => {
                    let count = 1 + random.below(3);
                    let some: Vec<&String> = (0..count).map(|_| random.one(pool)).collect();
                    properties[format!("{end}AddressPrefixes")] = json!(some);
                }
                _ => {
                    let group = reference("applicationSecurityGroups", &format!("members-{vnet}"));
                    properties[format!("{end}ApplicationSecurityGroups")] = json!([group]);
                }
            }
        }
        let (source, destination) = (random.below(8), random.below(8));
        let source: &[&str] = match source {
            0 => &["34000-50000"],
            _ => &["*"],
        };
        let destination: &[&str] = match destination {
            0..4 => &["*"],
            4 => &["80"],
            5 => &["1000-2000"],
            6 => &["80", "443"],
            _ => &["443", "30000-40000"],
        };
        for (end, ports) in [("source", source), ("destination", destination)] {
            match ports {
                [one] => properties[format!("{end}PortRange")] = (*one).into(),
                many => properties[format!("{end}PortRanges")] = json!(many),
            }
        }
        json!({"name": format!("rule{priority}"), "properties": properties})
    };
    priorities.into_iter().map(rule).collect()
}
