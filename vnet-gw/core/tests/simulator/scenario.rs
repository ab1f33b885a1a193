//! A run, drawn from its seed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use vnet_gw_core::{
    ike::{
        ConnectionMode, EncapsulationChoice, EndpointOptions, EspProposal, Group, Identity,
        IkeCipher, IkeIntegrity, IkeProposal, Lifetimes, Prf, TunnelConfig,
    },
    sa::{EspIntegrity, EspSuite, TrafficSelector, TunnelId},
    secret::Secret,
};

use crate::{network::Weather, rng::Rng, worker::inner_address};

/// One end's number of a tunnel.
pub(crate) type End = usize;

/// A tunnel and its configuration at both ends.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: TunnelId,
    pub(crate) hosts: [usize; 2],
    pub(crate) configs: [TunnelConfig; 2],
}

impl Link {
    /// Somebody begins, and somebody answers.
    pub(crate) fn can_connect(&self) -> bool {
        let modes = self.configs.each_ref().map(|config| config.mode);
        let begins = |end: End| modes[end] != ConnectionMode::ResponderOnly;
        let answers = |end: End| modes[end] != ConnectionMode::InitiatorOnly;
        (begins(0) && answers(1)) || (begins(1) && answers(0))
    }
}

/// What does not fit at first, at one end of the first tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Key,
    Ike,
    Esp,
    Selectors,
    Identity,
}

impl Mismatch {
    /// What a person is told at either end.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Key => "the shared key does not match",
            Self::Ike | Self::Esp => "proposal",
            Self::Selectors => "traffic selectors do not fit",
            Self::Identity => "identity",
        }
    }

    pub(crate) fn apply(self, config: &mut TunnelConfig) {
        match self {
            Self::Key => config.key = Secret::new(*b"made-up, and another one"),
            Self::Ike => {
                config.ike = vec![IkeProposal {
                    cipher: IkeCipher::AesCbc {
                        key_bits: 192,
                        integrity: IkeIntegrity::HmacSha2_512_256,
                    },
                    prf: Prf::HmacSha2_512,
                    group: Group::Curve25519,
                }];
            }
            Self::Esp => {
                config.esp = vec![EspProposal {
                    suite: EspSuite::Aes192Gcm,
                    pfs: None,
                }];
            }
            Self::Selectors => {
                let prefix = "172.31.0.0/16".parse().expect("a prefix");
                config.remote_selectors = vec![TrafficSelector::prefix(prefix)];
            }
            Self::Identity => {
                config.remote_ids = vec![Identity::Fqdn("nobody.example".to_owned())];
            }
        }
    }
}

/// What happens while the storm blows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// The process dies and is started again.
    Restart(usize),
    /// It says goodbye first.
    Leave(usize),
    AddressGone(usize, IpAddr),
    AddressBack(usize, IpAddr),
    /// The administrator resets a tunnel at one end.
    Reset(usize, End),
    /// A tunnel is taken out of the configuration of one end, and put back.
    Remove(usize, End),
    PutBack(usize, End),
    Partition(bool),
    Rebind,
    /// Byte limits are reached at both ends in the same instant, or at one.
    RekeyBoth(usize),
    Rekey(usize, End),
}

impl Action {
    /// IKE is to lose no packet over it.
    fn is_gentle(self) -> bool {
        matches!(self, Self::RekeyBoth(_) | Self::Rekey(..))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NatPlan {
    pub(crate) outside: IpAddr,
    pub(crate) idle: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) hosts: Vec<Vec<IpAddr>>,
    pub(crate) links: Vec<Link>,
    pub(crate) options: EndpointOptions,
    pub(crate) mtu: usize,
    pub(crate) nat: Option<NatPlan>,
    /// Lifetimes that leave time for a rekey that has to be asked for twice.
    pub(crate) steady: bool,
    pub(crate) mismatch: Option<(Mismatch, End)>,
    /// Which ends send, and how often.
    pub(crate) sends: [bool; 2],
    pub(crate) interval: Duration,
    pub(crate) storm: Weather,
    pub(crate) storm_for: Duration,
    pub(crate) script: Vec<(Duration, Action)>,
    pub(crate) calm: Weather,
    pub(crate) calm_for: Duration,
    /// In the calm: both ends rekey at once.
    pub(crate) collisions: Vec<(Duration, Action)>,
    /// At the end one host leaves for good.
    pub(crate) leaves: Option<usize>,
}

impl Scenario {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let v6 = rng.percent(20);
        let address = |host: u64, number: u64| address(v6, host, number);
        // A pair, two addresses at one end, or three hosts.
        let (hosts, ends) = match rng.below(10) {
            0 => (
                vec![vec![address(0, 0), address(0, 1)], vec![address(1, 0)]],
                vec![((0, 0), (1, 0)), ((0, 1), (1, 0))],
            ),
            1 => (
                (0..3).map(|host| vec![address(host, 0)]).collect(),
                vec![((0, 0), (1, 0)), ((1, 0), (2, 0)), ((0, 0), (2, 0))],
            ),
            _ => (
                (0..2).map(|host| vec![address(host, 0)]).collect(),
                vec![((0, 0), (1, 0))],
            ),
        };
        let nat = (ends.len() == 1 && rng.percent(25)).then(|| NatPlan {
            outside: address(9, 0),
            idle: if rng.percent(50) {
                rng.seconds(40, 300)
            } else {
                rng.seconds(3, 30)
            },
        });
        let steady = rng.percent(60);
        let small = rng.percent(20);
        let mut links = Vec::new();
        for (&((a, m), (b, n)), id) in ends.iter().zip(1..) {
            let mut link = draw_link(rng, id, [a, b], [hosts[a][m], hosts[b][n]], steady, small);
            if let Some(nat) = nat {
                let [_, far] = &mut link.configs;
                far.remote = nat.outside;
                // Nothing gets in that was not asked for.
                link.configs[0].mode = ConnectionMode::Default;
                if link.configs[1].mode == ConnectionMode::InitiatorOnly {
                    link.configs[1].mode = ConnectionMode::ResponderOnly;
                }
            }
            links.push(link);
        }
        let options = EndpointOptions {
            max_datagram: if small { 640 } else { 1232 },
            cookie_threshold: if rng.percent(15) { 0 } else { 64 },
            ..EndpointOptions::default()
        };
        let mismatches = [
            Mismatch::Key,
            Mismatch::Ike,
            Mismatch::Esp,
            Mismatch::Selectors,
            Mismatch::Identity,
        ];
        let mut mismatch = (rng.percent(25) && nat.is_none() && links[0].can_connect())
            .then(|| (rng.pick(&mismatches), rng.pick(&[0, 1])));
        if let Some((Mismatch::Selectors, end)) = mismatch
            && links[0].configs[1 - end].local_selectors.len() > 1
        {
            // Anything can be narrowed to anything.
            mismatch = Some((Mismatch::Key, end));
        }
        let storm_for = rng.seconds(30, 200);
        let faithful = rng.percent(25);
        let storm = Weather {
            loss: if faithful { 0 } else { rng.below(41) },
            duplicates: if faithful { 0 } else { rng.below(21) },
            delay: (rng.below(50), 50 + rng.below(rng.clone().below(1450) + 1)),
        };
        let script = draw_script(rng, &hosts, &links, nat.is_some(), storm_for, faithful);
        let calm_for = if steady {
            rng.seconds(200, 500)
        } else {
            rng.seconds(20, 120)
        };
        let collisions = (0..rng.below(4))
            .map(|_| {
                let at = calm_for.mul_f64(rng.below(100) as f64 / 100.0);
                (at, Action::RekeyBoth(rng.pick(&[0, links.len() - 1])))
            })
            .collect();
        let sends = rng.pick(&[[true, true], [true, true], [true, false], [false, false]]);
        Self {
            seed,
            options,
            mtu: if small {
                700
            } else {
                rng.pick(&[1280, 1500, 9000])
            },
            nat,
            steady,
            mismatch,
            sends,
            interval: rng.millis(1000, 3000),
            storm,
            storm_for,
            script,
            calm: Weather {
                loss: 0,
                duplicates: 0,
                delay: (rng.below(30), 30 + rng.below(120)),
            },
            calm_for,
            collisions,
            leaves: rng.percent(40).then(|| rng.pick(&[0, 1])),
            hosts,
            links,
        }
    }

    /// No packet may be lost, from the first time on that both ends agree: nothing but rekeys
    /// happens.
    pub(crate) fn is_gentle(&self) -> bool {
        self.is_faithful()
            && self.storm.is_faithful()
            && self.script.iter().all(|(_, action)| action.is_gentle())
    }

    /// No packet may be lost in the calm.
    pub(crate) fn is_faithful(&self) -> bool {
        let remembered = Duration::from_secs(35);
        self.steady && self.nat.is_none_or(|nat| nat.idle > remembered)
    }
}

fn address(v6: bool, host: u64, number: u64) -> IpAddr {
    let (host, number) = (host as u8 + 1, number as u8 + 1);
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, host.into(), 0, 0, 0, number.into()).into()
    } else {
        Ipv4Addr::new(203, 0, host, number).into()
    }
}

fn draw_link(
    rng: &mut Rng,
    id: u64,
    hosts: [usize; 2],
    at: [IpAddr; 2],
    steady: bool,
    small: bool,
) -> Link {
    use ConnectionMode::{Default, InitiatorOnly, ResponderOnly};
    let modes = rng.pick(&[
        [Default, Default],
        [Default, Default],
        [Default, Default],
        [Default, ResponderOnly],
        [ResponderOnly, Default],
        [InitiatorOnly, ResponderOnly],
        [InitiatorOnly, Default],
        [ResponderOnly, ResponderOnly],
    ]);
    let groups: &[Group] = if small {
        &[Group::Curve25519]
    } else {
        &[
            Group::Curve25519,
            Group::Curve25519,
            Group::Curve25519,
            Group::Curve25519,
            Group::Ecp256,
            Group::Ecp256,
            Group::Ecp384,
        ]
    };
    let suite = draw_ike(rng, rng.clone().pick(groups));
    let mut ike = [vec![suite], vec![suite]];
    if rng.percent(20) {
        // The first guess of one end is not what the other takes.
        let guess = IkeProposal {
            group: Group::Ecp256,
            ..suite
        };
        if guess != suite {
            ike[rng.pick(&[0, 1])].insert(0, guess);
        }
    }
    let pfs = rng.percent(40).then(|| rng.pick(groups));
    let suite = draw_esp(rng, pfs);
    let mut esp = [vec![suite], vec![suite]];
    if pfs.is_some() && rng.percent(30) {
        let guess = EspProposal {
            pfs: Some(Group::Ecp256),
            ..suite
        };
        if guess != suite {
            esp[rng.pick(&[0, 1])].insert(0, guess);
        }
    }
    let lifetimes = if steady {
        Lifetimes {
            ike: rng.seconds(150, 400),
            child: rng.seconds(150, 300),
            child_bytes: rng.percent(25).then_some(15_000),
        }
    } else {
        Lifetimes {
            ike: rng.seconds(10, 60),
            child: rng.seconds(8, 40),
            child_bytes: rng.percent(25).then_some(2_000),
        }
    };
    let encapsulation = rng.pick(&[EncapsulationChoice::Udp, EncapsulationChoice::ByNat]);
    let dpd = rng.seconds(10, 45);
    let selectors = rng.below(4);
    let any = || {
        ["0.0.0.0/0", "::/0"].map(|prefix| TrafficSelector::prefix(prefix.parse().expect("one")))
    };
    let of_host = |host: usize| {
        let prefix = format!("{}/16", inner_address(host as u64));
        let prefix: ipnet::IpNet = prefix.parse().expect("a prefix");
        vec![TrafficSelector::prefix(prefix.trunc())]
    };
    let exact = |end: End| selectors & (1 << end) != 0;
    let mut config = |end: End| {
        let (local, remote) = (at[end], at[1 - end]);
        TunnelConfig {
            id: TunnelId(id),
            name: Arc::from(format!("{id} at {end}")),
            local,
            remote,
            local_id: if rng.percent(70) {
                Identity::Ip(local)
            } else {
                Identity::Fqdn(format!("host{}.example", hosts[end]))
            },
            remote_ids: Vec::new(),
            key: Secret::new(format!("made-up-key-{id}").into_bytes()),
            mode: modes[end],
            ike: ike[end].clone(),
            esp: esp[end].clone(),
            local_selectors: if exact(end) {
                of_host(hosts[end])
            } else {
                any().to_vec()
            },
            remote_selectors: if exact(end) {
                of_host(hosts[1 - end])
            } else {
                any().to_vec()
            },
            lifetimes,
            dpd,
            encapsulation,
            post_quantum: rng.percent(20),
            generation: 0,
        }
    };
    let mut configs = [config(0), config(1)];
    for end in 0..2 {
        if rng.percent(30) {
            configs[end].remote_ids = vec![configs[1 - end].local_id.clone()];
        }
    }
    Link {
        id: TunnelId(id),
        hosts,
        configs,
    }
}

fn draw_ike(rng: &mut Rng, group: Group) -> IkeProposal {
    let cipher = rng.pick(&[
        IkeCipher::Aes256Gcm,
        IkeCipher::Aes128Gcm,
        IkeCipher::ChaCha20Poly1305,
        IkeCipher::AesCbc {
            key_bits: 256,
            integrity: IkeIntegrity::HmacSha2_256_128,
        },
    ]);
    let prf = rng.pick(&[Prf::HmacSha2_256, Prf::HmacSha2_384]);
    IkeProposal { cipher, prf, group }
}

fn draw_esp(rng: &mut Rng, pfs: Option<Group>) -> EspProposal {
    let suite = rng.pick(&[
        EspSuite::Aes256Gcm,
        EspSuite::Aes128Gcm,
        EspSuite::ChaCha20Poly1305,
        EspSuite::AesCbc {
            key_bits: 256,
            integrity: EspIntegrity::HmacSha2_256_128,
        },
    ]);
    EspProposal { suite, pfs }
}

fn draw_script(
    rng: &mut Rng,
    hosts: &[Vec<IpAddr>],
    links: &[Link],
    nat: bool,
    length: Duration,
    gentle: bool,
) -> Vec<(Duration, Action)> {
    let mut script = Vec::new();
    for _ in 0..rng.below(5) {
        let at = length.mul_f64(rng.below(1000) as f64 / 1000.0);
        let later = at + rng.millis(50, 40_000);
        let host = rng.below(hosts.len() as u64) as usize;
        let link = rng.below(links.len() as u64) as usize;
        let end = rng.pick(&[0, 1]);
        let choice = if gentle { 9 } else { rng.below(12) };
        match choice {
            0 | 1 => script.push((at, Action::Restart(host))),
            2 => script.push((at, Action::Leave(host))),
            3 => {
                let address = rng.pick(&hosts[host]);
                script.push((at, Action::AddressGone(host, address)));
                script.push((later, Action::AddressBack(host, address)));
            }
            4 => script.push((at, Action::Reset(link, end))),
            5 => {
                script.push((at, Action::Remove(link, end)));
                script.push((later, Action::PutBack(link, end)));
            }
            6 => {
                script.push((at, Action::Partition(true)));
                script.push((later, Action::Partition(false)));
            }
            7 if nat => script.push((at, Action::Rebind)),
            8 => script.push((at, Action::Rekey(link, end))),
            _ => script.push((at, Action::RekeyBoth(link))),
        }
    }
    script
}
