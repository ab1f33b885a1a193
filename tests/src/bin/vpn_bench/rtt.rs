//! Round trips of a small datagram on an idle path.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vnet_gw_lab::Netns;
use vnet_gw_tests::report::{Report, median};

use crate::{
    subject::Subject,
    wire::{A, B},
};

const TRIPS: usize = 300;
/// Between two: the path falls asleep in between, as it does with a person's traffic.
const PAUSE: Duration = Duration::from_millis(2);

/// Echoes at B until the socket is gone, which is when the bench ends.
pub(crate) fn serve(netns: &Netns) -> Result<SocketAddr> {
    let socket = netns
        .enter(|| UdpSocket::bind((B, 0)))?
        .context("binding the echo server")?;
    let address = socket.local_addr().context("asking for a port")?;
    thread::Builder::new()
        .name("echo".to_owned())
        .spawn(move || {
            let mut buffer = [0; 2048];
            // A path that is not up yet may cause errors; they end nothing.
            loop {
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..len], from);
                }
            }
        })
        .context("starting the echo server")?;
    Ok(address)
}

fn client(netns: &Netns, echo: SocketAddr, patience: Duration) -> Result<UdpSocket> {
    let socket = netns
        .enter(|| UdpSocket::bind((A, 0)))?
        .context("binding a client")?;
    socket.connect(echo).context("connecting a client")?;
    socket
        .set_read_timeout(Some(patience))
        .context("setting a timeout")?;
    Ok(socket)
}

/// Whether a datagram comes back.
pub(crate) fn answers(netns: &Netns, echo: SocketAddr) -> Result<bool> {
    let socket = client(netns, echo, Duration::from_millis(200))?;
    Ok(socket.send(b"are you there").is_ok() && socket.recv(&mut [0; 64]).is_ok())
}

pub(crate) fn measure(subject: &Subject, report: &mut Report) -> Result<()> {
    let socket = client(
        &subject.wire.workloads[0],
        subject.echo,
        Duration::from_millis(500),
    )?;
    let mut trips = Vec::with_capacity(TRIPS);
    let mut buffer = [0; 64];
    for number in 0..TRIPS as u64 {
        let begun = Instant::now();
        socket
            .send(&number.to_be_bytes())
            .context("sending a probe")?;
        match socket.recv(&mut buffer) {
            // An answer to an earlier probe is late: that one counts as lost.
            Ok(len) if buffer[..len] == number.to_be_bytes() => {
                trips.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("waiting for an echo"),
        }
        thread::sleep(PAUSE);
    }
    ensure!(
        trips.len() * 100 >= TRIPS * 95,
        "{}: only {} of {TRIPS} probes came back",
        subject.kind,
        trips.len()
    );
    let least = trips.iter().copied().fold(f64::INFINITY, f64::min);
    report.add("rtt_min", subject.kind.name(), "µs", least);
    report.add("rtt", subject.kind.name(), "µs", median(&trips));
    Ok(())
}
