//! How long it is there.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use nix::sys::signal::Signal;
use vnet_gw_lab::probe::{Outcome, Ping, tcp};
use vnet_gw_tests::bed::Hook;

use crate::world::{World, server};

fn exchange(near: &mut TcpStream, far: &mut TcpStream) {
    let mut buffer = [0; 4];
    near.write_all(b"ping").unwrap();
    far.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
    far.write_all(b"pong").unwrap();
    near.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
}

fn assert_reached(world: &World) {
    for server in server() {
        for name in ["red", "blue"] {
            let outcome = Ping::new(server).send(world.netns(name)).unwrap();
            assert!(
                matches!(outcome, Outcome::Reply { .. }),
                "{name}: {outcome}"
            );
        }
    }
}

/// An open connection neither needs the daemon nor notices that another takes over.
pub(crate) fn over_a_restart_and_away_after_down(hook: Hook) {
    let mut world = World::start(hook, &[]);
    let patience = Duration::from_secs(5);
    let mut open: Vec<_> = server()
        .into_iter()
        .flat_map(|server| ["red", "blue"].map(|name| (name, server)))
        .map(|(name, server)| {
            tcp::connect(world.netns(name), &world.internet, server, patience)
                .unwrap()
                .unwrap()
        })
        .collect();
    let mut all = |when: &str| {
        for (near, far) in &mut open {
            exchange(near, far);
        }
        eprintln!("{when}: all connections carry");
    };
    all("at first");
    world.bed.daemon.kill().unwrap();
    all("without a daemon");
    assert_reached(&world);
    world.bed.daemon.launch().unwrap();
    all("with another daemon");
    assert_reached(&world);
    let log = world.bed.daemon.log();
    assert_eq!(
        log.matches("made the internet port").count(),
        1,
        "it was not taken over:\n{log}"
    );
    assert!(!world.traces().is_empty());

    world.bed.daemon.terminate(Signal::SIGTERM).unwrap();
    all("after its end");
    let down = world.bed.daemon.json(&["down"]).unwrap();
    assert_eq!(down["internetPort"], true);
    assert_eq!(world.traces(), Vec::<String>::new());
    let again = world.bed.daemon.json(&["down"]).unwrap();
    assert_eq!(again["internetPort"], false);
}

/// Each part that somebody removes comes back with the next look.
pub(crate) fn whatever_others_remove(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    assert_reached(&world);
    let host_end = world
        .traces()
        .iter()
        .find_map(|line| {
            line.split(['@', ' ', ':'])
                .find(|word| word.starts_with("vnh"))
                .map(str::to_owned)
        })
        .unwrap();
    let table = format!("vnet_gw_{}", world.bed.daemon.instance().replace('-', "_"));
    let removals = [
        format!("nft delete table inet {table}"),
        format!("nft flush chain inet {table} source"),
        "ip rule del pref 42".to_owned(),
        "ip -6 rule del pref 42".to_owned(),
        format!("ip route flush dev {host_end} table 5654272"),
        format!("ip link set {host_end} down"),
        format!("ip link del {host_end}"),
    ];
    for removal in removals {
        world.on_host(&removal);
        // Either family, either VNet: all of it is there again.
        world
            .bed
            .wait(|| {
                let reached = |name: &str, server| {
                    let ping = Ping {
                        patience: Duration::from_millis(200),
                        ..Ping::new(server)
                    };
                    matches!(ping.send(world.netns(name)), Ok(Outcome::Reply { .. }))
                };
                let all = server()
                    .into_iter()
                    .all(|server| reached("red", server) && reached("blue", server));
                Ok(all)
            })
            .unwrap_or_else(|error| panic!("after `{removal}`: {error:#}"));
    }
    let drift = world.bed.daemon.log();
    assert!(drift.contains("the nftables table"), "{drift}");
}

/// `--internet off` makes nothing, and counts.
pub(crate) fn nothing_where_it_is_off(hook: Hook) {
    let mut world = World::start(hook, &["--internet", "off"]);
    for server in server() {
        let before = world.bed.counted("next_hop_internet").unwrap();
        let ping = Ping {
            patience: Duration::from_millis(100),
            ..Ping::new(server)
        };
        assert_eq!(ping.send(world.netns("red")).unwrap(), Outcome::Silence);
        assert!(world.bed.counted("next_hop_internet").unwrap() > before);
    }
    assert_eq!(world.traces(), Vec::<String>::new());
    world.bed.daemon.terminate(Signal::SIGTERM).unwrap();
    world.bed.daemon.json(&["down"]).unwrap();
}
