//! Questions that send packets.

use std::time::Duration;

use vnet_gw_core::probe::Protocol;

use super::{Asked, Connection, ErrorCode, ErrorReply, Request, Response, is_privileged};
use crate::{
    control::{PacketQuestion, ProbeReply, connectivity_check, connectivity_probes, find_nic},
    probe::{ProbeSpec, is_unicast},
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
            source: None,
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

    /// By prediction, and for those who may send probes by what becomes of some.
    pub(super) async fn connectivity_check(
        &self,
        question: PacketQuestion,
    ) -> Result<Response, ErrorReply> {
        // Without the loop's word the resources still answer.
        let ports = self.ask(Asked::Ports).await.ok();
        let (mut check, spec) = self
            .work_out(move |snapshot| {
                let check = connectivity_check(&snapshot, &question, ports.as_ref())?;
                Ok((check, connectivity_probes(&snapshot, &question)))
            })
            .await?;
        if let Some(spec) = spec
            && self.user.is_some_and(is_privileged)
        {
            let to = spec.to;
            if let Some(outcomes) = spec.send(&self.asked).await {
                check.probed(to, &outcomes);
            }
        }
        Ok(Response::ConnectivityCheck(Box::new(check)))
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
