//! What carries packets between A and B.

use std::{
    fmt,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use vnet_gw_lab::{Daemon, Lab, Process};

use crate::{
    Options, ours, rtt, strongswan,
    wire::{NETS, UNDERLAY, Wire},
    wireguard,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// `ip_forward` without a tunnel: the ceiling.
    Plain,
    /// Ours, AES-256-GCM.
    VnetGw,
    /// strongSwan's kernel-libipsec, AES-256-GCM.
    StrongswanAes,
    /// The same with ChaCha20-Poly1305.
    StrongswanChacha,
    WireguardGo,
    Boringtun,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Plain,
        Self::VnetGw,
        Self::StrongswanAes,
        Self::StrongswanChacha,
        Self::WireguardGo,
        Self::Boringtun,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::VnetGw => "vnet-gw",
            Self::StrongswanAes => "strongswan-aes",
            Self::StrongswanChacha => "strongswan-chacha",
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun",
        }
    }

    /// Of namespaces; short.
    const fn short(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::VnetGw => "ours",
            Self::StrongswanAes => "swana",
            Self::StrongswanChacha => "swanc",
            Self::WireguardGo => "wggo",
            Self::Boringtun => "boring",
        }
    }

    pub(crate) const fn is_peer(self) -> bool {
        !matches!(self, Self::Plain | Self::VnetGw)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What must live as long as the subject is measured.
pub(crate) enum Part {
    Process { _process: Process },
    Daemon { _daemon: Box<Daemon> },
    Strongswan { _peer: Box<strongswan::Peer> },
}

/// A wire with a subject on it, and servers at B.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) wire: Wire,
    /// The UDP rates that it was seen to carry, by row: where the next search begins.
    pub(crate) rates: std::collections::BTreeMap<&'static str, f64>,
    /// Where B echoes datagrams.
    pub(crate) echo: SocketAddr,
    _parts: Vec<Part>,
}

impl Subject {
    pub(crate) fn new(lab: &Lab, options: &Options, kind: Kind) -> Result<Self> {
        let wire = Wire::new(lab, kind.short())?;
        let parts = match kind {
            Kind::Plain => {
                wire.forward_by_kernel()?;
                for (side, gateway) in wire.gateways.iter().enumerate() {
                    let far = 1 - side;
                    gateway.ip(&format!("route add {} via {}", NETS[far], UNDERLAY[far]))?;
                }
                Ok(Vec::new())
            }
            Kind::VnetGw => ours::start(lab, options, &wire),
            Kind::StrongswanAes => strongswan::start(lab, &wire, "aes256gcm16"),
            Kind::StrongswanChacha => strongswan::start(lab, &wire, "chacha20poly1305"),
            Kind::WireguardGo => {
                wireguard::start(lab, &wire, &options.wireguard_go, &["-f"], "wggo")
            }
            Kind::Boringtun => wireguard::start(
                lab,
                &wire,
                &options.boringtun,
                &["-f", "--disable-drop-privileges"],
                "boring",
            ),
        };
        let mut parts = parts.with_context(|| format!("setting up {kind}"))?;
        let log = lab.dir().join(format!("iperf3-{kind}.log"));
        let server = Process::spawn(
            wire.workloads[1]
                .command("iperf3")
                .args(["--server", "--forceflush"]),
            &log,
        )?;
        await_log(&server, "Server listening", Duration::from_secs(5))?;
        parts.push(Part::Process { _process: server });
        let subject = Self {
            kind,
            rates: std::collections::BTreeMap::new(),
            echo: rtt::serve(&wire.workloads[1])?,
            wire,
            _parts: parts,
        };
        subject.await_path()?;
        Ok(subject)
    }

    /// Until a datagram from A comes back from B.
    fn await_path(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while !rtt::answers(&self.wire.workloads[0], self.echo)? {
            if Instant::now() > deadline {
                bail!("{}: nothing crosses after 15 s", self.kind);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

pub(crate) fn await_log(process: &Process, text: &str, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !process.log().contains(text) {
        if Instant::now() > deadline {
            bail!(
                "no {text:?} after {} s: {}",
                patience.as_secs(),
                process.log().trim()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
