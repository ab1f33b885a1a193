//! The highest rate of datagrams from A to B with less than 1% lost.
//!
//! The generator sends single datagrams, as most programs do, but up to 64 by one call, paced by the
//! clock a tenth of a millisecond at a time; the receiver takes what it can by one call (`UDP_GRO`).
//! The row of plain forwarding shows what generator and receiver can do.

use std::{
    io, mem,
    net::UdpSocket,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};
use vnet_gw_tests::report::Report;

use crate::{
    subject::Subject,
    wire::{A, B},
};

/// One row of the report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Of a datagram's payload.
    size: usize,
    unit: &'static str,
    /// Packets a second of the first attempt.
    first: f64,
}

pub(crate) const LARGE: Row = Row {
    name: "udp1300",
    size: 1300,
    unit: "Gbit/s",
    first: 60e3,
};
pub(crate) const SMALL: Row = Row {
    name: "udp64",
    size: 64,
    unit: "kpps",
    first: 60e3,
};

const BURST: usize = 64;
const TICK: Duration = Duration::from_micros(100);
const LOSS: f64 = 0.01;
/// How near the search comes.
const NEAR: f64 = 1.04;

pub(crate) fn measure(
    subject: &mut Subject,
    row: Row,
    length: Duration,
    report: &mut Report,
) -> Result<()> {
    let rate =
        search(subject, row, length).with_context(|| format!("{}, {}", row.name, subject.kind))?;
    subject.rates.insert(row.name, rate);
    let value = match row.unit {
        "kpps" => rate / 1e3,
        _ => rate * row.size as f64 * 8.0 / 1e9,
    };
    report.add(row.name, subject.kind.name(), row.unit, value);
    Ok(())
}

/// Packets a second. Doubles while it goes well, then halves the distance (of logarithms); a rate
/// that fails is tried once more, since a hiccup of the machine is not the subject's.
fn search(subject: &Subject, row: Row, length: Duration) -> Result<f64> {
    let carries = |rate: f64| -> Result<Option<f64>> {
        for _ in 0..2 {
            let trial = trial(subject, row.size, rate, length)?;
            if trial.lost() < LOSS {
                return Ok(Some(trial.received as f64 / trial.seconds));
            }
        }
        Ok(None)
    };
    // Where it was in the last round is not where it must be in this one.
    let mut at = subject
        .rates
        .get(row.name)
        .map_or(row.first, |rate| rate * 0.8);
    let (mut good, mut bad) = (None, None);
    let mut best = 0.0_f64;
    while good.is_none() || bad.is_none() {
        match carries(at)? {
            Some(seen) => {
                // The generator does no more than this.
                if good.is_some_and(|good| at > good) && seen < at * 0.9 {
                    return Ok(best.max(seen));
                }
                best = best.max(seen);
                good = Some(at);
                at *= if subject.rates.contains_key(row.name) {
                    1.3
                } else {
                    2.0
                };
            }
            None => {
                bad = Some(at);
                at /= if subject.rates.contains_key(row.name) {
                    1.3
                } else {
                    2.0
                };
                if at < 500.0 {
                    return Ok(best);
                }
            }
        }
    }
    let (Some(mut low), Some(mut high)) = (good, bad) else {
        return Ok(best);
    };
    while high / low > NEAR {
        let middle = (low * high).sqrt();
        match carries(middle)? {
            Some(seen) => {
                best = best.max(seen);
                low = middle;
            }
            None => high = middle,
        }
    }
    Ok(best)
}

struct Trial {
    sent: u64,
    received: u64,
    seconds: f64,
}

impl Trial {
    fn lost(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }
}

fn trial(subject: &Subject, size: usize, rate: f64, length: Duration) -> Result<Trial> {
    let [a, b] = &subject.wire.workloads;
    // A port of its own for each trial: what is late from another one does not count.
    let receiver = b
        .enter(|| UdpSocket::bind((B, 0)))?
        .context("binding the receiver")?;
    setsockopt(&receiver, sockopt::UdpGroSegment, &true).context("UDP_GRO")?;
    setsockopt(&receiver, sockopt::RcvBufForce, &(64 << 20)).context("SO_RCVBUFFORCE")?;
    receiver
        .set_read_timeout(Some(Duration::from_millis(50)))
        .context("setting a timeout")?;
    let target = receiver.local_addr().context("asking for a port")?;
    let sender = a
        .enter(|| UdpSocket::bind((A, 0)))?
        .context("binding the sender")?;
    sender.connect(target).context("connecting the sender")?;
    setsockopt(&sender, sockopt::SndBufForce, &(4 << 20)).context("SO_SNDBUFFORCE")?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, size, &over));
        let begun = Instant::now();
        let sent = send(&sender, size, rate, length);
        let seconds = begun.elapsed().as_secs_f64();
        // What is on its way may arrive.
        thread::sleep(Duration::from_millis(150));
        over.store(true, Ordering::Relaxed);
        let received = receiving
            .join()
            .map_err(|_| anyhow!("the receiver panicked"))?;
        Ok(Trial {
            sent: sent?,
            received,
            seconds,
        })
    })
}

/// Datagrams that were sent.
fn send(socket: &UdpSocket, size: usize, rate: f64, length: Duration) -> Result<u64> {
    let mut burst = Burst::new(size);
    let begun = Instant::now();
    let mut sent = 0_u64;
    loop {
        let elapsed = begun.elapsed();
        if elapsed >= length {
            return Ok(sent);
        }
        let due = (elapsed.as_secs_f64() * rate) as u64;
        while sent < due {
            let count = ((due - sent) as usize).min(BURST);
            sent += burst.send(socket, count).context("sending")? as u64;
            if begun.elapsed() >= length {
                return Ok(sent);
            }
        }
        thread::sleep(TICK);
    }
}

/// Datagrams for one `sendmmsg`, all with the same payload.
struct Burst {
    /// What the headers point to.
    _payload: Vec<u8>,
    _vector: Box<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Burst {
    fn new(size: usize) -> Self {
        let mut payload = vec![0x5a_u8; size];
        let mut vector = Box::new(libc::iovec {
            iov_base: payload.as_mut_ptr().cast(),
            iov_len: size,
        });
        // SAFETY: an all-zero header is a valid one: no address, no data, no control.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        Self {
            _payload: payload,
            _vector: vector,
            headers: vec![header; BURST],
        }
    }

    /// How many were sent. One that a full queue refuses counts: it is lost as it would be elsewhere.
    fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        let count = count.min(self.headers.len());
        // SAFETY: the headers and what they point to live in `self`, and there are `count` of them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as u32,
                0,
            )
        };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOBUFS) {
            return Ok(1);
        }
        Err(error)
    }
}

/// Datagrams that arrived.
fn receive(socket: &UdpSocket, size: usize, over: &AtomicBool) -> u64 {
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    while !over.load(Ordering::Relaxed) {
        // Times out, to look whether it is over.
        if let Ok(len) = socket.recv(&mut buffer) {
            received += (len / size) as u64;
        }
    }
    received
}
