//! Attackers of an IKE endpoint who see everything, can send anything, and have no key: forged
//! messages by the hundred thousand change nothing but counters, and a flood stops nobody.
//!
//! `ATTACK_MESSAGES=n` says how many messages an attack has.

mod bed;
#[path = "../simulator/rng.rs"]
mod rng;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use vnet_gw_core::ike::{Transmit, TunnelState};

use crate::{
    bed::{Bed, GATEWAY, LATE, PEER, address, message, tunnel},
    rng::Rng,
};

const MESSAGES: u64 = 200_000;

fn messages() -> u64 {
    let given = std::env::var("ATTACK_MESSAGES").ok();
    given.map_or(MESSAGES, |text| text.parse().expect("a number"))
}

/// What an attacker makes of what it saw.
fn forge(rng: &mut Rng, captured: &[Transmit], others: &[Transmit]) -> Vec<u8> {
    let any = |rng: &mut Rng, of: &[Transmit]| {
        let at = rng.below(of.len() as u64) as usize;
        message(&of[at]).to_vec()
    };
    let mut data = any(rng, captured);
    let length = data.len() as u64;
    match rng.below(9) {
        // As it was.
        0 => {}
        1 => data.truncate(rng.below(length) as usize),
        2 | 3 => {
            for _ in 0..=rng.below(4) {
                data[rng.below(length) as usize] ^= 1 << rng.below(8);
            }
        }
        // Another message number, other flags.
        4 => data[20..24].copy_from_slice(&(rng.below(8) as u32).to_be_bytes()),
        5 => data[19] ^= 1 << (3 + rng.below(3)),
        // The SPIs of this session with the contents of another, and the other way round.
        6 | 7 => {
            let other = any(rng, others);
            let at = rng.pick(&[16, 20, 24, 28]);
            data.truncate(at);
            data.extend_from_slice(&other[at.min(other.len())..]);
            if data.len() >= 28 {
                let length = (data.len() as u32).to_be_bytes();
                data[24..28].copy_from_slice(&length);
            }
        }
        _ => {
            let mut noise = vec![0; rng.below(200) as usize];
            vnet_gw_core::ike::Random::fill(rng, &mut noise);
            data = noise;
        }
    }
    data
}

#[test]
fn forged_messages_change_nothing_but_counters() {
    let mut other = Bed::connected(1);
    other.rekey(PEER, PEER);
    let mut bed = Bed::connected(2);
    bed.rekey(PEER, PEER);
    bed.rekey(GATEWAY, PEER);
    let captured = bed.log.clone();
    bed.events.clear();
    let then = bed.now;
    let status = |bed: &Bed| [GATEWAY, PEER].map(|host| bed.endpoints[host].status(then));
    let before = status(&bed);
    let mut rng = Rng::new(3);
    let (mut sent, mut answered) = (0, 0);
    for count in 0..messages() {
        let data = forge(&mut rng, &captured, &other.log);
        let to = rng.pick(&[GATEWAY, PEER]);
        let port = rng.pick(&[500, 4500]);
        let from = match rng.below(4) {
            0 => SocketAddr::new(IpAddr::from((rng.next() as u32).to_be_bytes()), port),
            1 => SocketAddr::new(address(1 - to), rng.next() as u16),
            _ => SocketAddr::new(address(1 - to), port),
        };
        sent += data.len() as u64;
        bed.inject(to, SocketAddr::new(address(to), port), from, &data);
        answered += bed.drain(to);
        if count % 1000 == 0 {
            bed.now += Duration::from_millis(10);
        }
    }
    assert!(bed.events.is_empty(), "{:#?}", bed.events);
    assert_eq!(status(&bed), before);
    assert!(answered < sent, "{answered} bytes of answers to {sent}");
    for host in [GATEWAY, PEER] {
        let counters = bed.endpoints[host].counters();
        assert!(counters.half_open <= 1024, "{counters:?}");
        assert!(
            counters.malformed > 0 && counters.bad_integrity > 0,
            "{counters:?}"
        );
        assert!(counters.unknown_spi > 0 && counters.received >= messages() / 3);
    }
    // And it works as before.
    bed.rekey(PEER, PEER);
    bed.rekey(GATEWAY, PEER);
    let (ours, theirs) = (bed.pair(GATEWAY, PEER), bed.pair(PEER, PEER));
    assert_eq!(ours, (theirs.1, theirs.0));
}

#[test]
fn a_flood_from_spoofed_sources_stops_nobody() {
    /// Messages in a millisecond.
    const RATE: u64 = 20;
    let mut bed = Bed::connected(4);
    let first = message(&bed.log[0]).to_vec();
    let before = bed.pair(GATEWAY, PEER);
    let mut rng = Rng::new(5);
    let millis = messages() / RATE;
    let mut late = None;
    for milli in 0..millis {
        for _ in 0..RATE {
            let mut data = first.clone();
            data[..8].copy_from_slice(&(rng.next() | 1).to_be_bytes());
            let source = match rng.below(4) {
                0 => IpAddr::from((rng.next() as u32).to_be_bytes()),
                1 => address(PEER),
                _ => address(LATE),
            };
            let remote = SocketAddr::new(source, rng.pick(&[500, 4500, rng.clone().next() as u16]));
            bed.inject(
                GATEWAY,
                SocketAddr::new(address(GATEWAY), 500),
                remote,
                &data,
            );
            // Answers to spoofed sources find nobody who asked.
            bed.drain(GATEWAY);
        }
        bed.advance(Duration::from_millis(1));
        if milli == millis / 4 {
            let late = tunnel(LATE, GATEWAY);
            bed.configure(LATE, vec![late]);
        }
        if late.is_none() && milli >= millis / 4 {
            let up = bed.state(LATE, LATE) == TunnelState::Connected;
            late = up.then_some(milli - millis / 4);
        }
        if milli == millis / 2 {
            assert_eq!(
                bed.pair(GATEWAY, PEER),
                before,
                "the flood disturbed a tunnel"
            );
            bed.rekey(PEER, PEER);
            bed.rekey(GATEWAY, PEER);
        }
    }
    assert!(
        late.is_some_and(|took| took < 3_000),
        "a new one: {late:?} ms"
    );
    assert_eq!(bed.state(GATEWAY, PEER), TunnelState::Connected);
    assert_eq!(bed.state(GATEWAY, LATE), TunnelState::Connected);
    let counters = bed.endpoints[GATEWAY].counters();
    assert!(counters.half_open <= 64, "{counters:?}");
    assert!(counters.cookies_asked > messages() / 2, "{counters:?}");
    assert!(counters.unknown_peer > messages() / 5, "{counters:?}");
    // Quiet peers are still asked whether they are there, and answer.
    for _ in 0..200 {
        bed.advance(Duration::from_secs(1));
    }
    assert_eq!(bed.state(GATEWAY, PEER), TunnelState::Connected);
    assert_eq!(bed.endpoints[GATEWAY].counters().half_open, 0);
}
