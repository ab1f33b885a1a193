//! What devices can do, and the traps of their offloads.

mod facts;

use std::{collections::BTreeMap, io};

use self::facts::{Facts, Peer};
use super::{
    Check, Verdict, Wanted,
    genl::{XdpFeatures, xdp_features},
    netlink::links,
};

/// Drivers with native XDP and redirect, for kernels before 6.3, which do not tell.
const NATIVE: [&str; 24] = [
    "atlantic",
    "bnxt_en",
    "ena",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "tun",
    "virtio_net",
];

pub(super) fn checks(wanted: Option<&[Wanted]>) -> Vec<Check> {
    let all = match links() {
        Ok(all) => all,
        Err(error) => {
            let finding = format!("devices cannot be listed: {error}");
            return vec![Check::fail("host", "devices", finding, "see `ip link`")];
        }
    };
    let named = wanted.is_some();
    let wanted: Vec<Wanted> = match wanted {
        Some(wanted) => wanted.to_vec(),
        None => all
            .iter()
            .filter(|link| !link.loopback)
            .map(|link| Wanted {
                device: link.name.clone(),
                hook: None,
            })
            .collect(),
    };
    // Before 6.3 the kernel does not tell.
    let features = known(xdp_features());
    let mut checks = Vec::new();
    let mut devices = Vec::new();
    for one in &wanted {
        match all.iter().find(|link| link.name == one.device) {
            Some(link) => devices.push(Facts::of(link, one.hook.clone(), features.as_ref())),
            None => checks.push(missing(&one.device)),
        }
    }
    let usual = match named {
        true => usual_mtu(devices.iter().map(|facts| facts.link.mtu)),
        // The host's devices have nothing to do with each other, as far as is known.
        false => None,
    };
    for facts in &devices {
        checks.extend(facts.checks(usual));
    }
    if !named {
        // Nobody said that they are to be ports.
        for check in &mut checks {
            check.verdict = check.verdict.min(Verdict::Warn);
        }
    }
    checks
}

fn missing(device: &str) -> Check {
    Check::fail(
        &format!("device {device}"),
        "present",
        "no such device in this network namespace",
        format!(
            "ip link show {device}; correct the tag vnet-gw:device, or run in the namespace of the host side"
        ),
    )
}

/// The one that most have; the larger of two that are equally frequent.
fn usual_mtu(mtus: impl Iterator<Item = u32>) -> Option<u32> {
    let mut counts = BTreeMap::<u32, usize>::new();
    for mtu in mtus {
        *counts.entry(mtu).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(mtu, count)| (*count, *mtu))
        .map(|(mtu, _)| mtu)
}

impl Facts<'_> {
    fn checks(&self, usual_mtu: Option<u32>) -> Vec<Check> {
        let mut checks = vec![self.state(), self.xdp()];
        checks.extend(self.xdp_target());
        checks.extend(self.checksums());
        checks.extend(self.gro());
        checks.extend(self.mtu(usual_mtu));
        checks
    }

    fn subject(&self) -> String {
        format!("device {}", self.link.name)
    }

    /// Whether its program runs, or would run, at XDP.
    fn at_xdp(&self) -> bool {
        match &self.hook {
            Some(hook) => hook.starts_with("xdp"),
            None => self.link.is_physical(),
        }
    }

    fn state(&self) -> Check {
        let name = &self.link.name;
        let driver = self
            .driver
            .as_deref()
            .or(self.link.kind.as_deref())
            .unwrap_or("unknown");
        let place = match (&self.hook, self.at_xdp()) {
            (Some(hook), _) => format!("attached at {hook}"),
            (None, true) => "physical: --hook auto takes XDP".to_owned(),
            (None, false) => "virtual: --hook auto takes TCX".to_owned(),
        };
        let finding = format!("driver {driver}, {place}");
        if self.link.up {
            return Check::ok(&self.subject(), "state", finding);
        }
        Check::warn(
            &self.subject(),
            "state",
            format!("{finding}; it is down"),
            format!("ip link set dev {name} up"),
        )
    }

    fn native(&self) -> Option<bool> {
        match self.features {
            Some(features) => Some(features.native()),
            None => {
                let driver = self.driver.as_deref().or(self.link.kind.as_deref())?;
                Some(driver == "veth" || NATIVE.contains(&driver))
            }
        }
    }

    fn xdp(&self) -> Check {
        let subject = self.subject();
        let zero_copy = match self.features.is_some_and(XdpFeatures::zero_copy) {
            true => ", AF_XDP without copies",
            false => "",
        };
        match (self.native(), self.at_xdp()) {
            (Some(true), _) => Check::ok(
                &subject,
                "xdp-native",
                format!("XDP runs in the driver{zero_copy}"),
            ),
            (Some(false), false) => Check::ok(
                &subject,
                "xdp-native",
                "the driver has no XDP; TCX does not need it",
            ),
            (Some(false), true) if self.link.kind.as_deref() == Some("veth") => Check::warn(
                &subject,
                "xdp-native",
                "the other end has more transmit than this end has receive queues: generic XDP, \
                 about as fast as kernel forwarding",
                format!(
                    "ethtool -L {} rx N, with N the other end's tx; or --hook tcx",
                    self.link.name
                ),
            ),
            (Some(false), true) => Check::warn(
                &subject,
                "xdp-native",
                "the driver has no XDP: generic mode, about as fast as kernel forwarding",
                "use --hook tcx, which is faster than generic XDP",
            ),
            (None, _) => Check::warn(
                &subject,
                "xdp-native",
                "neither kernel nor driver tell",
                "look at the HOOK column of `vnet-gw ports` while the daemon runs",
            ),
        }
    }

    /// A redirect into a veth arrives only where the other end polls (NAPI), for which GRO or an
    /// XDP program there switches.
    fn xdp_target(&self) -> Option<Check> {
        let features = self.features?;
        if !self.at_xdp() {
            return None;
        }
        let subject = self.subject();
        if features.target() {
            return Some(Check::ok(
                &subject,
                "xdp-target",
                "XDP may redirect into it",
            ));
        }
        // Physical drivers tell of it only once a program is attached.
        if self.hook.is_none() && self.link.is_physical() {
            return Some(Check::ok(
                &subject,
                "xdp-target",
                "not known before a program is attached",
            ));
        }
        let (finding, remedy) = if self.link.kind.as_deref() == Some("veth") {
            (
                "XDP ports cannot send to it: its other end has GRO off and no XDP program",
                self.in_workload(|peer| format!("ethtool -K {peer} gro on")),
            )
        } else {
            (
                "XDP ports cannot send to it: the driver takes no redirected frames",
                "use --hook tcx".to_owned(),
            )
        };
        Some(Check::fail(&subject, "xdp-target", finding, remedy))
    }

    /// XDP sees frames before anybody completes their checksum.
    fn checksums(&self) -> Option<Check> {
        if !self.at_xdp() || self.link.kind.as_deref() != Some("veth") {
            return None;
        }
        let subject = self.subject();
        let remedy = self.in_workload(|peer| format!("ethtool -K {peer} tx off"));
        Some(match self.peer.as_ref().and_then(|peer| peer.tx_checksum) {
            Some(false) => Check::ok(
                &subject,
                "tx-checksum",
                "the workload completes its checksums",
            ),
            Some(true) => Check::fail(
                &subject,
                "tx-checksum",
                "the workload leaves checksums to its device: over XDP they arrive incomplete, and \
                 TCP stands still",
                remedy,
            ),
            None => Check::warn(
                &subject,
                "tx-checksum",
                "the workload's side cannot be seen from here; over XDP its checksum offload must \
                 be off",
                remedy,
            ),
        })
    }

    fn gro(&self) -> Option<Check> {
        if self.at_xdp() || !self.link.is_physical() {
            return None;
        }
        let subject = self.subject();
        Some(match self.gro? {
            true => Check::ok(&subject, "gro", "on: TCP crosses as super-packets"),
            false => Check::warn(
                &subject,
                "gro",
                "off: TCP crosses in single packets, several times slower",
                format!("ethtool -K {} gro on", self.link.name),
            ),
        })
    }

    fn mtu(&self, usual: Option<u32>) -> Vec<Check> {
        let (subject, name, mtu) = (self.subject(), &self.link.name, self.link.mtu);
        let mut checks = Vec::new();
        match usual {
            Some(usual) if usual != mtu => checks.push(Check::warn(
                &subject,
                "mtu",
                format!("{mtu}, most others have {usual}: larger packets to it are answered by \"too big\""),
                format!("ip link set dev {name} mtu {usual}, at both ends; or leave it to path MTU discovery"),
            )),
            _ => checks.push(Check::ok(&subject, "mtu", mtu.to_string())),
        }
        if let Some(Peer { mtu: peer_mtu, .. }) = &self.peer
            && *peer_mtu != mtu
        {
            checks.push(Check::warn(
                &subject,
                "peer-mtu",
                format!("{mtu} here, {peer_mtu} at the other end: one of them drops what the other sends"),
                self.in_workload(|peer| format!("ip link set dev {peer} mtu {mtu}")),
            ));
        }
        checks
    }

    /// A command to run at the other end of a veth.
    fn in_workload(&self, command: impl Fn(&str) -> String) -> String {
        match &self.peer {
            Some(Peer {
                name,
                netns: Some(netns),
                ..
            }) => {
                format!("ip netns exec {netns} {}", command(name))
            }
            Some(Peer {
                name, netns: None, ..
            }) => command(name),
            None => format!("in the workload: {}", command("eth0")),
        }
    }
}

/// What could not be found out is not told as an error of its own: the check says so.
fn known<T>(result: io::Result<T>) -> Option<T> {
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::Link, *};

    fn veth() -> Link {
        Link {
            name: "v1".into(),
            kind: Some("veth".into()),
            up: true,
            mtu: 1500,
            peer: Some((2, Some(0))),
            ..Link::default()
        }
    }

    fn facts<'a>(link: &'a Link, hook: &str, features: XdpFeatures, tx: Option<bool>) -> Facts<'a> {
        Facts {
            link,
            hook: Some(hook.to_owned()),
            driver: Some("veth".into()),
            gro: None,
            features: Some(features),
            peer: tx.map(|tx| Peer {
                name: "eth0".into(),
                netns: Some("web".into()),
                mtu: 1500,
                tx_checksum: Some(tx),
            }),
        }
    }

    fn verdicts(facts: &Facts<'_>) -> Vec<(&'static str, Verdict)> {
        facts
            .checks(Some(1500))
            .iter()
            .map(|check| (check.check, check.verdict))
            .collect()
    }

    #[test]
    fn the_traps_of_xdp_on_a_veth_are_told_with_the_command() {
        let link = veth();
        let facts = facts(&link, "xdp", XdpFeatures::of(true, false), Some(true));
        assert_eq!(
            verdicts(&facts),
            [
                ("state", Verdict::Ok),
                ("xdp-native", Verdict::Ok),
                ("xdp-target", Verdict::Fail),
                ("tx-checksum", Verdict::Fail),
                ("mtu", Verdict::Ok),
            ]
        );
        let checks = facts.checks(Some(1500));
        assert_eq!(
            checks[2].remedy.as_deref(),
            Some("ip netns exec web ethtool -K eth0 gro on")
        );
        assert_eq!(
            checks[3].remedy.as_deref(),
            Some("ip netns exec web ethtool -K eth0 tx off")
        );
    }

    #[test]
    fn a_physical_device_without_a_program_does_not_fail() {
        let link = Link {
            kind: None,
            parent: true,
            peer: None,
            ..veth()
        };
        let mut facts = facts(&link, "xdp", XdpFeatures::of(true, false), None);
        let target = |facts: &Facts<'_>| facts.xdp_target().unwrap().verdict;
        assert_eq!(target(&facts), Verdict::Fail);
        facts.hook = None;
        assert_eq!(target(&facts), Verdict::Ok);
    }

    #[test]
    fn tcx_has_none_of_them() {
        let link = veth();
        let facts = facts(&link, "tcx", XdpFeatures::of(true, false), Some(true));
        assert!(
            verdicts(&facts)
                .iter()
                .all(|(_, verdict)| *verdict == Verdict::Ok)
        );
    }

    #[test]
    fn what_cannot_be_seen_is_a_warning() {
        let link = veth();
        let facts = facts(&link, "xdp", XdpFeatures::of(true, true), None);
        let checks = facts.checks(Some(1500));
        let check = checks
            .iter()
            .find(|check| check.check == "tx-checksum")
            .unwrap();
        assert_eq!(check.verdict, Verdict::Warn);
        assert_eq!(
            check.remedy.as_deref(),
            Some("in the workload: ethtool -K eth0 tx off")
        );
    }

    #[test]
    fn an_mtu_unlike_the_others_is_told() {
        assert_eq!(usual_mtu([1500, 1500, 9000].into_iter()), Some(1500));
        assert_eq!(usual_mtu([1500, 9000].into_iter()), Some(9000));
        assert_eq!(usual_mtu(std::iter::empty()), None);
        let link = Link {
            mtu: 1400,
            ..veth()
        };
        let facts = facts(&link, "tcx", XdpFeatures::of(true, true), Some(false));
        let checks = facts.checks(Some(1500));
        let told: Vec<_> = checks
            .iter()
            .filter(|check| check.verdict == Verdict::Warn)
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[1]
                .finding
                .starts_with("1400 here, 1500 at the other end")
        );
    }
}
