//! The path of an IP packet, step by step, up to the port that takes it.

use vnet_gw_common::{endpoint::Endpoint, port::Port, table::ActionKind, verdict::Reason};

use crate::{
    answer, capture,
    family::{Family, Ip},
    internet,
    maps::{self, VG_SETTINGS},
    meter::Meter,
    nsg::{self, Flows, Side},
    packet::Hook,
    rewrite,
    route::{self, NextHop},
    source, trace,
    verdict::Refused,
};

#[inline(always)]
pub fn forward<F: Flows, H: Hook, const TRACE: bool>(
    hook: H,
    id: u32,
    port: &Port,
) -> Result<u32, Refused> {
    let ip = F::header(hook.packet(), hook.frame_len())?;
    if TRACE {
        trace::ip::<F>(&ip);
    }
    if F::V6 && answer::is_neighbour_discovery(hook.packet(), &ip.upper) {
        return answer::neighbour(hook, id, port);
    }
    if !F::is_routable(ip.destination) {
        return Err(Reason::NotRoutable.into());
    }
    let settings = VG_SETTINGS.get(0).ok_or(Reason::UnknownPort)?;
    let mut meter = Meter::none(hook.segments());
    let endpoint = if H::TC && port.flags & Port::INTERNET != 0 {
        find_endpoint::<F>(settings, &internet::way_in(hook, port, ip.destination))?
    } else {
        let origin = source::check::<F>(settings, id, port, ip.source)?;
        let route = route::find::<F>(port, &ip, meter.segments)?;
        if TRACE {
            trace::route(&route);
        }
        meter.of = route.action.meter();
        if route.action.kind() == ActionKind::Internet as u32 {
            internet::way_out::<F>(settings, ip.destination, origin)?
        } else {
            let hop = route::next_hop::<F>(&route.action, ip.destination, origin)?;
            find_endpoint::<F>(settings, &hop)?
        }
    };
    if TRACE {
        trace::endpoint(endpoint.port(), endpoint.mac());
    }
    if endpoint.port() == id && port.flags & Port::GATEWAY != 0 {
        return Err(Reason::NextHopGateway.into());
    }
    let out_id = endpoint.port();
    if out_id == 0 {
        return Err(Reason::PortDown.into());
    }
    let out = maps::port(out_id).ok_or(Reason::PortDown)?;
    let (sender, receiver) = (
        Side { id, port },
        Side {
            id: out_id,
            port: out,
        },
    );
    nsg::check::<F, H, TRACE>(hook, sender, receiver, &ip)?;
    hand_over::<F, H>(hook, &ip, port, endpoint, (out, meter))
}

#[inline(always)]
fn find_endpoint<F: Family>(
    settings: &vnet_gw_common::port::Settings,
    hop: &NextHop<F::Addr>,
) -> Result<Endpoint, Refused> {
    match F::endpoint(settings, hop.scope, hop.address) {
        Some(endpoint) => Ok(endpoint),
        None => Err(hop.missing.into()),
    }
}

/// The last checks, the rewrite, the meter and the redirect.
#[inline(always)]
fn hand_over<F: Family, H: Hook>(
    hook: H,
    ip: &Ip<F::Addr>,
    port: &Port,
    endpoint: Endpoint,
    (out, meter): (&Port, Meter),
) -> Result<u32, Refused> {
    if (port.flags | out.flags) & Port::INTERNET != 0 {
        let out_id = endpoint.port();
        return internet::hand_over::<F, H>(hook, ip, (port, meter), out_id, out, endpoint.mac());
    }
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpired.into());
    }
    if !hook.fits(out, ip.len) {
        return Err(Refused {
            reason: Reason::TooBig,
            mtu: out.mtu,
        });
    }
    let packet = hook.packet();
    let at_once = rewrite::may_overtake::<H>(packet, ip, port);
    rewrite::rewrite::<F>(packet, endpoint.mac(), ip.ttl)?;
    meter.count::<H>(packet, ip);
    capture::delivered(hook, endpoint.port(), out);
    Ok(hook.redirect(endpoint.port(), out, at_once))
}
