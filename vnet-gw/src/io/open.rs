//! Choosing and opening an engine.

use std::{io, net::IpAddr};

use vnet_gw_core::{compile::GatewayImage, sa::TUNNEL_MTU};

use super::{Port, Underlay, gso, xsk};
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
///
/// `Auto` takes `xsk` where the device of the underlay has AF_XDP with zero-copy, else `gso`, which is
/// faster than AF_XDP where the kernel copies.
pub fn open(gateway: &GatewayImage, choice: EngineChoice) -> Result<Engine, OpenError> {
    let instances = gateway.instances.iter();
    let addresses: Vec<_> = instances.map(|i| i.public_address).collect();
    let wanted = match choice {
        EngineChoice::Gso => return gso(gateway, &addresses, "as configured".to_owned()),
        EngineChoice::Auto => xsk::Wanted::ZeroCopy,
        EngineChoice::Xsk => xsk::Wanted::Any,
    };
    let mut kernel = gso::Sockets::new();
    kernel.configure(&addresses)?;
    match xsk::open(Box::new(kernel), &addresses, wanted) {
        Ok((underlay, runs_on)) => {
            let port = xsk::create_port(&gateway.device, gateway.mac);
            Ok(Engine {
                name: "xsk",
                reason: match choice {
                    EngineChoice::Xsk => format!("as configured; {runs_on}"),
                    EngineChoice::Auto | EngineChoice::Gso => runs_on,
                },
                port: Box::new(port.map_err(|failure| port_error(gateway, failure))?),
                underlay: Box::new(underlay),
            })
        }
        Err(why) if choice == EngineChoice::Auto => gso(
            gateway,
            &addresses,
            format!("no AF_XDP with zero-copy: {why}"),
        ),
        Err(why) => Err(OpenError::Xsk(why)),
    }
}

fn gso(gateway: &GatewayImage, addresses: &[IpAddr], reason: String) -> Result<Engine, OpenError> {
    let port = gso::Tap::create(&gateway.device, gateway.mac, u32::from(TUNNEL_MTU))
        .map_err(|failure| port_error(gateway, failure))?;
    let mut underlay = gso::Sockets::new();
    underlay.configure(addresses)?;
    Ok(Engine {
        name: "gso",
        reason,
        port: Box::new(port),
        underlay: Box::new(underlay),
    })
}

fn port_error(gateway: &GatewayImage, (doing, source): (&'static str, io::Error)) -> OpenError {
    OpenError::Port {
        device: gateway.device.clone(),
        doing,
        source,
    }
}
