//! Both sides do the same, or the opposite, at the same time (RFC 7296, 2.8.1, 2.8.2, 2.25).

use super::*;

fn tunnel(seed: u64) -> Net {
    let mut net = Net::seeded(EndpointOptions::default(), seed);
    net.configure_both(|_, config| {
        config.post_quantum = seed.is_multiple_of(2);
        config.esp = vec![esp(seed.is_multiple_of(3).then_some(Group::Curve25519))];
    });
    net.run(seconds(1));
    net.assert_agreed();
    net
}

impl Net {
    fn rekey_child(&mut self, side: usize) {
        if let Some(spi) = self.sides[side].sending {
            self.report(side, |report| report.rekey = Some(spi));
        }
    }

    fn rekey_ike(&mut self, side: usize) {
        let now = self.now;
        self.sides[side].endpoint.rekey_ike_now(now, TUNNEL);
        self.flush(side);
    }
}

#[test]
fn both_rekey_the_child() {
    let mut both = 0;
    for seed in 1..9 {
        for gap in [0, 5, 9, 11, 15, 25, 35] {
            let mut net = tunnel(seed);
            net.rekey_child(A);
            net.run_with_traffic(Duration::from_millis(gap));
            net.rekey_child(B);
            net.run_with_traffic(seconds(2));
            net.run(seconds(90));
            net.assert_agreed();
            both += usize::from(net.sides[A].ups == 3);
            net.run_with_traffic(Duration::from_millis(50));
        }
    }
    assert!(both >= 16, "{both} real collisions");
}

#[test]
fn both_rekey_the_child_and_a_message_is_lost() {
    for seed in 1..4 {
        for lost in 0..8 {
            let mut net = tunnel(seed);
            let mut count = 0;
            net.filter = Box::new(move |_, _| {
                count += 1;
                count - 1 != lost
            });
            net.rekey_child(A);
            net.rekey_child(B);
            net.run_with_traffic(seconds(20));
            net.run(seconds(90));
            net.assert_agreed();
        }
    }
}

#[test]
fn both_rekey_the_ike_sa() {
    for seed in 1..9 {
        for gap in [0, 5, 9, 11, 15, 25, 35, 45] {
            let mut net = tunnel(seed);
            net.rekey_ike(A);
            net.run_with_traffic(Duration::from_millis(gap));
            net.rekey_ike(B);
            net.run_with_traffic(seconds(1));
            net.run(seconds(120));
            net.assert_agreed();
            assert_eq!(net.sides[A].ups, 1);
            // It works, in both directions.
            net.rekey_child(A);
            net.run(seconds(1));
            net.rekey_child(B);
            net.run(seconds(1));
            net.assert_agreed();
            assert_eq!(net.sides[A].ups, 3);
            assert_eq!(net.sides[A].states.len(), 2, "{:?}", net.sides[A].states);
        }
    }
}

#[test]
fn both_rekey_the_ike_sa_and_a_message_is_lost() {
    for seed in 1..4 {
        for lost in 0..10 {
            let mut net = tunnel(seed);
            let mut count = 0;
            net.filter = Box::new(move |_, _| {
                count += 1;
                count - 1 != lost
            });
            net.rekey_ike(A);
            net.rekey_ike(B);
            net.run_with_traffic(seconds(5));
            net.run(seconds(200));
            net.assert_agreed();
            assert_eq!(net.sides[A].states.len(), 2, "{:?}", net.sides[A].states);
        }
    }
}

#[test]
fn one_rekeys_the_child_while_the_other_rekeys_the_ike_sa() {
    for seed in 1..5 {
        for gap in [0, 5, 11, 25] {
            for (ike, child) in [(A, B), (B, A)] {
                let mut net = tunnel(seed);
                net.rekey_ike(ike);
                net.run_with_traffic(Duration::from_millis(gap));
                net.rekey_child(child);
                net.run_with_traffic(seconds(1));
                net.run(seconds(120));
                net.assert_agreed();
                assert_eq!(net.sides[A].ups, 2, "seed {seed} gap {gap} ike {ike}");
                assert_ne!(net.status(A)[0].initiator, net.status(B)[0].initiator);
            }
        }
    }
}

#[test]
fn a_rekey_meets_a_delete() {
    for gap in [0, 5, 11, 25] {
        for rekeys in [Net::rekey_child as fn(&mut Net, usize), Net::rekey_ike] {
            let mut net = tunnel(1);
            rekeys(&mut net, B);
            net.run(Duration::from_millis(gap));
            let now = net.now;
            net.sides[A].endpoint.configure(now, Vec::new());
            net.flush(A);
            net.run(seconds(60));
            for side in [A, B] {
                assert!(net.sides[side].pairs.is_empty(), "{gap} {side}");
                assert!(net.sides[side].endpoint.is_idle(), "{gap} {side}");
            }
            assert_eq!(net.sides[B].state, TunnelState::NotConnected);
        }
    }
}
