//! `vnet-gw packet-capture`

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct PacketCaptureArgs {
    #[command(subcommand)]
    pub command: PacketCaptureCommand,
}

#[derive(Debug, Subcommand)]
pub enum PacketCaptureCommand {
    /// Begin a capture
    ///
    /// What the workload sends is captured as it comes, also what is dropped then, with the reason;
    /// what goes to the workload, as it gets it. At a VPN gateway these are the packets inside its
    /// tunnels. The file is the daemon's, for root alone, in pcapng. A capture ends with its limits,
    /// with `stop`, and with the daemon.
    Start(StartCaptureArgs),
    /// Write packets to a file or to standard output until Ctrl-C: `… stream --nic web1 -w - | wireshark -k -i -`
    Stream(StreamCaptureArgs),
    /// End a capture; it stays in the list
    Stop(CaptureName),
    /// The captures, and how far they are
    List,
    /// One capture
    Show(CaptureName),
    /// End a capture and forget it; its file stays
    Delete(CaptureName),
}

#[derive(Debug, Args)]
pub struct CaptureName {
    /// Its name or its id
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct StartCaptureArgs {
    /// What it is called
    #[arg(value_name = "NAME")]
    pub name: String,

    #[command(flatten)]
    pub what: CaptureWhat,

    /// The file to write on the daemon's host; its directory must be there, and no such file
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct StreamCaptureArgs {
    #[command(flatten)]
    pub what: CaptureWhat,

    /// Where to write: a file, or `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,
}

#[derive(Debug, Args)]
pub struct CaptureWhat {
    #[command(flatten)]
    pub target: CaptureTarget,

    /// End after this time [default: 5 hours, for a stream never]
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub time_limit: Option<Duration>,

    /// End before the file is longer than so many bytes [default: 1 GiB, for a stream never]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=4_294_967_295))]
    pub total_bytes: Option<u64>,

    /// Bytes kept of each packet [default: all]
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub packet_bytes: u32,

    /// Packets of this protocol only: TCP, UDP or ICMP
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<String>,

    /// Addresses of the captured side: one, FIRST-LAST, or several with `;` between
    #[arg(long, value_name = "ADDRESSES")]
    pub local_address: Option<String>,

    /// Addresses of the other side
    #[arg(long, value_name = "ADDRESSES")]
    pub remote_address: Option<String>,

    /// TCP or UDP ports of the captured side: one, FIRST-LAST, or several with `;` between
    #[arg(long, value_name = "PORTS")]
    pub local_port: Option<String>,

    /// TCP or UDP ports of the other side
    #[arg(long, value_name = "PORTS")]
    pub remote_port: Option<String>,

    /// Filters as Azure has them, a JSON list; a packet that fits one of them is captured
    #[arg(
        long,
        value_name = "JSON",
        conflicts_with_all = ["protocol", "local_address", "remote_address", "local_port", "remote_port"]
    )]
    pub filters: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct CaptureTarget {
    /// A network interface: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub nic: Option<String>,

    /// A VPN gateway: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub gateway: Option<String>,
}

fn time_limit(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(18_000);
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if limit.subsec_nanos() != 0 || limit.is_zero() || limit > MOST {
        return Err("whole seconds, from 1s to 5h".to_owned());
    }
    Ok(limit)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbeProtocol {
    Icmp,
    Tcp,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The network interface to send from: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NIC")]
    pub from: String,

    /// The address to try
    #[arg(long, value_name = "IP")]
    pub to: IpAddr,

    /// Echo requests, or the first packet of a TCP connection [default: TCP with --port, else ICMP]
    #[arg(long, value_enum)]
    pub protocol: Option<ProbeProtocol>,

    /// The TCP port to try
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// How many tries
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub count: u16,

    /// Time between two tries, at least 10ms
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = humantime::parse_duration)]
    pub interval: Duration,

    /// How long the answer to the last try is waited for, at most 30s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct ConnectionMonitorArgs {
    #[command(subcommand)]
    pub command: ConnectionMonitorCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConnectionMonitorCommand {
    /// The connection monitors, and how their tests fare
    List,
    /// One connection monitor
    Show(MonitorName),
    /// What the tests of one came to, time after time
    Query(MonitorName),
}

#[derive(Debug, Args)]
pub struct MonitorName {
    /// Its name or its id
    #[arg(value_name = "NAME")]
    pub name: String,
}
