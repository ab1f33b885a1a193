//! Every command and option. Completions and man pages are made of these, so the comments here are
//! what a user reads.

mod api;
mod capture;
mod principal;
mod template;
mod watcher;

pub use api::*;
pub use capture::*;
pub use principal::*;
pub use template::*;
pub use watcher::*;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;
use vnet_gw_common::maps;
use vnet_gw_core::model::DeployOptions;

use crate::{
    daemon::{
        ConfigFiles, DEFAULT_CAPTURES, LogFormat, LogLevel,
        keys::{KEY_LENGTH, KEY_LONGEST},
    },
    datapath::{HookChoice, Instance},
    worker::EngineChoice,
};

/// Azure's virtual networks on Linux hosts, forwarded by eBPF
///
/// Virtual networks, peerings, network interfaces and route tables are described as Azure resources
/// in an ARM template; `vnet-gw run` makes the kernel forward between them. The other commands ask
/// the running daemon, or look at a template without one.
#[derive(Debug, Parser)]
#[command(
    name = "vnet-gw",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The instance: several may run on one host [default: `default`, or the only one that runs]
    #[arg(long, global = true, value_name = "NAME", value_parser = instance)]
    pub instance: Option<Instance>,

    /// How to print: tables for people, JSON with Azure's property names for programs
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: OutputFormat,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: put a configuration into force and keep it there
    ///
    /// Reads the file again when it changes or on SIGHUP; a file that does not validate changes
    /// nothing. Ends on SIGTERM or SIGINT and leaves the data path forwarding: a restart takes it
    /// over, `vnet-gw down` removes it.
    Run(Box<RunArgs>),
    /// Check a template without touching anything
    Validate(ValidateArgs),
    /// Remove an instance's data path from the kernel
    ///
    /// Detaches its programs and removes its maps; forwarding stops. What they have counted for
    /// `vnet-gw usage` is kept first. Refused while the daemon runs.
    Down(DownArgs),
    /// What the daemon runs with, and how it fares
    Status,
    /// The effective routes of a network interface or subnet
    EffectiveRoutes(EffectiveRoutesArgs),
    /// The security rules that hold for a network interface, its tags expanded
    EffectiveNsg(EffectiveNsgArgs),
    /// Which route a packet takes, why, and what becomes of it
    NextHop(NextHopArgs),
    /// Why a packet arrives or does not: each step, what decided it, and what would have to change
    ///
    /// Works the way there and that of the answer out from the resources, and adds what the daemon
    /// knows of ports and tunnels; nothing is sent. The exit code is 1 where it does not arrive.
    Why(WhyArgs),
    /// What the network security groups of a network interface say of a flow
    IpFlowVerify(IpFlowVerifyArgs),
    /// The hops of a packet with what is wrong at each, as Azure's connectivityCheck
    ///
    /// Sends ten TCP or ICMP probes by the network interface's own port, where that is on this host
    /// and up, no source port is given, and root asks; else the resources alone say it. The exit
    /// code is 1 where it is Disconnected.
    ConnectivityCheck(ConnectivityCheckArgs),
    /// What there is in a virtual network or subnet, and what belongs to what
    Topology(TopologyArgs),
    /// The ports: network interfaces with their devices
    Ports,
    /// The peerings of all virtual networks
    Peerings(SourceArgs),
    /// Packets and bytes per route, and per reason for not forwarding
    Counters(CountersArgs),
    /// What was metered, by class and virtual network: peering, gateway transit, VPN, internet
    ///
    /// Bytes of layer-3 packets that arrived where they should: at the other side of a peering, at the
    /// far end of a tunnel. It survives restarts, `vnet-gw down` and crashes. A period is answered in
    /// buckets of 5 minutes for two days, of an hour for 62 days, of a day for two years, moved
    /// outwards to where they begin and end.
    Usage(UsageArgs),
    /// Follow what the data path decides about packets that a network interface sends
    Trace(TraceArgs),
    /// Network security groups: what their rules decided
    Nsg(NsgArgs),
    /// Capture the packets of a network interface or a VPN gateway, for Wireshark
    PacketCapture(PacketCaptureArgs),
    /// Try whether an address answers a network interface
    ///
    /// Packets are sent as the workload itself would send them, through the port's own program, its
    /// routes and security rules; what comes back is seen at the port. Of a TCP connection only the
    /// first packet is sent. The exit code is 1 where nothing answered.
    Probe(ProbeArgs),
    /// Connection monitors, which probe on a schedule: how they fare
    ///
    /// They are made through the API, as `az network watcher connection-monitor` does.
    ConnectionMonitor(ConnectionMonitorArgs),
    /// The VPN gateways: addresses, bandwidth, engine, and what they dropped
    Gateways,
    /// The VPN connections and how they fare
    Connections(ConnectionsArgs),
    /// Look at one VPN connection, reset it, or see to its shared key
    Connection(ConnectionArgs),
    /// The IKE and CHILD SAs of a VPN connection: algorithms, SPIs, rekey times; never keys
    IkeSas(ConnectionName),
    /// Ask the API as it is, over the daemon's Unix socket
    ///
    /// Long operations are waited for. An answer that is an error is printed, too, and the exit code
    /// is 1.
    Rest(RestArgs),
    /// Deploy a template to a resource group of the running instance
    ///
    /// All of it or nothing, and done when the data path carries it. What changed is printed, and as
    /// a warning what has no effect here. Deployed again, a template changes nothing. A template of
    /// more than 4 MB is for `vnet-gw run --config`.
    Apply(ApplyArgs),
    /// What `vnet-gw apply` would change
    WhatIf(TemplateArgs),
    /// A resource group as an ARM template
    ///
    /// Applied again, it changes nothing; applied elsewhere, it makes the same. Shared keys are not in
    /// it: they are secure parameters, and a connection whose parameter is left out keeps the key it
    /// has.
    Export(ExportArgs),
    /// Service principals, with which clients sign in to the API: make them, give them roles
    Principal(PrincipalArgs),
    /// Who changed what, when, from where, and what came of it
    ActivityLog(ActivityLogArgs),
    /// Make a template of a classic network configuration file
    ///
    /// Reads the XML that Azure's classic portal and `Get-AzureVNetConfig` exported, and prints an
    /// ARM template of today's resources: virtual networks with their subnets and DNS servers, VPN
    /// gateways with public IP addresses, local network gateways, connections. A local network site
    /// with the address space of a virtual network of the file stands for that: it becomes a
    /// VNet-to-VNet connection. What the file does not have (public addresses, shared keys) is a
    /// parameter of the template. On standard error, line by line: what could not be carried over,
    /// what changed, and which values to supply. Fails where the file cannot be read, or where its
    /// networks break a rule, which is told; the template is written all the same, to be mended. With
    /// `--apply` a template that breaks none is deployed at once.
    ImportNetcfg(ImportNetcfgArgs),
    /// Look for what is missing on this host, and say how to mend it
    Doctor(DoctorArgs),
    /// Print the completions of a shell
    ///
    /// For bash: `vnet-gw completions bash > /usr/share/bash-completion/completions/vnet-gw`.
    Completions(CompletionsArgs),
    /// Write the man pages
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct DownArgs {
    /// Where the daemon kept what it counted [default: /var/lib/vnet-gw/INSTANCE]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UsageArgs {
    /// From then on: 2026-11-21T14:00:00Z or 2026-11-21, UTC [default: with --to from the beginning;
    /// without, all there ever was]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<u64>,

    /// Until then [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<u64>,

    /// Of this virtual network only: its name or id
    #[arg(long, value_name = "VNET")]
    pub vnet: Option<String>,
}

/// RFC 3339 in UTC, or a day: in seconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let wrong = || "a time in UTC as in 2026-11-21T14:00:00Z, or a day as in 2026-11-21".to_owned();
    let whole = match text.contains(['T', 't', ' ']) {
        true => text.to_owned(),
        false => format!("{text}T00:00:00Z"),
    };
    let at = humantime::parse_rfc3339_weak(&whole).map_err(|_| wrong())?;
    let since = at.duration_since(std::time::UNIX_EPOCH);
    Ok(since.map_err(|_| wrong())?.as_secs())
}

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

/// What a template is deployed with.
#[derive(Clone, Debug, Args)]
pub struct DeployArgs {
    /// An ARM parameters file for the template
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,

    /// Subscription in the resources' ids [default: all zeroes]
    #[arg(long, value_name = "ID")]
    pub subscription_id: Option<String>,

    /// Resource group in the resources' ids [default: vnet-gw]
    #[arg(long, value_name = "NAME")]
    pub resource_group: Option<String>,

    /// Location of the resource group [default: local]
    #[arg(long, value_name = "REGION")]
    pub location: Option<String>,

    /// Name of this host, as in the tag `vnet-gw:host` [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

impl DeployArgs {
    /// The files and options of the template at `template`.
    pub fn files(&self, template: PathBuf) -> ConfigFiles {
        let default = DeployOptions::default();
        ConfigFiles {
            template,
            parameters: self.parameters.clone(),
            deploy: DeployOptions {
                subscription_id: self
                    .subscription_id
                    .clone()
                    .unwrap_or(default.subscription_id),
                resource_group: self
                    .resource_group
                    .clone()
                    .unwrap_or(default.resource_group),
                location: self.location.clone().unwrap_or(default.location),
                ..default
            },
            host_name: self.host_name(),
        }
    }

    /// What this host is called.
    pub fn host_name(&self) -> Option<String> {
        self.host.clone().or_else(|| {
            let name = nix::unistd::gethostname().ok()?;
            name.into_string().ok()
        })
    }
}

/// Where resources are looked at.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Look at this template instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub deploy: DeployArgs,
}

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The ARM template
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub deploy: DeployArgs,
}

#[derive(Debug, Args)]
pub struct ImportNetcfgArgs {
    /// The network configuration file (`.xml`, `.netcfg`)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Write the template here [default: to standard output]
    #[arg(long, value_name = "TEMPLATE")]
    pub out: Option<PathBuf>,

    /// Region of virtual networks of which the file says an affinity group only [default: that of
    /// the resource group which the template is deployed to]
    #[arg(long, value_name = "REGION")]
    pub location: Option<String>,

    /// Deploy the template to the running daemon
    #[arg(long)]
    pub apply: bool,

    /// The values to supply: an ARM parameters file, or a parameter as NAME=VALUE or NAME=@FILE, which
    /// takes the value from a file; may be given several times. Shared keys are taken from files only
    #[arg(short, long, value_name = "FILE|NAME=VALUE", requires = "apply")]
    pub parameters: Vec<String>,

    #[command(flatten)]
    pub group: GroupArgs,
}

#[derive(Debug, Args)]
pub struct EffectiveRoutesArgs {
    #[command(flatten)]
    pub of: RoutesOf,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RoutesOf {
    /// A network interface: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub nic: Option<String>,

    /// A subnet: VNET/SUBNET, GROUP/VNET/SUBNET or its id
    #[arg(long, value_name = "VNET/SUBNET")]
    pub subnet: Option<String>,
}

#[derive(Debug, Args)]
pub struct EffectiveNsgArgs {
    /// The network interface: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub nic: String,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct NextHopArgs {
    /// The network interface that sends: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub nic: String,

    /// Where the packet goes
    #[arg(long, value_name = "IP")]
    pub dest: IpAddr,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct CountersArgs {
    /// Routes of this subnet only: VNET/SUBNET, GROUP/VNET/SUBNET or its id
    #[arg(long, value_name = "VNET/SUBNET")]
    pub subnet: Option<String>,

    /// Routes and reasons that counted nothing, too
    #[arg(long)]
    pub all: bool,

    /// Again and again, with rates
    #[arg(long)]
    pub watch: bool,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = period, requires = "watch")]
    pub interval: Duration,
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The network interface that sends: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub nic: String,

    /// One packet in this many, on average
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,

    /// End after this many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ConnectionsArgs {
    /// Again and again
    #[arg(long)]
    pub watch: bool,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = period, requires = "watch")]
    pub interval: Duration,
}

#[derive(Debug, Args)]
pub struct NsgArgs {
    #[command(subcommand)]
    pub command: NsgCommand,
}

#[derive(Debug, Subcommand)]
pub enum NsgCommand {
    /// The rules that hold for network interfaces on this host: how often each decided, and when last
    ///
    /// A hit is a flow that the rule admitted, or a packet that it refused.
    Show(NsgShowArgs),
}

#[derive(Debug, Args)]
pub struct NsgShowArgs {
    /// Only this group: its name or id
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct ConnectionArgs {
    #[command(subcommand)]
    pub command: ConnectionCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// Everything about a connection and each of its tunnels
    Show(ConnectionName),
    /// Make the tunnels of a connection anew
    Reset(ConnectionName),
    /// The shared key of a connection
    SharedKey(SharedKeyArgs),
}

#[derive(Debug, Args)]
pub struct ConnectionName {
    /// The connection: NAME, GROUP/NAME or its id
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct SharedKeyArgs {
    #[command(subcommand)]
    pub command: SharedKeyCommand,
}

#[derive(Debug, Subcommand)]
pub enum SharedKeyCommand {
    /// Print the key
    Show(ConnectionName),
    /// Set the key to what is read from standard input, and make the tunnels anew
    ///
    /// The first line is the key. It is not taken from the command line, where every process of
    /// this host could read it.
    Set(SetKeyArgs),
    /// Make a new key, print it, and make the tunnels anew
    Reset(ResetKeyArgs),
}

#[derive(Debug, Args)]
pub struct SetKeyArgs {
    #[command(flatten)]
    pub connection: ConnectionName,

    /// Read the key from this file instead
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ResetKeyArgs {
    #[command(flatten)]
    pub connection: ConnectionName,

    /// How many characters
    #[arg(long, value_name = "N", default_value_t = KEY_LENGTH as u16,
        value_parser = clap::value_parser!(u16).range(1..=KEY_LONGEST as i64))]
    pub length: u16,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look at the devices of this template [default: those of the running instance, or all]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub deploy: DeployArgs,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command here [default: the main page to standard output]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
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

fn instance(name: &str) -> Result<Instance, String> {
    Instance::new(name).map_err(|error| error.to_string())
}

fn interval(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_secs(1))
}

fn period(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_millis(100))
}

fn at_least(text: &str, least: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; as in 10s"))?;
    if time < least {
        return Err(format!("at least {}", humantime::format_duration(least)));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_says_what_it_is() {
        let root = Cli::command();
        let mut commands = vec![&root];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command
                .get_arguments()
                .filter(|arg| arg.get_id() != "shell")
            {
                assert!(
                    arg.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
        }
    }

    #[test]
    fn usage_errors_are_told() {
        for (line, told) in [
            ("vnet-gw run --public-ip-pool 192.0.2", "invalid"),
            (
                "vnet-gw effective-routes",
                "<--nic <NAME>|--subnet <VNET/SUBNET>>",
            ),
            (
                "vnet-gw effective-routes --nic a --subnet b/c",
                "cannot be used with",
            ),
            ("vnet-gw next-hop --nic a --dest x", "invalid IP address"),
            (
                "vnet-gw run --config f --reconcile-interval 10ms",
                "at least 1s",
            ),
            ("vnet-gw ports --instance a.b", "instance name \"a.b\""),
            ("vnet-gw trace --nic a --every 0", "0 is not in"),
            (
                "vnet-gw run --config f --log-level loud",
                "\"loud\" is no level",
            ),
            ("vnet-gw counters --interval 2s", "--watch"),
            ("vnet-gw connections --interval 2s", "--watch"),
            ("vnet-gw connection show", "<NAME>"),
            (
                "vnet-gw connection shared-key set a abc123",
                "unexpected argument",
            ),
            (
                "vnet-gw connection shared-key reset a --length 129",
                "129 is not in 1..=128",
            ),
        ] {
            let error = Cli::try_parse_from(line.split(' '))
                .unwrap_err()
                .to_string();
            assert!(error.contains(told), "{line}: {error}");
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in [
            "vnet-gw -o json ports --instance a",
            "vnet-gw --instance a ports -o json",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.output, OutputFormat::Json);
            assert_eq!(cli.instance.unwrap().name, "a");
        }
    }
}
