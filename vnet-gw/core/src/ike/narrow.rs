//! Narrowing of traffic selectors (RFC 7296, 2.9).

use super::codec::MAX_SELECTORS;
use crate::sa::TrafficSelector;

/// What `offered` and `allowed` have in common, in the order of `allowed`, as far as an answer can
/// say it: both ends are to have the same. Empty: nothing.
pub(super) fn narrow(
    offered: &[TrafficSelector],
    allowed: &[TrafficSelector],
) -> Vec<TrafficSelector> {
    let mut out: Vec<TrafficSelector> = Vec::new();
    for bound in allowed {
        for offer in offered {
            let Some(common) = intersection(offer, bound) else {
                continue;
            };
            if out.iter().any(|have| contains(have, &common)) {
                continue;
            }
            out.retain(|have| !contains(&common, have));
            out.push(common);
            if out.len() == MAX_SELECTORS {
                return out;
            }
        }
    }
    out
}

/// Whether every selector of `inner` lies in one of `outer`: what a responder may answer.
pub(super) fn within(inner: &[TrafficSelector], outer: &[TrafficSelector]) -> bool {
    !inner.is_empty()
        && inner
            .iter()
            .all(|one| outer.iter().any(|other| contains(other, one)))
}

/// For a reason: `10.0.0.0-10.0.0.255, 10.1.0.0-10.1.255.255 proto 6 ports 80-80`.
pub(super) fn describe(selectors: &[TrafficSelector]) -> String {
    const SHOWN: usize = 8;
    let mut out: Vec<String> = selectors.iter().take(SHOWN).map(one).collect();
    if selectors.len() > SHOWN {
        out.push(format!("and {} more", selectors.len() - SHOWN));
    }
    if out.is_empty() {
        return "nothing".to_owned();
    }
    out.join(", ")
}

fn one(selector: &TrafficSelector) -> String {
    let mut out = format!("{}-{}", selector.addresses.0, selector.addresses.1);
    if selector.protocol != 0 {
        out.push_str(&format!(" protocol {}", selector.protocol));
    }
    if selector.ports != (0, u16::MAX) {
        out.push_str(&format!(" ports {}-{}", selector.ports.0, selector.ports.1));
    }
    out
}

fn intersection(a: &TrafficSelector, b: &TrafficSelector) -> Option<TrafficSelector> {
    let protocol = match (a.protocol, b.protocol) {
        (0, other) | (other, 0) => other,
        (one, other) if one == other => one,
        _ => return None,
    };
    if a.addresses.0.is_ipv4() != b.addresses.0.is_ipv4() {
        return None;
    }
    let addresses = (
        a.addresses.0.max(b.addresses.0),
        a.addresses.1.min(b.addresses.1),
    );
    let ports = ports(a.ports, b.ports)?;
    (addresses.0 <= addresses.1).then_some(TrafficSelector {
        protocol,
        ports,
        addresses,
    })
}

/// (65535, 0) stands for OPAQUE: packets whose port is not to be seen (RFC 7296, 3.13.1).
fn ports(a: (u16, u16), b: (u16, u16)) -> Option<(u16, u16)> {
    const ANY: (u16, u16) = (0, u16::MAX);
    if a == ANY {
        return Some(b);
    }
    if b == ANY || a == b {
        return Some(a);
    }
    let both = (a.0.max(b.0), a.1.min(b.1));
    (both.0 <= both.1).then_some(both)
}

fn contains(outer: &TrafficSelector, inner: &TrafficSelector) -> bool {
    intersection(outer, inner).as_ref() == Some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::codec::{ExchangeType, Header, Packet, Payload, encode};

    fn selector(first: &str, last: &str) -> TrafficSelector {
        TrafficSelector {
            protocol: 0,
            ports: (0, u16::MAX),
            addresses: (first.parse().unwrap(), last.parse().unwrap()),
        }
    }

    #[test]
    fn what_both_want_is_agreed_on() {
        let any = [
            selector("0.0.0.0", "255.255.255.255"),
            selector("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ];
        let two = [
            selector("10.1.0.0", "10.1.255.255"),
            selector("10.2.0.0", "10.2.255.255"),
        ];
        assert_eq!(narrow(&any, &two), two);
        assert_eq!(narrow(&two, &any), two);
        let other = [selector("10.1.128.0", "10.2.0.255")];
        assert_eq!(
            narrow(&other, &two),
            [
                selector("10.1.128.0", "10.1.255.255"),
                selector("10.2.0.0", "10.2.0.255"),
            ]
        );
        assert!(narrow(&[selector("10.3.0.0", "10.3.0.1")], &two).is_empty());
        assert!(narrow(&[selector("::", "::1")], &two).is_empty());
    }

    #[test]
    fn protocols_and_ports_narrow_too() {
        let tcp = TrafficSelector {
            protocol: 6,
            ports: (80, 443),
            ..selector("10.0.0.0", "10.0.0.255")
        };
        let any = selector("10.0.0.0", "10.255.255.255");
        assert_eq!(narrow(&[any], &[tcp]), [tcp]);
        let udp = TrafficSelector {
            protocol: 17,
            ..tcp
        };
        assert!(narrow(&[udp], &[tcp]).is_empty());
        let high = TrafficSelector {
            ports: (400, 500),
            ..tcp
        };
        assert_eq!(narrow(&[high], &[tcp])[0].ports, (400, 443));
    }

    #[test]
    fn what_is_agreed_on_fits_into_an_answer() {
        let single = |n: u16| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + u32::from(n) * 2).to_string();
            selector(&address, &address)
        };
        let many: Vec<_> = (0..300).map(single).collect();
        let any = selector("0.0.0.0", "255.255.255.255");
        let both = narrow(&many, &[any]);
        let header = Header {
            initiator_spi: 1,
            responder_spi: 0,
            exchange: ExchangeType::IKE_AUTH,
            from_initiator: true,
            response: false,
            message_id: 1,
        };
        let answer = Payload::SelectorsInitiator(both.clone());
        let message = encode(&header, std::slice::from_ref(&answer));
        let read = Packet::parse(&message).unwrap().payloads().unwrap();
        assert_eq!(read, [answer]);
        assert_eq!(both, many[..255]);
    }

    #[test]
    fn an_answer_lies_within_the_offer() {
        let offer = [selector("10.0.0.0", "10.0.255.255")];
        assert!(within(&[selector("10.0.1.0", "10.0.1.255")], &offer));
        assert!(!within(&[selector("10.0.1.0", "10.1.0.0")], &offer));
        assert!(!within(&[], &offer));
    }

    #[test]
    fn what_lies_in_another_is_not_said_twice() {
        let offered = [
            selector("10.0.0.1", "10.0.0.1"),
            selector("10.0.0.0", "10.0.0.255"),
        ];
        let allowed = [selector("10.0.0.0", "10.0.255.255")];
        assert_eq!(
            narrow(&offered, &allowed),
            [selector("10.0.0.0", "10.0.0.255")]
        );
    }
}
