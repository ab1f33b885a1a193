//! Which flows have been told of, and what of them: from looks at the tables to events.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use vnet_gw_common::flow::{Denied, Flow};
use vnet_gw_core::security::{Rule, RuleSetId};

use crate::datapath::{DeniedFlow, FlowId, FlowNames, FlowRow, PortName};

/// After how many ticks a flow that goes on is told of again: five minutes, as Azure does.
const CONTINUING: u32 = ((300u64 * 1_000_000_000) >> vnet_gw_common::flow::TICK_SHIFT) as u32;

/// State of a flow, as Azure writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Begin,
    Continuing,
    End,
    Deny,
}

impl State {
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Begin => 'B',
            Self::Continuing => 'C',
            Self::End => 'E',
            Self::Deny => 'D',
        }
    }
}

/// Something to tell of one flow, at one NIC, by one rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event<'a> {
    pub(super) port: &'a PortName,
    pub(super) set: &'a RuleSetId,
    pub(super) rule: &'a Arc<Rule>,
    /// In ticks of flows.
    pub(super) at: u32,
    /// Of its beginner and of whom it was for: address and port.
    pub(super) ends: [(IpAddr, u16); 2],
    pub(super) protocol: u8,
    pub(super) inbound: bool,
    pub(super) state: State,
    /// Since it was told of last: sent by its beginner, and received.
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
}

/// What has been told of a flow.
#[derive(Clone, Copy, Debug)]
struct Told {
    flow: Flow,
    /// When it was told of last.
    at: u32,
    packets: [u64; 2],
    bytes: [u64; 2],
    /// The look in which it was seen last.
    look: u64,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    flows: HashMap<FlowId, Told>,
    look: u64,
}

impl Book {
    /// A new look at the tables begins.
    pub(super) fn begin(&mut self) {
        self.look += 1;
    }

    /// A flow that was there; `over`: for the last time. `now` in ticks.
    pub(super) fn saw<'a>(
        &mut self,
        row: &FlowRow,
        over: bool,
        now: u32,
        names: &'a FlowNames,
        tell: &mut impl FnMut(Event<'a>),
    ) {
        let before = self.flows.get(&row.key).copied();
        let same = before.filter(|told| told.flow.since == row.flow.since);
        if let (Some(gone), None) = (before, same) {
            // Another began under its key.
            self.end(&row.key, &gone, names, tell);
        }
        let mut told = same.unwrap_or_else(|| {
            let told = Told {
                flow: row.flow,
                at: row.flow.since,
                packets: [0; 2],
                bytes: [0; 2],
                look: self.look,
            };
            each(&row.key, &told, State::Begin, names, tell);
            told
        });
        told.look = self.look;
        told.flow = row.flow;
        if over {
            self.flows.remove(&row.key);
            self.end(&row.key, &told, names, tell);
            return;
        }
        if (now.wrapping_sub(told.at) as i32) >= CONTINUING as i32 {
            each(&row.key, &told, State::Continuing, names, tell);
            told.at = now;
            told.packets = told.flow.packets;
            told.bytes = told.flow.bytes;
        }
        self.flows.insert(row.key, told);
    }

    /// The look is over: what was not in it has gone without a word.
    pub(super) fn finish<'a>(&mut self, names: &'a FlowNames, tell: &mut impl FnMut(Event<'a>)) {
        let look = self.look;
        let gone: Vec<(FlowId, Told)> = (self.flows.iter())
            .filter(|(_, told)| told.look != look)
            .map(|(key, told)| (*key, *told))
            .collect();
        for (key, told) in gone {
            self.flows.remove(&key);
            self.end(&key, &told, names, tell);
        }
    }

    fn end<'a>(
        &self,
        key: &FlowId,
        told: &Told,
        names: &'a FlowNames,
        tell: &mut impl FnMut(Event<'a>),
    ) {
        let mut told = *told;
        told.at = told.flow.last;
        each(key, &told, State::End, names, tell);
    }
}

/// The ends of a flow, its beginner's first.
fn ends(key: &FlowId, began: usize) -> ([(IpAddr, u16); 2], [u32; 2]) {
    let (ports, ids) = (key.ports(), key.port_ids());
    let order = [began & 1, 1 - (began & 1)];
    (
        order.map(|end| (key.addresses[end], ports[end])),
        order.map(|end| ids[end]),
    )
}

/// Tells of a flow once for each rule that admitted it.
fn each<'a>(
    key: &FlowId,
    told: &Told,
    state: State,
    names: &'a FlowNames,
    tell: &mut impl FnMut(Event<'a>),
) {
    let began = told.flow.began();
    let (ends, ids) = ends(key, began);
    let since = |now: [u64; 2], then: [u64; 2]| {
        let of = |end: usize| now[end].saturating_sub(then[end]);
        match state {
            State::Begin => [0; 2],
            _ => [of(began), of(1 - began)],
        }
    };
    for (at, rule) in told.flow.admitted.into_iter().enumerate() {
        let inbound = at >= 2;
        let (Some((set, rule)), Some(port)) = (
            names.rule(rule),
            names.ports.get(&ids[usize::from(inbound)]),
        ) else {
            continue;
        };
        tell(Event {
            port,
            set,
            rule,
            at: told.at,
            ends,
            protocol: key.protocol(),
            inbound,
            state,
            packets: since(told.flow.packets, told.packets),
            bytes: since(told.flow.bytes, told.bytes),
        });
    }
}

/// What is told of a flow that was refused.
pub(super) fn denied<'a>(row: &DeniedFlow, names: &'a FlowNames) -> Option<Event<'a>> {
    let began = (row.denied.state & u32::from(Flow::FROM_HIGH)) as usize;
    let inbound = row.denied.state & Denied::INBOUND != 0;
    let (ends, ids) = ends(&row.key, began);
    let (set, rule) = names.rule(row.denied.rule)?;
    Some(Event {
        port: names.ports.get(&ids[usize::from(inbound)])?,
        set,
        rule,
        at: row.denied.last,
        ends,
        protocol: row.key.protocol(),
        inbound,
        state: State::Deny,
        packets: [0; 2],
        bytes: [0; 2],
    })
}
