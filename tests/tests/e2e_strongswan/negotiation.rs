//! IKE alone: each side as initiator, through every algorithm that both know.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use vnet_gw_core::{
    ike::{
        ConnectionMode, EncapsulationChoice, EndpointOptions, EspProposal, Group, Identity,
        IkeCipher, IkeIntegrity, IkeProposal, IkeSaStatus, Lifetimes, Prf, Report, TunnelConfig,
    },
    sa::{EspSuite, TrafficSelector, TunnelId},
    secret::Secret,
};
use vnet_gw_lab::{
    Lab, StrongSwan, Underlay,
    strongswan::{Child, Connection, IkeSa},
};
use vnet_gw_tests::ike_shell::IkeShell;

use crate::algorithms::{GROUPS, PRFS, esp_name, esp_suites, ike_ciphers, ike_name, ike_suite};

const OURS: &str = "203.0.113.11";
const THEIRS: &str = "203.0.113.21";
const OURS6: &str = "2001:db8::11";
const THEIRS6: &str = "2001:db8::21";
const KEY: &str = "made-up key of the tests";
const PATIENCE: Duration = Duration::from_secs(10);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Our endpoint and strongSwan, on an underlay.
struct Pair {
    ours: IkeShell,
    theirs: StrongSwan,
    number: u64,
    _lab: Lab,
}

/// One pair for all tests, which take turns.
fn pair() -> MutexGuard<'static, Pair> {
    static PAIR: OnceLock<Mutex<Pair>> = OnceLock::new();
    PAIR.get_or_init(|| {
        let lab = Lab::new().unwrap();
        let underlay = Underlay::new(&lab, "underlay").unwrap();
        let [ours, theirs] = [
            ("ours", [ip(OURS), ip(OURS6)]),
            ("theirs", [ip(THEIRS), ip(THEIRS6)]),
        ]
        .map(|(name, addresses)| {
            let host = lab.namespace(name).unwrap();
            underlay.attach(&lab, &host, &addresses).unwrap();
            host
        });
        let swan = StrongSwan::start(&lab, &theirs).unwrap();
        // It installs no policy for a network of which it has no address.
        swan.own(ip("10.102.0.1")).unwrap();
        let addresses = [ip(OURS), ip(OURS6)];
        Mutex::new(Pair {
            ours: IkeShell::start(&ours, &addresses, EndpointOptions::default()).unwrap(),
            theirs: swan,
            number: 0,
            _lab: lab,
        })
    })
    .lock()
    .unwrap_or_else(PoisonError::into_inner)
}

/// What both sides are set to.
#[derive(Clone, Debug)]
struct Case {
    ike: IkeProposal,
    esp: EspProposal,
    post_quantum: bool,
    v6: bool,
    our_lifetimes: Lifetimes,
}

impl Case {
    fn new() -> Self {
        Self {
            ike: IkeProposal {
                cipher: IkeCipher::Aes256Gcm,
                prf: Prf::HmacSha2_256,
                group: Group::Curve25519,
            },
            esp: EspProposal {
                suite: EspSuite::Aes256Gcm,
                pfs: None,
            },
            post_quantum: true,
            v6: false,
            our_lifetimes: Lifetimes {
                ike: Duration::from_secs(28_800),
                child: Duration::from_secs(27_000),
                child_bytes: None,
            },
        }
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        match self.v6 {
            false => (ip(OURS), ip(THEIRS)),
            true => (ip(OURS6), ip(THEIRS6)),
        }
    }

    fn ours(&self, number: u64, mode: ConnectionMode) -> TunnelConfig {
        let (local, remote) = self.addresses();
        let any = |prefix: &str| TrafficSelector::prefix(prefix.parse().unwrap());
        TunnelConfig {
            id: TunnelId(number),
            name: format!("case {number}").into(),
            local,
            remote,
            local_id: Identity::Ip(local),
            remote_ids: vec![Identity::Ip(remote)],
            key: Secret::new(KEY),
            mode,
            ike: vec![self.ike],
            esp: vec![self.esp],
            local_selectors: vec![any("0.0.0.0/0"), any("::/0")],
            remote_selectors: vec![any("0.0.0.0/0"), any("::/0")],
            lifetimes: self.our_lifetimes,
            dpd: Duration::from_secs(45),
            encapsulation: EncapsulationChoice::Udp,
            post_quantum: self.post_quantum,
            generation: 0,
        }
    }

    fn theirs(&self) -> Connection {
        let (remote, local) = self.addresses();
        Connection {
            proposals: vec![ike_name(&self.ike)],
            remote_id: Some(remote.to_string()),
            ..Connection::new("gw", local, remote, KEY)
        }
        .child(Child {
            proposals: vec![esp_name(&self.esp)],
            ..Child::new("net", &["10.102.0.0/16"], &["10.1.0.0/16"])
        })
    }
}

impl Pair {
    /// Nothing is left of the case before.
    fn clear(&mut self) -> u64 {
        self.ours.configure(Vec::new());
        let clean = self.theirs.wait(PATIENCE, |sas| sas.is_empty());
        assert!(clean.is_ok(), "a DELETE was not understood: {clean:?}");
        self.number += 1;
        self.number
    }

    fn establish(&mut self, case: &Case, we_initiate: bool) -> (IkeSaStatus, IkeSa) {
        let number = self.clear();
        self.theirs.load(&[case.theirs()]).unwrap();
        let before = self.theirs.log().len();
        let ours = if we_initiate {
            self.ours
                .configure(vec![case.ours(number, ConnectionMode::InitiatorOnly)]);
            self.ours.wait_connected(TunnelId(number), PATIENCE)
        } else {
            self.ours
                .configure(vec![case.ours(number, ConnectionMode::ResponderOnly)]);
            // The configuration is taken by another thread.
            self.ours
                .wait(TunnelId(number), PATIENCE, |all| !all.is_empty())
                .unwrap();
            if let Err(error) = self.theirs.initiate("net", PATIENCE) {
                panic!(
                    "{case:?}: {error:#}\nours: {:#?}\n{:#?}",
                    self.ours.status(),
                    self.ours.events()
                );
            }
            self.ours.wait_connected(TunnelId(number), PATIENCE)
        };
        let log = || self.theirs.log()[before..].to_owned();
        let ours = ours.unwrap_or_else(|error| panic!("{case:?}: {error:#}\ncharon:\n{}", log()));
        let theirs = self
            .theirs
            .wait(PATIENCE, |sas| {
                sas.len() == 1 && sas[0].is_established() && sas[0].installed().count() == 1
            })
            .unwrap_or_else(|error| panic!("{case:?}: {error:#}\ncharon:\n{}", log()));
        (ours, theirs[0].clone())
    }

    /// Both sides agree on what the case asks for.
    fn check(&mut self, case: &Case, we_initiate: bool) {
        let (ours, theirs) = self.establish(case, we_initiate);
        assert_eq!(ours.proposal, Some(case.ike), "{case:?}");
        assert_eq!(ours.initiator, we_initiate);
        assert_ne!(theirs.initiator, we_initiate);
        assert!(!ours.post_quantum, "strongSwan 5.9 knows no ML-KEM");
        assert_eq!(theirs.suite, ike_suite(&case.ike), "{case:?}");
        let child = theirs.installed().next().unwrap();
        assert_eq!(ours.children.len(), 1);
        let mine = &ours.children[0];
        assert_eq!(mine.proposal.suite, case.esp.suite);
        assert!(!mine.esn, "kernel-libipsec has no ESN");
        assert_eq!(mine.inbound.to_string(), child.spi_out);
        assert_eq!(mine.outbound.to_string(), child.spi_in);
        assert_eq!(child.local, ["10.102.0.0/16"]);
        assert_eq!(child.remote, ["10.1.0.0/16"]);
    }
}

/// Each cipher with each PRF; the groups and the ESP suites take turns within that.
fn cases() -> Vec<Case> {
    let suites = esp_suites();
    let mut out = Vec::new();
    for (i, cipher) in ike_ciphers().into_iter().enumerate() {
        for (j, prf) in PRFS.into_iter().enumerate() {
            let number = i * PRFS.len() + j;
            out.push(Case {
                ike: IkeProposal {
                    cipher,
                    prf,
                    group: GROUPS[number % GROUPS.len()],
                },
                esp: EspProposal {
                    suite: suites[number % suites.len()],
                    pfs: None,
                },
                post_quantum: number.is_multiple_of(2),
                v6: number.is_multiple_of(3),
                ..Case::new()
            });
        }
    }
    out
}

#[test]
fn every_algorithm_as_initiator() {
    let mut pair = pair();
    for case in cases() {
        pair.check(&case, true);
    }
}

#[test]
fn every_algorithm_as_responder() {
    let mut pair = pair();
    for case in cases() {
        pair.check(&case, false);
    }
}

/// Groups of CHILD SAs matter when they are rekeyed: by both sides, in every group and without one.
#[test]
fn child_sas_are_rekeyed_with_and_without_their_own_exchange() {
    let mut pair = pair();
    for pfs in [None].into_iter().chain(GROUPS.map(Some)) {
        let case = Case {
            esp: EspProposal {
                suite: EspSuite::Aes128Gcm,
                pfs,
            },
            ..Case::new()
        };
        let (ours, _) = pair.establish(&case, pfs.is_some());
        let first = ours.children[0].inbound;
        pair.ours.report(Report {
            tunnel: ours.tunnel,
            received: true,
            sent: true,
            rekey: Some(first),
            moved_to: None,
        });
        let second = pair.other_child(&case, first);
        pair.theirs.rekey_child("net").unwrap();
        pair.other_child(&case, second);
    }
}

impl Pair {
    /// Waits until both have a single CHILD SA that is not `old`: our SPI.
    fn other_child(&self, case: &Case, old: vnet_gw_core::sa::Spi) -> vnet_gw_core::sa::Spi {
        let tunnel = TunnelId(self.number);
        let ours = self.ours.wait(tunnel, PATIENCE, |all| {
            all.len() == 1 && all[0].children.len() == 1 && all[0].children[0].inbound != old
        });
        let ours = ours
            .unwrap_or_else(|error| panic!("{case:?}: {error:#}\ncharon:\n{}", self.theirs.log()));
        let new = ours[0].children[0].inbound;
        let theirs = self.theirs.wait(PATIENCE, |sas| {
            let mut children = sas.iter().flat_map(|sa| &sa.children);
            children
                .next()
                .is_some_and(|child| child.spi_out == new.to_string())
                && children.next().is_none()
        });
        theirs
            .unwrap_or_else(|error| panic!("{case:?}: {error:#}\ncharon:\n{}", self.theirs.log()));
        new
    }
}

/// By both sides in every group, the CHILD SA living on.
#[test]
fn ike_sas_are_rekeyed_by_both_sides() {
    let mut pair = pair();
    for (i, group) in GROUPS.into_iter().enumerate() {
        let mut case = Case::new();
        case.ike.group = group;
        case.ike.prf = PRFS[i % PRFS.len()];
        let (before, _) = pair.establish(&case, i % 2 == 0);
        let tunnel = before.tunnel;
        pair.theirs.rekey_ike("gw").unwrap();
        let after = pair.ours.wait(tunnel, PATIENCE, |all| {
            all.len() == 1
                && all[0].initiator_spi != before.initiator_spi
                && all[0].children.len() == 1
        });
        let after = after
            .unwrap_or_else(|error| panic!("{case:?}: {error:#}\ncharon:\n{}", pair.theirs.log()));
        assert_eq!(after[0].children[0].inbound, before.children[0].inbound);
        assert_eq!(after[0].proposal, Some(case.ike));
    }
    // Ours comes with the lifetime.
    let mut case = Case::new();
    case.our_lifetimes.ike = Duration::from_secs(4);
    let (before, _) = pair.establish(&case, true);
    let tunnel = before.tunnel;
    pair.ours
        .wait(tunnel, PATIENCE, |all| {
            all.len() == 1
                && all[0].initiator_spi != before.initiator_spi
                && all[0].children.len() == 1
                && all[0].children[0].inbound == before.children[0].inbound
        })
        .unwrap();
    pair.theirs
        .wait(PATIENCE, |sas| {
            sas.len() == 1 && sas[0].installed().count() == 1
        })
        .unwrap();
}

/// RFC 7383: strongSwan cuts every message of IKE_AUTH. That we do is tested on a narrow underlay.
#[test]
fn fragments_are_understood() {
    let mut pair = pair();
    pair.theirs.set("fragment_size = 200").unwrap();
    let before = pair.theirs.log().len();
    for we_initiate in [true, false] {
        pair.check(&Case::new(), we_initiate);
    }
    let log = pair.theirs.log()[before..].to_owned();
    let cut = log.matches("splitting IKE message").count();
    assert!(cut >= 2, "{cut} messages were cut:\n{log}");
    pair.theirs.set("").unwrap();
}

/// The IKE_SA_INIT asks for another group than the first guess.
#[test]
fn a_wrong_guess_of_the_group_is_put_right() {
    let mut pair = pair();
    let number = pair.clear();
    let case = Case::new();
    let mut ours = case.ours(number, ConnectionMode::InitiatorOnly);
    let second = IkeProposal {
        group: Group::Ecp256,
        ..case.ike
    };
    ours.ike = vec![case.ike, second];
    let theirs = Connection {
        proposals: vec![ike_name(&second)],
        ..case.theirs()
    };
    pair.theirs.load(&[theirs]).unwrap();
    pair.ours.configure(vec![ours]);
    let ours = pair
        .ours
        .wait_connected(TunnelId(number), PATIENCE)
        .unwrap();
    assert_eq!(ours.proposal, Some(second));

    // The other way round strongSwan guesses.
    let number = pair.clear();
    let mut ours = case.ours(number, ConnectionMode::ResponderOnly);
    ours.ike = vec![second];
    let theirs = Connection {
        proposals: vec![format!("{}-ecp256", ike_name(&case.ike))],
        ..case.theirs()
    };
    pair.theirs.load(&[theirs]).unwrap();
    pair.ours.configure(vec![ours]);
    pair.ours
        .wait(TunnelId(number), PATIENCE, |all| !all.is_empty())
        .unwrap();
    pair.theirs.initiate("net", PATIENCE).unwrap();
    let ours = pair
        .ours
        .wait_connected(TunnelId(number), PATIENCE)
        .unwrap();
    assert_eq!(ours.proposal, Some(second));
}

/// IKE with CBC and every integrity, as Azure offers it by default with group 2, both ways.
#[test]
fn azures_own_proposals() {
    let mut pair = pair();
    for we_initiate in [true, false] {
        for (key_bits, integrity, prf) in [
            (256, IkeIntegrity::HmacSha1_96, Prf::HmacSha1),
            (256, IkeIntegrity::HmacSha2_256_128, Prf::HmacSha2_256),
            (128, IkeIntegrity::HmacSha1_96, Prf::HmacSha1),
            (128, IkeIntegrity::HmacSha2_256_128, Prf::HmacSha2_256),
        ] {
            let mut case = Case::new();
            case.ike = IkeProposal {
                cipher: IkeCipher::AesCbc {
                    key_bits,
                    integrity,
                },
                prf,
                group: Group::Modp1024,
            };
            pair.check(&case, we_initiate);
        }
    }
}
