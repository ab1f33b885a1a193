//! A data path in memory, in the place of the kernel's.

use std::{collections::BTreeMap, time::SystemTime};

use vnet_gw_core::{
    compile::GatewayImage,
    ike::{TunnelConfig, TunnelState},
    security::RuleSetId,
};

use vnet_gw_common::capture::{self, Capture};

use super::*;
use crate::{
    capture::Copies,
    datapath::{DeviceStats, ReadDeviceStats, RuleHits},
    flow_log::FlowCounts,
    probe::Inject,
    vpn::{ConnectionStatus, GatewayStatus, Question, TunnelStatus, Tunnels, VpnStatus},
    worker::TunnelCounters,
};

/// A data path in memory. Every port is up, and every route has carried one packet.
#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Arc<Mutex<FakeState>>);

#[derive(Default)]
pub(super) struct FakeState {
    pub(super) image: Arc<Image>,
    pub(super) traced: Vec<(String, Option<u32>)>,
    pub(super) captured: Vec<(String, Option<Capture>)>,
    /// What the programs copied, and nobody read yet.
    pub(super) copies: Vec<(capture::Event, Vec<u8>)>,
    pub(super) reconciles: u64,
    pub(super) refuse: bool,
    /// Where the programs would write.
    pub(super) log: Option<UnixStream>,
}

impl Fake {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, FakeState> {
        self.0.lock().unwrap()
    }
}

impl Fabric for Fake {
    fn apply(&mut self, image: Arc<Image>) -> Result<ApplyReport, DatapathError> {
        let mut state = self.state();
        if state.refuse {
            return Err(DatapathError::NoProgram("fake"));
        }
        state.image = image;
        Ok(ApplyReport::default())
    }

    fn settle(&mut self) -> Result<(), DatapathError> {
        Ok(())
    }

    fn security(&self) -> (BTreeMap<RuleSetId, Vec<RuleHits>>, [FlowCounts; 2]) {
        (BTreeMap::new(), Default::default())
    }

    fn reconcile(&mut self) -> Result<Drift, DatapathError> {
        self.state().reconciles += 1;
        Ok(Drift::default())
    }

    fn counters(&self) -> Result<Counters, DatapathError> {
        let one = Counter {
            packets: 1,
            bytes: 84,
        };
        let image = Arc::clone(&self.state().image);
        let subnets = image.subnets.iter().map(|(id, subnet)| {
            let v4 = subnet
                .v4
                .routes
                .iter()
                .map(|(prefix, _)| (*prefix, one))
                .collect();
            let v6 = subnet
                .v6
                .routes
                .iter()
                .map(|(prefix, _)| (*prefix, one))
                .collect();
            (id.clone(), SubnetCounters { v4, v6 })
        });
        let reasons = Reason::ALL.iter().map(|reason| {
            let packets = u64::from(*reason == Reason::SpoofedMac);
            (
                *reason,
                Counter {
                    packets,
                    bytes: packets * 60,
                },
            )
        });
        Ok(Counters {
            subnets: subnets.collect(),
            reasons: reasons.collect(),
        })
    }

    fn ports(&self) -> Vec<PortStatus> {
        let state = self.state();
        let ports = state.image.ports.iter().zip(1..);
        ports
            .map(|((nic, port), port_id)| PortStatus {
                nic: nic.clone(),
                device: port.device.clone(),
                gateway: port.gateway,
                internet: false,
                port_id,
                ifindex: Some(port_id),
                hook: None,
                state: PortState::Up,
                warnings: Vec::new(),
                mac: port.mac,
                addresses: port.addresses.clone(),
                mtu: Some(1500),
                ip_forwarding: port.ip_forwarding,
                trace_every: state
                    .traced
                    .iter()
                    .rfind(|(name, _)| name == nic.name())
                    .and_then(|(_, every)| *every),
            })
            .collect()
    }

    fn device_stats(&self) -> ReadDeviceStats {
        || Ok(DeviceStats::new())
    }

    fn set_trace(&mut self, nic: &ResourceId, every: Option<u32>) -> Result<(), DatapathError> {
        self.state().traced.push((nic.name().to_owned(), every));
        Ok(())
    }

    fn set_capture(
        &mut self,
        nic: &ResourceId,
        wanted: Option<Capture>,
    ) -> Result<(), DatapathError> {
        self.state().captured.push((nic.name().to_owned(), wanted));
        Ok(())
    }

    fn lost_copies(&self, _: &ResourceId) -> Result<u64, DatapathError> {
        Ok(0)
    }

    fn copies(&self) -> io::Result<Box<dyn Copies>> {
        Ok(Box::new(FakeCopies(self.clone())))
    }

    fn injector(&mut self) -> Result<Box<dyn Inject>, DatapathError> {
        Ok(Box::new(FakeWay(self.clone())))
    }

    fn stats(&self) -> Stats {
        Stats {
            reconciles: self.state().reconciles,
            ..Stats::default()
        }
    }

    fn meters(&self) -> Result<Vec<MeterReading>, DatapathError> {
        Ok(Vec::new())
    }

    fn meters_settled(&mut self, _born: &[u64]) -> Result<(), DatapathError> {
        Ok(())
    }

    fn trace_log(&self, sink: Box<dyn log::Log>) -> io::Result<Box<dyn TraceLog>> {
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        self.state().log = Some(ours);
        Ok(Box::new(FakeLog {
            lines: theirs,
            sink,
        }))
    }
}

/// What is sent by it is copied as the programs would.
struct FakeWay(Fake);

impl Inject for FakeWay {
    fn send(&mut self, port: u32, frame: &[u8]) -> io::Result<()> {
        let event = capture::Event {
            time: 1_000,
            port,
            kind: capture::Event::SENT,
            len: frame.len() as u32,
            copied: frame.len() as u32,
            ..capture::Event::default()
        };
        self.0.state().copies.push((event, frame.to_vec()));
        Ok(())
    }
}

struct FakeCopies(Fake);

impl Copies for FakeCopies {
    fn wait(&self, _: u16) {
        thread::sleep(Duration::from_millis(5));
    }

    fn drain(&mut self, take: &mut dyn FnMut(usize, &capture::Event, &[u8])) {
        for (event, bytes) in std::mem::take(&mut self.0.state().copies) {
            take(0, &event, &bytes);
        }
    }

    fn lost(&self, _: u32) -> Option<u64> {
        Some(3)
    }
}

/// A VPN side in memory. Every tunnel is connected, and has carried ten bytes in.
#[derive(Clone, Default)]
pub(super) struct FakeTunnels(pub(super) Arc<Mutex<FakeVpn>>);

#[derive(Default)]
pub(super) struct FakeVpn {
    pub(super) gateways: Vec<GatewayImage>,
    pub(super) prepared: usize,
    pub(super) applied: u64,
    pub(super) resets: Vec<String>,
    pub(super) ended: bool,
}

impl FakeTunnels {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, FakeVpn> {
        self.0.lock().unwrap()
    }

    fn status(&self) -> VpnStatus {
        let state = self.state();
        let tunnel = |tunnel: &TunnelConfig| TunnelStatus {
            id: tunnel.id,
            local: tunnel.local,
            remote: tunnel.remote,
            state: TunnelState::Connected,
            reason: "AES_GCM_16_256".into(),
            silent: false,
            last_established: Some(SystemTime::UNIX_EPOCH),
            counters: TunnelCounters {
                bytes_in: 10,
                ..TunnelCounters::default()
            },
            sas: Default::default(),
        };
        let gateways = state.gateways.iter().map(|gateway| GatewayStatus {
            id: gateway.id.clone(),
            device: gateway.device.clone(),
            trouble: None,
            bandwidth: gateway.bandwidth,
            instances: Vec::new(),
            worker: None,
            connections: gateway
                .connections
                .iter()
                .map(|connection| ConnectionStatus {
                    id: connection.id.clone(),
                    vnet_to_vnet: connection.vnet_to_vnet,
                    remote_prefixes: connection.remote_prefixes.clone(),
                    tunnels: connection.tunnels.iter().map(tunnel).collect(),
                })
                .collect(),
        });
        VpnStatus {
            gateways: gateways.collect(),
            ike: Default::default(),
        }
    }
}

impl Tunnels for FakeTunnels {
    fn prepare(&mut self, gateways: &[GatewayImage]) {
        self.state().prepared = gateways.len();
    }

    fn apply(&mut self, gateways: Vec<GatewayImage>) {
        let mut state = self.state();
        state.gateways = gateways;
        state.applied += 1;
    }

    fn ask(&self, question: Question) {
        match question {
            Question::Status(answer) => drop(answer.send(self.status())),
            Question::IkeSas { answer, .. } => drop(answer.send(Vec::new())),
            Question::Reset { connection, answer } => {
                self.state().resets.push(connection.name().to_owned());
                let _ = answer.send(true);
            }
        }
    }

    fn end(&mut self) {
        self.state().ended = true;
    }
}

pub(super) struct FakeLog {
    pub(super) lines: UnixStream,
    pub(super) sink: Box<dyn log::Log>,
}

impl AsFd for FakeLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lines.as_fd()
    }
}

impl TraceLog for FakeLog {
    fn flush(&mut self) {
        let mut text = String::new();
        // Ends with "would block" after what is there.
        let _ = self.lines.read_to_string(&mut text);
        for line in text.lines() {
            self.sink
                .log(&log::Record::builder().args(format_args!("{line}")).build());
        }
    }
}
