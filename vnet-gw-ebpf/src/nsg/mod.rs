//! The step of network security groups: outbound rules of the port that the packet came in by, and
//! inbound rules of the port it goes out by. They are asked once for each flow.
//!
//! | packet | what happens |
//! |---|---|
//! | of a flow that came about | passes, and is counted there |
//! | of one that may yet | passes; an answer, or the end of a handshake, makes it come about |
//! | an ICMP error about either | passes |
//! | a fragment other than the first | follows the first; without one it is refused |
//! | any other | the rules decide; admitted, it is the first of a flow that may come about |
//!
//! Where no table has room for a flow, rules are asked for each of its packets. TCP segments other
//! than SYN are no exception: connections that are there already are picked up.

mod fragment;
mod key;
mod layer4;
mod related;
mod rules;
mod track;

use aya_ebpf::{
    btf_maps::PerCpuArray, helpers::generated::bpf_ktime_get_coarse_ns, macros::btf_map,
};
use vnet_gw_common::{
    flow::{Class, Flow, FlowEnd},
    port::Port,
    verdict::Reason,
};

pub use self::key::Flows;
use self::{layer4::Layer4, track::Seen};
use crate::{
    family::Ip,
    packet::Hook,
    trace::{self, Decided},
    verdict::Refused,
};

/// One of the two ports that a packet passes.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub id: u32,
    pub port: &'a Port,
}

impl Side<'_> {
    /// The port whose rules are asked, 0 for none.
    #[inline(always)]
    fn asked(self) -> u32 {
        if self.port.flags & Port::SECURED != 0 {
            self.id
        } else {
            0
        }
    }
}

/// A packet that is no part of a flow that came about, for [`track::decide`].
struct Question<F: Flows> {
    key: F::Key,
    source: F::Addr,
    destination: F::Addr,
    packets: u64,
    bytes: u64,
    /// Monotonic clock, in nanoseconds.
    now: u64,
    /// A [`Protocol`](vnet_gw_common::nsg::Protocol).
    protocol: u32,
    source_port: u16,
    destination_port: u16,
    /// 0 from the low end of the key to the high one, 1 back.
    way: u32,
    /// Flags of TCP; 0 for other protocols.
    tcp: u32,
    is_tcp: u32,
    /// Port ids of the port it came in by and of the one it goes out by, 0 where it has no rules.
    sender: u32,
    receiver: u32,
    generation: u32,
    /// What was found among the flows that came about, a [`Seen`].
    seen: u32,
}

/// Decides about a packet. Without rules on either side it costs one comparison.
#[inline(always)]
pub fn check<F: Flows, H: Hook, const TRACE: bool>(
    hook: H,
    sender: Side<'_>,
    receiver: Side<'_>,
    ip: &Ip<F::Addr>,
) -> Result<(), Refused> {
    if (sender.port.flags | receiver.port.flags) & Port::SECURED == 0 {
        return Ok(());
    }
    let found = F::upper(hook, ip)?;
    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if found.piece.is_later() {
        if TRACE {
            trace::nsg(Decided::Fragment);
        }
        return fragment::follow::<F>(ip, found.piece, sender.id, now);
    }
    let layer4 = layer4::read::<F, H>(hook, found.upper)?;
    if layer4.is_error
        && related::passes::<F, H>(hook, found.upper.at, [receiver.id, sender.id], now)
    {
        if TRACE {
            trace::nsg(Decided::Related);
        }
        return Ok(());
    }
    let decision = flow::<F, H, TRACE>(hook, sender, receiver, ip, &layer4, now);
    if found.piece.is_first() {
        fragment::note::<F>(ip, found.piece, sender.id, now, decision);
    }
    match decision {
        0 => Ok(()),
        refused => Err(reason(refused).into()),
    }
}

/// 0, or one more than the number of the reason it is refused for.
#[inline(always)]
fn flow<F: Flows, H: Hook, const TRACE: bool>(
    hook: H,
    sender: Side<'_>,
    receiver: Side<'_>,
    ip: &Ip<F::Addr>,
    layer4: &Layer4,
    now: u64,
) -> u32 {
    let (key, way) = F::key(
        layer4.class,
        FlowEnd {
            address: ip.source,
            l4: layer4.source,
            id: sender.id,
        },
        FlowEnd {
            address: ip.destination,
            l4: layer4.destination,
            id: receiver.id,
        },
    );
    let generation = sender
        .port
        .generation
        .wrapping_add(receiver.port.generation);
    let (packets, bytes) = (hook.segments(), u64::from(ip.len));
    let seen = match F::established(&key) {
        Some(flow) => track::pass(flow, way, layer4.tcp, generation, packets, bytes, now),
        None => Seen::Nothing,
    };
    if matches!(seen, Seen::Alive) {
        if TRACE {
            trace::nsg(Decided::Flow);
        }
        return 0;
    }
    if TRACE {
        trace::nsg(Decided::Rules);
    }
    let Some(case) = case::<F>() else {
        return INBOUND;
    };
    case.question = Question {
        key,
        source: ip.source,
        destination: ip.destination,
        packets,
        bytes,
        now,
        protocol: layer4.protocol,
        source_port: layer4.source,
        destination_port: layer4.destination,
        way: way as u32,
        tcp: layer4.tcp,
        is_tcp: u32::from(layer4.class == Class::Tcp as u32),
        sender: sender.asked(),
        receiver: receiver.asked(),
        generation,
        seen: seen as u32,
    };
    F::decide()
}

/// What [`track::decide`] works on: in a map, not on the stack, where the program and all it calls
/// have 512 bytes together.
struct Case<F: Flows> {
    question: Question<F>,
    /// The rules that admitted the packet, as in [`Flow::admitted`].
    admitted: [u32; 4],
    /// The record of a flow that begins.
    flow: Flow,
}

/// Room for a [`Case`].
type Scratch = [u64; 32];

#[btf_map]
static VG_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// That of this CPU.
#[inline(always)]
fn case<F: Flows>() -> Option<&'static mut Case<F>> {
    const { assert!(size_of::<Case<F>>() <= size_of::<Scratch>()) };
    const { assert!(align_of::<Case<F>>() <= align_of::<Scratch>()) };
    let scratch = VG_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's element, large and aligned enough; every bit pattern that gets there is one
    // that was written as a case of this family. The program is not re-entered on a CPU.
    Some(unsafe { &mut *scratch.cast() })
}

const INBOUND: u32 = Reason::NsgInbound as u32 + 1;
const OUTBOUND: u32 = Reason::NsgOutbound as u32 + 1;

/// The reason that a decision names.
#[inline(always)]
fn reason(refused: u32) -> Reason {
    if refused == OUTBOUND {
        Reason::NsgOutbound
    } else {
        Reason::NsgInbound
    }
}
