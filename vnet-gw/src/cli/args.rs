//! Every command and option. Completions and man pages are made of these, so the comments here are
//! what a user reads.

mod api;
mod capture;
mod connections;
mod files;
mod principal;
mod run;
mod template;
mod watcher;

pub use api::*;
pub use capture::*;
pub use connections::*;
pub use files::*;
pub use principal::*;
pub use run::*;
pub use template::*;
pub use watcher::*;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::datapath::Instance;

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

fn instance(name: &str) -> Result<Instance, String> {
    Instance::new(name).map_err(|error| error.to_string())
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
