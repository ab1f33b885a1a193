//! Across the internet port: out to the host's network stack, which translates the source, and back.
//! See [`vnet_gw_common::internet`] for how a packet says of which VNet it is.

use vnet_gw_common::{
    endpoint::Endpoint,
    internet::{scope_of, sender_mac},
    port::{FABRIC_MAC, Port, Settings},
    verdict::Reason,
};

use crate::{
    capture,
    family::{Family, Ip},
    meter::Meter,
    packet::{ETH_LEN, Hook},
    rewrite,
    route::NextHop,
    source::Origin,
    verdict::Refused,
};

/// The internet port, for what may leave by it. Azure translates the addresses of the NIC that sends,
/// and no others: what an appliance forwards it must translate itself.
#[inline(always)]
pub fn way_out<F: Family>(
    settings: &Settings,
    destination: F::Addr,
    origin: Origin,
) -> Result<Endpoint, Refused> {
    if settings.internet == 0 {
        return Err(Reason::NextHopInternet.into());
    }
    if origin != Origin::Own {
        return Err(Reason::InternetSource.into());
    }
    if F::is_private(destination) {
        return Err(Reason::InternetDestination.into());
    }
    Ok(Endpoint(settings.internet))
}

/// Whom a packet from the internet port is for: the mark says in which VNet.
#[inline(always)]
pub fn way_in<A, H: Hook>(hook: H, port: &Port, destination: A) -> NextHop<A> {
    NextHop {
        scope: scope_of(hook.take_mark(), port.mac),
        address: destination,
        missing: Reason::EndpointUnreachable,
    }
}

/// The last checks, the rewrite and the redirect, in either direction. The TTL is the host's to
/// count down: fabric and host are one hop.
#[inline(always)]
pub fn hand_over<F: Family, H: Hook>(
    hook: H,
    ip: &Ip<F::Addr>,
    (port, meter): (&Port, Meter),
    out_id: u32,
    out: &Port,
    mac: u64,
) -> Result<u32, Refused> {
    let leaving = out.flags & Port::INTERNET != 0;
    if leaving {
        let carried = if F::V6 { Port::HAS_V6 } else { Port::HAS_V4 };
        if out.flags & carried == 0 {
            return Err(Reason::NextHopInternet.into());
        }
        if ip.ttl <= 1 {
            return Err(Reason::TtlExpired.into());
        }
    }
    if !hook.fits(out, ip.len) {
        return Err(Refused {
            reason: Reason::TooBig,
            mtu: out.mtu,
        });
    }
    let packet = hook.packet();
    if !packet.has(ETH_LEN) {
        return Err(Reason::Truncated.into());
    }
    let from = if leaving {
        sender_mac(out.mac, port.scope)
    } else {
        FABRIC_MAC
    };
    let at_once = rewrite::may_overtake::<H>(packet, ip, port);
    // SAFETY: 14 bytes are there.
    unsafe { rewrite::addresses_from(packet, mac, from) };
    meter.count::<H>(packet, ip);
    capture::delivered(hook, out_id, out);
    Ok(hook.redirect(out_id, out, at_once))
}
