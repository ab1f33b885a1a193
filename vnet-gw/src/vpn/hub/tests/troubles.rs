//! Gateways, workers, addresses and ports that are not as they should be.

use super::*;

#[test]
fn a_gateway_that_cannot_be_is_tried_again_and_stops_no_other() {
    let mut bench = Bench::new();
    bench.broken.borrow_mut().push("a".into());
    let (a, b) = (
        gateway("a", &["192.0.2.1"], 1),
        gateway("b", &["192.0.2.3"], 5),
    );
    bench.hub.configure(bench.now, vec![a, b]);
    assert_eq!(bench.said(), ["b starts with 192.0.2.3", "ike 5g0"]);
    assert_eq!(
        bench.tunnel(1),
        (TunnelState::NotConnected, "the gateway port a: no".into())
    );
    let again = bench.hub.next_timeout().unwrap();
    assert_eq!(again - bench.now, Duration::from_secs(1));
    bench.hub.timeout(again);
    assert_eq!(
        bench.hub.next_timeout(),
        Some(again + Duration::from_secs(2))
    );

    bench.broken.borrow_mut().clear();
    bench.hub.timeout(again + Duration::from_secs(2));
    assert_eq!(bench.said(), ["a starts with 192.0.2.1", "ike 1g0 5g0"]);
    assert_eq!(bench.tunnel(1), (TunnelState::Unknown, String::new()));
    assert_eq!(bench.hub.next_timeout(), None);
}

#[test]
fn a_worker_that_fails_takes_its_tunnels_along_and_keeps_its_counters() {
    let mut bench = Bench::new();
    let a = gateway("a", &["192.0.2.1"], 1);
    bench.hub.configure(bench.now, vec![a.clone()]);
    bench.events.borrow_mut().push_back(connected(1));
    bench.said();
    bench
        .hub
        .heard(bench.now, &a.id, 1, FromWorker::Failed("gone".into()));
    assert_eq!(bench.said(), ["a stops", "ike "]);
    assert_eq!(bench.tunnel(1), (TunnelState::NotConnected, "gone".into()));
    bench.hub.timeout(bench.now + Duration::from_secs(1));
    assert_eq!(bench.said(), ["a starts with 192.0.2.1", "ike 1g0"]);
    // Ten of the one before, ten of this one.
    let status = bench.hub.status();
    assert_eq!(status.gateways[0].connections[0].bytes_in(), 20);
    // What the one before still says is not heard.
    bench
        .hub
        .heard(bench.now, &a.id, 1, FromWorker::Failed("late".into()));
    assert!(bench.said().is_empty());
}

#[test]
fn an_address_that_goes_takes_its_tunnels_only_and_brings_them_back() {
    let mut bench = Bench::new();
    let (mut open, nobody) = (BTreeSet::new(), BTreeSet::new());
    let a = gateway("a", &["192.0.2.1", "192.0.2.2"], 1);
    bench.hub.configure(bench.now, vec![a]);
    bench.ports(&mut open, &nobody);
    assert_eq!(open, set(&["192.0.2.1", "192.0.2.2"]));
    bench.said();

    bench.hub.addresses(bench.now, set(&["192.0.2.1"]));
    bench.ports(&mut open, &nobody);
    assert_eq!(open, set(&["192.0.2.1"]));
    assert_eq!(
        bench.said(),
        ["address 192.0.2.2 false", "a has 192.0.2.1 and 1"]
    );
    // Whatever IKE makes of it, the reason is the address.
    bench.events.borrow_mut().push_back(Event::State {
        tunnel: TunnelId(2),
        state: TunnelState::Connecting,
        reason: Reason(String::new()),
    });
    bench.hub.reset(bench.now, &ResourceId::new("none"));
    assert_eq!(
        bench.tunnel(2),
        (
            TunnelState::NotConnected,
            "this host does not have the address 192.0.2.2".into()
        )
    );
    assert_eq!(bench.tunnel(1).0, TunnelState::Unknown);

    bench.hub.addresses(bench.now, set(&HERE));
    // What IKE says as soon as it has the address again counts.
    bench.events.borrow_mut().push_back(connected(2));
    bench.ports(&mut open, &nobody);
    assert_eq!(bench.tunnel(2).0, TunnelState::Connected);
    assert_eq!(
        bench.said(),
        ["a has 192.0.2.1 192.0.2.2 and 1", "address 192.0.2.2 true"]
    );
    assert_eq!(bench.hub.next_timeout(), None);
}

#[test]
fn an_address_that_was_missing_for_one_gateway_serves_the_next() {
    let mut bench = Bench::new();
    let (mut open, nobody) = (BTreeSet::new(), BTreeSet::new());
    let away = gateway("a", &["192.0.2.9"], 1);
    bench.hub.configure(bench.now, vec![away.clone()]);
    bench.said();
    bench.hub.configure(bench.now, Vec::new());
    assert_eq!(bench.said(), ["ike ", "a stops", "address 192.0.2.9 true"]);
    bench.hub.addresses(bench.now, set(&["192.0.2.9"]));
    bench.said();
    bench.hub.configure(bench.now, vec![away]);
    bench.ports(&mut open, &nobody);
    assert_eq!(open, set(&["192.0.2.9"]));
    assert_eq!(bench.said(), ["a starts with 192.0.2.9", "ike 1g0"]);
    assert_eq!(bench.tunnel(1).0, TunnelState::Unknown);
}

#[test]
fn a_port_that_is_taken_is_told_and_tried_again() {
    let mut bench = Bench::new();
    let mut open = BTreeSet::new();
    let taken = set(&["192.0.2.1"]);
    bench.hub.configure(
        bench.now,
        vec![gateway("a", &["192.0.2.1", "192.0.2.2"], 1)],
    );
    bench.ports(&mut open, &taken);
    let (state, reason) = bench.tunnel(1);
    assert_eq!(state, TunnelState::NotConnected);
    assert_eq!(
        reason,
        "port 500 of 192.0.2.1: taken by another program; end the other IKE daemon of this host"
    );
    assert_eq!(bench.tunnel(2).0, TunnelState::Unknown);
    bench.said();
    // Not before it is due.
    bench.ports(&mut open, &BTreeSet::new());
    assert!(bench.said().is_empty());
    bench.now = bench.hub.next_timeout().unwrap();
    bench.ports(&mut open, &BTreeSet::new());
    assert_eq!(bench.said(), ["address 192.0.2.1 true"]);
    assert_eq!(bench.tunnel(1).0, TunnelState::Unknown);
}
