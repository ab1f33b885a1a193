//! Handshakes a minute and memory: one gateway of ours with many connections, and a peer that speaks
//! for all the other ends. Both run on this machine, so the figure holds the work of both.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    cmsg_space,
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
        sockopt,
    },
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use vnet_gw_core::{
    crypto::SystemRandom,
    ike::{
        ConnectionMode, EncapsulationChoice, Endpoint, EndpointOptions, EspProposal, Event, Group,
        Identity, IkeCipher, IkeProposal, Lifetimes, Prf, TunnelConfig, TunnelState,
    },
    sa::{EspSuite, TrafficSelector, TunnelId},
    secret::Secret,
};
use vnet_gw_lab::{Daemon, Lab, Netns};
use vnet_gw_tests::report::Report;

use crate::{Options, ours};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// All addresses of 10.200.0.0/16 are the peer's.
const PEERS: &str = "10.200.0.0/16";
const KEY: &str = "aKeyOfTheBench";
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn run(lab: &Lab, options: &Options, report: &mut Report) -> Result<()> {
    let (gateway, peers) = (lab.namespace("hs-gw")?, lab.namespace("hs-peers")?);
    lab.veth((&gateway, "u1"), (&peers, "u2"))?;
    gateway.ip(&format!("address add {GATEWAY}/24 dev u1"))?;
    gateway.ip("link set u1 up")?;
    peers.ip("address add 192.0.2.2/24 dev u2")?;
    peers.ip("link set u2 up")?;
    peers.ip(&format!("route add local {PEERS} dev lo"))?;
    gateway.ip(&format!("route add {PEERS} via 192.0.2.2"))?;
    let instance = lab.instance("bench-hs")?;
    let args = ["--ephemeral", "--engine", &options.engine];
    let count = options.tunnels;
    let daemon = Daemon::start(
        lab,
        &options.daemon,
        &gateway,
        instance,
        &template(count),
        &args,
    )?;
    let before = memory(&daemon)?;
    let took = connect(&peers, count)?;
    await_all(&daemon, count)?;
    let minute = f64::from(count) * 60.0 / took.as_secs_f64();
    report.add("handshakes_per_minute", "vnet-gw", "1/min", minute);
    report.add("memory_idle", "vnet-gw", "MiB", before);
    let name = format!("memory_{count}_tunnels");
    report.add(&name, "vnet-gw", "MiB", memory(&daemon)?);
    Ok(())
}

fn address(number: u16) -> Ipv4Addr {
    let [high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 200, high, low)
}

/// How long until every tunnel is up, as the peer sees it.
fn connect(netns: &Netns, count: u16) -> Result<Duration> {
    let sockets = netns.enter(|| [500, 4500].map(socket))?;
    let [ike, nat] = sockets;
    let sockets = [ike?, nat?];
    let begun = Instant::now();
    let options = EndpointOptions::default();
    let mut endpoint = Endpoint::new(options, Box::new(SystemRandom));
    endpoint.configure(begun, (0..count).map(tunnel).collect());
    let mut connected = BTreeSet::new();
    let mut buffer = vec![0; 65536];
    loop {
        while let Some(event) = endpoint.poll_event() {
            if let Event::State { tunnel, state, .. } = event {
                if state == TunnelState::Connected {
                    connected.insert(tunnel);
                } else {
                    connected.remove(&tunnel);
                }
            }
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            let socket = &sockets[usize::from(transmit.local.port() != 500)];
            send(socket, transmit.local, transmit.remote, &transmit.data)?;
        }
        if connected.len() == usize::from(count) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "{} of {count} tunnels are up after {} s",
                connected.len(),
                PATIENCE.as_secs()
            );
        }
        let now = Instant::now();
        let wait = endpoint
            .poll_timeout()
            .map_or(Duration::from_millis(100), |at| {
                at.saturating_duration_since(now)
                    .min(Duration::from_millis(100))
            });
        let mut fds = sockets
            .each_ref()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        poll(&mut fds, timeout).context("waiting for messages")?;
        for (socket, port) in sockets.iter().zip([500, 4500]) {
            // A few at a time, so that answers do not wait for the whole queue.
            for _ in 0..16 {
                let Some((len, local, remote)) = receive(socket, &mut buffer)? else {
                    break;
                };
                let local = SocketAddr::V4(SocketAddrV4::new(local, port));
                let data = match port {
                    500 => Some(&buffer[..len]),
                    _ => buffer[..len].strip_prefix(&[0; 4]),
                };
                if let Some(data) = data {
                    endpoint.handle_datagram(Instant::now(), local, remote, data);
                }
            }
        }
        endpoint.handle_timeout(Instant::now());
    }
}

/// For all addresses of the peer.
fn socket(port: u16) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("a socket")?;
    socket.set_nonblocking(true).context("a socket")?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).context("IP_PKTINFO")?;
    setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).context("SO_RCVBUFFORCE")?;
    let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    socket
        .bind(&any.into())
        .with_context(|| format!("binding port {port}"))?;
    Ok(socket)
}

fn send(socket: &Socket, local: SocketAddr, remote: SocketAddr, data: &[u8]) -> Result<()> {
    let (IpAddr::V4(from), SocketAddr::V4(to)) = (local.ip(), remote) else {
        bail!("a message from {local} to {remote}");
    };
    let source = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: u32::from(from).to_be(),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let sent = sendmsg(
        socket.as_raw_fd(),
        &[std::io::IoSlice::new(data)],
        &[ControlMessage::Ipv4PacketInfo(&source)],
        MsgFlags::empty(),
        Some(&SockaddrIn::from(to)),
    );
    match sent {
        // A full queue loses it; the endpoint sends it again.
        Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(()),
        Err(error) => Err(error).context("sending a message"),
    }
}

/// Its length, whom it was sent to and by whom.
fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<Option<(usize, Ipv4Addr, SocketAddr)>> {
    let mut space = cmsg_space!(libc::in_pktinfo);
    let mut vector = [std::io::IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut vector,
        Some(&mut space),
        MsgFlags::empty(),
    );
    let message = match received {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error).context("receiving a message"),
    };
    let mut local = None;
    for control in message.cmsgs().context("reading a control message")? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
        }
    }
    let remote = message.address.context("a message of nobody")?;
    let remote = SocketAddr::V4(SocketAddrV4::new(remote.ip(), remote.port()));
    Ok(Some((
        message.bytes,
        local.context("no IP_PKTINFO")?,
        remote,
    )))
}

fn tunnel(number: u16) -> TunnelConfig {
    let any = TrafficSelector {
        protocol: 0,
        ports: (0, u16::MAX),
        addresses: (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::BROADCAST),
        ),
    };
    let local = IpAddr::V4(address(number));
    TunnelConfig {
        id: TunnelId(u64::from(number) + 1),
        name: format!("site {number}").into(),
        local,
        remote: IpAddr::V4(GATEWAY),
        local_id: Identity::Ip(local),
        remote_ids: Vec::new(),
        key: Secret::new(KEY),
        mode: ConnectionMode::InitiatorOnly,
        ike: vec![IkeProposal {
            cipher: IkeCipher::Aes256Gcm,
            prf: Prf::HmacSha2_384,
            group: Group::Curve25519,
        }],
        esp: vec![EspProposal {
            suite: EspSuite::Aes256Gcm,
            pfs: None,
        }],
        local_selectors: vec![any],
        remote_selectors: vec![any],
        lifetimes: Lifetimes {
            ike: Duration::from_secs(28_800),
            child: Duration::from_secs(27_000),
            child_bytes: None,
        },
        dpd: Duration::from_secs(45),
        encapsulation: EncapsulationChoice::Udp,
        // As our own gateways do by default.
        post_quantum: true,
        generation: 0,
    }
}

/// Until the gateway, too, says that all are up.
fn await_all(daemon: &Daemon, count: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let connections = daemon.json(&["connections"])?;
        let up = connections["value"].as_array().map_or(0, |rows| {
            let connected = |row: &&Value| row["connectionStatus"] == "Connected";
            rows.iter().filter(connected).count()
        });
        if up == usize::from(count) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the gateway has {up} of {count} connections up");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Resident, in MiB.
fn memory(daemon: &Daemon) -> Result<f64> {
    let pid = daemon.pid().context("the daemon does not run")?;
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("no VmRSS")?;
    Ok(kibibytes / 1024.0)
}

/// The gateway of side 0 with `count` sites.
fn template(count: u16) -> Value {
    let mut template = json!({"resources": ours::gateway(0, None, &[GATEWAY])});
    let Some(resources) = template["resources"].as_array_mut() else {
        return template;
    };
    for number in 0..count {
        let [high, low] = number.to_be_bytes();
        resources.push(ours::resource(
            0,
            "localNetworkGateways",
            &format!("site{number}"),
            json!({
                "gatewayIpAddress": address(number),
                "localNetworkAddressSpace": {
                    "addressPrefixes": [format!("172.16.{high}.{low}/32")],
                },
            }),
        ));
        resources.push(ours::resource(
            0,
            "connections",
            &format!("to-site{number}"),
            json!({
                "connectionType": "IPsec",
                "connectionProtocol": "IKEv2",
                "connectionMode": "ResponderOnly",
                "virtualNetworkGateway1": ours::id("virtualNetworkGateways", &["VNet1-gw"]),
                "localNetworkGateway2":
                    ours::id("localNetworkGateways", &[&format!("site{number}")]),
                "sharedKey": KEY,
            }),
        ));
    }
    template
}
