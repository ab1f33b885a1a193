//! What gets there, and back.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use vnet_gw_lab::{
    Netns,
    probe::{Outcome, Ping, tcp},
};
use vnet_gw_tests::bed::Hook;

use crate::world::{PUBLIC, World, server};

const PATIENCE: Duration = Duration::from_secs(5);

fn udp(netns: &Netns, from: (IpAddr, u16)) -> UdpSocket {
    let socket = netns.enter(|| UdpSocket::bind(from)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A connection from a port that is chosen.
fn tcp_from(netns: &Netns, from: (IpAddr, u16), to: SocketAddr) -> TcpStream {
    let connect = || -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(from).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Ok(socket.into())
    };
    let stream = netns.enter(connect).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Both at once, from the same address and port, in UDP, TCP and ICMP: each gets its own answer.
pub(crate) fn by_both_of_two_vnets_with_the_same_addresses(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    for (server, public) in server().into_iter().zip(PUBLIC) {
        let public: IpAddr = public.parse().unwrap();
        let own = |name: &str| world.bed.workload(name).address(server).unwrap();
        assert_eq!(own("red"), own("blue"));

        let there = udp(&world.internet, (server, 5_000));
        let here = ["red", "blue"].map(|name| (name, udp(world.netns(name), (own(name), 7_777))));
        for (name, socket) in &here {
            socket.send_to(name.as_bytes(), (server, 5_000)).unwrap();
        }
        let mut buffer = [0; 100];
        let mut sources = BTreeSet::new();
        for _ in &here {
            let (length, from) = there.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip(), public, "not translated");
            assert!(sources.insert(from), "{from} is two VNets' at once");
            let answer = [b"to ", &buffer[..length]].concat();
            there.send_to(&answer, from).unwrap();
        }
        for (name, socket) in &here {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], format!("to {name}").as_bytes());
            assert_eq!(from, SocketAddr::from((server, 5_000)));
        }

        let listener = world
            .internet
            .enter(|| TcpListener::bind((server, 5_001)))
            .unwrap()
            .unwrap();
        let streams = ["red", "blue"].map(|name| {
            let to = SocketAddr::from((server, 5_001));
            (name, tcp_from(world.netns(name), (own(name), 7_778), to))
        });
        for (name, stream) in &streams {
            let mut stream: &TcpStream = stream;
            stream.write_all(format!("{name:6}").as_bytes()).unwrap();
        }
        let served: Vec<_> = streams.iter().map(|_| listener.accept().unwrap()).collect();
        for (stream, from) in &served {
            let mut stream: &TcpStream = stream;
            assert_eq!(from.ip(), public);
            let mut name = [0; 6];
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.read_exact(&mut name).unwrap();
            stream.write_all(&name).unwrap();
        }
        for (name, stream) in &streams {
            let mut stream: &TcpStream = stream;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, format!("{name:6}").as_bytes());
        }

        // All echo requests of this process have one identifier.
        for name in ["red", "blue", "red", "blue"] {
            let outcome = Ping::new(server).send(world.netns(name)).unwrap();
            assert!(
                matches!(outcome, Outcome::Reply { .. }),
                "{name}: {outcome}"
            );
        }
    }
}

/// Super-packets and single ones, up and down.
pub(crate) fn with_every_byte_in_both_directions(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    for server in server() {
        let red = world.netns("red");
        let up = tcp::transfer(red, &world.internet, server, 8 << 20).unwrap();
        assert!(up.is_some(), "no connection to {server}");

        let (mut client, mut far) = tcp::connect(red, &world.internet, server, PATIENCE)
            .unwrap()
            .unwrap();
        let sent: Vec<u8> = (0..8u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let copy = sent.clone();
        let sender = thread::spawn(move || far.write_all(&copy));
        let mut received = vec![0; sent.len()];
        client.read_exact(&mut received).unwrap();
        sender.join().unwrap().unwrap();
        assert!(received == sent, "changed on its way");
    }
    assert_eq!(world.bed.counted("next_hop_internet").unwrap(), 0);
}

/// The fabric and the host are one hop; what a router or the server says of a packet reaches its sender.
pub(crate) fn with_errors_that_find_the_sender(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    for (server, router) in server().into_iter().zip(["10.7.0.1", "fd07::1"]) {
        let red = world.netns("red");
        let first = Ping {
            ttl: 1,
            ..Ping::new(server)
        };
        let from = router.parse().unwrap();
        assert_eq!(first.send(red).unwrap(), Outcome::TimeExceeded { from });
        let second = Ping {
            ttl: 2,
            ..Ping::new(server)
        };
        let outcome = second.send(red).unwrap();
        assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");

        // Nobody listens there.
        let own = world.bed.workload("red").address(server).unwrap();
        let socket = udp(red, (own, 0));
        socket.connect((server, 4_444)).unwrap();
        socket.send(b"anybody?").unwrap();
        let error = socket.recv(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    // Larger than the uplink takes, from some time on: the fabric says so, as it does everywhere.
    world.bed.host.ip("link set up0 mtu 1400").unwrap();
    for (server, router) in server().into_iter().zip(["10.7.0.1", "fd07::1"]) {
        let large = Ping {
            size: 1_420,
            dont_fragment: true,
            ..Ping::new(server)
        };
        let (from, mtu) = (router.parse().unwrap(), 1_400);
        let told = || large.send(world.netns("red"));
        world
            .bed
            .wait(|| Ok(told()? == Outcome::TooBig { from, mtu }))
            .unwrap();
    }
}

/// What goes out is metered for the VNet it is from, of two with the same addresses.
pub(crate) fn and_metered_by_virtual_network(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    let [server, _] = server();
    let there = udp(&world.internet, (server, 5_000));
    let mut buffer = [0; 200];
    for (name, count) in [("red", 12), ("blue", 5)] {
        let own = world.bed.workload(name).address(server).unwrap();
        let here = udp(world.netns(name), (own, 7_777));
        for _ in 0..count {
            here.send_to(&[1; 100], (server, 5_000)).unwrap();
            assert_eq!(there.recv_from(&mut buffer).unwrap().0, 100);
        }
    }
    let usage = world.bed.daemon.json(&["usage"]).unwrap();
    let rows = usage["value"].as_array().unwrap();
    let mut metered = Vec::new();
    for row in rows {
        assert_eq!(
            (&row["class"], &row["peer"]),
            (&"internet".into(), &"".into())
        );
        assert_eq!(row["direction"], "egress");
        let vnet = row["virtualNetwork"].as_str().unwrap();
        let name = vnet.rsplit('/').next().unwrap_or_default().to_owned();
        metered.push((name, row["packets"].as_u64(), row["bytes"].as_u64()));
    }
    let count = |name: &str, packets: u64| (name.to_owned(), Some(packets), Some(packets * 128));
    assert_eq!(metered, [count("Blue", 5), count("Red", 12)]);
}
