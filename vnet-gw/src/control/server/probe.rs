//! Questions that send packets.

use std::{net::IpAddr, time::Duration};

use vnet_gw_core::probe::Protocol;

use super::{Asked, Connection, ErrorCode, ErrorReply, Request, Response};
use crate::{
    control::{ProbeReply, find_nic},
    probe::ProbeSpec,
};

impl Connection {
    pub(super) async fn probe(&self, request: Request) -> Result<Response, ErrorReply> {
        let Request::Probe {
            network_interface,
            destination,
            port,
            count,
            interval_ms,
            patience_ms,
        } = request
        else {
            return Err(ErrorReply::new(ErrorCode::BadRequest, "no such question"));
        };
        let from = find_nic(&self.snapshot.borrow().topology, &network_interface)
            .map_err(|error| ErrorReply::new(ErrorCode::Name, error))?
            .clone();
        let spec = ProbeSpec {
            from,
            to: destination,
            protocol: port.map_or(Protocol::Icmp, |port| Protocol::Tcp { port }),
            count,
            interval: Duration::from_millis(interval_ms),
            patience: Duration::from_millis(patience_ms),
        };
        check(&spec)?;
        let source = spec.from.to_string();
        let report = self
            .ask(|answer| Asked::Probe {
                spec: Box::new(spec),
                answer,
            })
            .await??;
        let reply = ProbeReply::new(&source, destination, &report);
        Ok(Response::Probe(Box::new(reply)))
    }
}

fn check(spec: &ProbeSpec) -> Result<(), ErrorReply> {
    let bad = |why: String| Err(ErrorReply::new(ErrorCode::BadRequest, why));
    if !(1..=ProbeSpec::MOST).contains(&spec.count) {
        return bad(format!("count: 1 to {}", ProbeSpec::MOST));
    }
    if spec.interval < ProbeSpec::LEAST_INTERVAL || spec.interval > ProbeSpec::MOST_INTERVAL {
        let (least, most) = (ProbeSpec::LEAST_INTERVAL, ProbeSpec::MOST_INTERVAL);
        return bad(format!(
            "interval: {} ms to {} s",
            least.as_millis(),
            most.as_secs()
        ));
    }
    if spec.patience.is_zero() || spec.patience > ProbeSpec::MOST_PATIENCE {
        return bad(format!(
            "timeout: up to {} s",
            ProbeSpec::MOST_PATIENCE.as_secs()
        ));
    }
    if matches!(spec.protocol, Protocol::Tcp { port: 0 }) {
        return bad("port: 1 to 65535".to_owned());
    }
    if !is_unicast(spec.to) {
        return bad(format!("{}: it is no address of a host", spec.to));
    }
    Ok(())
}

fn is_unicast(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !(special || address.is_multicast() || address.is_unspecified() || address.is_loopback())
}
