//! `vnet-gw run`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use vnet_gw_common::maps;

use super::*;
use crate::{
    daemon::{DEFAULT_CAPTURES, LogFormat, LogLevel},
    datapath::HookChoice,
    worker::EngineChoice,
};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// An ARM template that is applied at the start and whenever it changes [default: what the store
    /// has stays in force]
    ///
    /// The resources of the file are the file's: what others change of them lasts until it is read
    /// again, and what it does not have any more goes. Resources that others made stay.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub deploy: DeployArgs,

    /// Where resources, keys and the audit log are kept [default: /var/lib/vnet-gw/INSTANCE, or with
    /// --ephemeral nowhere]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Addresses for public IP addresses that name none; may be given several times
    #[arg(long, value_name = "PREFIX")]
    pub public_ip_pool: Vec<IpNet>,

    #[command(flatten)]
    pub api: ApiArgs,

    /// Serve metrics for Prometheus over HTTP here, at /metrics, as in 127.0.0.1:9464 [default: nowhere]
    ///
    /// Whoever reaches the address may read them; no secret is among them.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,

    /// Where ports attach: `auto` takes XDP on physical devices and TCX on virtual ones
    #[arg(long, value_enum, default_value_t)]
    pub hook: HookArg,

    /// How VPN gateways do their I/O: `gso` with segmentation offloads, `xsk` with AF_XDP, `auto` by
    /// what the devices can do
    #[arg(long, value_enum, default_value_t)]
    pub engine: EngineArg,

    /// What routes with the next hop type Internet lead to: `on` the host's own way there, with its
    /// addresses as sources; `off` nowhere
    ///
    /// `on` makes a pair of devices, an nftables table, and policy routing rules of the instance once
    /// the host has a route to the internet, and switches net.ipv4.ip_forward on.
    #[arg(long, value_enum, default_value_t)]
    pub internet: InternetArg,

    /// Where packet captures that are asked for through the API write their files; the directory is
    /// not made
    #[arg(long, value_name = "DIR", default_value = DEFAULT_CAPTURES)]
    pub capture_dir: PathBuf,

    /// How often the kernel is compared with the configuration
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = interval)]
    pub reconcile_interval: Duration,

    /// How many flows security groups may decide about at a time, of IPv4 and of IPv6 each; where
    /// there are more, rules are asked for every packet of the rest
    ///
    /// Each takes about 150 bytes of IPv4 and 170 of IPv6, whether or not there are so many. Takes
    /// effect when the data path is made; `vnet-gw down` removes one that is there.
    #[arg(long, value_name = "COUNT", default_value_t = maps::DEFAULT_FLOWS,
        value_parser = clap::value_parser!(u32).range(i64::from(maps::MIN_FLOWS)..=i64::from(maps::MAX_FLOWS)))]
    pub flows: u32,

    /// Log flows that security groups decided about to this file, a JSON line for each network
    /// interface and look, in the shape of Azure's VNet flow logs
    #[arg(long, value_name = "FILE")]
    pub flow_log: Option<PathBuf>,

    /// Size in MiB at which the flow log is put aside as FILE.1, FILE.2, …
    #[arg(long, value_name = "MIB", default_value_t = 100, requires = "flow_log",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub flow_log_size: u64,

    /// How many such files are kept
    #[arg(long, value_name = "COUNT", default_value_t = 4, requires = "flow_log",
        value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub flow_log_keep: u32,

    /// Who besides root may use the control socket, but for shared keys [default: `vnet-gw`, if
    /// there is such a group]
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<String>,

    /// Take the data path down at the end, and keep nothing unless --state-dir says where
    #[arg(long)]
    pub ephemeral: bool,

    /// How log lines look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels by module as in `info,vnet_gw::datapath=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HookArg {
    #[default]
    Auto,
    Xdp,
    Tcx,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InternetArg {
    #[default]
    On,
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    #[default]
    Auto,
    Gso,
    Xsk,
}

impl From<EngineArg> for EngineChoice {
    fn from(engine: EngineArg) -> Self {
        match engine {
            EngineArg::Auto => Self::Auto,
            EngineArg::Gso => Self::Gso,
            EngineArg::Xsk => Self::Xsk,
        }
    }
}

impl From<HookArg> for HookChoice {
    fn from(hook: HookArg) -> Self {
        match hook {
            HookArg::Auto => Self::Auto,
            HookArg::Xdp => Self::Xdp,
            HookArg::Tcx => Self::Tcx,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_secs(1))
}
