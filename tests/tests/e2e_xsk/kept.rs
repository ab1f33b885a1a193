//! Which packets the program on the underlay's device takes, and which it leaves to the kernel.

use std::{net::Ipv4Addr, sync::atomic::Ordering, thread, time::Duration};

use anyhow::{Result, ensure};
use vnet_gw::datapath::HookChoice;
use vnet_gw_lab::probe::{PacketSocket, frame::checksum};

use crate::{Pair, V4, in_udp, wait};

const UDP: u8 = 17;
const ESP: u8 = 50;
/// What the pump takes for ESP, with nothing inside.
const PAYLOAD: [u8; 12] = [0xc0, 0xff, 0xee, 0x01, 0, 0, 0, 0, 0x45, 0, 0, 4];

/// From the far end to `to`, to every MAC address.
fn frame(to: &str, protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
    let length = 20 + options.len();
    let mut ip = vec![0x40 | (length / 4) as u8, 0];
    ip.extend(((length + payload.len()) as u16).to_be_bytes());
    ip.extend([0x12, 0x34]);
    ip.extend(fragment.to_be_bytes());
    ip.extend([64, protocol, 0, 0]);
    ip.extend(V4[1].parse::<Ipv4Addr>()?.octets());
    ip.extend(to.parse::<Ipv4Addr>()?.octets());
    ip.extend(options);
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let ethernet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &[0x08, 0x00]].concat();
    Ok([ethernet, ip, payload.to_vec()].concat())
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let header = [4500u16, port, length, 0].map(u16::to_be_bytes);
    [header.as_flattened(), payload].concat()
}

#[test]
fn only_esp_for_the_gateway_is_taken() -> Result<()> {
    let pair = Pair::build(HookChoice::Tcx, V4, 1, in_udp)?;
    let near = &pair.near;
    let counts = &near.pump.counts;
    let received = || counts.received.load(Ordering::Relaxed);
    let socket = PacketSocket::open(&pair.far.host, "net0")?;
    // Let what the start brought pass.
    thread::sleep(Duration::from_millis(200));

    let to = V4[0];
    let taken = [
        ("bare", frame(to, ESP, 0, &[], &PAYLOAD)?),
        ("with DF", frame(to, ESP, 0x4000, &[], &PAYLOAD)?),
        ("in UDP", frame(to, UDP, 0, &[], &udp(4500, &PAYLOAD))?),
    ];
    for (about, frame) in taken {
        let (stack, before) = (near.stack()?, received());
        socket.send(&frame)?;
        wait(about, || received() == before + 1)?;
        ensure!(near.stack()? == stack, "{about}: went through the stack");
    }

    let zeros = [0; 12];
    let kept = [
        ("IKE", frame(to, UDP, 0, &[], &udp(4500, &zeros))?),
        ("a keepalive", frame(to, UDP, 0, &[], &udp(4500, &[0xff]))?),
        (
            "IKE on port 500",
            frame(to, UDP, 0, &[], &udp(500, &PAYLOAD))?,
        ),
        (
            "another host's",
            frame("192.0.2.99", ESP, 0, &[], &PAYLOAD)?,
        ),
        ("a first fragment", frame(to, ESP, 0x2000, &[], &PAYLOAD)?),
        ("a later fragment", frame(to, ESP, 0x0010, &[], &PAYLOAD)?),
        ("TCP", frame(to, 6, 0, &[], &PAYLOAD)?),
        ("cut", frame(to, UDP, 0, &[], &udp(4500, &PAYLOAD)[..9])?),
    ];
    for (about, frame) in kept {
        let (stack, before) = (near.stack()?, received());
        socket.send(&frame)?;
        // It may answer some of them, too.
        wait(about, || near.stack().is_ok_and(|now| now > stack))?;
        ensure!(received() == before, "{about}: taken for ESP");
    }
    // With options the kernel gets it, and its socket hands it on all the same.
    let before = received();
    socket.send(&frame(to, UDP, 0, &[1, 1, 1, 1], &udp(4500, &PAYLOAD))?)?;
    wait("options", || received() == before + 1)?;
    pair.close()
}
