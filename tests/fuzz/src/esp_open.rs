//! Opening ESP: packets of an attacker, and what a peer that has the keys may put into them.

use vnet_gw_core::{
    esp::{InboundSa, OpenError, OutboundSa},
    sa::{ChildSa, Encapsulation, EspIntegrity, EspSuite, Sa, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

use crate::{inner, input::Input};

/// A suite, then a script: packets sealed by the peer, delivered, delivered again, changed, or
/// made up; and what is done to inner packets.
pub fn esp_open(data: &[u8]) {
    let mut input = Input::new(data);
    let child = child(input.u8());
    let (Ok(mut outbound), Ok(mut inbound)) = (OutboundSa::new(&child), InboundSa::new(&child))
    else {
        panic!("the keys are as long as the suite asks for");
    };
    let mut sent: Vec<(Vec<u8>, bool)> = Vec::new();
    let mut opened = 0;
    while !input.is_empty() && sent.len() < 300 {
        match input.u8() % 7 {
            0 => {
                let inner = input.chunk();
                let mut slot = vec![0; outbound.sealed_len(inner.len())];
                let at = outbound.payload_offset();
                slot[at..at + inner.len()].copy_from_slice(inner);
                if let Ok(length) = outbound.seal(&mut slot, inner.len()) {
                    slot.truncate(length);
                    sent.push((slot, false));
                }
            }
            1 => {
                let which = usize::from(input.u16());
                let count = sent.len().max(1);
                let Some((packet, delivered)) = sent.get_mut(which % count) else {
                    continue;
                };
                let mut copy = packet.clone();
                match inbound.open(&mut copy) {
                    Ok(range) => {
                        assert!(!*delivered, "a packet was taken twice");
                        assert!(matches!(copy[range.start] >> 4, 4 | 6));
                        inner::packet(&copy[range], 3);
                        opened += 1;
                        *delivered = true;
                    }
                    // It proved true and was marked, whatever was in it.
                    Err(OpenError::Malformed | OpenError::OutsideSelectors | OpenError::Dummy) => {
                        *delivered = true;
                    }
                    Err(OpenError::Replayed) => assert!(*delivered, "a new packet is no replay"),
                    Err(OpenError::Integrity) => panic!("a true packet was refused"),
                    Err(_) => {}
                }
            }
            2 => {
                let which = usize::from(input.u16());
                let count = sent.len().max(1);
                let Some((packet, _)) = sent.get(which % count) else {
                    continue;
                };
                let mut forged = packet.clone();
                let at = usize::from(input.u16()) % forged.len();
                let change = input.u8();
                forged[at] ^= change;
                forged.truncate(forged.len() - usize::from(input.u8() % 8));
                if forged != *packet {
                    assert!(
                        inbound.open(&mut forged).is_err(),
                        "a forged packet was taken"
                    );
                }
            }
            3 => {
                let mut packet = input.chunk().to_vec();
                if input.u8() & 1 == 0
                    && let Some(spi) = packet.first_chunk_mut()
                {
                    *spi = child.inbound.spi.0.to_be_bytes();
                }
                assert!(
                    inbound.open(&mut packet).is_err(),
                    "a made-up packet was taken"
                );
            }
            4 => {
                let outer = input.u8();
                inner::packet(input.chunk(), outer);
            }
            5 => inner::super_packet(&mut input),
            _ => inner::batch(&mut input),
        }
    }
    assert_eq!(inbound.packets(), opened);
}

fn child(which: u8) -> ChildSa {
    let suites = [
        (EspSuite::Aes128Gcm, 20),
        (EspSuite::Aes256Gcm, 36),
        (EspSuite::ChaCha20Poly1305, 36),
        (cbc(EspIntegrity::HmacSha1_96), 36),
        (cbc(EspIntegrity::HmacSha2_256_128), 48),
        (cbc(EspIntegrity::HmacSha2_384_192), 64),
    ];
    let (suite, key_len) = suites[usize::from(which >> 1) % suites.len()];
    // Both directions are one, so that what goes out comes in.
    let sa = Sa {
        spi: Spi(0x0102_0304),
        suite,
        esn: which & 1 == 1,
        keys: Secret::new(vec![7; key_len]),
    };
    let any = |prefix: &str| {
        let prefix: ipnet::IpNet = prefix.parse().expect("it is a prefix");
        TrafficSelector::prefix(prefix)
    };
    ChildSa {
        tunnel: TunnelId(1),
        inbound: sa.clone(),
        outbound: sa,
        encapsulation: Encapsulation::Esp {
            local: [192, 0, 2, 1].into(),
            remote: [192, 0, 2, 2].into(),
        },
        local_selectors: vec![any("10.0.0.0/8"), any("2001:db8::/32")],
        remote_selectors: vec![any("0.0.0.0/0"), any("::/0")],
        send_at_once: true,
        soft_bytes: Some(10_000),
        hard_bytes: Some(20_000),
    }
}

fn cbc(integrity: EspIntegrity) -> EspSuite {
    EspSuite::AesCbc {
        key_bits: 128,
        integrity,
    }
}
