//! What an attacker sends changes nothing but what is returned.

use super::build::{child, pair, seal, suites, udp};
use crate::{
    esp::{InboundSa, OpenError},
    sa::{EspSuite, Spi},
};

/// A generator of cheap noise; nothing here needs to be unpredictable.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// All that an observer of the SA can tell.
fn state(sa: &InboundSa) -> (u64, u64, u64, bool) {
    (sa.packets(), sa.bytes(), sa.top(), sa.wants_rekey())
}

fn attack(suite: EspSuite, esn: bool, rounds: usize) {
    let child = child(suite, esn);
    let (mut outbound, mut inbound) = pair(&child);
    let mut old: Vec<Vec<u8>> = Vec::new();
    for index in 0..5000u32 {
        let packet = seal(&mut outbound, &udp(index % 2 == 0, &index.to_be_bytes()));
        assert!(inbound.open(&mut packet.clone()).is_ok());
        old.push(packet);
    }
    // On their way: one behind the top, which is yet to come, and one ahead of it.
    let late = seal(&mut outbound, &udp(false, b"late"));
    let next = seal(&mut outbound, &udp(false, b"next"));
    assert!(inbound.open(&mut next.clone()).is_ok());
    let ahead = seal(&mut outbound, &udp(false, b"ahead"));
    let before = state(&inbound);

    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut buffer = Vec::new();
    let mut seen = [0usize; 3];
    for round in 0..rounds {
        let base = match round % 3 {
            0 => &late,
            1 => &ahead,
            _ => &old[noise.below(old.len())],
        };
        buffer.clear();
        buffer.extend_from_slice(base);
        let replay = round % 5 == 4;
        match round % 5 {
            // A bit of the ciphertext, IV, ICV or header.
            0 => {
                let at = noise.below(buffer.len());
                buffer[at] ^= 1 << noise.below(8);
            }
            // Cut, at either end of what is cut off.
            1 => buffer.truncate(noise.below(base.len())),
            // Longer.
            2 => buffer.extend((0..=noise.below(64)).map(|byte| byte as u8)),
            // Any sequence number, and noise.
            3 => {
                let sequence = noise.next().to_be_bytes();
                buffer[4..8].copy_from_slice(&sequence[..4]);
                for byte in &mut buffer[8..] {
                    *byte = noise.next() as u8;
                }
            }
            // One that was taken already.
            _ => {
                buffer.clear();
                buffer.extend_from_slice(&old[noise.below(old.len())]);
            }
        }
        let error = inbound
            .open(&mut buffer)
            .expect_err("not a packet of the peer");
        match error {
            OpenError::Replayed => seen[0] += 1,
            OpenError::Integrity => seen[1] += 1,
            OpenError::Malformed => seen[2] += 1,
            other => panic!("{other:?} needs the key"),
        }
        // Of an extended number that fell out of the window the receiver sees one far ahead.
        let refused_twice = error == OpenError::Replayed || esn && error == OpenError::Integrity;
        assert!(!replay || refused_twice, "{error:?}");
    }
    assert!(seen.iter().all(|count| *count > rounds / 50), "{seen:?}");
    assert_eq!(state(&inbound), before);
    for mut honest in [late, ahead] {
        assert!(inbound.open(&mut honest.clone()).is_ok(), "{suite:?}");
        assert_eq!(inbound.open(&mut honest), Err(OpenError::Replayed));
    }
}

#[test]
fn a_million_packets_of_an_attacker_change_nothing() {
    attack(EspSuite::Aes256Gcm, true, 1_000_000);
}

#[test]
fn nor_do_they_with_any_other_suite() {
    for suite in suites() {
        attack(suite, false, 20_000);
        attack(suite, true, 20_000);
    }
}

#[test]
fn each_bit_of_a_packet_counts() {
    for suite in suites() {
        let (mut outbound, mut inbound) = pair(&child(suite, true));
        let packet = seal(&mut outbound, &udp(true, b"some more than a block"));
        for bit in 0..packet.len() * 8 {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let error = inbound.open(&mut forged).expect_err("forged");
            let expected = match bit {
                0..32 => error == OpenError::Malformed,
                // Another sequence number, perhaps one that cannot be.
                32..64 => matches!(error, OpenError::Integrity | OpenError::Replayed),
                _ => error == OpenError::Integrity,
            };
            assert!(expected, "{suite:?}, bit {bit}: {error:?}");
        }
        for length in 0..packet.len() {
            assert!(inbound.open(&mut packet[..length].to_vec()).is_err());
        }
        assert!(inbound.open(&mut packet.clone()).is_ok());
    }
}

#[test]
fn the_high_half_of_the_sequence_number_is_authenticated() {
    for suite in suites() {
        let (mut outbound, mut inbound) = pair(&child(suite, true));
        // Same low half, another high half: the receiver's guess is off by one.
        outbound.skip_to((1 << 32) + 5);
        let mut packet = seal(&mut outbound, &udp(false, b"from the future"));
        assert_eq!(
            inbound.open(&mut packet),
            Err(OpenError::Integrity),
            "{suite:?}"
        );
    }
}

#[test]
fn another_tunnels_packet_is_none_of_ours() {
    let ours = child(EspSuite::Aes256Gcm, true);
    let mut theirs = ours.clone();
    theirs.outbound.spi = Spi(0x1234_5679);
    let (mut outbound, _) = pair(&theirs);
    let (_, mut inbound) = pair(&ours);
    let mut packet = seal(&mut outbound, &udp(false, b"x"));
    assert_eq!(inbound.open(&mut packet.clone()), Err(OpenError::Malformed));
    // With the SPI made to fit, it fails where forged packets do.
    packet[..4].copy_from_slice(&0x1234_5678u32.to_be_bytes());
    assert_eq!(inbound.open(&mut packet), Err(OpenError::Integrity));
}
