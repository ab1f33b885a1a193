//! Packets of many flows, and ends that answer them.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action, xdp_md},
    btf_maps::PerCpuArray,
    helpers::generated::bpf_redirect,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    abi::{FOREIGN, FRAME, ROUTED, TTL, UDP_PORT},
    random,
    traffic::{BENCH_FLOW, arrived, frame, send, write4},
};

/// Source port of the flows with the lowest numbers.
const FIRST_PORT: u16 = 1024;

#[btf_map]
static BENCH_NEXT_FLOW: PerCpuArray<u64, 1> = PerCpuArray::new();

/// A packet of one of so many flows, drawn at random.
#[xdp]
pub fn bench_flows(ctx: XdpContext) -> u32 {
    some_flow(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn some_flow(ctx: *mut xdp_md) -> Option<u32> {
    let flow = BENCH_FLOW.get(0)?;
    packet(ctx, random::next() & flow.flows)
}

/// The first packet of a flow that was not there before.
#[xdp]
pub fn bench_new(ctx: XdpContext) -> u32 {
    new_flow(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn new_flow(ctx: *mut xdp_md) -> Option<u32> {
    let next = BENCH_NEXT_FLOW.get_ptr_mut(0)?;
    // SAFETY: this CPU's element of the map; the generator is not re-entered on a CPU.
    let number = unsafe {
        *next += 1;
        *next as u32
    };
    packet(ctx, number)
}

#[inline(always)]
fn packet(ctx: *mut xdp_md, number: u32) -> Option<u32> {
    let flow = BENCH_FLOW.get(0)?;
    let start = frame(ctx)?;
    write4(start, flow, number)?;
    let port = FIRST_PORT.wrapping_add((number >> (flow.shift & 31)) as u16);
    // SAFETY: within the `FRAME` bytes that `frame` saw; BPF allows any alignment.
    unsafe { *((start + 34) as *mut u16) = port.to_be() };
    Some(send(flow))
}

/// An end that answers: a UDP packet once, and TCP as far as its handshake goes. The packet that
/// ends an exchange is counted: a UDP answer, and the ACK of a SYN-ACK. Nobody on the way looks at
/// checksums of layer 4, so there are none.
#[xdp]
pub fn bench_answer_xdp(ctx: XdpContext) -> u32 {
    // SAFETY: the context is valid for the whole run of the program.
    let (start, end, ifindex) = unsafe {
        let ctx = &*ctx.ctx;
        (
            ctx.data as usize,
            ctx.data_end as usize,
            ctx.ingress_ifindex,
        )
    };
    if !answer(start, end) {
        return xdp_action::XDP_DROP;
    }
    // Not `XDP_TX`, for which a veth wakes its far end only where that has an XDP program.
    // SAFETY: no memory is passed.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}

/// The same for what `bpf_redirect_peer` put behind the device's XDP hook.
#[classifier]
pub fn bench_answer_tc(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid for the whole run of the program.
    let (start, end, ifindex) = unsafe {
        let skb = &*ctx.skb.skb;
        (skb.data as usize, skb.data_end as usize, skb.ifindex)
    };
    if !answer(start, end) {
        return TC_ACT_SHOT;
    }
    // SAFETY: no memory is passed.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

const ETHERNET_IPV4: u16 = 0x0800;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 1 << 1;
const ACK: u8 = 1 << 4;
const SYN_ACK: u8 = SYN | ACK;
/// First bytes of the MAC addresses of both ends.
const WORKLOAD: u32 = u32::from_ne_bytes([0x02, 0, 0, 0]);

/// Whether the packet, which is its own answer now, goes back.
#[inline(always)]
fn answer(start: usize, end: usize) -> bool {
    if start + FRAME > end {
        arrived(FOREIGN);
        return false;
    }
    // SAFETY: all within the `FRAME` bytes seen above; BPF allows any alignment.
    let (to, kind, ttl, protocol, port, flags) = unsafe {
        (
            *(start as *const u32),
            u16::from_be(*((start + 12) as *const u16)),
            *((start + 22) as *const u8),
            *((start + 23) as *const u8),
            u16::from_be(*((start + 36) as *const u16)),
            *((start + 47) as *const u8),
        )
    };
    // How often it was forwarded, and whether it is the last of its exchange.
    let (hops, last, reply) = match (protocol, flags) {
        (UDP, _) if port == UDP_PORT => (1, false, 0),
        (UDP, _) => (2, true, 0),
        (TCP, SYN) => (1, false, SYN_ACK),
        (TCP, SYN_ACK) => (2, false, ACK),
        (TCP, ACK) => (3, true, 0),
        _ => (0, true, 0),
    };
    if kind != ETHERNET_IPV4 || to != WORKLOAD || hops == 0 || ttl != TTL - hops {
        arrived(FOREIGN);
        return false;
    }
    if last {
        arrived(ROUTED);
        return false;
    }
    // SAFETY: as above.
    unsafe {
        swap::<u32>(start, 0, 6);
        swap::<u16>(start, 4, 10);
        swap::<u32>(start, 26, 30);
        swap::<u16>(start, 34, 36);
        if protocol == TCP {
            let sequence = u32::from_be(*((start + 38) as *const u32));
            swap::<u32>(start, 38, 42);
            *((start + 42) as *mut u32) = sequence.wrapping_add(1).to_be();
            *((start + 47) as *mut u8) = reply;
        }
    }
    true
}

/// # Safety
/// Both places are in the packet.
#[inline(always)]
#[expect(clippy::manual_swap, reason = "`swap` wants aligned places")]
unsafe fn swap<T: Copy>(start: usize, a: usize, b: usize) {
    let (a, b) = ((start + a) as *mut T, (start + b) as *mut T);
    // SAFETY: as the caller promises; BPF allows any alignment.
    unsafe {
        let kept = *a;
        *a = *b;
        *b = kept;
    }
}
