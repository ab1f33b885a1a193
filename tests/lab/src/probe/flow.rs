//! A paced UDP flow with sequence numbers, counted at the receiver.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::Netns;

/// Well below the 256 frames that a veth's ring holds.
const LARGEST_BURST: u32 = 32;

/// What every datagram of a flow holds after its number, for a capture to look for.
pub(crate) const MARK: [u8; 16] = *b"flow, unsealed!\n";

/// A running flow.
pub struct Flow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<Vec<u32>>>,
}

/// What became of a flow.
#[derive(Clone, Debug)]
pub struct FlowReport {
    pub sent: u64,
    /// Different datagrams that arrived.
    pub received: u64,
    pub duplicated: u64,
    /// Sequence numbers that never arrived, as ranges with both ends in.
    pub lost: Vec<(u64, u64)>,
}

impl FlowReport {
    pub fn is_whole(&self) -> bool {
        self.sent > 0 && self.received == self.sent && self.duplicated == 0
    }

    /// The most datagrams that were lost in a row.
    pub fn longest_loss(&self) -> u64 {
        let lengths = self.lost.iter().map(|(first, last)| last - first + 1);
        lengths.max().unwrap_or(0)
    }
}

impl fmt::Display for FlowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} received, {} twice",
            self.sent, self.received, self.duplicated
        )?;
        for (first, last) in self.lost.iter().take(5) {
            write!(f, ", lost {first} to {last}")?;
        }
        Ok(())
    }
}

impl Flow {
    /// Sends `per_second` datagrams of 64 bytes a second from `from` to `address` in `to`, until
    /// [`Flow::finish`].
    pub fn start(from: &Netns, to: &Netns, address: IpAddr, per_second: u32) -> Result<Self> {
        let input = to
            .enter(|| UdpSocket::bind(SocketAddr::new(address, 0)))?
            .with_context(|| format!("binding to {address} in {}", to.name()))?;
        // A receiver that is not scheduled for a second must not look like a lossy network.
        setsockopt(&input, RcvBufForce, &(8 << 20)).context("setting a receive buffer")?;
        input.set_read_timeout(Some(Duration::from_millis(20)))?;
        let target = input.local_addr()?;
        let any: SocketAddr = match address {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0; 16], 0).into(),
        };
        let output = from
            .enter(|| UdpSocket::bind(any))?
            .context("binding the sender")?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let received = Arc::new(AtomicU64::new(0));
        let sender = thread::spawn({
            let (stop, sent) = (stop.clone(), sent.clone());
            move || send(&output, target, per_second, &stop, &sent)
        });
        let receiver = thread::spawn({
            let (stop, sent, received) = (stop.clone(), sent.clone(), received.clone());
            move || receive(&input, &stop, &sent, &received)
        });
        Ok(Self {
            stop,
            sent,
            received,
            sender,
            receiver,
        })
    }

    /// Datagrams sent and received so far.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }

    /// Stops sending, so that several flows can end together.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Stops sending, waits for the last ones, and counts.
    pub fn finish(self) -> Result<FlowReport> {
        self.stop();
        let sent = self
            .sender
            .join()
            .map_err(|_| anyhow!("the sender panicked"))??;
        let seen = self
            .receiver
            .join()
            .map_err(|_| anyhow!("the receiver panicked"))??;
        Ok(report(sent, &seen))
    }
}

fn send(
    socket: &UdpSocket,
    target: SocketAddr,
    per_second: u32,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<u64> {
    let interval = Duration::from_secs(1) / per_second;
    let mut due = Instant::now();
    let mut number = 0u64;
    while !stop.load(Ordering::SeqCst) {
        let mut datagram = [0u8; 64];
        datagram[..8].copy_from_slice(&number.to_be_bytes());
        datagram[8..24].copy_from_slice(&MARK);
        socket
            .send_to(&datagram, target)
            .with_context(|| format!("sending to {target}"))?;
        number += 1;
        sent.store(number, Ordering::SeqCst);
        due += interval;
        let now = Instant::now();
        // Late naps are made good by a burst, but by none that could fill a queue on the way.
        if now.saturating_duration_since(due) > interval * LARGEST_BURST {
            due = now;
        }
        thread::sleep(due.saturating_duration_since(now));
    }
    Ok(number)
}

/// How often each number came in.
fn receive(
    socket: &UdpSocket,
    stop: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
) -> Result<Vec<u32>> {
    let mut seen: Vec<u32> = Vec::new();
    let mut buffer = [0u8; 2048];
    let mut quiet_since: Option<Instant> = None;
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) if length >= 8 => {
                let number = u64::from_be_bytes(buffer[..8].try_into().context("slicing")?);
                let index = usize::try_from(number).context("a number that was never sent")?;
                if seen.len() <= index {
                    seen.resize(index + 1, 0);
                }
                seen[index] += 1;
                received.fetch_add(1, Ordering::Relaxed);
                quiet_since = None;
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::SeqCst) {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    let all = seen.len() as u64 == sent.load(Ordering::SeqCst)
                        && seen.iter().all(|&times| times > 0);
                    if all || since.elapsed() > Duration::from_millis(300) {
                        return Ok(seen);
                    }
                }
            }
            Err(error) => return Err(error).context("receiving"),
        }
    }
}

fn report(sent: u64, seen: &[u32]) -> FlowReport {
    let mut lost: Vec<(u64, u64)> = Vec::new();
    for number in 0..sent {
        let arrived = usize::try_from(number)
            .ok()
            .and_then(|i| seen.get(i))
            .is_some_and(|&n| n > 0);
        match lost.last_mut() {
            _ if arrived => {}
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => lost.push((number, number)),
        }
    }
    let received = seen.iter().filter(|&&times| times > 0).count() as u64;
    let duplicated = seen
        .iter()
        .map(|&times| u64::from(times.saturating_sub(1)))
        .sum();
    FlowReport {
        sent,
        received,
        duplicated,
        lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_as_ranges() {
        let report = report(7, &[1, 0, 0, 1, 2]);
        assert_eq!(report.lost, [(1, 2), (5, 6)]);
        assert_eq!(report.longest_loss(), 2);
        assert_eq!((report.received, report.duplicated), (3, 1));
        assert!(!report.is_whole());
    }

    #[test]
    fn a_whole_flow() {
        assert!(report(2, &[1, 1]).is_whole());
        assert!(!report(0, &[]).is_whole(), "nothing sent proves nothing");
    }
}
