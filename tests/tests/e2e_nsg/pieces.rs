//! Datagrams in pieces, and errors about packets.

use crate::{
    at_both_hooks,
    world::{SERVED, SILENCE, addresses, arrives, bed, udp},
};

#[test]
fn fragments_follow_their_first() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &[]);
        let data: Vec<u8> = (0..6_000u32).map(|n| (n * 7) as u8).collect();
        for (near, far) in addresses(bed.workload("web"))
            .into_iter()
            .zip(addresses(bed.workload("db")))
        {
            let asks = udp(&bed, "web", near, 0);
            let serves = udp(&bed, "db", far, SERVED);
            assert!(
                arrives(&asks, &serves, &data, SILENCE * 5),
                "{hook:?} {far}"
            );
            assert!(
                arrives(&serves, &asks, &data, SILENCE * 5),
                "{hook:?} {near}"
            );
            let other = udp(&bed, "db", far, SERVED + 1);
            let before = bed.counted("nsg_inbound").unwrap();
            assert!(!arrives(&asks, &other, &data, SILENCE), "{hook:?} {far}");
            let refused = bed.counted("nsg_inbound").unwrap() - before;
            // At TCX a datagram may come in one piece, which the device cuts later.
            assert!(refused >= 1, "{hook:?} {far}: {refused} pieces refused");
        }
        assert_eq!(bed.counted("fragment_unknown").unwrap(), 0, "{hook:?}");
    });
}

/// Nobody may reach `web` unasked, but it hears that the port it asked is closed.
#[test]
fn errors_reach_whoever_sent_the_packet() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &[]);
        for (near, far) in addresses(bed.workload("web"))
            .into_iter()
            .zip(addresses(bed.workload("db")))
        {
            let asks = udp(&bed, "web", near, 0);
            asks.connect((far, SERVED)).unwrap();
            asks.send(b"is anybody there?").unwrap();
            let error = asks.recv(&mut [0; 16]).unwrap_err();
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionRefused,
                "{hook:?} {far}"
            );
        }
    });
}
