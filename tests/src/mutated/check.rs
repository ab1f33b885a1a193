//! What came of a packet, and whether it holds together and is what had to come.

use ipnet::IpNet;
use vnet_gw_common::verdict::Reason;
use vnet_gw_core::{metering::MeterKey, model::ResourceId};

use super::{
    bed::Counted,
    headers::{self, ETH, ICMP, ICMPV6, Ip},
    model::{End, Expected, Given, Model},
};
use crate::{
    frames::{FABRIC, checksum, icmp6_sum},
    test_run::Hook,
};

/// Bytes that an error quotes.
const QUOTE: usize = 128;

/// What one packet changed in the counters: packets and bytes.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) reasons: Vec<(Reason, u64, u64)>,
    routes: Vec<(ResourceId, IpNet, u64, u64)>,
    meters: Vec<(Option<MeterKey>, u64, u64)>,
}

impl Change {
    pub(super) fn between(before: &Counted, after: &Counted) -> Self {
        let mut change = Self::default();
        let reasons = before.counters.reasons.iter().zip(&after.counters.reasons);
        for ((reason, before), (_, after)) in reasons {
            if before != after {
                let (packets, bytes) = (after.packets - before.packets, after.bytes - before.bytes);
                change.reasons.push((*reason, packets, bytes));
            }
        }
        let subnets = before.counters.subnets.iter().zip(&after.counters.subnets);
        for ((id, before), (_, after)) in subnets {
            let of4 = before.v4.iter().zip(&after.v4);
            let of4 = of4.map(|((net, before), (_, after))| (IpNet::V4(*net), before, after));
            let of6 = before.v6.iter().zip(&after.v6);
            let of6 = of6.map(|((net, before), (_, after))| (IpNet::V6(*net), before, after));
            for (net, before, after) in of4.chain(of6).filter(|(_, a, b)| a != b) {
                let (packets, bytes) = (after.packets - before.packets, after.bytes - before.bytes);
                change.routes.push((id.clone(), net, packets, bytes));
            }
        }
        for (before, after) in before.meters.iter().zip(&after.meters) {
            let (a, b) = (&before.counter, &after.counter);
            if a != b {
                let (packets, bytes) = (b.packets - a.packets, b.bytes - a.bytes);
                change.meters.push((after.key.clone(), packets, bytes));
            }
        }
        change
    }
}

pub(super) struct Observed {
    pub(super) code: u32,
    pub(super) out: Vec<u8>,
    pub(super) change: Change,
}

/// What the return value and the counters of reasons say, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Out of another port.
    Passed,
    /// Turned into an answer, which goes back.
    Answered(Reason),
    /// Dropped, or turned into an ICMP error of that kind.
    Refused {
        reason: Reason,
        error: Option<Reason>,
    },
}

impl Verdict {
    pub(super) fn dropped(reason: Reason) -> Self {
        Self::Refused {
            reason,
            error: None,
        }
    }

    pub(super) fn number(&self) -> u32 {
        match self {
            Self::Passed => 0,
            Self::Answered(reason) => 1 + *reason as u32,
            Self::Refused { reason, error } => {
                64 * (1 + *reason as u32) + error.map_or(0, |error| 1 + error as u32)
            }
        }
    }
}

impl Observed {
    /// An error where it is no verdict at all.
    pub(super) fn verdict(&self, hook: Hook) -> Result<Verdict, String> {
        let (redirect, drop) = match hook {
            Hook::Xdp => (4, 1),
            Hook::Tc => (7, 2),
        };
        let goes_on = match self.code {
            code if code == redirect => true,
            code if code == drop => false,
            code => return Err(format!("{code} is no verdict")),
        };
        use Reason::{
            ApplianceUnreachable, ArpAnswered, EndpointUnreachable, NdAnswered, SentTimeExceeded,
            SentTooBig, SentUnreachable, TooBig, TtlExpired,
        };
        let reasons: Vec<Reason> = self
            .change
            .reasons
            .iter()
            .map(|(reason, ..)| *reason)
            .collect();
        match (goes_on, &reasons[..]) {
            (true, []) => Ok(Verdict::Passed),
            (true, [answered @ (ArpAnswered | NdAnswered)]) => Ok(Verdict::Answered(*answered)),
            (true, [reason @ TtlExpired, error @ SentTimeExceeded])
            | (
                true,
                [
                    reason @ (EndpointUnreachable | ApplianceUnreachable),
                    error @ SentUnreachable,
                ],
            )
            | (true, [reason @ TooBig, error @ SentTooBig]) => Ok(Verdict::Refused {
                reason: *reason,
                error: Some(*error),
            }),
            (false, [reason]) if reason.is_drop() => Ok(Verdict::dropped(*reason)),
            (false, []) => Err("dropped, and not counted".to_owned()),
            _ => Err("counters and verdict do not belong together".to_owned()),
        }
    }
}

/// What holds of every verdict.
pub(super) fn consistent(
    model: &Model,
    given: &Given<'_>,
    expected: &Expected,
    observed: &Observed,
    verdict: &Verdict,
) -> Result<(), String> {
    let segments = segments(given, given.frame.len());
    for (reason, packets, bytes) in &observed.change.reasons {
        let sent = matches!(
            reason,
            Reason::ArpAnswered
                | Reason::NdAnswered
                | Reason::SentTimeExceeded
                | Reason::SentTooBig
                | Reason::SentUnreachable
        );
        // The length changes with each tag that is taken off, be it to be refused.
        let whole = given.frame.len() - ETH;
        let fits = match sent {
            true => *packets == 1 && *bytes <= observed.out.len() as u64,
            false => {
                (1..=segments).contains(packets)
                    && [0, 4, 8, 12]
                        .iter()
                        .any(|tags| *bytes + tags == whole as u64)
            }
        };
        if !fits {
            return Err(format!(
                "{} counted {packets} and {bytes} bytes",
                reason.name()
            ));
        }
    }
    let route = expected.route;
    match (&observed.change.routes[..], route, expected.ip) {
        ([], None, _) => {}
        ([(subnet, net, packets, bytes)], Some(route), Some(ip))
            if *net == route
                && *subnet == model.ports[given.port].subnet
                && (1..=segments).contains(packets)
                && *bytes == ip.len as u64 => {}
        _ => return Err("another route counted it".to_owned()),
    }
    let metered = expected.meter.as_ref();
    let metered = metered.filter(|_| *verdict == Verdict::Passed);
    match (&observed.change.meters[..], metered) {
        ([], None) => Ok(()),
        ([(key, packets, bytes)], Some(metered)) => {
            let length = expected.ip.map_or(0, |ip| ip.len as u64);
            let exact = *packets == 1 && *bytes == length;
            let cut = given.gso_size != 0 && (1..=segments).contains(packets) && *bytes >= length;
            if key.as_ref() == Some(metered) && (exact || cut) {
                return Ok(());
            }
            Err("metered otherwise".to_owned())
        }
        _ => Err("another meter counted it".to_owned()),
    }
}

/// The most packets on the wire that it may stand for.
fn segments(given: &Given<'_>, len: usize) -> u64 {
    match (given.hook, given.gso_size) {
        (Hook::Tc, size @ 1..) => (len as u64).div_ceil(size.into()).max(1),
        _ => 1,
    }
}

/// Whether the verdict is what had to come, security groups left out, and what came out with it.
pub(super) fn as_expected(
    model: &Model,
    given: &Given<'_>,
    expected: &Expected,
    observed: &Observed,
    verdict: &Verdict,
) -> Result<(), String> {
    let wrong = || Err(format!("came to {verdict:?}"));
    match (&expected.end, verdict) {
        (End::HandedOver { to, mac, .. }, Verdict::Passed) => {
            let from = model.sender(given.port, *to);
            let counts_down = !model.ports[given.port].internet && !model.ports[*to].internet;
            handed_over(expected, &observed.out, (*mac, from), counts_down)
        }
        (End::ArpAnswered, Verdict::Answered(Reason::ArpAnswered)) => {
            arp_answer(&expected.frame, &observed.out)
        }
        (End::NdAnswered, Verdict::Answered(Reason::NdAnswered)) => {
            nd_answer(&expected.frame, &observed.out)
        }
        (End::Refused(reasons), Verdict::Refused { reason, error }) if reasons.contains(reason) => {
            icmp_error(model, given, expected, &observed.out, (*reason, *error))
        }
        (
            End::HandedOver {
                or_too_big: true, ..
            },
            Verdict::Refused {
                reason: Reason::TooBig,
                error,
            },
        ) => icmp_error(
            model,
            given,
            expected,
            &observed.out,
            (Reason::TooBig, *error),
        ),
        _ => wrong(),
    }
}

fn same(about: &str, out: &[u8], wanted: &[u8]) -> Result<(), String> {
    if out == wanted {
        return Ok(());
    }
    Err(format!("{about}: it should be {wanted:02x?}"))
}

/// Only MAC addresses and, where it counts down, TTL and header checksum are others.
fn handed_over(
    expected: &Expected,
    out: &[u8],
    (to, from): ([u8; 6], [u8; 6]),
    counts_down: bool,
) -> Result<(), String> {
    let mut wanted = expected.frame.clone();
    wanted[..6].copy_from_slice(&to);
    wanted[6..12].copy_from_slice(&from);
    if counts_down && let Some(ip) = expected.ip {
        if ip.v6() {
            wanted[21] = ip.ttl - 1;
        } else {
            wanted[22] = ip.ttl - 1;
            let header = |frame: &[u8]| checksum(&[frame.get(ETH..ip.at).unwrap_or_default()]);
            // What the sums come to, right or wrong, has stayed; 0 is written in two ways.
            let (before, after) = (header(&expected.frame), header(out));
            if before % 0xffff != after % 0xffff {
                return Err(format!(
                    "the header's sum was {before:#x} and is {after:#x}"
                ));
            }
            if let (Some(to), Some(sum)) = (wanted.get_mut(24..26), out.get(24..26)) {
                to.copy_from_slice(sum);
            }
        }
    }
    same("handed over", out, &wanted)
}

fn arp_answer(frame: &[u8], out: &[u8]) -> Result<(), String> {
    let mut wanted = frame.to_vec();
    wanted[..6].copy_from_slice(&frame[6..12]);
    wanted[6..12].copy_from_slice(&FABRIC);
    wanted[21] = 2;
    wanted[22..28].copy_from_slice(&FABRIC);
    wanted[28..32].copy_from_slice(&frame[38..42]);
    wanted[32..38].copy_from_slice(&frame[6..12]);
    wanted[38..42].copy_from_slice(&frame[28..32]);
    same("the answer", out, &wanted)
}

fn nd_answer(frame: &[u8], out: &[u8]) -> Result<(), String> {
    let mac: [u8; 6] = frame[6..12].try_into().unwrap_or([0; 6]);
    let length = headers::word(out, 18).map_or(0, usize::from);
    let (Some(packet), true) = (
        out.get(ETH..ETH + 40 + length),
        out.len() == frame.len() && matches!(length, 24 | 32),
    ) else {
        return Err("an answer of another length".to_owned());
    };
    let right = out[..6] == mac
        && out[6..12] == FABRIC
        && packet[..4] == frame[ETH..ETH + 4]
        && packet[6..8] == [ICMPV6, 255]
        // From the address asked for, to who asked, about it.
        && packet[8..24] == frame[62..78]
        && packet[24..40] == frame[22..38]
        && packet[40..42] == [136, 0]
        && packet[48..64] == frame[62..78]
        && (length == 24 || packet[64..66] == [2, 1] && packet[66..72] == FABRIC)
        && icmp6_sum(packet) == 0;
    if right {
        return Ok(());
    }
    Err("a wrong answer".to_owned())
}

/// That an error was sent if one is due, and what it says.
fn icmp_error(
    model: &Model,
    given: &Given<'_>,
    expected: &Expected,
    out: &[u8],
    (reason, error): (Reason, Option<Reason>),
) -> Result<(), String> {
    let about = matches!(
        reason,
        Reason::TtlExpired
            | Reason::EndpointUnreachable
            | Reason::ApplianceUnreachable
            | Reason::TooBig
    );
    let port = &model.ports[given.port];
    let subnet = model.subnet(port);
    let ip = expected.ip.filter(|_| about);
    let router = ip.zip(subnet).and_then(|(ip, subnet)| match ip.v6() {
        true => subnet.gateway6.map(|router| router.octets().to_vec()),
        false => subnet.gateway4.map(|router| router.octets().to_vec()),
    });
    let due = ip.filter(|ip| headers::error_is_due(&expected.frame, ip));
    let ((Some(ip), Some(router)), Some(_)) = ((due, &router), error) else {
        let is_due = due.is_some() && router.is_some();
        return match is_due == error.is_some() {
            true => Ok(()),
            false => Err(format!("an error is due: {is_due}")),
        };
    };
    error_holds(expected, &ip, (router, port.mac), out, reason)
}

fn error_holds(
    expected: &Expected,
    ip: &Ip,
    (router, mac): (&[u8], [u8; 6]),
    out: &[u8],
    reason: Reason,
) -> Result<(), String> {
    let quote = if ip.len < QUOTE { ip.len & !1 } else { QUOTE };
    let header = if ip.v6() { 40 } else { 20 };
    if out.len() != ETH + header + 8 + quote {
        return Err("an error of another length".to_owned());
    }
    let packet = &out[ETH..];
    let message = &packet[header..];
    let kind: [u8; 2] = match (ip.v6(), reason) {
        (false, Reason::TtlExpired) => [11, 0],
        (false, Reason::TooBig) => [3, 4],
        (false, _) => [3, 1],
        (true, Reason::TtlExpired) => [3, 0],
        (true, Reason::TooBig) => [2, 0],
        (true, _) => [1, 3],
    };
    let length = if ip.v6() { 8 + quote } else { 28 + quote } as u16;
    let source = &expected.frame[if ip.v6() { 22..38 } else { 26..30 }];
    let addressed = match ip.v6() {
        true => {
            packet[0] == 0x60
                && packet[4..6] == length.to_be_bytes()
                && packet[6] == ICMPV6
                && packet[8..24] == *router
                && packet[24..40] == *source
                && icmp6_sum(packet) == 0
        }
        false => {
            packet[0] == 0x45
                && packet[2..4] == length.to_be_bytes()
                && packet[9] == ICMP
                && packet[12..16] == *router
                && packet[16..20] == *source
                && checksum(&[&packet[..20]]) == 0
                && checksum(&[message]) == 0
        }
    };
    let quoted = expected.frame.get(ETH..ETH + quote);
    let right = addressed
        && out[..6] == mac
        && out[6..12] == FABRIC
        && message[..2] == kind
        && Some(&message[8..]) == quoted;
    if right {
        return Ok(());
    }
    Err("a wrong error".to_owned())
}
