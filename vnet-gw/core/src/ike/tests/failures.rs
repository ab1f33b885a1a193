//! What does not fit, and how a person is told.

use super::*;
use crate::ike::IkeIntegrity;

fn outcome(change: impl Fn(usize, &mut TunnelConfig)) -> Net {
    let mut net = Net::pair(change);
    net.run(seconds(1));
    net
}

#[track_caller]
fn says(net: &Net, side: usize, part: &str) {
    let side = &net.sides[side];
    assert_eq!(side.state, TunnelState::NotConnected);
    assert!(
        side.reason.contains(part),
        "{:?} does not say {part:?}",
        side.reason
    );
    assert!(!side.reason.contains("made-up-key"));
}

#[test]
fn wrong_key() {
    let net = outcome(|side, config| {
        if side == B {
            config.key = Secret::new(*b"another");
        }
    });
    says(&net, A, "the shared key does not match");
    says(&net, B, "the shared key does not match");
    assert!(
        net.sides
            .iter()
            .all(|side| side.pairs.is_empty() && side.ups == 0)
    );
}

#[test]
fn a_refusal_that_is_lost_is_told_again() {
    let mut net = Net::new();
    let mut answers = 0;
    net.filter = Box::new(move |side, _| {
        answers += usize::from(side == B);
        side == A || answers != 2
    });
    net.configure_both(|side, config| {
        if side == B {
            config.key = Secret::new(*b"another");
        }
    });
    net.run(Duration::from_millis(1500));
    says(&net, A, "the shared key does not match");
}

#[test]
fn wrong_proposal() {
    let net = outcome(|side, config| {
        if side == B {
            config.ike = vec![IkeProposal {
                cipher: IkeCipher::AesCbc {
                    key_bits: 256,
                    integrity: IkeIntegrity::HmacSha1_96,
                },
                prf: Prf::HmacSha1,
                group: Group::Modp1024,
            }];
        }
    });
    says(
        &net,
        A,
        "the peer refused the proposal: we offer AES_GCM_16_256",
    );
    says(
        &net,
        B,
        "it offers AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519",
    );
    says(
        &net,
        B,
        "the policy asks AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
    );
}

#[test]
fn wrong_esp_proposal_leaves_an_ike_sa_that_asks_again() {
    let mut net = outcome(|side, config| {
        if side == B {
            config.esp = vec![EspProposal {
                suite: EspSuite::ChaCha20Poly1305,
                pfs: None,
            }];
        }
    });
    says(&net, A, "the peer refused the proposal for ESP");
    says(&net, B, "it offers AES_GCM_16_256");
    let before = net.log.len();
    net.run(seconds(60));
    assert!(net.log.len() > before);
    assert_eq!(
        net.sides[A].states.len(),
        2,
        "it is told once: {:?}",
        net.sides[A].states
    );
    // Once it fits, there is a child.
    net.configure(B, |_| {});
    net.run(seconds(60));
    net.assert_agreed();
}

#[test]
fn mismatched_selectors() {
    let prefix = |text: &str| vec![TrafficSelector::prefix(text.parse().unwrap())];
    let net = outcome(|side, config| {
        if side == A {
            config.remote_selectors = prefix("10.7.0.0/16");
        } else {
            config.local_selectors = prefix("10.8.0.0/16");
        }
    });
    says(&net, A, "the peer's traffic selectors do not fit");
    says(&net, B, "10.7.0.0-10.7.255.255");
    says(&net, B, "10.8.0.0-10.8.255.255");
}

#[test]
fn wrong_identity() {
    let net = outcome(|side, config| {
        if side == A {
            config.local_id = Identity::Fqdn("stranger.example".to_owned());
        }
    });
    says(
        &net,
        B,
        "the peer's identity is not the one expected: it is stranger.example",
    );
    says(&net, A, "does not expect our identity stranger.example");
    let net = outcome(|side, config| {
        if side == B {
            config.local_id = Identity::Fqdn("other.example".to_owned());
        }
    });
    says(
        &net,
        A,
        "the peer's identity is not the one expected: it is other.example",
    );
    says(&net, B, "does not expect our identity other.example");
}

#[test]
fn nobody_answers() {
    let mut net = Net::new();
    net.configure(A, |_| {});
    net.run(seconds(30));
    assert_eq!(net.sides[A].state, TunnelState::Connecting);
    net.run(seconds(2));
    says(&net, A, "no answer from the peer (sent 5 times in 31 s)");
    // And again, with the state as it is.
    let before = net.log.len();
    net.run(seconds(300));
    assert!(net.log.len() > before + 10);
    assert_eq!(net.sides[A].states.len(), 2, "{:?}", net.sides[A].states);
    net.configure(B, |_| {});
    net.run(seconds(100));
    net.assert_agreed();
}

#[test]
fn modes_are_kept() {
    let mut net = outcome(|_, config| config.mode = ConnectionMode::ResponderOnly);
    net.run(seconds(600));
    assert!(net.log.is_empty());
    let net = outcome(|_, config| config.mode = ConnectionMode::InitiatorOnly);
    assert!(net.sides.iter().all(|side| side.pairs.is_empty()));
    let net = outcome(|side, config| {
        config.mode = if side == A {
            ConnectionMode::InitiatorOnly
        } else {
            ConnectionMode::ResponderOnly
        };
    });
    net.assert_agreed();
}

#[test]
fn a_key_that_is_put_right_is_soon_tried() {
    let mut net = outcome(|side, config| {
        if side == B {
            config.key = Secret::new(*b"another");
        }
    });
    net.configure(B, |_| {});
    net.run(seconds(10));
    net.assert_agreed();
}

#[test]
fn two_tunnels_between_the_same_addresses_are_told_apart() {
    for order in [[1, 2], [2, 1]] {
        let mut net = Net::new();
        for side in [B, A] {
            let tunnels = order.map(|n| {
                let mut config = config(side);
                config.id = TunnelId(n);
                config.key = Secret::new(format!("key {n}").into_bytes());
                config.remote_ids.clear();
                config.local_id = Identity::KeyId(vec![n as u8]);
                config
            });
            net.sides[side]
                .endpoint
                .configure(net.now, tunnels.to_vec());
            net.flush(side);
        }
        net.run(seconds(1));
        for side in [A, B] {
            for status in net.status(side) {
                assert_eq!(status.children.len(), 1);
                let id = Identity::KeyId(vec![status.tunnel.0 as u8]);
                assert_eq!(status.peer_identity, Some(id));
            }
        }
    }
}
