//! Probes, as the loop begins them; each then goes on by itself.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;

use super::{Fabric, captures::Captures};
use crate::{
    capture::{Interface, SessionId, Why},
    control::{ErrorCode, ErrorReply, short},
    datapath::{PortState, PortStatus},
    probe::{ProbeReport, ProbeSpec, Prober, Ready},
};

/// Probes at once, of all clients and monitors: each captures its port for as long.
const MOST: usize = 64;

#[derive(Default)]
pub(super) struct Probes {
    prober: Prober,
    running: Arc<AtomicUsize>,
}

/// For as long as a probe runs.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Answer = oneshot::Sender<Result<ProbeReport, ErrorReply>>;

impl Probes {
    /// Begins a probe, whose report goes to `answer`.
    pub(super) fn begin(
        &mut self,
        fabric: &mut impl Fabric,
        captures: &mut Captures,
        spec: &ProbeSpec,
        answer: Answer,
    ) {
        let (ready, session, place) = match self.ready(fabric, captures, spec) {
            Ok(begun) => begun,
            // A client that does not wait for its answer any more is no concern of ours.
            Err(error) => return drop(answer.send(Err(error))),
        };
        let hub = captures.hub();
        tokio::spawn(async move {
            let report = ready.run().await;
            drop(place);
            hub.stop(session, Why::Stopped, None);
            drop(answer.send(report.map_err(datapath_error)));
        });
    }

    fn ready(
        &mut self,
        fabric: &mut impl Fabric,
        captures: &mut Captures,
        spec: &ProbeSpec,
    ) -> Result<(Ready, SessionId, Place), ErrorReply> {
        let place = Place(Arc::clone(&self.running));
        if self.running.fetch_add(1, Ordering::Relaxed) >= MOST {
            return Err(conflict(format!(
                "{MOST} probes are under way already; try again in a moment"
            )));
        }
        let port = fabric
            .ports()
            .into_iter()
            .find(|port| port.nic == spec.from);
        let (interface, address) = source(port, spec)?;
        let no_way = !self.prober.has_way();
        if no_way {
            let way = fabric.injector().map_err(datapath_error)?;
            self.prober.set_way(way);
        }
        let prepared = self.prober.prepare(spec, interface, address);
        let (ready, session) = prepared.ok_or_else(|| conflict("two address families"))?;
        let (session, _) = captures.run(fabric, session)?;
        Ok((ready, session, place))
    }

    /// The daemon ends: the device goes.
    pub(super) fn end(&mut self) {
        self.prober.end();
    }
}

/// The port that a probe is sent from, and its address of the target's family.
fn source(port: Option<PortStatus>, spec: &ProbeSpec) -> Result<(Interface, IpAddr), ErrorReply> {
    let name = short(spec.from.as_str());
    let port = port.ok_or_else(|| {
        conflict(format!(
            "networkInterface {name}: it is no port of this host; probe on the host where it lives"
        ))
    })?;
    if port.gateway {
        return Err(conflict(format!(
            "{name}: it is a VPN gateway, which sends nothing of its own; give a networkInterface"
        )));
    }
    if port.state != PortState::Up {
        return Err(conflict(format!(
            "networkInterface {name}: its device {} is not up; see `vnet-gw ports`",
            port.device
        )));
    }
    let mut own = port.addresses.iter();
    let fits = |own: &&IpAddr| {
        let wanted = spec.source.is_none_or(|source| source == **own);
        wanted && own.is_ipv4() == spec.to.is_ipv4()
    };
    let address = own.find(fits).copied();
    let address = address.ok_or_else(|| match spec.source {
        Some(source) => conflict(format!(
            "networkInterface {name}: it has no address {source} to send to {} from",
            spec.to
        )),
        None => conflict(format!(
            "networkInterface {name}: it has no address of the family of {}",
            spec.to
        )),
    })?;
    let interface = Interface {
        nic: port.nic,
        device: port.device,
        port: port.port_id,
        mac: port.mac,
        addresses: port.addresses,
    };
    Ok((interface, address))
}

fn conflict(why: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::Conflict, why)
}

fn datapath_error(error: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::Datapath, error)
}
