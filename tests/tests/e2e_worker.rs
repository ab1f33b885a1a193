//! Traffic through two crypto workers: what crosses, what is refused, and what a change costs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use vnet_gw::worker::Command;
use vnet_gw_core::{
    sa::{ChildSa, EspIntegrity, EspSuite, LINGER},
    secret::Secret,
};
use vnet_gw_lab::{
    Netns,
    probe::{Flow, Outcome, PacketSocket, Ping, tcp},
};
use vnet_gw_tests::tunnel_bed::{LARGEST, PORT, Plan, Side, TunnelBed, UPLINK, private, tunnel_id};

const MIB: u64 = 1 << 20;

/// Pings and transfers, each way and in both families.
fn assert_carries(bed: &TunnelBed, bytes: u64) {
    for (from, to) in [(&bed.a, &bed.b), (&bed.b, &bed.a)] {
        for address in [to.inner4, to.inner6] {
            assert_reply(&Ping::new(address), &from.netns);
            // As large as fits, and nothing smaller on the way.
            let headers = if address.is_ipv4() { 28 } else { 48 };
            let largest = Ping {
                size: LARGEST - headers,
                dont_fragment: true,
                ..Ping::new(address)
            };
            assert_reply(&largest, &from.netns);
            let done = tcp::transfer(&from.netns, &to.netns, address, bytes).unwrap();
            assert!(done.is_some(), "no TCP connection to {address}");
        }
    }
}

fn assert_reply(ping: &Ping, from: &Netns) {
    // On a busy machine an answer may take its time.
    let patient = Ping {
        patience: Duration::from_secs(5),
        ..ping.clone()
    };
    let outcome = patient.send(from).unwrap();
    assert!(
        matches!(outcome, Outcome::Reply { .. }),
        "{} bytes to {}: {outcome}",
        ping.size,
        ping.to
    );
}

#[test]
fn udp_carries_both_families_over_ipv4() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    assert_carries(&bed, 16 * MIB);
    // The last acknowledgements may still be on their way.
    thread::sleep(Duration::from_millis(200));
    let (a, b) = (bed.a.counters(0), bed.b.counters(0));
    assert_eq!((a.packets_out, a.bytes_out), (b.packets_in, b.bytes_in));
    assert_eq!((b.packets_out, b.bytes_out), (a.packets_in, a.bytes_in));
    assert!(a.bytes_out > 32 * MIB, "{a:?}");
    let refused = |c: &vnet_gw::worker::TunnelCounters| {
        c.replayed + c.bad_integrity + c.outside_selectors + c.malformed + c.too_big
    };
    assert_eq!((refused(&a), refused(&b)), (0, 0));
    assert!(b.last_received.is_some());
}

#[test]
fn udp_carries_both_families_over_ipv6() {
    let plan = Plan {
        v6: true,
        suite: EspSuite::ChaCha20Poly1305,
        esn: false,
        ..Plan::default()
    };
    assert_carries(&TunnelBed::new(plan).unwrap(), 4 * MIB);
}

#[test]
fn protocol_50_carries_both_families() {
    for v6 in [false, true] {
        let plan = Plan {
            raw: true,
            v6,
            ..Plan::default()
        };
        assert_carries(&TunnelBed::new(plan).unwrap(), 4 * MIB);
    }
}

#[test]
fn cbc_carries_both_families() {
    let plan = Plan {
        suite: EspSuite::AesCbc {
            key_bits: 256,
            integrity: EspIntegrity::HmacSha1_96,
        },
        ..Plan::default()
    };
    assert_carries(&TunnelBed::new(plan).unwrap(), MIB);
}

#[test]
fn an_underlay_without_segmentation_carries_the_same() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    for side in [&bed.a, &bed.b] {
        side.netns
            .ip(&format!("link set {UPLINK} gso_max_segs 1"))
            .unwrap();
    }
    assert_carries(&bed, 4 * MIB);
}

#[test]
fn a_rekey_loses_nothing() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    let flows = [
        Flow::start(&bed.a.netns, &bed.b.netns, bed.b.inner4, 1000).unwrap(),
        Flow::start(&bed.b.netns, &bed.a.netns, bed.a.inner6, 1000).unwrap(),
    ];
    let tunnel = tunnel_id(0);
    for generation in 1..=10 {
        let (a, mut b) = bed.children(0, generation);
        let (old_a, old_b) = bed.children(0, generation - 1);
        // As IKE does it: the responder first, which sends on the new pair once something came in
        // on it (odd generations), or once it is told to (even ones).
        b.send_at_once = false;
        let inbound = b.inbound.spi;
        bed.b.worker.command(Command::Install(Box::new(b)));
        thread::sleep(Duration::from_millis(20));
        bed.a.worker.command(Command::Install(Box::new(a)));
        if generation % 2 == 0 {
            bed.b.worker.command(Command::SendOn { tunnel, inbound });
        }
        thread::sleep(Duration::from_millis(50));
        for (side, old) in [(&bed.a, old_a), (&bed.b, old_b)] {
            side.worker.command(Command::Remove {
                tunnel,
                inbound: old.inbound.spi,
                linger: LINGER,
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
    for flow in flows {
        let report = flow.finish().unwrap();
        assert!(report.is_whole(), "{report}");
    }
    // The last pair is what both send on: without the others' keys nothing is unknown.
    assert_eq!(bed.a.worker.stats().unknown_spi, 0);
    assert_eq!(bed.b.counters(0).bad_integrity, 0);
}

#[test]
fn a_removed_pair_lingers_and_then_is_unknown() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    let (a, b) = bed.children(0, 0);
    bed.b.worker.command(Command::Remove {
        tunnel: tunnel_id(0),
        inbound: b.inbound.spi,
        linger: Duration::from_secs(2),
    });
    let send = |count: u64| {
        let socket = bed.a.netns.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
        let socket = socket.unwrap();
        for _ in 0..count {
            socket.send_to(b"late", (bed.b.inner4, 9)).unwrap();
        }
    };
    send(5);
    bed.b
        .wait_until("5 packets came in", |b| b.counters(0).packets_in == 5)
        .unwrap();
    thread::sleep(Duration::from_millis(2100));
    send(7);
    bed.b
        .wait_until("7 packets are unknown", |b| {
            b.worker.stats().unknown_spi == 7
        })
        .unwrap();
    // B itself has nothing to send with any more.
    let before = bed.b.worker.stats().no_tunnel;
    let outcome = Ping {
        patience: Duration::from_millis(200),
        ..Ping::new(bed.a.inner4)
    };
    assert_eq!(outcome.send(&bed.b.netns).unwrap(), Outcome::Silence);
    assert_eq!(bed.b.worker.stats().no_tunnel, before + 1);
    // A was not told: it keeps its pair.
    assert!(bed.a.counters(0).packets_out >= 12, "{:?}", a.inbound.spi);
}

/// The ESP frames that arrive at `side` during `work`.
fn captured(side: &Side, work: impl FnOnce()) -> Vec<Vec<u8>> {
    let socket = PacketSocket::open(&side.netns, UPLINK).unwrap();
    work();
    let mut frames = Vec::new();
    let mut esp = |frame: &[u8]| {
        // IPv4, UDP to port 4500, and no non-ESP marker.
        let is = frame.len() > 50 && frame[23] == 17 && frame[36..38] == 4500u16.to_be_bytes();
        if is {
            frames.push(frame.to_vec());
        }
        is
    };
    socket.count(Duration::from_millis(200), &mut esp).unwrap();
    frames
}

#[test]
fn what_is_not_true_changes_nothing_but_counters() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    // One at a time, so that none is joined with another.
    let frames = captured(&bed.b, || {
        for _ in 0..50 {
            assert_reply(&Ping::new(bed.b.inner4), &bed.a.netns);
        }
    });
    assert_eq!(frames.len(), 50);
    let before = bed.b.counters(0);
    let injector = PacketSocket::open(&bed.a.netns, UPLINK).unwrap();
    let flow = Flow::start(&bed.a.netns, &bed.b.netns, bed.b.inner4, 500).unwrap();
    const ROUNDS: u64 = 20;
    for _ in 0..ROUNDS {
        for frame in &frames {
            // Without the checksum of UDP, which was left to the device.
            let mut forged = frame.clone();
            forged[40..42].fill(0);
            injector.send(&forged).unwrap();
            // A number that was not used yet, with anything in the ciphertext changed.
            forged[47] = forged[47].wrapping_add(100);
            forged[48] = 0x40;
            let last = forged.len() - 1;
            forged[last] ^= 1;
            injector.send(&forged).unwrap();
            let mut unknown = forged.clone();
            unknown[42] ^= 0x55;
            injector.send(&unknown).unwrap();
        }
    }
    let count = ROUNDS * frames.len() as u64;
    bed.b
        .wait_until("all forged packets were seen", |b| {
            let now = b.counters(0);
            now.replayed - before.replayed == count
                && now.bad_integrity - before.bad_integrity == count
                && b.worker.stats().unknown_spi == count
        })
        .unwrap();
    let report = flow.finish().unwrap();
    assert!(report.is_whole(), "{report}");
    let after = bed.b.counters(0);
    assert_eq!(after.packets_in - before.packets_in, report.sent);
    assert_eq!(bed.a.counters(0).packets_out, after.packets_in);
}

#[test]
fn a_source_behind_no_connection_is_refused() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    let a = &bed.a.netns;
    a.ip("address add 10.9.0.1/32 dev vpn0").unwrap();
    let socket = a.enter(|| UdpSocket::bind("10.9.0.1:0")).unwrap().unwrap();
    for _ in 0..10 {
        socket.send_to(b"spoofed", (bed.b.inner4, 9)).unwrap();
    }
    bed.b
        .wait_until("10 packets were refused", |b| {
            b.counters(0).outside_selectors == 10
        })
        .unwrap();
    assert_eq!(bed.b.counters(0).packets_in, 0);
}

#[test]
fn a_pair_takes_only_what_its_selectors_name() {
    let bed = TunnelBed::without_sas(Plan::default()).unwrap();
    let (mut a, mut b) = bed.children(0, 0);
    let only = |child: &mut ChildSa, v6: bool| {
        child
            .local_selectors
            .retain(|s| s.addresses.0.is_ipv6() == v6);
        child
            .remote_selectors
            .retain(|s| s.addresses.0.is_ipv6() == v6);
    };
    let (mut rest_a, mut rest_b) = bed.children(0, 1);
    for (child, v6) in [
        (&mut a, false),
        (&mut b, false),
        (&mut rest_a, true),
        (&mut rest_b, true),
    ] {
        only(child, v6);
    }
    let install = |side: &Side, child| side.worker.command(Command::Install(Box::new(child)));
    install(&bed.a, a);
    install(&bed.b, b);
    assert_reply(&Ping::new(bed.b.inner4), &bed.a.netns);
    let quick = |to: IpAddr| Ping {
        patience: Duration::from_millis(200),
        ..Ping::new(to)
    };
    let silent = quick(bed.b.inner6).send(&bed.a.netns).unwrap();
    assert_eq!(silent, Outcome::Silence);
    assert_eq!(bed.a.worker.stats().no_tunnel, 1);
    // A second pair of the same tunnel for the rest. Its key at A is spoilt, so that what goes out
    // on it shows.
    let mut spoilt = rest_a.outbound.keys.expose().to_vec();
    spoilt[0] ^= 1;
    rest_a.outbound.keys = Secret::new(spoilt);
    install(&bed.b, rest_b);
    install(&bed.a, rest_a);
    let silent = quick(bed.b.inner6).send(&bed.a.netns).unwrap();
    assert_eq!(silent, Outcome::Silence);
    assert_eq!(bed.b.counters(0).bad_integrity, 1);
    assert_reply(&Ping::new(bed.b.inner4), &bed.a.netns);
}

#[test]
fn a_narrow_underlay_is_told_of() {
    let plan = Plan {
        mtu: 1280,
        ..Plan::default()
    };
    let bed = TunnelBed::new(plan).unwrap();
    let sized = |to: IpAddr, size, dont_fragment| Ping {
        size,
        dont_fragment,
        ..Ping::new(to)
    };
    // 1,280 less 20 of IP, 8 of UDP, 16 of ESP, 16 of its ICV and the trailer, by fours.
    let fits = 1218;
    let outcome = sized(bed.b.inner4, 1300, true).send(&bed.a.netns).unwrap();
    let [source, _] = private(0);
    assert_eq!(
        outcome,
        Outcome::TooBig {
            from: source,
            mtu: fits
        }
    );
    assert_eq!(bed.a.counters(0).too_big, 1);
    let largest = sized(bed.b.inner4, fits as usize - 28, true);
    assert_reply(&largest, &bed.a.netns);
    // Fragmented inside, where that is allowed.
    assert_reply(&sized(bed.b.inner4, 1300, false), &bed.a.netns);
    // IPv6 is never told of less than 1,280: those are fragmented outside.
    assert_reply(&sized(bed.b.inner6, 1232, true), &bed.a.netns);
    let outcome = sized(bed.b.inner6, 1300, true).send(&bed.a.netns).unwrap();
    assert!(
        matches!(outcome, Outcome::TooBig { mtu: 1280, .. }),
        "{outcome}"
    );
    for address in [bed.b.inner4, bed.b.inner6] {
        let done = tcp::transfer(&bed.a.netns, &bed.b.netns, address, MIB).unwrap();
        assert!(done.is_some());
    }
    // A flood of what does not fit draws no flood of errors.
    let written = || bed.a.netns.packets(PORT).unwrap().0;
    let to = (bed.b.inner4, 9);
    let before = (bed.a.counters(0).too_big, written());
    let began = Instant::now();
    let netns = &bed.a.netns;
    netns
        .enter(move || {
            let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
            // As a sender does that looks for the MTU by itself, and heeds no error.
            let probe = libc::IP_PMTUDISC_PROBE;
            // SAFETY: the pointer and the length are those of a live `c_int`.
            let result = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::IPPROTO_IP,
                    libc::IP_MTU_DISCOVER,
                    (&raw const probe).cast(),
                    size_of_val(&probe) as libc::socklen_t,
                )
            };
            assert_eq!(result, 0);
            for _ in 0..5000 {
                let _ = socket.send_to(&[0; 1350], to);
            }
        })
        .unwrap();
    bed.a
        .wait_until("all were refused", |a| {
            a.counters(0).too_big > before.0 + 4000
        })
        .unwrap();
    let most = 100 + began.elapsed().as_millis() as u64;
    let errors = written() - before.1;
    assert!((100..=most + 10).contains(&errors), "{errors} of {most}");
}
