//! Questions about packets.

use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum};

use super::SourceArgs;
use crate::control::{FlowQuestion, IpProtocol, PacketQuestion};

#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The network interface that sends: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NIC")]
    pub from: String,

    /// Where the packet goes
    #[arg(long, value_name = "IP")]
    pub to: IpAddr,

    /// The protocol [default: tcp with --port, else icmp]
    #[arg(long, value_enum)]
    pub proto: Option<ProtocolArg>,

    /// The port it goes to
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,

    /// The address that it is sent from [default: the network interface's own]
    #[arg(long, value_name = "IP")]
    pub source_ip: Option<IpAddr>,

    /// The port that it is sent from [default: 49152]
    #[arg(long, value_name = "N", requires = "port")]
    pub source_port: Option<u16>,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct ConnectivityCheckArgs {
    #[command(flatten)]
    pub packet: WhyArgs,
}

#[derive(Debug, Args)]
pub struct IpFlowVerifyArgs {
    /// The network interface: NAME, GROUP/NAME or its id
    #[arg(long, value_name = "NAME")]
    pub nic: String,

    /// Which way the flow is opened, as the network interface sees it
    #[arg(long, value_enum)]
    pub direction: DirectionArg,

    /// The protocol
    #[arg(long, value_enum, default_value_t = ProtocolArg::Tcp)]
    pub protocol: ProtocolArg,

    /// The near end: IP or IP:PORT, [IP]:PORT with IPv6 [default: the network interface's address]
    #[arg(long, value_name = "IP[:PORT]", value_parser = end)]
    pub local: Option<End>,

    /// The far end: IP or IP:PORT, [IP]:PORT with IPv6
    #[arg(long, value_name = "IP[:PORT]", value_parser = end)]
    pub remote: End,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct TopologyArgs {
    /// A virtual network or subnet: VNET or VNET/SUBNET, after GROUP/ if need be, or its id
    #[arg(value_name = "VNET")]
    pub of: String,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    Tcp,
    Udp,
    Icmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    Inbound,
    Outbound,
}

/// An address, maybe with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub address: IpAddr,
    pub port: Option<u16>,
}

fn end(text: &str) -> Result<End, String> {
    if let Ok(address) = text.parse() {
        return Ok(End {
            address,
            port: None,
        });
    }
    match text.parse::<SocketAddr>() {
        Ok(both) => Ok(End {
            address: both.ip(),
            port: Some(both.port()),
        }),
        Err(_) => {
            Err("neither an address nor an address with a port, as in 10.0.0.4:443".to_owned())
        }
    }
}

impl From<ProtocolArg> for IpProtocol {
    fn from(protocol: ProtocolArg) -> Self {
        match protocol {
            ProtocolArg::Tcp => Self::Tcp,
            ProtocolArg::Udp => Self::Udp,
            ProtocolArg::Icmp => Self::Icmp,
        }
    }
}

impl WhyArgs {
    pub fn question(&self) -> PacketQuestion {
        let usual = match self.port {
            Some(_) => ProtocolArg::Tcp,
            None => ProtocolArg::Icmp,
        };
        PacketQuestion {
            network_interface: self.from.clone(),
            destination: self.to,
            protocol: self.proto.unwrap_or(usual).into(),
            port: self.port,
            source: self.source_ip,
            source_port: self.source_port,
        }
    }
}

impl IpFlowVerifyArgs {
    pub fn question(&self) -> FlowQuestion {
        FlowQuestion {
            network_interface: self.nic.clone(),
            outbound: self.direction == DirectionArg::Outbound,
            protocol: self.protocol.into(),
            local_address: self.local.map(|end| end.address),
            local_port: self.local.and_then(|end| end.port),
            remote_address: self.remote.address,
            remote_port: self.remote.port,
        }
    }
}
