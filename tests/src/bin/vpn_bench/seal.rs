//! ESP against the bare AEAD, on one core: what the packet format, sequence numbers and the replay window
//! cost.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use vnet_gw_core::{
    crypto::{Aead, AeadAlgorithm, AeadKey},
    esp::{InboundSa, OutboundSa},
    sa::{ChildSa, Encapsulation, EspSuite, Sa, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};
use vnet_gw_tests::report::Report;

use crate::Options;

const BATCH: usize = 64;
const SIZES: [usize; 2] = [64, 1400];

pub(crate) fn run(options: &Options, report: &mut Report) {
    for _ in 0..options.rounds().max(3) {
        for size in SIZES {
            for (name, seal) in [("seal", true), ("open", false)] {
                let row = format!("{name}_{size}");
                // Nanoseconds turned round, so that more is better as in every other row.
                report.add(&row, "aead", "Mpps", 1e3 / aead(size, seal));
                report.add(&row, "esp", "Mpps", 1e3 / esp(size, seal));
            }
        }
    }
}

/// Nanoseconds of `batch`, at its quickest of many turns: what else ran took the others.
fn quickest(mut prepare: impl FnMut(), mut batch: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        prepare();
        let begun = Instant::now();
        batch();
        best = best.min(begun.elapsed());
    }
    best.as_secs_f64() * 1e9 / BATCH as f64
}

/// What an ESP packet of that inner size has encrypted: the inner packet, padding and trailer.
fn encrypted(size: usize) -> usize {
    (size + 2).next_multiple_of(4)
}

fn aead(size: usize, seal: bool) -> f64 {
    let Ok(key) = AeadKey::new(AeadAlgorithm::Aes256Gcm, &[7; 32]) else {
        return f64::NAN;
    };
    let len = encrypted(size);
    let mut packets = vec![(vec![0_u8; len], [0_u8; 16]); BATCH];
    let (nonce, aad) = ([1; 12], [2; 12]);
    let sealing = |packets: &mut Vec<(Vec<u8>, [u8; 16])>| {
        for (data, tag) in packets {
            let _ = black_box(key.seal_in_place(&nonce, &aad, data, tag));
        }
    };
    if seal {
        return quickest(|| {}, || sealing(&mut packets));
    }
    let mut fresh = packets.clone();
    sealing(&mut fresh);
    let packets = std::cell::RefCell::new(packets);
    quickest(
        || packets.borrow_mut().clone_from(&fresh),
        || {
            for (data, tag) in packets.borrow_mut().iter_mut() {
                // Cannot fail: it was sealed with the same key.
                let _ = black_box(key.open_in_place(&nonce, &aad, data, tag));
            }
        },
    )
}

fn esp(size: usize, seal: bool) -> f64 {
    let child = child();
    let (Ok(outbound), Ok(inbound)) = (OutboundSa::new(&child), InboundSa::new(&child)) else {
        return f64::NAN;
    };
    let (mut outbound, mut inbound) = (outbound, inbound);
    let (offset, len) = (outbound.payload_offset(), outbound.sealed_len(size));
    let mut slot = vec![0; len];
    let inner = inner(size);
    slot[offset..offset + size].copy_from_slice(&inner);
    let packets = std::cell::RefCell::new(vec![slot.clone(); BATCH]);
    if seal {
        return quickest(
            || {
                for packet in packets.borrow_mut().iter_mut() {
                    packet.copy_from_slice(&slot);
                }
            },
            || {
                for packet in packets.borrow_mut().iter_mut() {
                    let _ = black_box(outbound.seal(packet, size));
                }
            },
        );
    }
    quickest(
        || {
            for packet in packets.borrow_mut().iter_mut() {
                packet.copy_from_slice(&slot);
                let _ = outbound.seal(packet, size);
            }
        },
        || {
            for packet in packets.borrow_mut().iter_mut() {
                let _ = black_box(inbound.open(packet));
            }
        },
    )
}

/// Both directions with one key, so that what is sealed can be opened.
fn child() -> ChildSa {
    let sa = || Sa {
        spi: Spi(0x1000),
        suite: EspSuite::Aes256Gcm,
        esn: true,
        keys: Secret::new([7; 36]),
    };
    let any = TrafficSelector {
        protocol: 0,
        ports: (0, u16::MAX),
        addresses: (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::BROADCAST),
        ),
    };
    ChildSa {
        tunnel: TunnelId(1),
        inbound: sa(),
        outbound: sa(),
        encapsulation: Encapsulation::Esp {
            local: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            remote: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
        },
        local_selectors: vec![any],
        remote_selectors: vec![any],
        send_at_once: true,
        soft_bytes: None,
        hard_bytes: None,
    }
}

/// An IPv4 packet with a UDP header.
fn inner(size: usize) -> Vec<u8> {
    let mut packet = vec![0; size];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(size as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&[10, 1, 0, 4]);
    packet[16..20].copy_from_slice(&[10, 2, 0, 4]);
    packet
}
