//! Sessions over copies in memory.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
use tokio::sync::mpsc;
use vnet_gw_common::{
    capture::{Capture, Event, MAX_FILTERS, MAX_SNAP, MIN_SNAP},
    verdict::Reason,
};
use vnet_gw_core::{
    capture::{Addresses, Filter, Limits, Ports, Protocol},
    model::ResourceId,
};

use super::*;

type Copy = (Event, Vec<u8>);

#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Vec<Copy>>>);

impl Waiting {
    fn tell(&self, kind: u32, port: u32, bytes: &[u8]) {
        self.tell_at_once([(kind, port, bytes)]);
    }

    /// Copies that nobody reads before the last of them is there.
    fn tell_at_once<const N: usize>(&self, copies: [(u32, u32, &[u8]); N]) {
        let copies = copies.map(|(kind, port, bytes)| {
            let event = Event {
                time: 1,
                port,
                kind,
                len: bytes.len() as u32,
                copied: bytes.len() as u32,
                reason: Reason::NoRoute as u32,
                reserved: 0,
            };
            (event, bytes.to_vec())
        });
        self.0.lock().unwrap().extend(copies);
    }
}

impl Copies for Waiting {
    fn wait(&self, _: u16) {
        thread::sleep(Duration::from_millis(2));
    }

    fn drain(&mut self, take: &mut dyn FnMut(usize, &Event, &[u8])) {
        for (event, bytes) in std::mem::take(&mut *self.0.lock().unwrap()) {
            take(0, &event, &bytes);
        }
    }

    fn lost(&self, _: u32) -> Option<u64> {
        Some(7)
    }
}

fn interface(name: &str, port: u32) -> Interface {
    Interface {
        nic: ResourceId::new(name),
        device: format!("d-{name}"),
        port,
        mac: [2; 6],
        addresses: vec!["10.0.0.4".parse().unwrap(), "fd00::4".parse().unwrap()],
    }
}

/// UDP from 10.0.0.4 to a port of 10.0.0.5.
fn udp(port: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, 4, 10, 0, 0, 5, 0, 9]);
    frame.extend(port.to_be_bytes());
    frame.resize(length, 0);
    frame
}

struct Running {
    hub: Arc<Hub>,
    id: SessionId,
    progress: Arc<Mutex<Progress>>,
    pieces: mpsc::Receiver<Vec<u8>>,
    copies: Waiting,
}

fn start(interfaces: Vec<Interface>, filters: Vec<Filter>, limits: Limits) -> Running {
    let (feed, pieces) = mpsc::channel(64);
    let (hub, copies) = (Hub::new(), Waiting::default());
    let sink = Stream::new(feed, &interfaces, MAX_SNAP).unwrap();
    let spec = Spec {
        interfaces,
        filters,
        limits,
        sink: Box::new(sink),
    };
    let open = || -> io::Result<Box<dyn Copies>> { Ok(Box::new(copies.clone())) };
    let (id, progress) = hub.add(spec, 5, open).unwrap();
    Running {
        hub,
        id,
        progress,
        pieces,
        copies,
    }
}

impl Running {
    fn ended(&self) -> Ended {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(ended) = self.progress.lock().unwrap().ended.clone() {
                return ended;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(piece) = self.pieces.try_recv() {
            all.extend(piece);
        }
        all
    }
}

struct Shown {
    interface: u32,
    length: u32,
    captured: usize,
    comment: Option<String>,
}

fn shown(bytes: &[u8]) -> (Vec<Shown>, usize) {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let (mut packets, mut ends) = (Vec::new(), 0);
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::EnhancedPacket(packet) => packets.push(Shown {
                interface: packet.interface_id,
                length: packet.original_len,
                captured: packet.data.len(),
                comment: packet.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                    _ => None,
                }),
            }),
            Block::InterfaceStatistics(_) => ends += 1,
            _ => {}
        }
    }
    (packets, ends)
}

#[test]
fn packets_of_its_ports_that_fit_are_written_until_it_is_stopped() {
    let filter = Filter {
        protocol: Protocol::Udp,
        remote_ports: Ports::one(7),
        ..Filter::default()
    };
    let limits = Limits {
        bytes_per_packet: 60,
        ..Limits::default()
    };
    let interfaces = vec![interface("a", 3), interface("b", 4)];
    let mut running = start(interfaces, vec![filter], limits);
    running.copies.tell_at_once([
        (Event::SENT, 3, &udp(7, 100)),
        (Event::REFUSED, 3, &[]),
        (Event::SENT, 4, &udp(7, 50)),
        (Event::SENT, 3, &udp(8, 100)),
        // Delivered: what is remote is the other end.
        (Event::DELIVERED, 3, &udp(7, 100)),
        (Event::SENT, 9, &udp(7, 100)),
    ]);
    running.hub.stop(running.id, Why::Stopped, None);
    assert_eq!(running.ended().why, Why::Stopped);
    let (packets, ends) = shown(&running.bytes());
    assert_eq!((packets.len(), ends), (2, 1));
    assert_eq!((packets[0].interface, packets[0].length), (0, 100));
    assert_eq!(packets[0].captured, 60);
    let comment = packets[0].comment.as_deref().unwrap();
    assert!(comment.starts_with("dropped: no_route: "), "{comment}");
    assert_eq!((packets[1].interface, packets[1].captured), (1, 50));
    let progress = running.progress.lock().unwrap().clone();
    // Each of its two ports lost seven, five of them before.
    assert_eq!(
        (progress.packets, progress.bytes, progress.lost),
        (2, 150, 9)
    );
    assert!(running.hub.wanted().values().all(Option::is_none));
    assert!(running.hub.is_idle());
}

#[test]
fn limits_end_it() {
    let limits = Limits {
        total_bytes: 600,
        ..Limits::default()
    };
    let mut running = start(vec![interface("a", 3)], Vec::new(), limits);
    for _ in 0..20 {
        running.copies.tell(Event::DELIVERED, 3, &udp(7, 100));
    }
    assert_eq!(running.ended().why, Why::BytesExceeded);
    let (packets, ends) = shown(&running.bytes());
    assert!(!packets.is_empty() && packets.len() < 5 && ends == 1);

    let limits = Limits {
        time: Duration::from_millis(20),
        ..Limits::default()
    };
    let running = start(vec![interface("a", 3)], Vec::new(), limits);
    assert_eq!(running.ended().why, Why::TimeExceeded);
}

#[test]
fn a_reader_that_goes_and_a_port_that_goes_end_it() {
    let Running {
        progress, pieces, ..
    } = start(vec![interface("a", 3)], Vec::new(), Limits::default());
    drop(pieces);
    let until = Instant::now() + Duration::from_secs(10);
    while progress.lock().unwrap().ended.is_none() {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(2));
    }
    let running = start(vec![interface("a", 3)], Vec::new(), Limits::default());
    running.hub.keep_ports(|_, port| port == 3);
    assert!(running.progress.lock().unwrap().ended.is_none());
    running.hub.keep_ports(|_, port| port == 5);
    assert_eq!(running.ended().why, Why::PortGone);
}

fn wanted(sessions: &[(Vec<Filter>, u32)]) -> Capture {
    let hub = Hub::new();
    for (filters, bytes_per_packet) in sessions {
        let (feed, pieces) = mpsc::channel(64);
        // Kept open for ever.
        std::mem::forget(pieces);
        let interfaces = vec![interface("a", 3)];
        let spec = Spec {
            filters: filters.clone(),
            limits: Limits {
                bytes_per_packet: *bytes_per_packet,
                ..Limits::default()
            },
            sink: Box::new(Stream::new(feed, &interfaces, MAX_SNAP).unwrap()),
            interfaces,
        };
        let open = || -> io::Result<Box<dyn Copies>> { Ok(Box::new(Waiting::default())) };
        hub.add(spec, 0, open).unwrap();
    }
    let wanted = hub.wanted();
    hub.end();
    wanted[&ResourceId::new("a")].unwrap()
}

#[test]
fn the_kernel_copies_what_any_session_wants() {
    let to = |address: &str| Filter {
        remote: Addresses::one(address.parse::<IpAddr>().unwrap()),
        ..Filter::default()
    };
    let one = wanted(&[(vec![to("10.0.0.5")], 64)]);
    assert_eq!((one.filters_used, one.snap), (1, MIN_SNAP));
    assert_eq!(one.filters[0], to("10.0.0.5").hull());
    let two = wanted(&[(vec![to("10.0.0.5")], 64), (vec![to("10.0.0.6")], 1000)]);
    assert_eq!((two.filters_used, two.snap), (2, 1000));
    // Who wants everything gets it, first or last.
    for sessions in [
        [(vec![to("10.0.0.5")], 64), (Vec::new(), 0)],
        [(Vec::new(), 0), (vec![to("10.0.0.5")], 64)],
    ] {
        let all = wanted(&sessions);
        assert_eq!((all.filters_used, all.snap), (0, MAX_SNAP));
    }
    let many: Vec<Filter> = (0..MAX_FILTERS).map(|_| to("10.0.0.7")).collect();
    assert_eq!(
        wanted(&[(many.clone(), 0)]).filters_used as usize,
        MAX_FILTERS
    );
    assert_eq!(
        wanted(&[(many, 0), (vec![to("10.0.0.5")], 0)]).filters_used,
        0
    );
}
