//! From nothing to a pair of SAs.

use super::*;
use crate::ike::{
    IkeIntegrity,
    codec::{ExchangeType, NotifyType, Packet, Payload},
};

#[test]
fn two_round_trips_and_there_is_a_pair() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    net.assert_agreed();
    assert_eq!(net.log.len(), 4);
    let [a, b] = [A, B].map(|side| net.status(side).remove(0));
    assert!(a.initiator && !b.initiator);
    assert_eq!(a.peer_identity, Some(Identity::Ip(ip("198.51.100.1"))));
    assert!(a.children[0].esn, "extended sequence numbers are preferred");
    assert_eq!(net.sides[A].reason, "AES_GCM_16_256, ESN, CURVE_25519");
    assert!(net.sides[A].sending().send_at_once && net.sides[B].sending().send_at_once);
}

#[test]
fn every_suite_and_group() {
    let integrities = [
        IkeIntegrity::HmacSha1_96,
        IkeIntegrity::HmacSha2_256_128,
        IkeIntegrity::HmacSha2_384_192,
        IkeIntegrity::HmacSha2_512_256,
    ];
    let mut ciphers = vec![
        IkeCipher::Aes128Gcm,
        IkeCipher::Aes256Gcm,
        IkeCipher::ChaCha20Poly1305,
    ];
    for integrity in integrities {
        ciphers.extend([128, 192, 256].map(|key_bits| IkeCipher::AesCbc {
            key_bits,
            integrity,
        }));
    }
    let groups = [
        Group::Curve25519,
        Group::Ecp256,
        Group::Ecp384,
        Group::Modp2048,
        Group::Modp1024,
    ];
    let prfs = [
        Prf::HmacSha1,
        Prf::HmacSha2_256,
        Prf::HmacSha2_384,
        Prf::HmacSha2_512,
    ];
    for (i, cipher) in ciphers.into_iter().enumerate() {
        let proposal = IkeProposal {
            cipher,
            prf: prfs[i % prfs.len()],
            group: groups[i % groups.len()],
        };
        let mut net = Net::pair(|_, config| config.ike = vec![proposal]);
        net.run(seconds(1));
        net.assert_agreed();
        assert_eq!(net.status(A)[0].proposal, Some(proposal));
    }
}

#[test]
fn identities_of_all_kinds() {
    for identity in [
        Identity::Fqdn("gateway.example".to_owned()),
        Identity::KeyId(b"key 7".to_vec()),
        Identity::Ip(ip("2001:db8::7")),
    ] {
        let mut net = Net::pair(|side, config| {
            if side == A {
                config.local_id = identity.clone();
            } else {
                config.remote_ids = vec![Identity::Ip(ip("203.0.113.3")), identity.clone()];
            }
        });
        net.run(seconds(1));
        net.assert_agreed();
        assert_eq!(net.status(B)[0].peer_identity, Some(identity));
    }
}

#[test]
fn the_group_that_the_responder_asks_for_is_tried() {
    let mut net = Net::pair(|side, config| {
        let wanted = suite(Group::Ecp384);
        config.ike = if side == A {
            vec![suite(Group::Curve25519), wanted]
        } else {
            vec![wanted]
        };
    });
    net.run(seconds(1));
    net.assert_agreed();
    assert_eq!(net.status(A)[0].proposal, Some(suite(Group::Ecp384)));
    assert_eq!(net.log.len(), 6);
}

/// Each answer comes twice, and a cookie is asked for, too.
#[test]
fn what_begins_anew_changes_what_it_was_asked_to_and_nothing_else() {
    let mut net = Net::with(EndpointOptions {
        cookie_threshold: 0,
        ..EndpointOptions::default()
    });
    net.configure(B, |config| config.ike = vec![suite(Group::Ecp384)]);
    net.configure(A, |config| {
        config.ike = vec![suite(Group::Curve25519), suite(Group::Ecp384)];
    });
    for _ in 0..200 {
        let twice: Vec<_> = net
            .wire
            .values()
            .filter(|(to, _)| *to == A)
            .cloned()
            .collect();
        net.run(Duration::from_millis(10));
        for (to, transmit) in twice {
            net.deliver(to, &transmit);
        }
        assert_ne!(
            net.sides[A].state,
            TunnelState::NotConnected,
            "{}",
            net.sides[A].reason
        );
    }
    net.assert_agreed();
    let detections: Vec<_> = net
        .log
        .iter()
        .filter(|(from, _)| *from == A)
        .filter_map(|(_, sent)| Packet::parse(&sent.data).ok()?.payloads().ok())
        .map(|payloads| {
            let mut payloads = payloads.into_iter();
            payloads.find(|payload| match payload {
                Payload::Notify(notify) => notify.kind == NotifyType::NAT_DETECTION_SOURCE_IP,
                _ => false,
            })
        })
        .collect();
    assert!(detections.len() >= 3, "{}", detections.len());
    assert!(detections[0].is_some());
    assert!(detections.iter().all(|one| *one == detections[0]));
}

#[test]
fn ml_kem_is_done_where_both_know_it() {
    for (of_a, of_b) in [(true, true), (true, false), (false, true)] {
        let mut net = Net::pair(|side, config| {
            config.post_quantum = if side == A { of_a } else { of_b };
        });
        net.run(seconds(1));
        net.assert_agreed();
        let hybrid = of_a && of_b;
        for side in [A, B] {
            assert_eq!(net.status(side)[0].post_quantum, hybrid);
        }
        let suffix = net.sides[A].reason.ends_with("CURVE_25519 + ML-KEM-768");
        assert_eq!(suffix, hybrid);
    }
}

#[test]
fn messages_fit_an_underlay_of_1280_bytes() {
    let mut net = Net::pair(|_, config| config.post_quantum = true);
    // Many selectors make IKE_AUTH large, and ML-KEM makes IKE_INTERMEDIATE large.
    net.configure_both(|_, config| {
        config.post_quantum = true;
        config.local_selectors = (0..100)
            .map(|n| TrafficSelector::prefix(format!("10.{n}.0.0/16").parse().unwrap()))
            .collect();
        config.remote_selectors = config.local_selectors.clone();
    });
    net.run(seconds(1));
    net.assert_agreed();
    let largest = net
        .log
        .iter()
        .map(|(_, transmit)| transmit.data.len())
        .max();
    assert!(largest <= Some(1232), "{largest:?}");
    let marked = |transmit: &Transmit| transmit.data.starts_with(&[0; 4]);
    assert!(
        net.log
            .iter()
            .all(|(_, t)| marked(t) == (t.local.port() == 4500))
    );
    assert_eq!(net.sides[A].sending().local_selectors.len(), 100);
}

#[test]
fn a_lost_message_is_sent_again_and_answered_from_what_was_kept() {
    // Each of the messages is lost once, in turn; with fragments and ML-KEM.
    for lost in 0..10 {
        let mut net = Net::new();
        let mut count = 0;
        net.filter = Box::new(move |_, _| {
            count += 1;
            count - 1 != lost
        });
        net.configure_both(|_, config| config.post_quantum = true);
        net.run(seconds(5));
        net.assert_agreed();
        assert_eq!(net.sides[A].ups, 1);
        assert_eq!(net.sides[B].ups, 1);
    }
}

#[test]
fn selectors_are_narrowed_to_what_both_have() {
    let prefix = |text: &str| TrafficSelector::prefix(text.parse().unwrap());
    let mut net = Net::pair(|side, config| {
        if side == B {
            config.local_selectors = vec![prefix("10.2.0.0/16"), prefix("10.3.0.0/24")];
            config.remote_selectors = vec![prefix("10.1.0.0/16")];
        }
    });
    net.run(seconds(1));
    net.assert_agreed();
    let pair = net.sides[A].sending();
    assert_eq!(pair.local_selectors, [prefix("10.1.0.0/16")]);
    assert_eq!(
        pair.remote_selectors,
        [prefix("10.2.0.0/16"), prefix("10.3.0.0/24")]
    );
}

#[test]
fn without_a_nat_esp_is_bare_and_with_one_it_is_in_udp() {
    let mut net = Net::pair(|_, config| config.encapsulation = EncapsulationChoice::ByNat);
    net.run(seconds(1));
    net.assert_agreed();
    let bare = Encapsulation::Esp {
        local: ip("192.0.2.1"),
        remote: ip("198.51.100.1"),
    };
    assert_eq!(net.sides[A].sending().encapsulation, bare);
    assert!(
        net.log
            .iter()
            .all(|(_, transmit)| transmit.local.port() == 500)
    );

    // One that wants UDP gets it, whichever side it is.
    for wants in [A, B] {
        let mut net = Net::pair(|side, config| {
            if side != wants {
                config.encapsulation = EncapsulationChoice::ByNat;
            }
        });
        net.run(seconds(1));
        net.assert_agreed();
        for side in [A, B] {
            let encapsulation = net.sides[side].sending().encapsulation;
            assert!(matches!(encapsulation, Encapsulation::Udp { local, remote }
                if local.port() == 4500 && remote.port() == 4500));
        }
    }
}

#[test]
fn both_ends_initiate_and_one_sa_remains() {
    let mut outcomes = BTreeSet::new();
    for (seed, delay) in (1..12).flat_map(|seed| (0..12).map(move |delay| (seed, delay))) {
        let mut net = Net::seeded(EndpointOptions::default(), seed);
        net.configure(A, |config| config.mode = ConnectionMode::Default);
        net.run(Duration::from_millis(delay));
        net.configure(B, |config| config.mode = ConnectionMode::Default);
        net.run_with_traffic(seconds(1));
        net.run(seconds(60));
        net.assert_agreed();
        let connected = |side: &Side| {
            side.states
                .iter()
                .filter(|s| s.0 == TunnelState::Connected)
                .count()
        };
        assert_eq!(
            net.sides.each_ref().map(connected),
            [1, 1],
            "no state flaps"
        );
        outcomes.insert((net.status(A)[0].initiator, net.sides[A].ups));
    }
    // Either one stays where both came into being; where they did not, there was only one.
    assert_eq!(
        outcomes,
        BTreeSet::from([(true, 2), (false, 2), (false, 1)])
    );
}

#[test]
fn a_thousand_tunnels() {
    const COUNT: u8 = 4;
    let mut net = Net::with(EndpointOptions {
        half_open: 4096,
        ..EndpointOptions::default()
    });
    for side in [B, A] {
        let mut tunnels = Vec::new();
        for (n, m) in (0..COUNT).flat_map(|n| (0..250).map(move |m| (n, m))) {
            let mut config = config(side);
            let far = IpAddr::from([10, 9, n, m]);
            config.id = TunnelId(u64::from(n) << 8 | u64::from(m));
            if side == A {
                config.local = far;
            } else {
                config.remote = far;
            }
            config.remote_ids.clear();
            tunnels.push(config);
        }
        net.sides[side].endpoint.configure(net.now, tunnels);
        net.flush(side);
    }
    net.run(seconds(30));
    for side in [A, B] {
        let statuses = net.status(side);
        assert_eq!(statuses.len(), usize::from(COUNT) * 250);
        assert!(statuses.iter().all(|status| status.children.len() == 1));
        assert!(net.sides[side].endpoint.poll_timeout().is_some());
    }
}

#[test]
fn an_exchange_is_what_its_header_says() {
    let mut net = Net::pair(|_, config| config.post_quantum = true);
    net.run(seconds(1));
    let exchanges: Vec<_> = net
        .log
        .iter()
        .map(|(_, t)| t.data.strip_prefix(&[0; 4]).unwrap_or(&t.data)[18])
        .map(ExchangeType)
        .collect();
    let in_order = [
        ExchangeType::IKE_SA_INIT,
        ExchangeType::IKE_INTERMEDIATE,
        ExchangeType::IKE_AUTH,
    ];
    let mut seen = exchanges.clone();
    seen.dedup();
    assert_eq!(seen, in_order);
}
