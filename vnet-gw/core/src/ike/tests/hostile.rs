//! Strangers and liars.

use super::*;
use crate::ike::{
    EndpointCounters,
    codec::{ExchangeType, Header, Notify, NotifyType, Packet, Payload, encode},
};

fn counters(net: &Net, side: usize) -> EndpointCounters {
    net.sides[side].endpoint.counters()
}

/// The first message of an initiator, as often as one likes.
fn first_message() -> Vec<u8> {
    let mut net = Net::new();
    net.configure(A, |_| {});
    net.log.remove(0).1.data
}

fn flood(net: &mut Net, count: u64) {
    let message = first_message();
    for n in 0..count {
        let mut data = message.clone();
        data[..8].copy_from_slice(&(n + 1).to_be_bytes());
        let now = net.now;
        let local = "198.51.100.1:500".parse().unwrap();
        let remote = SocketAddr::new(ip("192.0.2.1"), 1000 + (n % 60_000) as u16);
        net.sides[B]
            .endpoint
            .handle_datagram(now, local, remote, &data);
        while net.sides[B].endpoint.poll_transmit().is_some() {}
        while let Some(event) = net.sides[B].endpoint.poll_event() {
            net.sides[B].apply(event);
        }
    }
}

#[test]
fn under_a_flood_cookies_let_an_honest_peer_in() {
    let mut net = Net::new();
    net.configure(B, |_| {});
    flood(&mut net, 5_000);
    let seen = counters(&net, B);
    assert_eq!(seen.half_open, 64, "{seen:?}");
    assert_eq!(seen.cookies_asked, 5_000 - 64);
    net.configure(A, |_| {});
    net.run(seconds(1));
    net.assert_agreed();
    assert_eq!(net.log.len(), 6, "one round trip more, for the cookie");
    net.run(seconds(31));
    assert_eq!(counters(&net, B).half_open, 0);
    net.assert_agreed();
}

#[test]
fn a_flood_does_not_disturb_an_established_tunnel() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    let states = net.sides[B].states.clone();
    flood(&mut net, 5_000);
    net.run(seconds(40));
    net.assert_agreed();
    assert_eq!(net.sides[B].states, states);
    assert_eq!(net.sides[B].ups, 1);
}

#[test]
fn a_forged_refusal_does_not_stop_an_initiator() {
    for kind in [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::INVALID_SYNTAX,
        NotifyType::INVALID_KE_PAYLOAD,
    ] {
        let mut net = Net::new();
        net.configure(B, |_| {});
        net.configure(A, |_| {});
        let sent = &net.log[0].1;
        let header = Header {
            initiator_spi: u64::from_be_bytes(sent.data[..8].try_into().unwrap()),
            responder_spi: 0,
            exchange: ExchangeType::IKE_SA_INIT,
            from_initiator: false,
            response: true,
            message_id: 0,
        };
        let forged = encode(&header, &[Payload::Notify(Notify::new(kind, [0, 99]))]);
        let (now, local, remote) = (net.now, sent.local, sent.remote);
        net.sides[A]
            .endpoint
            .handle_datagram(now, local, remote, &forged);
        net.flush(A);
        net.run(seconds(1));
        net.assert_agreed();
    }
}

#[test]
fn hints_of_strangers_only_cause_a_question_now_and_then() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    let status = net.status(A).remove(0);
    let before = net.log.len();
    for kind in [NotifyType::INVALID_SPI, NotifyType::INVALID_IKE_SPI] {
        for _ in 0..100 {
            let header = Header {
                initiator_spi: status.initiator_spi,
                responder_spi: status.responder_spi,
                exchange: ExchangeType::INFORMATIONAL,
                from_initiator: false,
                response: true,
                message_id: 9,
            };
            let hint = encode(&header, &[Payload::Notify(Notify::new(kind, []))]);
            let now = net.now;
            net.sides[A]
                .endpoint
                .handle_datagram(now, status.local, status.remote, &hint);
            net.flush(A);
        }
    }
    net.run(seconds(1));
    assert_eq!(net.log.len(), before + 2, "a question and its answer");
    net.assert_agreed();
    assert!(counters(&net, A).rate_limited >= 199);
}

/// Every message of a handshake and of a rekey, changed in every byte, cut everywhere, and again
/// as it was: nothing but counters moves.
#[test]
fn changed_cut_and_repeated_messages_change_nothing() {
    let mut net = Net::pair(|_, config| config.post_quantum = true);
    net.run(seconds(1));
    let spi = net.sides[A].sending().inbound.spi;
    net.report(A, |report| report.rekey = Some(spi));
    net.run(seconds(1));
    net.assert_agreed();
    let log = net.log.clone();
    let pairs = net
        .sides
        .each_ref()
        .map(|side| side.pairs.keys().copied().collect::<Vec<_>>());
    let states = net.sides.each_ref().map(|side| side.states.len());
    let mut random = Seeded(5);
    for (from, transmit) in &log {
        let data = transmit
            .data
            .strip_prefix(&[0; 4])
            .unwrap_or(&transmit.data);
        for i in 0..data.len() {
            let mut flip = [0];
            random.fill(&mut flip);
            let mut changed = data.to_vec();
            changed[i] ^= flip[0].max(1);
            for bytes in [&changed[..], &data[..i], data] {
                let now = net.now;
                let (local, remote) = (transmit.remote, transmit.local);
                let to = 1 - from;
                net.sides[to]
                    .endpoint
                    .handle_datagram(now, local, remote, bytes);
                while net.sides[to].endpoint.poll_transmit().is_some() {}
                while let Some(event) = net.sides[to].endpoint.poll_event() {
                    net.sides[to].apply(event);
                }
            }
        }
    }
    for side in [A, B] {
        let now: Vec<_> = net.sides[side].pairs.keys().copied().collect();
        assert_eq!(now, pairs[side]);
        assert_eq!(net.sides[side].states.len(), states[side]);
    }
    net.run(seconds(100));
    net.assert_agreed();
}

#[test]
fn strangers_get_no_answer() {
    let mut net = Net::new();
    net.configure(B, |_| {});
    let message = first_message();
    let now = net.now;
    let local = "198.51.100.1:500".parse().unwrap();
    let remote = "203.0.113.200:500".parse().unwrap();
    net.sides[B]
        .endpoint
        .handle_datagram(now, local, remote, &message);
    assert_eq!(net.sides[B].endpoint.poll_transmit(), None);
    assert_eq!(counters(&net, B).unknown_peer, 1);
}

/// IKE_SA_INITs in the peer's name that fit nothing: no half-open SA comes of them, and so no
/// threshold is passed, but each is work.
#[test]
fn a_flood_of_bad_proposals_in_its_name_lets_an_honest_peer_in() {
    let mut other = Net::new();
    other.configure(A, |config| config.ike = vec![suite(Group::Ecp384)]);
    let sample = other.log.remove(0).1.data;
    let mut net = Net::new();
    net.configure(B, |_| {});
    let (a, b) = (
        "192.0.2.1:500".parse().unwrap(),
        "198.51.100.1:500".parse().unwrap(),
    );
    let mut spi = 0x1234_5678_0000_0000_u64;
    let mut flood = |net: &mut Net, millis: u64| {
        for _ in 0..millis {
            for _ in 0..2 {
                spi += 1;
                let mut data = sample.clone();
                data[..8].copy_from_slice(&spi.to_be_bytes());
                net.flush(B);
                let now = net.now;
                net.sides[B].endpoint.handle_datagram(now, b, a, &data);
                // The answers go to the honest peer's address, too, which did not ask.
                net.flush(B);
            }
            net.run(Duration::from_millis(1));
        }
    };
    flood(&mut net, 5_000);
    let seen = counters(&net, B);
    assert!(seen.cookies_asked > 9_000, "{seen:?}");
    net.configure(A, |_| {});
    flood(&mut net, 2_000);
    assert_eq!(
        net.sides[A].state,
        TunnelState::Connected,
        "{}",
        net.sides[A].reason
    );
    net.assert_agreed();
}

/// The first message of A, changed, from A to B; what B says to it.
fn answers_to(change: impl Fn(&mut Vec<u8>), times: usize) -> Vec<Transmit> {
    let mut net = Net::new();
    net.configure(B, |_| {});
    let mut message = first_message();
    change(&mut message);
    let length = u32::try_from(message.len()).unwrap();
    message[24..28].copy_from_slice(&length.to_be_bytes());
    let (now, local) = (net.now, "198.51.100.1:500".parse().unwrap());
    for remote in ["192.0.2.1:500", "203.0.113.200:500"] {
        for _ in 0..times {
            net.sides[B]
                .endpoint
                .handle_datagram(now, local, remote.parse().unwrap(), &message);
        }
    }
    std::iter::from_fn(|| net.sides[B].endpoint.poll_transmit()).collect()
}

/// The only payload of an answer in the clear.
fn refusal(answer: &Transmit) -> Notify {
    let packet = Packet::parse(&answer.data).unwrap();
    assert!(packet.header.response && !packet.header.from_initiator);
    assert_eq!(packet.header.exchange, ExchangeType::IKE_SA_INIT);
    assert_eq!(
        answer.remote.ip(),
        ip("192.0.2.1"),
        "no stranger is answered"
    );
    match packet.payloads().unwrap().as_slice() {
        [Payload::Notify(notify)] => notify.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_can_read_is_refused_now_and_then() {
    // A payload of type 200, critical, before all others.
    let critical = |message: &mut Vec<u8>| {
        let first = std::mem::replace(&mut message[16], 200);
        message.splice(28..28, [first, 0x80, 0, 4]);
    };
    let answers = answers_to(critical, 1000);
    assert_eq!(answers.len(), 10);
    let notify = refusal(&answers[0]);
    assert_eq!(notify.kind, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD);
    assert_eq!(notify.data, [200]);

    let newer = |message: &mut Vec<u8>| message[17] = 0x30;
    let answers = answers_to(newer, 1000);
    assert_eq!(answers.len(), 10);
    assert_eq!(refusal(&answers[0]).kind, NotifyType::INVALID_MAJOR_VERSION);
    assert_eq!(answers[0].data[17], 0x20);
    // No answer to an answer, nor to version 1, which knows other ones.
    let answer = |message: &mut Vec<u8>| (message[17], message[19]) = (0x30, 0x20);
    assert_eq!(answers_to(answer, 1), []);
    let older = |message: &mut Vec<u8>| message[17] = 0x10;
    assert_eq!(answers_to(older, 1), []);

    let empty = |message: &mut Vec<u8>| {
        message[16] = 0;
        message.truncate(28);
    };
    let answers = answers_to(empty, 1);
    assert_eq!(refusal(&answers[0]).kind, NotifyType::INVALID_SYNTAX);
}
