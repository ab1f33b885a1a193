//! Asking the rules, and counting which one decided.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use vnet_gw_common::{
    flow::{Denied, Flow, rule, ticks},
    nsg::{self, RuleCounter},
    port::Settings,
    verdict::Reason,
};

use super::{Case, Question, case, key::Flows};
use crate::maps::{VG_RULE_COUNTS, VG_SECURITY, VG_SETTINGS};

/// Asks all rule sets: the reason that the packet is refused for, plus one, or 0; the rules that
/// admitted it go into the case. `turned`: as for the first packet of a flow that this one answers.
#[inline(always)]
pub fn ask<F: Flows>(case: &mut Case<F>, turned: bool) -> u32 {
    let question = &case.question;
    let (from, to) = if turned {
        (question.receiver, question.sender)
    } else {
        (question.sender, question.receiver)
    };
    let of = |id: u32| VG_SECURITY.get(id).copied().unwrap_or_default();
    // Port 0 is none and has no rules.
    let sets = u64::from(of(from).outbound()) | u64::from(of(to).inbound()) << 32;
    case.admitted = [0; 4];
    for at in 0..4u32 {
        let set = (sets >> (16 * at)) as u32 & 0xffff;
        if set == 0 {
            continue;
        }
        let said = F::ask_one(set, u32::from(turned));
        let named = said as u32;
        if said & REFUSED != 0 {
            let inbound = at >= 2;
            remember::<F>(&case.question, named, inbound, turned);
            let reason = if inbound {
                Reason::NsgInbound
            } else {
                Reason::NsgOutbound
            };
            return reason as u32 + 1;
        }
        case.admitted[at as usize & 3] = named;
    }
    0
}

/// Set in the answer of [`ask_one`] where the rule denies, or the set is not there.
const REFUSED: u64 = 1 << 32;

/// The rule that the packet meets, as [`Flow::admitted`](Flow) names it, or 0; counted.
#[inline(always)]
pub fn ask_one<F: Flows>(set: u32, turned: bool) -> u64 {
    let Some(Case { question, .. }) = case::<F>() else {
        return REFUSED;
    };
    let (source, destination, source_port, destination_port) = if turned {
        (
            question.destination,
            question.source,
            question.destination_port,
            question.source_port,
        )
    } else {
        (
            question.source,
            question.destination,
            question.source_port,
            question.destination_port,
        )
    };
    let found = F::classify(
        set,
        source,
        destination,
        nsg::source_port_key(question.protocol, source_port),
        nsg::destination_port_key(question.protocol, destination_port),
    );
    let Some((word, stride)) = found else {
        return REFUSED;
    };
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let at = cpu.wrapping_mul(stride).wrapping_add(word.counter());
    if let Some(counter) = VG_RULE_COUNTS.get_value_ptr_mut(set, &at) {
        let hits = if word.denies() { question.packets } else { 1 };
        count(counter, hits, question.now);
    }
    let denies = if word.denies() { REFUSED } else { 0 };
    u64::from(rule(set, word.counter())) | denies
}

#[inline(always)]
fn count(counter: *mut RuleCounter, hits: u64, now: u64) {
    // SAFETY: a live element of a map whose row belongs to this CPU, as with `maps::add`.
    unsafe {
        (*counter).hits = (*counter).hits.wrapping_add(hits);
        (*counter).last = now;
    }
}

/// For the flow log, where there is one.
#[inline(always)]
fn remember<F: Flows>(question: &Question<F>, named: u32, inbound: bool, turned: bool) {
    let on = VG_SETTINGS
        .get(0)
        .is_some_and(|settings| settings.flags & Settings::FLOW_LOG != 0);
    if !on {
        return;
    }
    let packets = question.packets as u32;
    if let Some(denied) = F::denied(&question.key) {
        // SAFETY: a live element of the map; CPUs that race on it miscount.
        unsafe {
            (*denied).last = ticks(question.now);
            (*denied).rule = named;
            (*denied).packets = (*denied).packets.wrapping_add(packets);
        }
        return;
    }
    let from_high = (question.way ^ u32::from(turned)) & u32::from(Flow::FROM_HIGH);
    let inbound = if inbound { Denied::INBOUND } else { 0 };
    F::deny(
        &question.key,
        &Denied {
            last: ticks(question.now),
            rule: named,
            state: from_high | inbound,
            packets,
        },
    );
}
