//! What a crypto worker is told, what it tells, and how it begins and ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use vnet_gw::worker::{Command, EngineChoice, FromWorker, Worker, WorkerOptions};
use vnet_gw_core::sa::Encapsulation;
use vnet_gw_lab::probe::{Flow, Outcome, Ping, tcp};
use vnet_gw_tests::tunnel_bed::{PORT, Plan, Side, TunnelBed, UPLINK, public, tunnel_id};

/// Some flows of one packet each.
fn spread(from: &Side, to: IpAddr, flows: u16) {
    let socket = |port| from.netns.enter(move || UdpSocket::bind(("0.0.0.0", port)));
    for port in 0..flows {
        let socket = socket(20_000 + port).unwrap().unwrap();
        socket.send_to(b"one of many", (to, 9)).unwrap();
    }
}

fn out(side: &Side) -> (u64, u64) {
    (side.counters(0).packets_out, side.counters(1).packets_out)
}

#[test]
fn flows_share_tunnels_and_leave_an_unusable_one() {
    let plan = Plan {
        tunnels: 2,
        ..Plan::default()
    };
    let bed = TunnelBed::new(plan).unwrap();
    let flows = 200;
    let pass = || {
        let before = out(&bed.a);
        spread(&bed.a, bed.b.inner4, flows);
        bed.a
            .wait_until("all flows passed", |a| {
                let now = out(a);
                now.0 + now.1 == before.0 + before.1 + u64::from(flows)
            })
            .unwrap();
        let now = out(&bed.a);
        (now.0 - before.0, now.1 - before.1)
    };
    let shared = pass();
    assert!(shared.0 > 60 && shared.1 > 60, "{shared:?}");
    // One flow stays where it is.
    assert_eq!(pass(), shared);
    let path = |tunnel, usable| {
        let tunnel = tunnel_id(tunnel);
        bed.a.worker.command(Command::Path { tunnel, usable });
    };
    path(0, false);
    assert_eq!(pass(), (0, u64::from(flows)));
    // Better a path in doubt than none.
    path(1, false);
    assert_eq!(pass(), shared);
    path(0, true);
    path(1, true);
    assert_eq!(pass(), shared);
    let (a, _) = bed.children(1, 0);
    bed.a.worker.command(Command::Remove {
        tunnel: tunnel_id(1),
        inbound: a.inbound.spi,
        linger: Duration::ZERO,
    });
    assert_eq!(pass(), (u64::from(flows), 0));
}

#[test]
fn an_address_may_go_and_come_back() {
    let bed = TunnelBed::new(Plan::default()).unwrap();
    let answered = |patience| {
        let ping = Ping {
            patience,
            ..Ping::new(bed.b.inner4)
        };
        matches!(ping.send(&bed.a.netns).unwrap(), Outcome::Reply { .. })
    };
    let works = || answered(Duration::from_secs(5));
    let is_silent = || !answered(Duration::from_millis(300));
    assert!(works());
    let address = public(false, 0, 0);
    let ip = |what: &str| {
        let line = format!("address {what} {address}/24 dev {UPLINK}");
        bed.a.netns.ip(&line).unwrap();
    };
    ip("del");
    let mut gone = bed.a.image.clone();
    gone.instances.clear();
    bed.a.worker.configure(&gone);
    assert!(is_silent());
    let here = SocketAddr::new(address, 4500);
    let there = SocketAddr::new(public(false, 1, 0), 4500);
    assert!(bed.a.worker.send_ike(here, there, &[0; 5]).is_err());
    ip("add");
    bed.a.worker.configure(&bed.a.image);
    assert!(works());
    // Gone and back without anybody telling the worker.
    ip("del");
    assert!(is_silent());
    assert!(bed.a.worker.stats().underlay_send_errors > 0);
    ip("add");
    assert!(works());
}

#[test]
fn ike_messages_pass_and_keepalives_end() {
    let mut bed = TunnelBed::without_sas(Plan::default()).unwrap();
    let (a, b) = (public(false, 0, 0), public(false, 1, 0));
    let (a, b) = (SocketAddr::new(a, 4500), SocketAddr::new(b, 4500));
    bed.a.worker.send_ike(a, b, &[0xff]).unwrap();
    // As long as IP takes: fragmented, where ESP would be refused.
    let long = [vec![0; 4], vec![7; 4000]].concat();
    bed.a.worker.send_ike(a, b, &long).unwrap();
    bed.a.worker.send_ike(a, b, b"\0\0\0\0hello").unwrap();
    for expected in [vec![7; 4000], b"hello".to_vec()] {
        let said = bed.b.wait_for(Some).unwrap();
        let FromWorker::Ike {
            local,
            remote,
            data,
        } = said
        else {
            panic!("{said:?}");
        };
        assert_eq!((local, remote), (b, a));
        assert_eq!(data, expected);
    }
    assert_eq!(bed.b.worker.stats().unknown_spi, 0);
    // Who does not keep up loses messages, and nothing else.
    for _ in 0..3000 {
        bed.a.worker.send_ike(a, b, b"\0\0\0\0flood").unwrap();
    }
    bed.b
        .wait_until("messages were dropped", |b| {
            b.worker.stats().ike_overflow > 0
        })
        .unwrap();
}

#[test]
fn a_peer_behind_another_port_is_reported_and_followed() {
    let mut bed = TunnelBed::new(Plan::default()).unwrap();
    let tunnel = tunnel_id(0);
    let Encapsulation::Udp { local, remote } = bed.encapsulation(1, 0) else {
        panic!("in UDP by default");
    };
    // B believes that A is elsewhere.
    let encapsulation = Encapsulation::Udp {
        local,
        remote: SocketAddr::new(remote.ip(), 4999),
    };
    bed.b.worker.command(Command::Move {
        tunnel,
        encapsulation,
    });
    let ping = Ping {
        patience: Duration::from_millis(100),
        ..Ping::new(bed.b.inner4)
    };
    assert_eq!(ping.send(&bed.a.netns).unwrap(), Outcome::Silence);
    let report = bed
        .b
        .wait_for(|said| match said {
            FromWorker::Report(report) => Some(report),
            _ => None,
        })
        .unwrap();
    assert_eq!(report.tunnel, tunnel);
    assert_eq!(report.moved_to, Some(remote));
    assert!(report.received && report.sent);
    let encapsulation = Encapsulation::Udp { local, remote };
    bed.b.worker.command(Command::Move {
        tunnel,
        encapsulation,
    });
    let outcome = ping.send(&bed.a.netns).unwrap();
    assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
}

#[test]
fn reports_are_few_and_name_what_is_used_up() {
    let mut bed = TunnelBed::without_sas(Plan::default()).unwrap();
    let (mut a, b) = bed.children(0, 0);
    a.soft_bytes = Some(50_000);
    a.hard_bytes = Some(1_000_000);
    let spi = a.inbound.spi;
    bed.a.worker.command(Command::Install(Box::new(a)));
    bed.b.worker.command(Command::Install(Box::new(b)));
    let began = Instant::now();
    let flow = Flow::start(&bed.a.netns, &bed.b.netns, bed.b.inner4, 1000).unwrap();
    thread::sleep(Duration::from_secs(2));
    flow.finish().unwrap();
    let mut reports = Vec::new();
    while let Ok(said) = bed.a.said.try_recv() {
        if let FromWorker::Report(report) = said {
            reports.push(report);
        }
    }
    let most = began.elapsed().as_millis() / 200 + 1;
    assert!(reports.len() as u128 <= most, "{} reports", reports.len());
    assert!(reports.len() > 3 && reports.iter().all(|r| r.sent && !r.received));
    // 92 bytes a packet, 1,000 a second: not at once, but before the first second is over.
    assert_eq!(reports[0].rekey, None);
    assert_eq!(reports.last().unwrap().rekey, Some(spi));
    // Once it is used up, it is used no more.
    let socket = bed.a.netns.enter(|| UdpSocket::bind(("0.0.0.0", 0)));
    let socket = socket.unwrap().unwrap();
    for _ in 0..1000 {
        socket.send_to(&[7; 1200], (bed.b.inner4, 9)).unwrap();
    }
    bed.a
        .wait_until("packets found no SA", |a| a.worker.stats().no_tunnel > 0)
        .unwrap();
    let used = bed.a.counters(0).bytes_out;
    assert!((998_000..=1_000_000).contains(&used), "{used}");
}

#[test]
fn the_bandwidth_is_shared_out_to_the_full_and_not_beyond() {
    let limit = 40_000_000u64;
    let plan = Plan {
        bandwidth: Some(limit),
        ..Plan::default()
    };
    let bed = TunnelBed::new(plan).unwrap();
    // What a pause left in the bucket is not counted.
    let warm_up = tcp::transfer(&bed.a.netns, &bed.b.netns, bed.b.inner4, 4 << 20);
    warm_up.unwrap().unwrap();
    let (before, began) = (bed.a.counters(0).bytes_out, Instant::now());
    let done = tcp::transfer(&bed.a.netns, &bed.b.netns, bed.b.inner4, 24 << 20);
    done.unwrap().unwrap();
    let passed = bed.a.counters(0).bytes_out - before;
    let seconds = began.elapsed().as_secs_f64();
    // What time gave, and what a pause may have left.
    let most = (seconds + 0.31) * limit as f64 / 8.0;
    assert!(passed as f64 <= most, "{passed} in {seconds} s");
    // TCP finds room again and again; a busy machine keeps it from some of it.
    let share = passed as f64 * 8.0 / limit as f64 / seconds;
    assert!(share > 0.75, "{share} of the limit");
    let stats = bed.a.worker.stats();
    assert!(stats.over_bandwidth_out > 0);
    // Another limit is in force at once.
    let mut wider = bed.a.image.clone();
    wider.bandwidth = None;
    bed.a.worker.configure(&wider);
    let mut peer = bed.b.image.clone();
    peer.bandwidth = None;
    bed.b.worker.configure(&peer);
    let done = tcp::transfer(&bed.a.netns, &bed.b.netns, bed.b.inner4, 24 << 20);
    assert!(done.unwrap().unwrap().gbit_per_s() * 1e9 > limit as f64 * 1.5);
}

/// Whether it holds within seconds.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_bandwidth_is_one_for_all_tunnels() {
    // 1,000 packets a second of 1,200 bytes from each of 8 flows: twice what may pass.
    const RATE: u32 = 1000;
    let limit = 40_000_000u64;
    let plan = Plan {
        tunnels: 2,
        bandwidth: Some(limit),
        ..Plan::default()
    };
    let bed = TunnelBed::new(plan).unwrap();
    let sockets: Vec<UdpSocket> = (0..8)
        .map(|flow| {
            let socket = bed
                .a
                .netns
                .enter(move || UdpSocket::bind(("0.0.0.0", 20_000 + flow)))
                .unwrap()
                .unwrap();
            socket.connect((bed.b.inner4, 9)).unwrap();
            socket
        })
        .collect();
    let send = |how_long: Duration| {
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < how_long {
            while f64::from(sent) < began.elapsed().as_secs_f64() * f64::from(RATE) {
                for socket in &sockets {
                    // Refused where the other end said that nobody listens.
                    let _ = socket.send(&[0; 1200]);
                }
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
    };
    let bytes = || {
        let of = |tunnel| bed.a.counters(tunnel).bytes_out;
        (of(0), of(1))
    };
    // What was left in the bucket is not counted.
    send(Duration::from_secs(1));
    let (before, began) = (bytes(), Instant::now());
    send(Duration::from_secs(3));
    let (after, took) = (bytes(), began.elapsed());
    let each = (after.0 - before.0, after.1 - before.1);
    let share = |bytes: u64| bytes as f64 * 8.0 / (limit as f64 * took.as_secs_f64());
    let shares = (share(each.0), share(each.1));
    let all = shares.0 + shares.1;
    assert!((0.9..1.05).contains(&all), "{shares:?} of the limit");
    // A bucket for each would have let each have up to its own limit.
    assert!(shares.0 > 0.1 && shares.1 > 0.1, "{shares:?} of the limit");
    assert!(bed.a.worker.stats().over_bandwidth_out > 0);
}

#[test]
fn nothing_is_left_of_a_worker_that_was_dropped() {
    let TunnelBed { lab, a, b, .. } = TunnelBed::new(Plan::default()).unwrap();
    let Side {
        netns,
        worker,
        image,
        ..
    } = a;
    assert!(netns.packets(PORT).is_ok());
    let options = || WorkerOptions {
        engine: EngineChoice::Gso,
    };
    let start = || netns.enter(|| Worker::start(&image, options())).unwrap();
    // While it runs, another finds all taken, and says what.
    let error = start().err().unwrap().to_string();
    assert!(error.contains(PORT), "{error}");
    let mut other = image.clone();
    other.device = "vpn1".to_owned();
    let error = netns
        .enter(|| Worker::start(&other, options()))
        .unwrap()
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("UDP port 4500 of 192.0.2.1"), "{error}");
    // A program that another test is just starting has our descriptors for a moment.
    let is_gone = |device: &str| eventually(|| netns.packets(device).is_err());
    assert!(is_gone("vpn1"), "the tap of a failed start");
    drop(worker);
    assert!(is_gone(PORT));
    // Ports and names are free again.
    let mut again = None;
    assert!(eventually(|| {
        again = start().ok();
        again.is_some()
    }));
    let (again, _said) = again.unwrap();
    assert_eq!(again.device(), PORT);
    drop(again);
    drop((b, lab));
}

#[test]
fn a_worker_whose_port_was_taken_away_says_so() {
    let mut bed = TunnelBed::new(Plan::default()).unwrap();
    bed.a.netns.ip(&format!("link del {PORT}")).unwrap();
    let said = bed.a.wait_for(|said| match said {
        FromWorker::Failed(why) => Some(why),
        _ => None,
    });
    assert!(said.is_ok(), "{said:?}");
}
