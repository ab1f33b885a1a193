//! Somebody on the underlay sees every packet between two gateways and sends whatever it likes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;
use vnet_gw_lab::{
    probe::{Flow, PacketSocket},
    underlay::UPLINK,
};
use vnet_gw_tests::vpn_bed::{Site, VpnBed, template};

/// Ethernet, IPv4 without options, UDP.
const IP: usize = 14;
const UDP: usize = IP + 20;
const PAYLOAD: usize = UDP + 8;
const FLOW_RATE: u32 = 200;
const FORGERIES: u64 = 100_000;

/// An IPv4 UDP frame to a port, if its payload is one that is asked for.
fn udp_to(frame: &[u8], port: u16, is: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let fits = frame.len() > PAYLOAD
        && frame[12..14] == [8, 0]
        && frame[IP] == 0x45
        && frame[IP + 9] == 17
        && frame[UDP + 2..UDP + 4] == port.to_be_bytes()
        && is(&frame[PAYLOAD..]);
    fits.then(|| frame.to_vec())
}

/// As a forger may leave it: without a UDP checksum, and with a right one of the IP header.
fn finish(frame: &mut [u8]) {
    frame[UDP + 6..UDP + 8].fill(0);
    frame[IP + 10..IP + 12].fill(0);
    let words = frame[IP..UDP].chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[IP + 10..IP + 12].copy_from_slice(&(!sum as u16).to_be_bytes());
}

/// All of a tunnel's drops for a reason.
fn drops(site: &Site, reason: &str) -> u64 {
    let row = site.row().unwrap().0;
    let tunnels = row["tunnelConnectionStatus"].as_array().unwrap().clone();
    let all = tunnels.iter().flat_map(|tunnel| counts(&tunnel["drops"]));
    all.filter(|(name, _)| name == reason)
        .map(|(_, packets)| packets)
        .sum()
}

fn counts(drops: &Value) -> Vec<(String, u64)> {
    let drops = drops.as_array().into_iter().flatten();
    drops
        .map(|one| {
            let reason = one["reason"].as_str().unwrap_or_default().to_owned();
            (reason, one["packets"].as_u64().unwrap_or(0))
        })
        .collect()
}

fn ike_count(site: &Site, reason: &str) -> u64 {
    let gateways = site.daemon.json(&["gateways"]).unwrap();
    let found = counts(&gateways["ike"]);
    found
        .into_iter()
        .filter(|(name, _)| name == reason)
        .map(|(_, packets)| packets)
        .sum()
}

/// The flow went on: nothing came twice, and hardly anything was lost to the noise.
fn assert_carried(flow: Flow) {
    let report = flow.finish().unwrap();
    assert_eq!(report.duplicated, 0, "{report}");
    assert!(report.received * 100 >= report.sent * 95, "{report}");
}

#[test]
fn forged_esp_and_a_flood_of_handshakes_stop_nobody() {
    let template = template().unwrap();
    let bed = VpnBed::start(&template, &template).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    let (west, east) = (&bed.west, &bed.east);
    // What arrives at the east, and the wire that leads there.
    let ears = PacketSocket::open(&east.host, UPLINK).unwrap();
    let wire = PacketSocket::open(bed.underlay.netns(), east.link.port()).unwrap();

    let address = east.workload.ipv4().unwrap();
    let start = || {
        let (from, to) = (&west.workload.netns, &east.workload.netns);
        Flow::start(from, to, address, FLOW_RATE).unwrap()
    };
    let flow = start();
    let esp = |frame: &[u8]| {
        udp_to(frame, 4500, |payload| {
            payload[..4] != [0; 4] && payload.len() > 32
        })
    };
    let captured = ears.find(Duration::from_secs(5), esp).unwrap().unwrap();
    for count in 0..FORGERIES {
        let mut frame = captured.clone();
        let length = frame.len() as u64;
        match count % 4 {
            // As it was.
            0 => {}
            1 => {
                frame[PAYLOAD + (count * 7919 % (length - PAYLOAD as u64)) as usize] ^=
                    1 << (count % 8)
            }
            // An SPI of nobody.
            2 => {
                frame[PAYLOAD..PAYLOAD + 4].copy_from_slice(&(0x1000 + count as u32).to_be_bytes())
            }
            // A sequence number that is yet to come.
            _ => frame[PAYLOAD + 4..PAYLOAD + 8]
                .copy_from_slice(&(1 << 20 | count as u32).to_be_bytes()),
        }
        finish(&mut frame);
        wire.send(&frame).unwrap();
        if count % 100 == 99 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    assert_carried(flow);
    assert!(drops(east, "replayed") > FORGERIES / 50);
    assert!(drops(east, "bad_integrity") > FORGERIES / 50);

    // A first message of a handshake, seen as a tunnel is reset.
    let first = thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let init =
                |frame: &[u8]| udp_to(frame, 500, |ike| ike.len() > 28 && ike[18..20] == [34, 8]);
            ears.find(Duration::from_secs(10), init).unwrap().unwrap()
        });
        thread::sleep(Duration::from_millis(100));
        west.tell(&["connection", "reset", west.connection], "")
            .unwrap();
        heard.join().unwrap()
    });
    bed.connected().unwrap();
    let before = east.spis().unwrap();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut frame = first.clone();
            while !stop.load(Ordering::Relaxed) {
                let count = sent.fetch_add(1, Ordering::Relaxed) + 1;
                frame[PAYLOAD..PAYLOAD + 8].copy_from_slice(&count.to_be_bytes());
                frame[UDP..UDP + 2].copy_from_slice(&(count as u16 | 1024).to_be_bytes());
                if count % 4 == 0 {
                    // Somebody else altogether.
                    frame[IP + 12..IP + 16]
                        .copy_from_slice(&(0x0b00_0000 | count as u32).to_be_bytes());
                } else {
                    frame[IP + 12..IP + 16].copy_from_slice(&first[IP + 12..IP + 16]);
                }
                finish(&mut frame);
                if wire.send(&frame).is_err() {
                    thread::yield_now();
                }
            }
        });
        let flow = start();
        thread::sleep(Duration::from_secs(3));
        assert_carried(flow);
        assert_eq!(east.spis().unwrap(), before, "the flood disturbed tunnels");
        // Honest handshakes get through in the midst of it.
        west.tell(&["connection", "reset", west.connection], "")
            .unwrap();
        let anew = bed.west.wait("made anew under a flood", |row| {
            let spis = east.spis()?;
            let kept = spis.iter().any(|spi| before.contains(spi));
            Ok(row.tunnels_up() == 4 && spis.len() >= 4 && !kept)
        });
        stop.store(true, Ordering::Relaxed);
        anew.unwrap();
    });
    assert!(sent.into_inner() > 10_000);
    assert!(ike_count(east, "cookies_asked") > 100);
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
}
