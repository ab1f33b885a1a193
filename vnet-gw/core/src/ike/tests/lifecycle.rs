//! Restarts, deaths, changes of the configuration.

use super::*;

impl Net {
    /// The side forgets all it knew, as after a crash.
    fn crash(&mut self, side: usize, seed: u64) {
        let fresh = Net::seeded(EndpointOptions::default(), seed);
        let [a, b] = fresh.sides;
        self.sides[side] = if side == A { a } else { b };
    }
}

#[test]
fn an_initiator_that_restarts_replaces_what_was() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(100));
    net.crash(A, 77);
    net.configure(A, |_| {});
    net.run(seconds(1));
    net.assert_agreed();
    assert_eq!(net.sides[B].ups, 2);
    // Nothing else is left to send on, so it waits for nothing.
    let sending = net.sides[B].sending().outbound.spi;
    assert_eq!(sending, net.sides[A].sending().inbound.spi);
}

#[test]
fn a_responder_that_restarts_is_found_dead_and_asked_again() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(100));
    net.crash(B, 78);
    net.configure(B, |_| {});
    net.run(seconds(120));
    net.assert_agreed();
    let dead = net.sides[A]
        .states
        .iter()
        .find(|s| s.0 == TunnelState::NotConnected);
    assert_eq!(
        dead.unwrap().1,
        "dead peer: no answer for 31 s (sent 5 times)"
    );
}

#[test]
fn a_dead_peer_is_given_up_and_comes_back() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(10));
    net.filter = Box::new(|_, _| false);
    net.run(seconds(90));
    for side in [A, B] {
        assert_eq!(net.sides[side].state, TunnelState::NotConnected);
        assert!(
            net.sides[side].reason.starts_with("dead peer"),
            "{}",
            net.sides[side].reason
        );
        assert!(net.sides[side].pairs.is_empty());
    }
    net.filter = Box::new(|_, _| true);
    net.run(seconds(100));
    net.assert_agreed();
}

#[test]
fn a_tunnel_that_is_taken_out_is_deleted_at_both_ends() {
    for gone in [A, B] {
        let mut net = Net::pair(|_, _| {});
        net.run(seconds(1));
        let now = net.now;
        let states = net.sides[gone].states.len();
        net.sides[gone].endpoint.configure(now, Vec::new());
        net.flush(gone);
        assert!(net.sides[gone].pairs.is_empty(), "at once");
        net.run(Duration::from_millis(500));
        assert!(net.sides[gone].endpoint.is_idle());
        assert_eq!(
            net.sides[gone].states.len(),
            states,
            "nothing is told of what is not there"
        );
        assert!(net.status(gone).is_empty());
        let other = &net.sides[1 - gone];
        assert_eq!(other.reason, "the peer deleted the IKE SA");
        assert!(other.pairs.is_empty());
    }
}

#[test]
fn a_reset_makes_the_tunnel_anew_and_no_change_does_nothing() {
    for resets in [A, B] {
        let mut net = Net::pair(|_, config| config.mode = ConnectionMode::Default);
        net.run(seconds(30));
        net.assert_agreed();
        let ups = net.sides[A].ups;
        net.configure(resets, |config| config.mode = ConnectionMode::Default);
        net.run(seconds(5));
        assert_eq!(net.sides[A].ups, ups);
        net.configure(resets, |config| {
            config.mode = ConnectionMode::Default;
            config.generation = 1;
        });
        net.run(seconds(20));
        net.assert_agreed();
        assert!(net.sides[A].ups > ups);
    }
}

#[test]
fn the_end_tells_every_peer() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    let now = net.now;
    net.sides[A].endpoint.shutdown(now);
    net.flush(A);
    assert!(net.sides[A].pairs.is_empty());
    assert!(!net.sides[A].endpoint.is_idle());
    net.run(Duration::from_millis(100));
    assert!(net.sides[A].endpoint.is_idle());
    assert_eq!(net.sides[B].reason, "the peer deleted the IKE SA");
    net.run(seconds(100));
    assert!(
        net.sides[A].pairs.is_empty(),
        "nothing begins after the end"
    );
}

#[test]
fn the_peer_deletes_and_the_initiator_asks_again() {
    let mut net = Net::pair(|_, _| {});
    net.run(seconds(1));
    net.configure(B, |config| config.generation = 1);
    net.run(seconds(10));
    net.assert_agreed();
    assert_eq!(net.sides[A].ups, 2);
    assert!(
        net.sides[A]
            .states
            .iter()
            .any(|s| s.1 == "the peer deleted the IKE SA")
    );
}

#[test]
fn quiet_peers_are_asked_and_talking_ones_are_not() {
    let mut net = Net::pair(|_, config| config.dpd = seconds(9));
    net.run(seconds(1));
    let before = net.log.len();
    net.run(seconds(100));
    let asked = net.log.len() - before;
    assert!((20..=48).contains(&asked), "{asked}");
    let before = net.log.len();
    for _ in 0..100 {
        for side in [A, B] {
            net.report(side, |report| (report.received, report.sent) = (true, true));
        }
        net.run(seconds(1));
    }
    assert_eq!(net.log.len(), before);
}

/// As `swanctl --terminate --child` does: the IKE SA stays, and the CHILD SA is wanted.
#[test]
fn a_child_that_the_peer_deletes_is_made_again() {
    for deletes in [A, B] {
        let mut net = Net::pair(|_, config| config.mode = ConnectionMode::Default);
        net.run(seconds(20));
        net.assert_agreed();
        let ups = net.sides[A].ups;
        let spi = net.sides[deletes].sending().inbound.spi;
        let now = net.now;
        net.sides[deletes]
            .endpoint
            .delete_child_now(now, TUNNEL, spi);
        net.flush(deletes);
        net.run(seconds(1));
        net.assert_agreed();
        assert_eq!(net.sides[A].ups, ups + 1);
        net.run(seconds(200));
        net.assert_agreed();
    }
}
