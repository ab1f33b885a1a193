//! Generator and receiver.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action, xdp_md},
    btf_maps::{Array, PerCpuArray},
    helpers::generated::bpf_redirect,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    abi::{AS_SENT, DESTINATIONS, FOREIGN, FRAME, Flow, ROUTED, SINK_MAC, TTL},
    random,
};

#[btf_map]
pub static BENCH_FLOW: Array<Flow, 1> = Array::new();
#[btf_map]
static BENCH_DEST4: Array<u32, { DESTINATIONS as usize }> = Array::new();
#[btf_map]
static BENCH_DEST6: Array<[u64; 2], { DESTINATIONS as usize }> = Array::new();
#[btf_map]
static BENCH_ARRIVED: PerCpuArray<u64, { FOREIGN as usize + 1 }> = PerCpuArray::new();

/// The start of the frame, if all of it is there.
#[inline(always)]
pub fn frame(ctx: *mut xdp_md) -> Option<usize> {
    // SAFETY: the context is valid for the whole run of the program.
    let (start, end) = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
    if start + FRAME > end {
        None
    } else {
        Some(start)
    }
}

/// Writes the whole frame: its page is recycled with whatever the last receiver did to it.
#[inline(always)]
fn write(start: usize, flow: &Flow) {
    let mut i = 0;
    while i < FRAME / 8 {
        // SAFETY: within the `FRAME` bytes that `frame` saw.
        unsafe { *((start + i * 8) as *mut u64) = flow.frame[i] };
        i += 1;
    }
}

#[inline(always)]
pub fn send(flow: &Flow) -> u32 {
    // SAFETY: no memory is passed.
    unsafe { bpf_redirect(flow.ifindex, 0) as u32 }
}

#[xdp]
pub fn bench_gen4(ctx: XdpContext) -> u32 {
    generate4(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn generate4(ctx: *mut xdp_md) -> Option<u32> {
    let flow = BENCH_FLOW.get(0)?;
    let start = frame(ctx)?;
    write4(start, flow, random::next())?;
    Some(send(flow))
}

/// Writes the frame to a destination that a number stands for.
#[inline(always)]
pub fn write4(start: usize, flow: &Flow, number: u32) -> Option<()> {
    let to = *BENCH_DEST4.get(number & flow.mask)?;
    write(start, flow);
    let sum = flow.sum + (to & 0xffff) + (to >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // SAFETY: within the `FRAME` bytes that `frame` saw; BPF allows any alignment.
    unsafe {
        *((start + 24) as *mut u16) = !sum as u16;
        *((start + 30) as *mut u32) = to;
    }
    Some(())
}

#[xdp]
pub fn bench_gen6(ctx: XdpContext) -> u32 {
    generate6(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn generate6(ctx: *mut xdp_md) -> Option<u32> {
    let flow = BENCH_FLOW.get(0)?;
    let to = BENCH_DEST6.get(random::next() & flow.mask)?;
    let start = frame(ctx)?;
    write(start, flow);
    // SAFETY: within the `FRAME` bytes that `frame` saw; BPF allows any alignment.
    unsafe {
        *((start + 38) as *mut u64) = to[0];
        *((start + 46) as *mut u64) = to[1];
    }
    Some(send(flow))
}

/// The receiver of everything that comes through the device.
#[xdp]
pub fn bench_sink_xdp(ctx: XdpContext) -> u32 {
    // SAFETY: the context is valid for the whole run of the program.
    let (start, end) = unsafe { ((*ctx.ctx).data as usize, (*ctx.ctx).data_end as usize) };
    count(start, end);
    xdp_action::XDP_DROP
}

/// The receiver of what `bpf_redirect_peer` put behind the device's XDP hook.
#[classifier]
pub fn bench_sink_tc(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid for the whole run of the program.
    let (start, end) = unsafe {
        (
            (*ctx.skb.skb).data as usize,
            (*ctx.skb.skb).data_end as usize,
        )
    };
    count(start, end);
    TC_ACT_SHOT
}

#[inline(always)]
fn count(start: usize, end: usize) {
    arrived(classify(start, end).unwrap_or(FOREIGN));
}

#[inline(always)]
pub fn arrived(slot: u32) {
    if let Some(counter) = BENCH_ARRIVED.get_ptr_mut(slot) {
        // SAFETY: this CPU's element of the map; receivers run with softirqs off.
        unsafe { *counter += 1 };
    }
}

#[inline(always)]
fn classify(start: usize, end: usize) -> Option<u32> {
    const MAC_HEAD: u32 = u32::from_ne_bytes([SINK_MAC[0], SINK_MAC[1], SINK_MAC[2], SINK_MAC[3]]);
    const MAC_TAIL: u16 = u16::from_ne_bytes([SINK_MAC[4], SINK_MAC[5]]);
    if start + 34 > end {
        return None;
    }
    // SAFETY: all within the 34 bytes seen above; BPF allows any alignment.
    let (head, tail, ether_type, ttl, hop_limit) = unsafe {
        (
            *(start as *const u32),
            *((start + 4) as *const u16),
            u16::from_be(*((start + 12) as *const u16)),
            *((start + 22) as *const u8),
            *((start + 21) as *const u8),
        )
    };
    if head != MAC_HEAD || tail != MAC_TAIL {
        return None;
    }
    let ttl = match ether_type {
        0x0800 => ttl,
        0x86dd => hop_limit,
        _ => return None,
    };
    match TTL.wrapping_sub(ttl) {
        0 => Some(AS_SENT),
        1 => Some(ROUTED),
        _ => None,
    }
}
