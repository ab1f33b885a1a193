//! One SA takes the place of another, and no packet is lost.

use super::*;

fn lifetimes(ike: u64, child: u64) -> Lifetimes {
    Lifetimes {
        ike: seconds(ike),
        child: seconds(child),
        child_bytes: Some(1_000_000),
    }
}

#[test]
fn a_child_is_rekeyed_in_time() {
    for pfs in [None, Some(Group::Ecp256)] {
        let mut net = Net::pair(|_, config| {
            config.lifetimes = lifetimes(28_800, 300);
            config.esp = vec![esp(pfs)];
        });
        net.run(seconds(1));
        let first = net.sides[A].sending().inbound.keys.clone();
        net.run(seconds(229));
        assert_eq!(net.sides[A].ups, 1, "not before 80% of its time");
        net.run_with_traffic(seconds(50));
        net.assert_agreed();
        assert_eq!(net.sides[A].ups, 2);
        assert_ne!(net.sides[A].sending().inbound.keys, first);
        assert_eq!(net.status(A)[0].children[0].proposal.pfs, pfs);
        net.run(seconds(3000));
        net.assert_agreed();
        assert!((9..=16).contains(&net.sides[A].ups), "{}", net.sides[A].ups);
        assert_eq!(net.sides[A].states.len(), 2, "{:?}", net.sides[A].states);
    }
}

#[test]
fn the_worker_may_ask_for_a_rekey_on_either_side() {
    for side in [A, B] {
        let mut net = Net::pair(|_, config| config.lifetimes = lifetimes(28_800, 27_000));
        net.run(seconds(1));
        let pair = net.sides[side].sending();
        let (soft, hard) = (pair.soft_bytes.unwrap(), pair.hard_bytes.unwrap());
        assert!((850_000..950_001).contains(&soft), "{soft}");
        assert_eq!(hard, soft + (1 << 30), "room for what passes meanwhile");
        let spi = pair.inbound.spi;
        for _ in 0..3 {
            net.report(side, |report| report.rekey = Some(spi));
        }
        net.run_with_traffic(seconds(2));
        net.assert_agreed();
        assert_eq!(net.sides.each_ref().map(|side| side.ups), [2, 2]);
    }
}

#[test]
fn an_ike_sa_is_rekeyed_in_time_by_either_side_and_its_children_go_on() {
    for (hybrid, soon) in [(false, A), (false, B), (true, A), (true, B)] {
        let mut net = Net::pair(|side, config| {
            let ike = if side == soon { 600 } else { 28_800 };
            config.lifetimes = lifetimes(ike, 27_000);
            config.post_quantum = hybrid;
        });
        net.run(seconds(1));
        let spi = net.status(A)[0].initiator_spi;
        net.run_with_traffic(seconds(10));
        net.run(seconds(589));
        net.run_with_traffic(seconds(5));
        net.assert_agreed();
        let status = net.status(A).remove(0);
        assert_ne!(status.initiator_spi, spi);
        assert_eq!(status.initiator, soon == A);
        assert_eq!(status.post_quantum, hybrid);
        assert_eq!(net.sides[A].ups, 1, "the children stay");
        // The new SA works: a child is rekeyed on it.
        let spi = net.sides[A].sending().inbound.spi;
        net.report(A, |report| report.rekey = Some(spi));
        net.run_with_traffic(seconds(2));
        net.assert_agreed();
        assert_eq!(net.sides[A].ups, 2);
        assert_eq!(net.sides[A].states.len(), 2, "{:?}", net.sides[A].states);
    }
}

#[test]
fn a_rekey_survives_the_loss_of_any_one_message() {
    for hybrid in [false, true] {
        for lost in 0..8 {
            let mut net = Net::pair(|side, config| {
                let ike = if side == A { 600 } else { 28_800 };
                config.lifetimes = lifetimes(ike, if side == B { 400 } else { 27_000 });
                config.post_quantum = hybrid;
            });
            net.run(seconds(300));
            let mut count = 0;
            net.filter = Box::new(move |_, _| {
                count += 1;
                count - 1 != lost
            });
            net.run_with_traffic(seconds(300));
            net.filter = Box::new(|_, _| true);
            net.run(seconds(100));
            net.assert_agreed();
        }
    }
}

#[test]
fn a_child_that_cannot_be_rekeyed_ends_and_the_reason_is_told() {
    let mut net = Net::pair(|side, config| {
        config.lifetimes = lifetimes(28_800, if side == A { 300 } else { 27_000 });
        // The group is not asked for before the rekey (RFC 7296, 2.17).
        config.esp = vec![esp((side == A).then_some(Group::Curve25519))];
    });
    net.run(seconds(299));
    net.assert_agreed();
    assert_eq!(net.sides[A].ups, 1);
    net.run(seconds(5));
    assert_eq!(
        net.sides[A].reason,
        "the IKE SA has no CHILD SA at the moment"
    );
    net.run(seconds(5));
    let reason = &net.sides[A].reason;
    assert!(reason.contains("refused the proposal for ESP"), "{reason}");
    assert!(net.sides.iter().all(|side| side.pairs.is_empty()));
    assert_eq!(net.status(A).len(), 1, "the IKE SA stays");
}

/// Found by the fuzzer: both sides' rekeys were on their way when the old one's time was over.
#[test]
fn a_child_that_ran_out_on_both_sides_has_a_successor() {
    for seed in 1..6 {
        let mut net = Net::seeded(EndpointOptions::default(), seed);
        net.configure_both(|_, config| {
            config.mode = ConnectionMode::Default;
            config.lifetimes = lifetimes(4000, 25);
        });
        net.run(seconds(20));
        net.filter = Box::new(|_, _| false);
        net.run(Duration::from_millis(5700));
        net.filter = Box::new(|_, _| true);
        net.run(seconds(12));
        net.settle();
    }
}

#[test]
fn another_group_than_the_guessed_one_is_asked_for() {
    let mut net = Net::pair(|side, config| {
        config.lifetimes = lifetimes(28_800, 27_000);
        let groups = [Group::Ecp256, Group::Ecp384];
        config.esp = groups
            .iter()
            .skip(side)
            .map(|group| esp(Some(*group)))
            .collect();
    });
    net.run(seconds(1));
    let spi = net.sides[A].sending().inbound.spi;
    net.report(A, |report| report.rekey = Some(spi));
    net.run_with_traffic(seconds(1));
    net.assert_agreed();
    assert_eq!(
        net.status(A)[0].children[0].proposal.pfs,
        Some(Group::Ecp384)
    );
}

#[test]
fn thousands_of_seconds_of_short_lifetimes_on_both_sides() {
    for seed in 1..4 {
        let mut net = Net::seeded(EndpointOptions::default(), seed);
        net.configure_both(|_, config| {
            config.lifetimes = lifetimes(70, 40);
            config.esp = vec![esp(Some(Group::Curve25519))];
            config.mode = ConnectionMode::Default;
        });
        for _ in 0..100 {
            net.run_with_traffic(Duration::from_millis(200));
            net.run(seconds(10));
        }
        let connected = net.sides[A]
            .states
            .iter()
            .filter(|s| s.0 == TunnelState::NotConnected);
        assert_eq!(connected.count(), 0, "{:?}", net.sides[A].states);
        // Whatever is under way now comes to its end.
        net.settle();
    }
}

impl Net {
    /// Looks for a moment in which nothing is under way.
    #[track_caller]
    fn settle(&mut self) {
        for _ in 0..200 {
            let quiet = [A, B]
                .iter()
                .all(|&side| self.status(side).len() == 1 && self.sides[side].pairs.len() == 1);
            if quiet {
                return self.assert_agreed();
            }
            self.run(Duration::from_millis(100));
        }
        self.assert_agreed();
    }
}

/// An SA that another replaced keeps its pair for a while, in which that may be due: to be rekeyed,
/// or, if no rekey came through, to end.
#[test]
fn a_second_ike_sa_just_before_a_child_is_due() {
    for (rekeyed, before) in [(true, 1), (true, 5), (false, 1), (false, 5)] {
        for maker in [A, B] {
            let mut net = Net::pair(|_, config| config.lifetimes.child = seconds(120));
            net.run(seconds(10));
            let due = [A, B].map(|side| net.status(side)[0].children[0].rekey_in);
            let due = due[A].min(due[B]);
            net.run(due - seconds(before));
            if !rekeyed {
                // For too short a time to take the peer for dead.
                net.filter = Box::new(|_, _| false);
                net.run(seconds(110 - before) - due);
                net.filter = Box::new(|_, _| true);
            }
            let now = net.now;
            net.sides[maker].endpoint.attempt_now(now, TUNNEL);
            net.flush(maker);
            net.run(seconds(60));
            net.assert_agreed();
        }
    }
}
