//! Replies pass; an edit is for new flows; `flushConnection` for those that are there, too.

use vnet_gw_lab::probe::tcp;

use crate::{
    at_both_hooks,
    world::{SERVED, SILENCE, addresses, arrives, bed, connect, hits, talks, template, udp},
};

#[test]
fn replies_pass_and_nobody_else_gets_in() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &[]);
        for address in addresses(bed.workload("db")) {
            let (web, db) = (bed.workload("web"), bed.workload("db"));
            let transfer = tcp::transfer(&web.netns, &db.netns, address, 1 << 20).unwrap();
            assert!(transfer.is_some(), "{hook:?} TCP to {address}");
        }
        for address in addresses(bed.workload("web")) {
            assert!(
                connect(&bed, "db", "web", address).is_none(),
                "{hook:?} unasked, to {address}"
            );
        }
        assert!(bed.counted("nsg_inbound").unwrap() > 0);
        for (near, far) in addresses(bed.workload("web"))
            .into_iter()
            .zip(addresses(bed.workload("db")))
        {
            let asks = udp(&bed, "web", near, 0);
            let serves = udp(&bed, "db", far, SERVED);
            assert!(
                arrives(&asks, &serves, b"who?", SILENCE * 5),
                "{hook:?} {far}"
            );
            assert!(
                arrives(&serves, &asks, b"me", SILENCE * 5),
                "{hook:?} {near}"
            );
            let other = udp(&bed, "db", far, SERVED + 1);
            assert!(!arrives(&asks, &other, b"who?", SILENCE), "{hook:?} {far}");
            assert!(!arrives(&other, &asks, b"me", SILENCE), "{hook:?} {near}");
        }
        assert!(hits(&bed, "served", "AnyTcp") >= 2);
        assert!(hits(&bed, "served", "Dns") >= 2);
        assert!(hits(&bed, "served", "Nothing") >= 2);
        assert!(hits(&bed, "quiet", "Nobody") >= 2);
    });
}

#[test]
fn an_edit_is_for_new_flows_unless_they_are_flushed() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &[]);
        for address in addresses(bed.workload("db")) {
            let (mut near, mut far) = connect(&bed, "web", "db", address).unwrap();
            assert!(talks(&mut near, &mut far));
            bed.apply(&template(false, false)).unwrap();
            assert!(talks(&mut near, &mut far), "{hook:?} a flow that was there");
            assert!(talks(&mut far, &mut near), "{hook:?} and its answers");
            assert!(
                connect(&bed, "web", "db", address).is_none(),
                "{hook:?} new"
            );
            bed.apply(&template(true, false)).unwrap();
            assert!(
                connect(&bed, "web", "db", address).is_some(),
                "{hook:?} again"
            );

            // The group says so, and then it changes.
            bed.apply(&template(true, true)).unwrap();
            assert!(talks(&mut near, &mut far), "{hook:?} still allowed");
            bed.apply(&template(false, true)).unwrap();
            assert!(!talks(&mut near, &mut far), "{hook:?} flushed");
            bed.apply(&template(true, false)).unwrap();
        }
    });
}

/// Where groups are taken away, everything passes; where they come back, they hold.
#[test]
fn groups_come_and_go() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &[]);
        let address = bed.workload("web").ipv4().unwrap();
        assert!(connect(&bed, "db", "web", address).is_none(), "{hook:?}");
        let mut free = template(true, false);
        free.secure("web", None);
        bed.apply(&free).unwrap();
        assert!(connect(&bed, "db", "web", address).is_some(), "{hook:?}");
        bed.apply(&template(true, false)).unwrap();
        assert!(connect(&bed, "db", "web", address).is_none(), "{hook:?}");
    });
}
