//! What does not fit is refused, and the reason says what to change.

use serde_json::json;
use vnet_gw_lab::strongswan::{Child, Connection};
use vnet_gw_tests::site::{CHILD, KEY, PATIENCE, SiteBed, peer, policy, usual};

fn good<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

fn mode(we_initiate: bool) -> &'static str {
    if we_initiate {
        "InitiatorOnly"
    } else {
        "ResponderOnly"
    }
}

/// Sets both sides, has the initiator try, and waits for our reason.
fn refused(bed: &SiteBed, more: serde_json::Value, their: Connection, words: &[&str]) {
    let we_initiate = more["connectionMode"] == "InitiatorOnly";
    good(bed.set(&usual(more), &[their]));
    if !we_initiate {
        let tried = bed.swan.initiate(CHILD, PATIENCE);
        assert!(tried.is_err(), "strongSwan has a tunnel that should not be");
    }
    good(bed.refused(words));
    good(bed.assert_unreachable());
}

#[test]
fn reasons_say_what_to_change() {
    let bed = good(SiteBed::start());
    for we_initiate in [true, false] {
        let mode = mode(we_initiate);
        // A wrong key.
        let their = Connection {
            key: format!("{KEY}!"),
            ..peer()
        };
        refused(
            &bed,
            json!({"connectionMode": mode}),
            their,
            &["the shared key does not match"],
        );

        // Nothing in common for IKE: both offers are named.
        let ike = ("AES256", "SHA256", "DHGroup14");
        let esp = ("GCMAES256", "GCMAES256");
        let more = json!({
            "connectionMode": mode,
            "ipsecPolicies": policy(ike, esp, "None", 27_000, 102_400_000),
        });
        let their = Connection {
            proposals: vec!["aes128-sha1-ecp384".to_owned()],
            ..peer()
        };
        // An initiator is told nothing but that it is refused.
        let words: &[&str] = match we_initiate {
            true => &["the peer refused the proposal", "AES_CBC_256"],
            false => &["proposal", "AES_CBC_128", "AES_CBC_256"],
        };
        refused(&bed, more.clone(), their, words);

        // Nothing in common for ESP.
        let mut their = peer();
        their.proposals = vec!["aes256-sha256-modp2048".to_owned()];
        for child in &mut their.children {
            child.proposals = vec!["aes128-sha1".to_owned()];
        }
        refused(&bed, more, their, &["proposal"]);

        // Networks that neither side has.
        let mut their = peer();
        their.children = vec![Child::new(CHILD, &["10.200.0.0/16"], &["10.201.0.0/16"])];
        let more = json!({"connectionMode": mode, "usePolicyBasedTrafficSelectors": true});
        refused(&bed, more, their, &["traffic selector"]);
    }
    // All of it put right, the same daemon connects.
    good(bed.set(&usual(json!({})), &[peer()]));
    good(bed.connected());
    good(bed.assert_reachable());
    let log = bed.daemon.log();
    assert!(
        !log.contains(KEY),
        "the shared key is in the daemon's log: {log}"
    );
}
