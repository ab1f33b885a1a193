//! The life of a flow.

use vnet_gw_common::{
    flow::{CLOSED_TIMEOUT, Flow, HALF_OPEN_TIMEOUT, ONE_WAY_PACKETS, ticks},
    verdict::Reason,
};

use super::{
    Case, Question, case,
    key::Flows,
    layer4::{ACK, FIN, RST, SYN},
    rules,
};
use crate::{maps::VG_SECURITY, refuse};

/// What stands under a packet's key among the flows that came about.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    /// The packet is part of it, and counted.
    Alive,
    /// It has been idle for too long, or is over and the packet begins another.
    Over,
    /// Its rules are to be asked again.
    Flushed,
}

/// A packet under the key of a flow that came about.
#[inline(always)]
pub fn pass(
    flow: *mut Flow,
    way: usize,
    tcp: u32,
    generation: u32,
    packets: u64,
    bytes: u64,
    now: u64,
) -> Seen {
    // SAFETY: a live element of the map, written word by word by whoever has a packet of it; what
    // two CPUs lose to each other is said with `Flow`.
    let flow = unsafe { &mut *flow };
    let now = ticks(now);
    if flow.is_stale(now) {
        return Seen::Over;
    }
    if Flow::is_closed(flow.state) {
        if tcp & (SYN | ACK | RST) == SYN {
            return Seen::Over;
        }
    } else {
        if flow.generation != generation {
            return Seen::Flushed;
        }
        if flow.last != now {
            flow.last = now;
        }
        if tcp & (FIN | RST) != 0 {
            flow.state = with_end(flow.state, way, tcp);
            if Flow::is_closed(flow.state) {
                flow.timeout = CLOSED_TIMEOUT;
            }
        }
    }
    count(flow, way, packets, bytes);
    Seen::Alive
}

#[inline(always)]
fn count(flow: &mut Flow, way: usize, packets: u64, bytes: u64) {
    let way = way & 1;
    flow.packets[way] = flow.packets[way].wrapping_add(packets);
    flow.bytes[way] = flow.bytes[way].wrapping_add(bytes);
}

/// The state after a segment with FIN or RST.
#[inline(always)]
fn with_end(state: u16, way: usize, tcp: u32) -> u16 {
    let fin = if tcp & FIN != 0 { Flow::FIN << way } else { 0 };
    let rst = if tcp & RST != 0 { Flow::RST } else { 0 };
    state | fin | rst
}

/// Decides about a packet that is part of no flow that came about: 0, or the reason that it is
/// refused for, plus one.
#[inline(always)]
pub fn decide<F: Flows>() -> u32 {
    let Some(case) = case::<F>() else {
        return Reason::NsgInbound as u32 + 1;
    };
    let question = &case.question;
    let mut flushed = None;
    if question.seen == Seen::Flushed as u32 {
        // The rules as they are now decide whether the flow goes on.
        flushed = F::established(&question.key);
    } else if question.seen == Seen::Over as u32 {
        F::forget_established(&question.key);
    }
    if flushed.is_none()
        && let Some(flow) = F::half_open(&question.key)
    {
        // SAFETY: a live element of the map; one that is evicted at this moment is written to no
        // purpose.
        let flow = unsafe { &mut *flow };
        if continues(flow, question) {
            return advance(flow, question);
        }
    }
    // SAFETY: as in `pass`.
    let flushed = flushed.map(|flow| unsafe { &mut *flow });
    let way = (question.way & 1) as usize;
    let turned = flushed.as_ref().is_some_and(|flow| way != flow.began());
    let refused = rules::ask(case, turned);
    let question = &case.question;
    if refused != 0 {
        if flushed.is_some() {
            F::forget_established(&question.key);
        }
        return refused;
    }
    match flushed {
        Some(flow) => {
            flow.admitted = case.admitted;
            flow.generation = question.generation;
            flow.last = ticks(question.now);
            count(flow, way, question.packets, question.bytes);
        }
        None => begin(case),
    }
    0
}

/// The first packet of a flow that may come about.
#[inline(always)]
fn begin<F: Flows>(case: &mut Case<F>) {
    let question = &case.question;
    let picked_up = question.is_tcp != 0 && question.tcp & (SYN | ACK) != SYN;
    let mut state = (question.way as u16) & Flow::FROM_HIGH;
    if picked_up {
        state |= Flow::PICKED_UP;
    }
    let flow = &mut case.flow;
    flow.last = ticks(question.now);
    flow.timeout = HALF_OPEN_TIMEOUT;
    flow.state = state;
    flow.generation = question.generation;
    flow.since = ticks(question.now);
    flow.admitted = case.admitted;
    flow.packets = [0; 2];
    flow.bytes = [0; 2];
    count(
        flow,
        question.way as usize,
        question.packets,
        question.bytes,
    );
    F::open(&question.key, flow);
}

/// Whether the packet is part of a flow that may yet come about.
#[inline(always)]
fn continues<F: Flows>(flow: &Flow, question: &Question<F>) -> bool {
    let again = Flow::is_closed(flow.state) && question.tcp & (SYN | ACK | RST) == SYN;
    !again && flow.generation == question.generation && !flow.is_stale(ticks(question.now))
}

/// One packet on in a flow that may yet come about.
#[inline(always)]
fn advance<F: Flows>(flow: &mut Flow, question: &Question<F>) -> u32 {
    let way = (question.way & 1) as usize;
    let answers = way != flow.began();
    let mut state = flow.state;
    if answers {
        state |= Flow::ANSWERED;
    }
    if question.is_tcp != 0 {
        state = with_end(state, way, question.tcp);
    }
    flow.last = ticks(question.now);
    flow.state = state;
    count(flow, way, question.packets, question.bytes);
    if Flow::is_closed(state) {
        flow.timeout = CLOSED_TIMEOUT;
        return 0;
    }
    let one_way = flow.packets[way] >= ONE_WAY_PACKETS;
    let comes_about = if question.is_tcp != 0 && state & Flow::PICKED_UP == 0 {
        // The handshake is over once its beginner acknowledges the answer.
        state & Flow::ANSWERED != 0 && !answers && question.tcp & ACK != 0
    } else {
        answers || one_way
    };
    if comes_about {
        flow.timeout = idle_timeout(question);
        if F::establish(&question.key, flow) {
            F::forget_half_open(&question.key);
        } else {
            flow.timeout = HALF_OPEN_TIMEOUT;
            refuse::count(
                Reason::FlowTableFull as u32,
                question.packets,
                question.bytes,
            );
        }
    }
    0
}

/// The longer one of both VNets'.
#[inline(always)]
fn idle_timeout<F: Flows>(question: &Question<F>) -> u16 {
    let of = |id: u32| {
        VG_SECURITY
            .get(id)
            .map_or(0, |port| port.flow_timeout as u16)
    };
    let (sender, receiver) = (of(question.sender), of(question.receiver));
    if sender > receiver { sender } else { receiver }
}
