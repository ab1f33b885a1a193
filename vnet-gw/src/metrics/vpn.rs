//! Gateways, their workers, connections, tunnels and SAs.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use vnet_gw_core::ike::{EndpointCounters, TunnelState};

use super::{Collector, Family, Names, counter, counters, gauge, gauges};
use crate::{
    vpn::{ConnectionStatus, GatewayStatus, TunnelStatus, VpnStatus},
    worker::{TunnelCounters, WorkerStats},
};

/// What the VPN side knows.
#[derive(Debug)]
pub struct VpnMetrics(pub VpnStatus);

/// A tunnel's: connection, local and remote address.
type Ends = [(&'static str, String); 3];
type Count<T> = fn(&T) -> u64;

impl Collector for VpnMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.gateways(encoder)?;
        self.connections(encoder)?;
        self.tunnels(encoder)?;
        self.ike(encoder)
    }
}

impl VpnMetrics {
    fn gateways(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = &self.0.gateways;
        let names = Names::of(all.iter().map(|gateway| &gateway.id));
        let label = |gateway: &GatewayStatus| [("gateway", names.get(&gateway.id).into_owned())];
        gauges(
            encoder,
            Family::new("gateway_up", "Whether the VPN gateway works."),
            all.iter()
                .map(|gateway| (label(gateway), u64::from(gateway.trouble.is_none()))),
        )?;
        gauges(
            encoder,
            Family::new(
                "gateway_bandwidth_bits_per_second",
                "Bandwidth that all tunnels of a gateway share, each way; none where it is not limited.",
            ),
            all.iter()
                .filter_map(|gateway| Some((label(gateway), gateway.bandwidth?))),
        )?;
        let workers = || {
            let workers = all.iter();
            workers.filter_map(|gateway| Some((label(gateway), gateway.worker.as_ref()?)))
        };
        gauges(
            encoder,
            Family::new(
                "worker_info",
                "The I/O engine of a gateway's crypto worker.",
            ),
            workers().map(|([gateway], worker)| {
                let engine = ("engine", worker.engine.to_owned());
                ([gateway, engine], 1u64)
            }),
        )?;
        gauges(
            encoder,
            Family::new(
                "worker_queue_length",
                "What waits between IKE and a gateway's crypto worker.",
            ),
            workers().flat_map(|([gateway], worker)| {
                [
                    ("commands", worker.commands_waiting),
                    ("messages", worker.messages_waiting),
                ]
                .map(|(queue, length)| {
                    let queue = ("queue", queue.to_owned());
                    ([gateway.clone(), queue], length as u64)
                })
            }),
        )?;
        let drops: [(&str, Count<WorkerStats>); 7] = [
            ("no_tunnel", |worker| worker.no_tunnel),
            ("over_bandwidth_out", |worker| worker.over_bandwidth_out),
            ("over_bandwidth_in", |worker| worker.over_bandwidth_in),
            ("unknown_spi", |worker| worker.unknown_spi),
            ("ike_overflow", |worker| worker.ike_overflow),
            ("underlay_send_errors", |worker| worker.underlay_send_errors),
            ("port_write_errors", |worker| worker.port_write_errors),
        ];
        counters(
            encoder,
            Family::new(
                "worker_drop_packets",
                "Packets that a gateway's crypto worker dropped outside of any tunnel, by reason, since it began.",
            ),
            workers().flat_map(|([gateway], worker)| {
                drops.map(|(reason, count)| {
                    let reason = ("reason", reason.to_owned());
                    ([gateway.clone(), reason], count(worker))
                })
            }),
        )
    }

    fn all_connections(&self) -> impl Iterator<Item = &ConnectionStatus> {
        self.0
            .gateways
            .iter()
            .flat_map(|gateway| &gateway.connections)
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names = Names::of(self.all_connections().map(|one| &one.id));
        gauges(
            encoder,
            Family::new(
                "connection_up",
                "Whether a VPN connection is Connected: at least one of its tunnels is.",
            ),
            self.all_connections().map(|one| {
                let kind = if one.vnet_to_vnet {
                    "Vnet2Vnet"
                } else {
                    "IPsec"
                };
                let labels = [
                    ("connection", names.get(&one.id)),
                    ("connection_type", kind.into()),
                ];
                (labels, u64::from(one.state() == TunnelState::Connected))
            }),
        )
    }

    fn tunnels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names = Names::of(self.all_connections().map(|one| &one.id));
        let mut all: Vec<(Ends, &TunnelStatus)> = Vec::new();
        for connection in self.all_connections() {
            for tunnel in &connection.tunnels {
                let ends = [
                    ("connection", names.get(&connection.id).into_owned()),
                    ("local", tunnel.local.to_string()),
                    ("remote", tunnel.remote.to_string()),
                ];
                all.push((ends, tunnel));
            }
        }
        let gauged: [(Family, Count<TunnelStatus>); 3] = [
            (
                Family::new("tunnel_up", "Whether a tunnel is Connected."),
                |tunnel| u64::from(tunnel.state == TunnelState::Connected),
            ),
            (
                Family::new(
                    "tunnel_silent",
                    "Whether a tunnel is Connected and does not answer at the moment: traffic goes elsewhere.",
                ),
                |tunnel| u64::from(tunnel.silent),
            ),
            (
                Family::new("tunnel_child_sas", "Pairs of CHILD SAs that a tunnel has."),
                |tunnel| tunnel.sas.now,
            ),
        ];
        for (family, value) in gauged {
            let samples = all.iter();
            gauges(
                encoder,
                family,
                samples.map(|(ends, one)| (ends.as_slice(), value(one))),
            )?;
        }
        let counted: [(Family, Count<TunnelStatus>); 8] = [
            (
                Family::bytes(
                    "tunnel_receive",
                    "Bytes of inner packets that came out of a tunnel.",
                ),
                |tunnel| tunnel.counters.bytes_in,
            ),
            (
                Family::new(
                    "tunnel_receive_packets",
                    "Inner packets that came out of a tunnel.",
                ),
                |tunnel| tunnel.counters.packets_in,
            ),
            (
                Family::bytes(
                    "tunnel_transmit",
                    "Bytes of inner packets that went into a tunnel.",
                ),
                |tunnel| tunnel.counters.bytes_out,
            ),
            (
                Family::new(
                    "tunnel_transmit_packets",
                    "Inner packets that went into a tunnel.",
                ),
                |tunnel| tunnel.counters.packets_out,
            ),
            (
                Family::new(
                    "tunnel_replayed_packets",
                    "ESP packets that the replay window refused.",
                ),
                |tunnel| tunnel.counters.replayed,
            ),
            (
                Family::new(
                    "tunnel_child_sas_established",
                    "Pairs of CHILD SAs that were made for a tunnel.",
                ),
                |tunnel| tunnel.sas.established,
            ),
            (
                Family::new(
                    "tunnel_rekeys",
                    "Pairs of CHILD SAs that took the place of one that was in use.",
                ),
                |tunnel| tunnel.sas.rekeys,
            ),
            (
                Family::new(
                    "tunnel_congested_packets",
                    "Packets that were dropped for congestion on the underlay (RFC 6040).",
                ),
                |tunnel| tunnel.counters.congested,
            ),
        ];
        for (family, value) in counted {
            let samples = all.iter();
            counters(
                encoder,
                family,
                samples.map(|(ends, one)| (ends.as_slice(), value(one))),
            )?;
        }
        let refused: [(&str, Count<TunnelCounters>); 5] = [
            ("replayed", |tunnel| tunnel.replayed),
            ("bad_integrity", |tunnel| tunnel.bad_integrity),
            ("outside_selectors", |tunnel| tunnel.outside_selectors),
            ("malformed", |tunnel| tunnel.malformed),
            ("too_big", |tunnel| tunnel.too_big),
        ];
        counters(
            encoder,
            Family::new(
                "tunnel_drop_packets",
                "Packets of a tunnel that were dropped, by reason.",
            ),
            all.iter().flat_map(|(ends, one)| {
                refused.map(|(reason, count)| {
                    let [connection, local, remote] = ends.clone();
                    let reason = ("reason", reason.to_owned());
                    ([connection, local, remote, reason], count(&one.counters))
                })
            }),
        )?;
        let established = all.iter().filter_map(|(ends, one)| {
            let at = one.last_established?;
            let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some((ends.as_slice(), since.as_secs_f64()))
        });
        gauges(
            encoder,
            Family::seconds(
                "tunnel_last_established_timestamp",
                "When a tunnel was last established, since 1970.",
            ),
            established,
        )
    }

    fn ike(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let EndpointCounters {
            received,
            malformed,
            unknown_spi,
            bad_integrity,
            replayed,
            cookies_asked,
            rate_limited,
            unknown_peer,
            half_open,
        } = self.0.ike;
        counter(
            encoder,
            Family::new(
                "ike_received_messages",
                "IKE messages that came in, refused ones included.",
            ),
            Some(received),
        )?;
        let refused = [
            ("malformed", malformed),
            ("unknown_spi", unknown_spi),
            ("bad_integrity", bad_integrity),
            ("replayed", replayed),
            ("cookies_asked", cookies_asked),
            ("rate_limited", rate_limited),
            ("unknown_peer", unknown_peer),
        ];
        counters(
            encoder,
            Family::new(
                "ike_refused_messages",
                "IKE messages that were refused, by reason.",
            ),
            refused.map(|(reason, count)| ([("reason", reason)], count)),
        )?;
        gauge(
            encoder,
            Family::new(
                "ike_half_open_sas",
                "IKE SAs that others began and nobody has proven yet.",
            ),
            Some(half_open),
        )
    }
}
