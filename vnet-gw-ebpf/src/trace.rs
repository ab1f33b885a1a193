//! Tracing: what each step found, for sampled packets of traced ports, through `aya-log`.
//!
//! The watched copy of the path notes facts in a per-CPU record, and one function outside the path
//! logs them, a line a step; the fast copy pays nothing for either.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use aya_log_ebpf::info;
use vnet_gw_common::port::Port;

use crate::{
    family::{Family, Ip, Route},
    packet::{Hook, Xdp},
    verdict::Refused,
};

/// How far the packet got; each step notes its own number.
pub const AT_ETHERNET: u32 = 0;
pub const AT_IP: u32 = 1;
pub const AT_ROUTE: u32 = 2;
pub const AT_ENDPOINT: u32 = 3;
pub const AT_NSG: u32 = 4;

/// What decided in the step of security groups.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum Decided {
    /// A flow that came about.
    Flow = 1,
    /// Rules, or a flow that they admitted a moment ago.
    Rules = 2,
    /// The flow of the packet that an ICMP error quotes.
    Related = 3,
    /// The first fragment.
    Fragment = 4,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Facts {
    source: [u8; 16],
    destination: [u8; 16],
    mac: u64,
    /// One of `AT_*`.
    reached: u32,
    v6: u32,
    len: u32,
    ttl: u32,
    protocol: u32,
    route: u32,
    action: u32,
    kind: u32,
    scope: u32,
    endpoint_port: u32,
    table: u32,
    /// One of [`Decided`].
    decided: u32,
    /// The program's return value, where it is not refused.
    action_code: u32,
    /// 0, or the reason's number plus one.
    refused: u32,
    mtu: u32,
}

/// A refusal as read back.
pub struct Noted {
    pub reason: u32,
    pub mtu: u32,
}

#[btf_map]
static VG_TRACE: PerCpuArray<Facts, 1> = PerCpuArray::new();

#[inline(always)]
fn facts() -> Option<&'static mut Facts> {
    // SAFETY: the record of this CPU; the program is not re-entered on it.
    VG_TRACE.get_ptr_mut(0).map(|facts| unsafe { &mut *facts })
}

#[inline(always)]
pub fn begin(table: u32) {
    if let Some(facts) = facts() {
        facts.reached = AT_ETHERNET;
        facts.table = table;
    }
}

#[inline(always)]
pub fn ip<F: Family>(ip: &Ip<F::Addr>) {
    if let Some(facts) = facts() {
        facts.reached = AT_IP;
        facts.v6 = F::V6 as u32;
        facts.source = F::bytes(ip.source);
        facts.destination = F::bytes(ip.destination);
        facts.len = ip.len;
        facts.ttl = u32::from(ip.ttl);
        facts.protocol = u32::from(ip.upper.protocol);
    }
}

#[inline(always)]
pub fn route(route: &Route) {
    if let Some(facts) = facts() {
        facts.reached = AT_ROUTE;
        facts.route = route.leaf.route();
        facts.action = route.leaf.action();
        facts.kind = route.action.kind();
        facts.scope = route.action.scope();
    }
}

#[inline(always)]
pub fn endpoint(port: u32, mac: u64) {
    if let Some(facts) = facts() {
        facts.reached = AT_ENDPOINT;
        facts.endpoint_port = port;
        facts.mac = mac;
    }
}

#[inline(always)]
pub fn nsg(decided: Decided) {
    if let Some(facts) = facts() {
        facts.reached = AT_NSG;
        facts.decided = decided as u32;
    }
}

#[inline(always)]
pub fn end(outcome: Result<u32, Refused>) {
    if let Some(facts) = facts() {
        match outcome {
            Ok(action) => {
                facts.action_code = action;
                facts.refused = 0;
            }
            Err(refused) => {
                facts.refused = refused.reason as u32 + 1;
                facts.mtu = refused.mtu;
            }
        }
    }
}

/// What [`end`] was given, and whether the packet was made into an answer.
#[inline(always)]
pub fn outcome<H: Hook>() -> Result<(u32, bool), Noted> {
    let Some(facts) = facts() else {
        return Ok((H::drop(), false));
    };
    match facts.refused {
        // Only what is forwarded gets as far as an endpoint.
        0 => Ok((facts.action_code, facts.reached < AT_ENDPOINT)),
        refused => Err(Noted {
            reason: refused - 1,
            mtu: facts.mtu,
        }),
    }
}

/// Logs the steps. To the verifier a function of its own, which it walks once instead of with every
/// state that a packet can be in at the end; so a number comes back.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_gw_log(id: u32) -> u32 {
    // The log is a ring, and takes no context; the macro wants one.
    log_steps(Xdp(core::ptr::null_mut()), id)
}

#[inline(always)]
fn log_steps(hook: Xdp, id: u32) -> u32 {
    let Some(facts) = facts() else { return 0 };
    // Two CPUs may trace packets of one port at once: lines of a packet share both.
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() };
    info!(&hook, "trace port={} cpu={} step=ethernet", id, cpu);
    if facts.reached >= AT_IP {
        if facts.v6 != 0 {
            info!(
                &hook,
                "trace port={} cpu={} step=parse source={:i} destination={:i} protocol={} ttl={} length={}",
                id,
                cpu,
                facts.source,
                facts.destination,
                facts.protocol,
                facts.ttl,
                facts.len
            );
        } else {
            let [a, b, c, d, ..] = facts.source;
            let [e, f, g, h, ..] = facts.destination;
            info!(
                &hook,
                "trace port={} cpu={} step=parse source={:i} destination={:i} protocol={} ttl={} length={}",
                id,
                cpu,
                [a, b, c, d],
                [e, f, g, h],
                facts.protocol,
                facts.ttl,
                facts.len
            );
        }
    }
    if facts.reached >= AT_ROUTE {
        info!(
            &hook,
            "trace port={} cpu={} step=route table={} route={} action={} kind={} scope={}",
            id,
            cpu,
            facts.table,
            facts.route,
            facts.action,
            facts.kind,
            facts.scope
        );
    }
    if facts.reached >= AT_ENDPOINT {
        info!(
            &hook,
            "trace port={} cpu={} step=endpoint port={} mac={:mac}",
            id,
            cpu,
            facts.endpoint_port,
            vnet_gw_common::mac_from_u64(facts.mac)
        );
    }
    if facts.reached >= AT_NSG {
        info!(
            &hook,
            "trace port={} cpu={} step=nsg decided={}", id, cpu, facts.decided
        );
    }
    info!(
        &hook,
        "trace port={} cpu={} step=verdict refused={}", id, cpu, facts.refused
    );
    0
}

/// Whether this packet of a traced port is one of those looked at.
#[inline(always)]
pub fn sampled(port: &Port) -> bool {
    // SAFETY: no arguments, no memory.
    port.trace_every <= 1
        || unsafe { aya_ebpf::helpers::bpf_get_prandom_u32() } % port.trace_every == 0
}
