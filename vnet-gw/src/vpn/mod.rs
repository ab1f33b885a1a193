//! The VPN side of the daemon: one thread that runs IKE for every gateway of this host and hands
//! what it negotiates to the gateways' crypto workers.
//!
//! ```text
//!  daemon ── gateways, questions ──►┌────────── thread "ike" ──────────┐
//!  UDP 500 of each public address ◄─┤ hub: core's Endpoint, what is     ├─ commands ─► crypto worker ─► tap
//!  rtnetlink: addresses ───────────►│ known of gateways and tunnels     │◄─ reports ── of each gateway
//!                                   └──────────────────────────────────┘   (port 4500 and ESP are its)
//! ```

mod addresses;
mod hub;
mod port500;
mod status;
mod thread;
mod workers;

pub use addresses::local_addresses;
pub use status::{
    ConnectionStatus, GatewayStatus, InstanceStatus, SaCounts, TunnelStatus, VpnStatus, state_name,
};
pub use thread::Vpn;

use tokio::sync::oneshot;
use vnet_gw_core::{compile::GatewayImage, ike::IkeSaStatus, model::ResourceId};

/// What the daemon's loop asks of the VPN side. [`Vpn`] is the real one; tests have one in memory.
pub trait Tunnels {
    /// Makes the taps of gateways that are new, so that the data path finds them; they carry
    /// nothing before [`Self::apply`]. Waits for them for a moment at most.
    fn prepare(&mut self, gateways: &[GatewayImage]);
    /// The gateways of this host from now on. Returns at once; taps and tunnels follow, and what
    /// cannot be is a state of its gateway, tried again.
    fn apply(&mut self, gateways: Vec<GatewayImage>);
    /// Answered through the question's own channel.
    fn ask(&self, question: Question);
    /// Tells the peers and takes the taps away; about a second at most.
    fn end(&mut self);
}

/// What clients want to know of the VPN side.
#[derive(Debug)]
pub enum Question {
    Status(oneshot::Sender<VpnStatus>),
    /// Of one connection.
    IkeSas {
        connection: ResourceId,
        answer: oneshot::Sender<Vec<IkeSaStatus>>,
    },
    /// Make a connection's tunnels anew; the answer is whether this host has the connection.
    Reset {
        connection: ResourceId,
        answer: oneshot::Sender<bool>,
    },
}
