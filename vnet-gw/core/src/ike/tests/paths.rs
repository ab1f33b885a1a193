//! Paths that fail, addresses that go, peers that move.

use super::*;

#[test]
fn a_path_that_does_not_answer_is_told_within_two_seconds_and_again_when_it_does() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    net.filter = Box::new(|_, _| false);
    let mut lost = None;
    for tick in 0..40 {
        net.report(A, |report| report.sent = true);
        net.run(Duration::from_millis(100));
        if !net.sides[A].usable && lost.is_none() {
            lost = Some(tick * 100);
        }
    }
    let lost = lost.unwrap();
    assert!((1000..=2200).contains(&lost), "{lost} ms");
    assert_eq!(
        net.sides[A].state,
        TunnelState::Connected,
        "IKE goes on trying"
    );
    net.filter = Box::new(|_, _| true);
    net.run(seconds(8));
    assert!(net.sides[A].usable);
    net.assert_agreed();
}

#[test]
fn a_tunnel_that_is_made_anew_begins_with_a_usable_path() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    net.filter = Box::new(|_, _| false);
    net.report(A, |report| report.sent = true);
    net.run(seconds(3));
    assert!(!net.sides[A].usable);
    net.filter = Box::new(|_, _| true);
    net.configure(A, |config| config.generation += 1);
    net.run(seconds(10));
    net.assert_agreed();
    assert!(net.sides[A].usable);
}

#[test]
fn a_busy_path_that_is_one_way_is_asked_and_stays_usable() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    for _ in 0..100 {
        net.report(A, |report| report.sent = true);
        net.run(Duration::from_millis(100));
        assert!(net.sides[A].usable);
    }
    // One lost packet is no lost path.
    let mut lose = 1;
    net.filter = Box::new(move |_, _| {
        lose -= 1;
        lose < 0
    });
    for _ in 0..50 {
        net.report(A, |report| report.sent = true);
        net.run(Duration::from_millis(100));
        assert!(net.sides[A].usable);
    }
}

#[test]
fn traffic_both_ways_needs_no_questions() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    let before = net.log.len();
    for _ in 0..100 {
        for side in [A, B] {
            net.report(side, |report| (report.sent, report.received) = (true, true));
        }
        net.run(Duration::from_millis(500));
    }
    assert_eq!(net.log.len(), before);
}

#[test]
fn a_local_address_that_goes_takes_the_path_with_it_at_once() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    let now = net.now;
    net.sides[A]
        .endpoint
        .local_address(now, ip("192.0.2.1"), false);
    net.flush(A);
    assert!(!net.sides[A].usable);
    assert_eq!(net.sides[A].reason, "the local address 192.0.2.1 is gone");
    net.run(seconds(2));
    let now = net.now;
    net.sides[A]
        .endpoint
        .local_address(now, ip("192.0.2.1"), true);
    net.flush(A);
    assert_eq!(net.sides[A].state, TunnelState::Connecting);
    net.run(seconds(1));
    assert!(net.sides[A].usable);
    net.assert_agreed();
}

#[test]
fn an_address_that_is_away_from_the_start_is_waited_for() {
    let mut net = Net::new();
    let now = net.now;
    net.sides[A]
        .endpoint
        .local_address(now, ip("192.0.2.1"), false);
    net.configure_both(|_, _| {});
    net.run(seconds(5));
    assert_eq!(net.log.len(), 0);
    assert_eq!(net.sides[A].state, TunnelState::NotConnected);
    let now = net.now;
    net.sides[A]
        .endpoint
        .local_address(now, ip("192.0.2.1"), true);
    net.flush(A);
    net.run(seconds(1));
    net.assert_agreed();
}

fn behind_a_nat() -> Net {
    let mut net = Net::new();
    net.nat = Some((ip("203.0.113.77"), 1000));
    net.configure(B, |config| {
        config.remote = ip("203.0.113.77");
        config.remote_ids = vec![Identity::Ip(ip("192.0.2.1"))];
        config.encapsulation = EncapsulationChoice::ByNat;
    });
    net.configure(A, |config| {
        config.encapsulation = EncapsulationChoice::ByNat
    });
    net.run(seconds(1));
    net
}

#[test]
fn a_nat_is_found_and_kept_open() {
    let mut net = behind_a_nat();
    net.assert_agreed();
    let [a, b] = [A, B].map(|side| net.status(side).remove(0));
    assert!(a.nat_local && !a.nat_remote);
    assert!(!b.nat_local && b.nat_remote);
    let seen = "203.0.113.77:5500".parse().unwrap();
    assert_eq!(b.remote, seen);
    assert!(matches!(net.sides[B].sending().encapsulation,
        Encapsulation::Udp { remote, .. } if remote == seen));
    let before = net.log.len();
    net.run(seconds(30));
    let keepalives: Vec<_> = net.log[before..].iter().collect();
    assert_eq!(keepalives.len(), 1, "{keepalives:?}");
    assert_eq!(
        (keepalives[0].0, keepalives[0].1.data.as_slice()),
        (A, &[0xff][..])
    );
    // Traffic keeps it open as well.
    let before = net.log.len();
    for _ in 0..30 {
        for side in [A, B] {
            net.report(side, |report| (report.sent, report.received) = (true, true));
        }
        net.run(seconds(1));
    }
    assert_eq!(net.log.len(), before);
}

#[test]
fn a_peer_that_moves_is_followed_once_it_proves_itself() {
    let mut net = behind_a_nat();
    net.nat = Some((ip("203.0.113.77"), 2000));
    // Its next liveness check comes from elsewhere.
    net.run(seconds(60));
    net.assert_agreed();
    let seen = "203.0.113.77:6500".parse().unwrap();
    assert_eq!(net.status(B)[0].remote, seen);
    assert!(matches!(net.sides[B].moved.as_slice(),
        [Encapsulation::Udp { remote, .. }] if *remote == seen));
    // ESP may be the first to show it.
    let elsewhere = "203.0.113.77:7777".parse().unwrap();
    net.report(B, |report| report.moved_to = Some(elsewhere));
    assert_eq!(net.status(B)[0].remote, elsewhere);
    assert_eq!(net.sides[B].moved.len(), 2);
}

#[test]
fn nobody_is_followed_by_a_forged_or_an_old_message() {
    let mut net = behind_a_nat();
    let remote = net.status(B)[0].remote;
    let old: Vec<_> = net
        .log
        .iter()
        .filter(|(side, _)| *side == A)
        .cloned()
        .collect();
    let local = "198.51.100.1:4500".parse().unwrap();
    let attacker = "203.0.113.99:4500".parse().unwrap();
    let now = net.now;
    for (_, transmit) in old {
        let data = transmit
            .data
            .strip_prefix(&[0; 4])
            .unwrap_or(&transmit.data);
        let mut forged = data.to_vec();
        forged[23] = 2;
        for data in [data, &forged] {
            net.sides[B]
                .endpoint
                .handle_datagram(now, local, attacker, data);
            net.flush(B);
        }
    }
    assert_eq!(net.status(B)[0].remote, remote);
    assert!(net.sides[B].moved.is_empty());
    let counters = net.sides[B].endpoint.counters();
    assert!(
        counters.bad_integrity > 0 && counters.replayed > 0,
        "{counters:?}"
    );
}
