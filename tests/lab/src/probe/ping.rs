//! Echo requests through the kernel's own stack, and what comes back for them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use super::{frame::checksum, packet_socket::receive};
use crate::Netns;

/// What became of one echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Reply {
        round_trip: Duration,
    },
    /// Time exceeded (RFC 792 type 11, RFC 4443 type 3).
    TimeExceeded {
        from: IpAddr,
    },
    /// Destination unreachable with this code (RFC 792 type 3, RFC 4443 type 1).
    Unreachable {
        from: IpAddr,
        code: u8,
    },
    /// Fragmentation needed or packet too big, with the MTU it names.
    TooBig {
        from: IpAddr,
        mtu: u32,
    },
    Silence,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { round_trip } => write!(f, "reply in {} µs", round_trip.as_micros()),
            Self::TimeExceeded { from } => write!(f, "time exceeded from {from}"),
            Self::Unreachable { from, code } => write!(f, "unreachable (code {code}) from {from}"),
            Self::TooBig { from, mtu } => write!(f, "too big, MTU {mtu}, from {from}"),
            Self::Silence => f.write_str("no answer"),
        }
    }
}

/// One echo request.
#[derive(Clone, Debug)]
pub struct Ping {
    pub to: IpAddr,
    pub ttl: u8,
    /// Bytes after the ICMP header.
    pub size: usize,
    pub dont_fragment: bool,
    pub patience: Duration,
}

impl Ping {
    pub fn new(to: IpAddr) -> Self {
        Self {
            to,
            ttl: 64,
            size: 56,
            dont_fragment: false,
            patience: Duration::from_secs(1),
        }
    }

    /// Sends it from `netns` and waits for the answer.
    pub fn send(&self, netns: &Netns) -> Result<Outcome> {
        netns
            .enter(|| self.send_here())?
            .with_context(|| format!("pinging {} from {}", self.to, netns.name()))
    }

    fn send_here(&self) -> Result<Outcome> {
        static SEQUENCE: AtomicU16 = AtomicU16::new(1);
        let v4 = self.to.is_ipv4();
        let socket = match v4 {
            true => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
            false => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
        };
        if v4 {
            socket.set_ttl_v4(self.ttl.into())?;
        } else {
            socket.set_unicast_hops_v6(self.ttl.into())?;
        }
        if self.dont_fragment {
            dont_fragment(&socket, v4)?;
        }
        let identifier = std::process::id() as u16;
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let request = self.request(identifier, sequence);
        let sent = Instant::now();
        socket
            .send_to(&request, &SocketAddr::new(self.to, 0).into())
            .context("sending the echo request")?;
        loop {
            let left = self.patience.saturating_sub(sent.elapsed());
            if left.is_zero() {
                return Ok(Outcome::Silence);
            }
            socket.set_read_timeout(Some(left))?;
            let (bytes, from) = match receive(&socket) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => bail!("waiting for the answer: {error}"),
            };
            let Some(from) = from.as_socket() else {
                continue;
            };
            let answer = match v4 {
                true => answer4(&bytes, from.ip(), self.to, (identifier, sequence)),
                false => answer6(&bytes, from.ip(), self.to, (identifier, sequence)),
            };
            match answer {
                Some(Outcome::Reply { .. }) => {
                    return Ok(Outcome::Reply {
                        round_trip: sent.elapsed(),
                    });
                }
                Some(other) => return Ok(other),
                None => {}
            }
        }
    }

    fn request(&self, identifier: u16, sequence: u16) -> Vec<u8> {
        let mut out = vec![if self.to.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
        out.extend(identifier.to_be_bytes());
        out.extend(sequence.to_be_bytes());
        out.extend((0..self.size).map(|i| i as u8));
        if self.to.is_ipv4() {
            // The kernel does it for ICMPv6.
            let sum = checksum(&[&out]);
            out[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        out
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn matches(echo: &[u8], id: (u16, u16)) -> bool {
    word(echo, 4) == Some(id.0) && word(echo, 6) == Some(id.1)
}

/// `bytes` begins with the IPv4 header.
fn answer4(bytes: &[u8], from: IpAddr, to: IpAddr, id: (u16, u16)) -> Option<Outcome> {
    let icmp = bytes.get(usize::from(bytes.first()? & 15) * 4..)?;
    if checksum(&[icmp]) != 0 {
        return None;
    }
    if icmp[0] == 0 && from == to && matches(icmp, id) {
        return Some(Outcome::Reply {
            round_trip: Duration::ZERO,
        });
    }
    let quoted = icmp.get(8..)?;
    let echo = quoted.get(usize::from(quoted.first()? & 15) * 4..)?;
    if !matches(echo, id) {
        return None;
    }
    match (icmp[0], icmp[1]) {
        (11, 0) => Some(Outcome::TimeExceeded { from }),
        (3, 4) => Some(Outcome::TooBig {
            from,
            mtu: word(icmp, 6)?.into(),
        }),
        (3, code) => Some(Outcome::Unreachable { from, code }),
        _ => None,
    }
}

/// `bytes` begins with the ICMPv6 header; the kernel has checked its checksum.
fn answer6(icmp: &[u8], from: IpAddr, to: IpAddr, id: (u16, u16)) -> Option<Outcome> {
    if *icmp.first()? == 129 && from == to && matches(icmp, id) {
        return Some(Outcome::Reply {
            round_trip: Duration::ZERO,
        });
    }
    if !matches(icmp.get(48..)?, id) {
        return None;
    }
    match (icmp[0], icmp[1]) {
        (3, 0) => Some(Outcome::TimeExceeded { from }),
        (2, 0) => Some(Outcome::TooBig {
            from,
            mtu: u32::from_be_bytes(icmp.get(4..8)?.try_into().ok()?),
        }),
        (1, code) => Some(Outcome::Unreachable { from, code }),
        _ => None,
    }
}

/// DF on every packet (IPv4) and no fragmenting here (both), whatever path MTU was learnt before.
fn dont_fragment(socket: &Socket, v4: bool) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let (level, name, value) = match v4 {
        true => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        ),
        false => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        ),
    };
    // SAFETY: the descriptor is open, and the pointer and length describe one int that outlives
    // the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
