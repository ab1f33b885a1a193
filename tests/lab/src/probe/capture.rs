//! Every packet that crosses an underlay, by class, and what it gives away.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

use super::{
    PacketSocket, flow, frame,
    frame::{ETH_ARP, ETH_IPV4, ETH_IPV6},
    tcp,
};
use crate::underlay::Underlay;

/// How many packets of what should not be there are told in full.
const TOLD: usize = 5;
/// How often a reader looks whether it is to end.
const SLICE: Duration = Duration::from_millis(50);

const IKE: u16 = 500;
const NAT_T: u16 = 4500;
const ESP: u8 = 50;

/// What a packet on the underlay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// RFC 3948, its keepalives too.
    EspInUdp,
    /// IP protocol 50.
    Esp,
    /// On port 500, or on 4500 behind the non-ESP marker.
    Ike,
    /// The second and later fragments of a packet between the underlay's own addresses.
    Fragment,
    /// ARP, neighbour discovery, multicast listeners, and ICMP between the underlay's own
    /// addresses.
    Control,
    /// Anything else: somebody could read it.
    ClearText,
}

/// What a capture has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub esp_in_udp: u64,
    pub esp: u64,
    pub ike: u64,
    pub fragments: u64,
    pub control: u64,
    pub clear_text: u64,
    /// Packets of whatever class that hold one of the marks.
    pub marked: u64,
    /// Packets that nobody has looked at, since they came too quickly.
    pub missed: u64,
    /// The first packets that are clear text or marked.
    pub examples: Vec<String>,
}

impl Captured {
    /// All packets that were looked at.
    pub fn packets(&self) -> u64 {
        self.esp_in_udp + self.esp + self.ike + self.fragments + self.control + self.clear_text
    }

    /// Nothing readable crossed the underlay, and no packet was missed.
    pub fn is_clean(&self) -> bool {
        self.clear_text == 0 && self.marked == 0 && self.missed == 0
    }

    fn add(&mut self, other: Self) {
        self.esp_in_udp += other.esp_in_udp;
        self.esp += other.esp;
        self.ike += other.ike;
        self.fragments += other.fragments;
        self.control += other.control;
        self.clear_text += other.clear_text;
        self.marked += other.marked;
        self.missed += other.missed;
        self.examples.extend(other.examples);
        self.examples.truncate(TOLD);
    }

    fn count(&mut self, frame: &[u8], own: &BTreeSet<IpAddr>, marks: &[Vec<u8>]) {
        let class = classify(frame, own);
        match class {
            Class::EspInUdp => self.esp_in_udp += 1,
            Class::Esp => self.esp += 1,
            Class::Ike => self.ike += 1,
            Class::Fragment => self.fragments += 1,
            Class::Control => self.control += 1,
            Class::ClearText => self.clear_text += 1,
        }
        let marked = marks.iter().any(|mark| contains(frame, mark));
        self.marked += u64::from(marked);
        if (marked || class == Class::ClearText) && self.examples.len() < TOLD {
            let start: Vec<String> = frame
                .iter()
                .take(64)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let what = if marked { "with a mark in it" } else { "" };
            self.examples.push(format!(
                "{class:?} {what} {} bytes: {}",
                frame.len(),
                start.concat()
            ));
        }
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ESP in UDP, {} ESP, {} IKE, {} control, {} clear, {} with a mark",
            self.esp_in_udp, self.esp, self.ike, self.control, self.clear_text, self.marked
        )?;
        if self.fragments > 0 {
            write!(f, ", {} fragments", self.fragments)?;
        }
        if self.missed > 0 {
            write!(f, ", {} missed", self.missed)?;
        }
        Ok(())
    }
}

/// A capture that runs.
pub struct Capture {
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<Result<Captured>>>,
}

impl Capture {
    /// Sees what enters the underlay from every host attached to it, from now on.
    pub fn start(underlay: &Underlay) -> Result<Self> {
        let ports = underlay.ports();
        let mut own: BTreeSet<IpAddr> = ports
            .iter()
            .flat_map(|port| port.addresses.iter().copied())
            .collect();
        own.insert(underlay.router4().into());
        let own = Arc::new(own);
        let marks = Arc::new(marks());
        let stop = Arc::new(AtomicBool::new(false));
        let readers = ports
            .iter()
            .map(|port| {
                let socket = PacketSocket::open(underlay.netns(), &port.device)?;
                socket.set_buffer(64 << 20)?;
                let (stop, own, marks) = (stop.clone(), own.clone(), marks.clone());
                Ok(thread::spawn(move || read(&socket, &stop, &own, &marks)))
            })
            .collect::<Result<_>>()?;
        Ok(Self { stop, readers })
    }

    /// Reads what is queued, and tells.
    pub fn finish(self) -> Result<Captured> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Captured::default();
        for reader in self.readers {
            let one = reader
                .join()
                .map_err(|_| anyhow!("a reader of the capture panicked"))?;
            all.add(one.context("capturing on the underlay")?);
        }
        Ok(all)
    }
}

fn read(
    socket: &PacketSocket,
    stop: &AtomicBool,
    own: &BTreeSet<IpAddr>,
    marks: &[Vec<u8>],
) -> Result<Captured> {
    let mut captured = Captured::default();
    loop {
        // Before reading: what was queued by then is read below.
        let last = stop.load(Ordering::SeqCst);
        socket.count(SLICE, |frame| {
            captured.count(frame, own, marks);
            false
        })?;
        if last {
            captured.missed = socket.missed()?;
            return Ok(captured);
        }
    }
}

/// What the probes of this crate put into their packets.
fn marks() -> Vec<Vec<u8>> {
    // An echo request counts its bytes up.
    let ping: Vec<u8> = (16..48).collect();
    vec![flow::MARK.to_vec(), tcp::mark(), ping]
}

fn contains(frame: &[u8], mark: &[u8]) -> bool {
    let Some(&first) = mark.first() else {
        return false;
    };
    let mut rest = frame;
    while let Some(at) = rest.iter().position(|&byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(mark) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// What `frame` is where the underlay has the addresses `own`.
fn classify(frame: &[u8], own: &BTreeSet<IpAddr>) -> Class {
    let ethertype = frame
        .get(12..14)
        .map(|at| u16::from_be_bytes([at[0], at[1]]));
    let packet = frame.get(14..).unwrap_or_default();
    match ethertype {
        Some(ETH_ARP) => Class::Control,
        Some(ETH_IPV4) => classify4(packet, own),
        Some(ETH_IPV6) => classify6(packet, own),
        _ => Class::ClearText,
    }
}

fn classify4(packet: &[u8], own: &BTreeSet<IpAddr>) -> Class {
    let Some(header) = packet.get(..20) else {
        return Class::ClearText;
    };
    let address = |at: usize| Ipv4Addr::from([0, 1, 2, 3].map(|i| header[at + i]));
    if ![12, 16].iter().all(|&at| own.contains(&address(at).into())) {
        return Class::ClearText;
    }
    if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 {
        return Class::Fragment;
    }
    let payload = packet.get(usize::from(header[0] & 15) * 4..);
    classify_payload(header[9], payload.unwrap_or_default())
}

fn classify6(packet: &[u8], own: &BTreeSet<IpAddr>) -> Class {
    let Some(header) = packet.get(..40) else {
        return Class::ClearText;
    };
    let address = |at: usize| -> Ipv6Addr {
        let octets: [u8; 16] = std::array::from_fn(|i| header[at + i]);
        octets.into()
    };
    let (src, dst) = (address(8), address(24));
    let is_link = |address: Ipv6Addr| {
        address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified()
    };
    if !(is_link(src) || own.contains(&src.into())) || !(is_link(dst) || own.contains(&dst.into()))
    {
        return Class::ClearText;
    }
    let payload = packet.get(40..).unwrap_or_default();
    match header[6] {
        // Multicast listener reports carry a router alert.
        frame::HOP_BY_HOP if payload.first() == Some(&frame::ICMPV6) => Class::Control,
        frame::FRAGMENT => {
            let offset = payload.get(2..4).unwrap_or(&[0xff, 0xff]);
            if u16::from_be_bytes([offset[0], offset[1]]) & 0xfff8 != 0 {
                return Class::Fragment;
            }
            classify_payload(payload[0], payload.get(8..).unwrap_or_default())
        }
        protocol => classify_payload(protocol, payload),
    }
}

fn classify_payload(protocol: u8, payload: &[u8]) -> Class {
    match protocol {
        ESP => Class::Esp,
        frame::ICMP | frame::ICMPV6 => Class::Control,
        frame::UDP => classify_udp(payload),
        _ => Class::ClearText,
    }
}

fn classify_udp(payload: &[u8]) -> Class {
    let Some(header) = payload.get(..8) else {
        return Class::ClearText;
    };
    let ports = [0, 2].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let data = &payload[8..];
    if ports.contains(&NAT_T) {
        // RFC 3948, section 2: zeros are IKE; one byte of 0xff, a keepalive, goes with ESP.
        return match data.get(..4) {
            Some([0, 0, 0, 0]) => Class::Ike,
            Some(_) => Class::EspInUdp,
            None if data == [0xff] => Class::EspInUdp,
            None => Class::ClearText,
        };
    }
    if ports.contains(&IKE) {
        return Class::Ike;
    }
    Class::ClearText
}

#[cfg(test)]
mod tests {
    use super::*;
    use frame::{Ipv4Header, ethernet, ipv6, udp};

    const A: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    const B: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

    fn own() -> BTreeSet<IpAddr> {
        [A.into(), B.into(), "2001:db8::1".parse().unwrap()].into()
    }

    fn over_udp(src: Ipv4Addr, ports: (u16, u16), data: &[u8]) -> Class {
        let datagram = udp((src.into(), ports.0), (B.into(), ports.1), data);
        let packet = Ipv4Header::new(frame::UDP).packet(src, B, &datagram);
        classify(&ethernet([1; 6], [2; 6], ETH_IPV4, &packet), &own())
    }

    #[test]
    fn classes() {
        assert_eq!(over_udp(A, (500, 500), b"ike"), Class::Ike);
        assert_eq!(over_udp(A, (4500, 4500), &[0, 0, 0, 0, 1]), Class::Ike);
        assert_eq!(over_udp(A, (4500, 20_000), &[0, 0, 1, 0]), Class::EspInUdp);
        assert_eq!(over_udp(A, (4500, 4500), &[0xff]), Class::EspInUdp);
        assert_eq!(over_udp(A, (4500, 4500), &[1, 2]), Class::ClearText);
        assert_eq!(over_udp(A, (53, 53), b"name"), Class::ClearText);
        let inner = Ipv4Addr::new(10, 1, 0, 4);
        assert_eq!(over_udp(inner, (500, 500), b"ike"), Class::ClearText);
    }

    #[test]
    fn an_echo_between_workloads_is_clear_text() {
        let (near, far) = ("fd00:1::4".parse().unwrap(), "fd00:4::4".parse().unwrap());
        let packet = ipv6(near, far, frame::ICMPV6, 64, &[128, 0, 0, 0]);
        let frame = ethernet([1; 6], [2; 6], ETH_IPV6, &packet);
        assert_eq!(classify(&frame, &own()), Class::ClearText);
    }

    #[test]
    fn marks_are_found_wherever_they_stand() {
        assert!(contains(b"aab", b"ab"));
        assert!(contains(b"xxmark", b"mark"));
        assert!(!contains(b"xxmar", b"mark"));
        let mut captured = Captured::default();
        let data = [&[7; 20], &flow::MARK[..]].concat();
        let datagram = udp((A.into(), 4500), (B.into(), 4500), &data);
        let packet = Ipv4Header::new(frame::UDP).packet(A, B, &datagram);
        let frame = ethernet([1; 6], [2; 6], ETH_IPV4, &packet);
        captured.count(&frame, &own(), &marks());
        assert_eq!((captured.esp_in_udp, captured.marked), (1, 1));
        assert!(!captured.is_clean());
    }
}
