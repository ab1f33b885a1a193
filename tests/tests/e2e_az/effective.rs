//! Effective rules as `az` prints them, taken at their word: what they say of a flow is what
//! `ipFlowVerify` says, and what the wire does.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use serde_json::{Value, json};
use vnet_gw_lab::Workload;

use super::{
    host::{GROUP, Host, id},
    watcher::reached,
};

/// Of `db`.
const LOCAL: &str = "10.2.0.4";
/// Of `web`.
const REMOTE: &str = "10.1.0.4";
/// A port that nobody has chosen.
const ANY: u16 = 50_000;

/// A flow of `db`; it is opened to `port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    outbound: bool,
    /// `Tcp` or `Udp`.
    protocol: &'static str,
    remote: IpAddr,
    port: u16,
}

impl Flow {
    fn direction(&self) -> &'static str {
        match self.outbound {
            true => "Outbound",
            false => "Inbound",
        }
    }

    /// Both ends as `IP:PORT`, the far one last.
    fn ends(&self, any: &str) -> [String; 2] {
        let (local, remote) = match self.outbound {
            true => (any.to_owned(), self.port.to_string()),
            false => (self.port.to_string(), any.to_owned()),
        };
        [
            format!("{LOCAL}:{local}"),
            format!("{}:{remote}", self.remote),
        ]
    }
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

/// One end of a rule, with its tag or groups expanded.
fn prefixes(rule: &Value, end: &str) -> Vec<IpNet> {
    let expanded = texts(&rule[format!("expanded{end}AddressPrefix")]);
    let mut own = end.to_lowercase();
    own.push_str("AddressPrefixes");
    // Of a tag and prefixes both are there.
    let written = texts(&rule[own]);
    let written = written.into_iter().filter_map(|one| one.parse().ok());
    let expanded = expanded.into_iter().map(|one| one.parse().unwrap());
    expanded.chain(written).collect()
}

fn ports(rule: &Value, end: &str) -> Vec<(u16, u16)> {
    let all = texts(&rule[format!("{end}PortRanges")]);
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap();
        (first.parse().unwrap(), last.parse().unwrap())
    };
    all.into_iter().map(range).collect()
}

fn matches(rule: &Value, flow: &Flow) -> bool {
    let protocol = rule["protocol"].as_str().unwrap();
    let local: IpAddr = LOCAL.parse().unwrap();
    let (source, destination) = match flow.outbound {
        true => (local, flow.remote),
        false => (flow.remote, local),
    };
    let within =
        |end: &str, address: IpAddr| prefixes(rule, end).iter().any(|p| p.contains(&address));
    let open = |end: &str, port: u16| {
        let mut all = ports(rule, end).into_iter();
        all.any(|(first, last)| (first..=last).contains(&port))
    };
    rule["direction"] == flow.direction()
        && (protocol == "All" || protocol == flow.protocol)
        && within("Source", source)
        && within("Destination", destination)
        && open("source", ANY)
        && open("destination", flow.port)
}

/// What the groups say: each must allow, the subnet's is asked first of what comes in, and last of
/// what goes out.
fn verdict(groups: &[Value], flow: &Flow) -> (String, String) {
    let mut order: Vec<&Value> = groups.iter().collect();
    if flow.outbound {
        order.reverse();
    }
    let mut said = (String::new(), String::new());
    for group in order {
        let rules = group["effectiveSecurityRules"].as_array().unwrap();
        let matching = rules.iter().filter(|rule| matches(rule, flow));
        let rule = matching
            .min_by_key(|rule| rule["priority"].as_u64())
            .unwrap();
        let text = |name: &str| rule[name].as_str().unwrap().to_owned();
        said = (text("access"), text("name"));
        if said.0 == "Deny" {
            break;
        }
    }
    said
}

/// Flows at the edges of every rule.
fn flows(groups: &[Value]) -> BTreeSet<Flow> {
    let mut flows = BTreeSet::new();
    let rules = groups.iter().flat_map(|group| {
        let rules = group["effectiveSecurityRules"].as_array();
        rules.into_iter().flatten()
    });
    for rule in rules {
        let outbound = rule["direction"] == "Outbound";
        let end = if outbound { "Destination" } else { "Source" };
        let protocols = match rule["protocol"].as_str().unwrap() {
            "Tcp" => &["Tcp"][..],
            "Udp" => &["Udp"][..],
            _ => &["Tcp", "Udp"][..],
        };
        let prefixes = prefixes(rule, end).into_iter().filter_map(|one| match one {
            IpNet::V4(prefix) => Some(prefix),
            IpNet::V6(_) => None,
        });
        // Neither the network's nor the broadcast address, where there are others.
        let remotes: BTreeSet<IpAddr> = prefixes
            .take(3)
            .filter_map(|prefix| prefix.hosts().nth(4).or_else(|| prefix.hosts().next()))
            .chain(REMOTE.parse().ok())
            .map(IpAddr::V4)
            .collect();
        let edges = ports(rule, "destination")
            .into_iter()
            .flat_map(|(first, last)| {
                let after = last.checked_add(1);
                [Some(first.max(1)), Some(last), after]
            });
        for port in edges.flatten() {
            for protocol in protocols {
                flows.extend(remotes.iter().map(|remote| Flow {
                    outbound,
                    protocol,
                    remote: *remote,
                    port,
                }));
            }
        }
    }
    flows
}

/// Makes a group and its rules, and lets it hold for the subnet of `db`.
fn guard_the_subnet(host: &Host) {
    let az = |args: &[&str]| host.az.run(args).unwrap();
    az(&["network", "nsg", "create", "-g", GROUP, "--name", "edge"]);
    for (name, priority, rest) in [
        (
            "allow-web",
            "100",
            "--direction Inbound --access Allow --protocol Tcp --source-address-prefixes \
             10.1.0.0/24 --destination-port-ranges 80 8080-8090",
        ),
        (
            "no-high",
            "200",
            "--direction Inbound --access Deny --protocol Tcp --source-address-prefixes \
             VirtualNetwork --destination-port-ranges 8000-9000",
        ),
        (
            "no-mail",
            "160",
            "--direction Outbound --access Deny --protocol Tcp --destination-address-prefixes \
             10.1.0.0/24 --destination-port-ranges 25",
        ),
        (
            "no-dns",
            "150",
            "--direction Outbound --access Deny --protocol Udp --destination-address-prefixes \
             Internet --destination-port-ranges 53",
        ),
    ] {
        let mut rule = vec!["network", "nsg", "rule", "create", "-g", GROUP];
        rule.extend(["--nsg-name", "edge", "--name", name, "--priority", priority]);
        rule.extend(rest.split_whitespace());
        az(&rule);
    }
    let mut associate = vec!["network", "vnet", "subnet", "update", "-g", GROUP];
    associate.extend(["--vnet-name", "V2", "--name", "a"]);
    associate.extend(["--network-security-group", "edge"]);
    az(&associate);
}

/// The effective rules of `db`, whose interface and subnet have a group each.
pub(crate) fn rules(host: &Host, web: &Workload, db: &Workload) {
    guard_the_subnet(host);
    let ask = ["network", "nic", "list-effective-nsg", "-g", GROUP];
    let ask = [&ask[..], &["--name", "db"]].concat();
    let told = host.az.json(&ask).unwrap();
    let groups = told["value"].as_array().unwrap();
    let names: Vec<&Value> = groups
        .iter()
        .map(|group| &group["networkSecurityGroup"]["id"])
        .collect();
    let wanted = ["edge", "guard"].map(|name| id(&format!("networkSecurityGroups/{name}")));
    assert_eq!(names, [&json!(wanted[0]), &json!(wanted[1])]);
    let associations = [&groups[0]["association"], &groups[1]["association"]];
    let subnet = id("virtualNetworks/V2/subnets/a");
    assert_eq!(associations[0]["subnet"]["id"], subnet);
    assert_eq!(
        associations[1]["networkInterface"]["id"],
        id("networkInterfaces/db")
    );
    let own = host.daemon.json(&["effective-nsg", "--nic", "db"]).unwrap();
    // `az` adds names of resource groups to ids.
    for (own, told) in own["value"].as_array().unwrap().iter().zip(groups) {
        for part in ["effectiveSecurityRules", "tagMap"] {
            assert!(
                own[part] == told[part],
                "{part}: {own:#} by the command line"
            );
        }
    }

    let flows = flows(groups);
    let mut met = BTreeSet::new();
    for flow in &flows {
        let said = verdict(groups, flow);
        let [local, remote] = flow.ends(&ANY.to_string());
        let (direction, protocol) = (
            flow.direction().to_lowercase(),
            flow.protocol.to_lowercase(),
        );
        let ask = ["ip-flow-verify", "--nic", "db", "--direction", &direction];
        let rest = [
            "--protocol",
            &protocol,
            "--local",
            &local,
            "--remote",
            &remote,
        ];
        let predicted = host.daemon.json(&[&ask[..], &rest].concat()).unwrap();
        let text = |name: &str| predicted[name].as_str().unwrap_or_default().to_owned();
        assert_eq!((text("access"), text("ruleName")), said, "{flow:?}");
        // On the wire, between workloads; what nobody listens for is refused by the far kernel.
        let here: IpAddr = REMOTE.parse().unwrap();
        if flow.protocol == "Tcp" && flow.remote == here {
            let (from, to) = match flow.outbound {
                true => (db, REMOTE),
                false => (web, LOCAL),
            };
            let allowed = said.0 == "Allow";
            assert_eq!(reached(from, to, flow.port), allowed, "{flow:?}: {said:?}");
        }
        met.insert(said);
    }
    let names: BTreeSet<&str> = met.iter().map(|(_, name)| name.as_str()).collect();
    for name in [
        "securityRules/no-high",
        "securityRules/no-mail",
        "securityRules/no-dns",
        "securityRules/no-ssh",
        "defaultSecurityRules/AllowVnetInBound",
        "defaultSecurityRules/DenyAllInBound",
        "defaultSecurityRules/AllowVnetOutBound",
        "defaultSecurityRules/AllowInternetOutBound",
    ] {
        assert!(names.contains(name), "{name} decided nothing: {met:?}");
    }

    // Each answer of another rule by `az`, too: it takes its time.
    for said in &met {
        let mut all = flows.iter();
        let flow = all.find(|flow| verdict(groups, flow) == *said).unwrap();
        let [local, remote] = flow.ends(&ANY.to_string());
        let protocol = flow.protocol.to_uppercase();
        let ask = [
            "network",
            "watcher",
            "test-ip-flow",
            "-g",
            GROUP,
            "--vm",
            "db",
        ];
        let rest = ["--direction", flow.direction(), "--protocol", &protocol];
        let ends = ["--local", &local, "--remote", &remote];
        let told = host.az.json(&[&ask[..], &rest, &ends].concat()).unwrap();
        assert_eq!(
            told,
            json!({"access": said.0, "ruleName": said.1}),
            "{flow:?}"
        );
    }
}
