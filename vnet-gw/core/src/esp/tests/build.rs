//! SAs and packets for the tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{
    esp::{InboundSa, OutboundSa},
    sa::{ChildSa, Encapsulation, EspIntegrity, EspSuite, Sa, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

pub(super) const SPI: Spi = Spi(0x1234_5678);

/// Every suite there is.
pub(super) fn suites() -> Vec<EspSuite> {
    let mut suites = vec![
        EspSuite::Aes128Gcm,
        EspSuite::Aes192Gcm,
        EspSuite::Aes256Gcm,
        EspSuite::ChaCha20Poly1305,
    ];
    for key_bits in [128, 192, 256] {
        for integrity in [
            EspIntegrity::HmacSha1_96,
            EspIntegrity::HmacSha2_256_128,
            EspIntegrity::HmacSha2_384_192,
        ] {
            suites.push(EspSuite::AesCbc {
                key_bits,
                integrity,
            });
        }
    }
    suites
}

pub(super) fn key_len(suite: EspSuite) -> usize {
    match suite {
        EspSuite::Aes128Gcm => 20,
        EspSuite::Aes192Gcm => 28,
        EspSuite::Aes256Gcm | EspSuite::ChaCha20Poly1305 => 36,
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => {
            usize::from(key_bits) / 8
                + match integrity {
                    EspIntegrity::HmacSha1_96 => 20,
                    EspIntegrity::HmacSha2_256_128 => 32,
                    EspIntegrity::HmacSha2_384_192 => 48,
                }
        }
    }
}

/// A pair of SAs that talks to itself: what it seals, it opens. Any address on either side.
pub(super) fn child(suite: EspSuite, esn: bool) -> ChildSa {
    let keys: Vec<u8> = (1..).take(key_len(suite)).collect();
    child_with(suite, esn, &keys, SPI)
}

pub(super) fn child_with(suite: EspSuite, esn: bool, keys: &[u8], spi: Spi) -> ChildSa {
    let sa = Sa {
        spi,
        suite,
        esn,
        keys: Secret::new(keys),
    };
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4500);
    let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 4500);
    ChildSa {
        tunnel: TunnelId(1),
        inbound: sa.clone(),
        outbound: sa,
        encapsulation: Encapsulation::Udp { local, remote },
        local_selectors: vec![any_v4(), any_v6()],
        remote_selectors: vec![any_v4(), any_v6()],
        send_at_once: true,
        soft_bytes: None,
        hard_bytes: None,
    }
}

pub(super) fn any_v4() -> TrafficSelector {
    TrafficSelector::prefix("0.0.0.0/0".parse().unwrap())
}

pub(super) fn any_v6() -> TrafficSelector {
    TrafficSelector::prefix("::/0".parse().unwrap())
}

pub(super) fn pair(child: &ChildSa) -> (OutboundSa, InboundSa) {
    (
        OutboundSa::new(child).unwrap(),
        InboundSa::new(child).unwrap(),
    )
}

/// A UDP packet from 10.1.0.4 to 10.4.0.4 (or the like in IPv6) around a payload; checksums are
/// none of ESP's business and are left out.
pub(super) fn udp(v6: bool, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16 + 8;
    let mut packet = Vec::new();
    if v6 {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend([17, 64]);
        packet.extend([0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
        packet.extend([0xfd, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
    } else {
        packet.extend([0x45, 0]);
        packet.extend((length + 20).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend([10, 1, 0, 4, 10, 4, 0, 4]);
    }
    packet.extend([0x10, 0, 0x20, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

/// The ESP packet around an inner packet.
pub(super) fn seal(sa: &mut OutboundSa, inner: &[u8]) -> Vec<u8> {
    let mut slot = vec![0xee; sa.sealed_len(inner.len())];
    let at = sa.payload_offset();
    slot[at..at + inner.len()].copy_from_slice(inner);
    assert_eq!(sa.seal(&mut slot, inner.len()), Ok(slot.len()));
    slot
}

/// One with any sequence number and next header, for what a true sender would not send.
pub(super) fn seal_odd(child: &ChildSa, sequence: u64, next_header: u8, inner: &[u8]) -> Vec<u8> {
    let mut sa = OutboundSa::new(child).unwrap();
    sa.skip_to(sequence);
    let mut slot = vec![0; sa.sealed_len(inner.len())];
    let at = sa.payload_offset();
    slot[at..at + inner.len()].copy_from_slice(inner);
    let length = sa.seal_as(&mut slot, inner.len(), next_header).unwrap();
    assert_eq!(length, slot.len());
    slot
}
