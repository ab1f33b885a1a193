//! Choosing and opening an engine.

use std::{io, net::IpAddr};

use vnet_gw_core::{compile::GatewayImage, sa::TUNNEL_MTU};

use super::{Port, Underlay, gso};
use crate::worker::EngineChoice;

/// An engine that is open: the gateway's port exists, the sockets are bound.
pub struct Engine {
    /// `gso` or `xsk`.
    pub name: &'static str,
    /// Why that one, in words.
    pub reason: String,
    pub port: Box<dyn Port>,
    pub underlay: Box<dyn Underlay>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the gateway port {device}: {doing}: {source}")]
    Port {
        device: String,
        doing: &'static str,
        source: io::Error,
    },
    #[error("{doing} {address}: {source}{}", hint(source))]
    Socket {
        address: IpAddr,
        /// As in `binding UDP port 4500 of`.
        doing: &'static str,
        source: io::Error,
    },
    #[error("the engine xsk cannot be used: {0}")]
    Xsk(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (does another IKE daemon run here?)",
        _ => "",
    }
}

/// Opens what `choice` asks for, in the calling thread's network namespace.
pub fn open(gateway: &GatewayImage, choice: EngineChoice) -> Result<Engine, OpenError> {
    let reason = match choice {
        EngineChoice::Gso => "as configured".to_owned(),
        EngineChoice::Auto => "no device of the underlay has zero-copy AF_XDP".to_owned(),
        EngineChoice::Xsk => return Err(OpenError::Xsk("it is not there yet".to_owned())),
    };
    let port = gso::Tap::create(&gateway.device, gateway.mac, u32::from(TUNNEL_MTU)).map_err(
        |(doing, source)| OpenError::Port {
            device: gateway.device.clone(),
            doing,
            source,
        },
    )?;
    let mut underlay = gso::Sockets::new();
    let addresses: Vec<_> = gateway.instances.iter().map(|i| i.public_address).collect();
    underlay.configure(&addresses)?;
    Ok(Engine {
        name: "gso",
        reason,
        port: Box::new(port),
        underlay: Box::new(underlay),
    })
}
