//! The crypto worker on the engine `xsk`, with one on `gso` at the other end, and with its like.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use vnet_gw::worker::{Command, EngineChoice};
use vnet_gw_core::sa::LINGER;
use vnet_gw_lab::probe::{Flow, Outcome, Ping, tcp};
use vnet_gw_tests::tunnel_bed::{LARGEST, Plan, Side, TunnelBed, tunnel_id};

const GSO: EngineChoice = EngineChoice::Gso;
const XSK: EngineChoice = EngineChoice::Xsk;
const BYTES: u64 = 4 << 20;

/// Pings, small and as large as fits, and transfers: each way and in both families.
fn carries(bed: &TunnelBed) -> Result<()> {
    for (from, to) in [(&bed.a, &bed.b), (&bed.b, &bed.a)] {
        for address in [to.inner4, to.inner6] {
            let headers = if address.is_ipv4() { 28 } else { 48 };
            for size in [56, LARGEST - headers] {
                let ping = Ping {
                    size,
                    dont_fragment: true,
                    patience: Duration::from_secs(5),
                    ..Ping::new(address)
                };
                let outcome = ping.send(&from.netns)?;
                ensure!(
                    matches!(outcome, Outcome::Reply { .. }),
                    "{size} bytes to {address}: {outcome}"
                );
            }
            let done = tcp::transfer(&from.netns, &to.netns, address, BYTES)?;
            ensure!(done.is_some(), "no TCP connection to {address}");
        }
    }
    Ok(())
}

/// Nothing was refused, and nothing got lost between the two that was counted as sent.
fn counted(bed: &TunnelBed) -> Result<()> {
    // The last acknowledgements may still be on their way.
    thread::sleep(Duration::from_millis(300));
    for side in [&bed.a, &bed.b] {
        let (tunnel, stats) = (side.counters(0), side.worker.stats());
        let refused = tunnel.replayed
            + tunnel.bad_integrity
            + tunnel.outside_selectors
            + tunnel.malformed
            + tunnel.too_big;
        ensure!(refused == 0, "{tunnel:?}");
        ensure!(
            stats.unknown_spi + stats.underlay_send_errors + stats.port_write_errors == 0,
            "{stats:?}"
        );
    }
    let (a, b) = (bed.a.counters(0), bed.b.counters(0));
    ensure!(
        (a.packets_out, b.packets_out) == (b.packets_in, a.packets_in),
        "{a:?} {b:?}"
    );
    Ok(())
}

fn run(plan: Plan) -> Result<()> {
    let bed = TunnelBed::new(plan)?;
    let name = |side: &Side| side.worker.stats().engine;
    for (side, engine) in [&bed.a, &bed.b].into_iter().zip(bed.plan.engines) {
        let expected = if engine == XSK { "xsk" } else { "gso" };
        ensure!(name(side) == expected, "{:?}", side.worker.stats());
    }
    carries(&bed)?;
    counted(&bed)
}

#[test]
fn in_udp_to_gso() -> Result<()> {
    run(Plan {
        engines: [XSK, GSO],
        ..Plan::default()
    })
}

#[test]
fn protocol_50_to_gso() -> Result<()> {
    run(Plan {
        engines: [XSK, GSO],
        raw: true,
        ..Plan::default()
    })
}

#[test]
fn to_its_like_over_ipv6() -> Result<()> {
    for raw in [false, true] {
        run(Plan {
            engines: [XSK, XSK],
            raw,
            v6: true,
            ..Plan::default()
        })?;
    }
    Ok(())
}

#[test]
fn a_narrow_underlay() -> Result<()> {
    let bed = TunnelBed::new(Plan {
        engines: [XSK, GSO],
        mtu: 1280,
        ..Plan::default()
    })?;
    let sized = |size, dont_fragment| Ping {
        size,
        dont_fragment,
        patience: Duration::from_secs(5),
        ..Ping::new(bed.b.inner4)
    };
    let outcome = sized(1300, true).send(&bed.a.netns)?;
    ensure!(matches!(outcome, Outcome::TooBig { .. }), "{outcome}");
    let outcome = sized(1300, false).send(&bed.a.netns)?;
    ensure!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
    // IPv6 inside is never told of less than 1,280: the outer packets are fragmented, by the kernel.
    let large = Ping {
        size: 1232,
        dont_fragment: true,
        patience: Duration::from_secs(5),
        ..Ping::new(bed.b.inner6)
    };
    let outcome = large.send(&bed.a.netns)?;
    ensure!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
    for (from, to) in [(&bed.a, &bed.b), (&bed.b, &bed.a)] {
        for address in [to.inner4, to.inner6] {
            let done = tcp::transfer(&from.netns, &to.netns, address, 1 << 20)?;
            ensure!(done.is_some(), "no TCP connection to {address}");
        }
    }
    Ok(())
}

#[test]
fn a_rekey_loses_nothing() -> Result<()> {
    let bed = TunnelBed::new(Plan {
        engines: [XSK, GSO],
        ..Plan::default()
    })?;
    // Neighbours first: until they are known, packets wait for them in a short queue.
    Ping::new(bed.b.inner4).send(&bed.a.netns)?;
    let flows = [
        Flow::start(&bed.a.netns, &bed.b.netns, bed.b.inner4, 1000)?,
        Flow::start(&bed.b.netns, &bed.a.netns, bed.a.inner6, 1000)?,
    ];
    for generation in 1..=5 {
        let (a, mut b) = bed.children(0, generation);
        let (old_a, old_b) = bed.children(0, generation - 1);
        b.send_at_once = false;
        bed.b.worker.command(Command::Install(Box::new(b)));
        thread::sleep(Duration::from_millis(20));
        bed.a.worker.command(Command::Install(Box::new(a)));
        thread::sleep(Duration::from_millis(100));
        for (side, old) in [(&bed.a, old_a), (&bed.b, old_b)] {
            side.worker.command(Command::Remove {
                tunnel: tunnel_id(0),
                inbound: old.inbound.spi,
                linger: LINGER,
            });
        }
    }
    for flow in flows {
        let report = flow.finish()?;
        ensure!(report.is_whole(), "{report}");
    }
    Ok(())
}

/// While the gateway has no address its packets are nobody's; then they are its own again.
#[test]
fn addresses_come_and_go() -> Result<()> {
    let bed = TunnelBed::new(Plan {
        engines: [XSK, GSO],
        ..Plan::default()
    })?;
    carries(&bed)?;
    let without = vnet_gw_core::compile::GatewayImage {
        instances: Vec::new(),
        ..bed.a.image.clone()
    };
    for _ in 0..3 {
        bed.a.worker.configure(&without);
        let ping = Ping {
            patience: Duration::from_millis(200),
            ..Ping::new(bed.b.inner4)
        };
        let outcome = ping.send(&bed.a.netns)?;
        ensure!(outcome == Outcome::Silence, "without an address: {outcome}");
        bed.a.worker.configure(&bed.a.image);
        carries(&bed)?;
    }
    Ok(())
}
