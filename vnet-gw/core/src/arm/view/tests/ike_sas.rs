//! The text that `getikesas` answers.

use std::time::Duration;

use super::*;
use crate::{
    ike::{
        ChildStatus, EspProposal, Group, IkeCipher, IkeIntegrity, IkeProposal, IkeSaStatus, Prf,
        Reason, TunnelState,
    },
    sa::{Encapsulation, EspSuite, Spi, TrafficSelector, TunnelId},
};

fn sa() -> IkeSaStatus {
    let selector = |first: &str, last: &str| TrafficSelector {
        protocol: 0,
        ports: (0, u16::MAX),
        addresses: (first.parse().unwrap(), last.parse().unwrap()),
    };
    let local = "203.0.113.1:4500".parse().unwrap();
    let remote = "203.0.113.9:4500".parse().unwrap();
    IkeSaStatus {
        tunnel: TunnelId(1),
        name: "one".into(),
        state: TunnelState::Connected,
        reason: Reason(String::new()),
        initiator: true,
        local,
        remote,
        initiator_spi: 4_994_791_584_998_570_930,
        responder_spi: 2,
        proposal: Some(IkeProposal {
            cipher: IkeCipher::AesCbc {
                key_bits: 256,
                integrity: IkeIntegrity::HmacSha2_256_128,
            },
            prf: Prf::HmacSha2_256,
            group: Group::Modp1024,
        }),
        post_quantum: false,
        peer_identity: None,
        nat_local: true,
        nat_remote: false,
        rekey_in: Some(Duration::from_secs(28_000)),
        established_for: Some(Duration::from_secs(800)),
        children: vec![ChildStatus {
            inbound: Spi(3_658_740_296),
            outbound: Spi(7),
            proposal: EspProposal {
                suite: EspSuite::Aes256Gcm,
                pfs: None,
            },
            esn: true,
            encapsulation: Encapsulation::Udp { local, remote },
            local_selectors: vec![selector("10.11.0.0", "10.11.255.255")],
            remote_selectors: vec![selector("10.41.0.0", "10.41.255.255")],
            rekey_in: Duration::from_secs(100),
        }],
    }
}

#[test]
fn is_a_list_in_azures_words() {
    let text = ike_sas(&[sa()]);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        list,
        json!([{
            "localEndpoint": "203.0.113.1", "remoteEndpoint": "203.0.113.9",
            "initiatorCookie": 4_994_791_584_998_570_930_u64, "responderCookie": 2,
            "localUdpEncapsulationPort": 4500, "remoteUdpEncapsulationPort": 4500,
            "encryption": "AES256", "integrity": "SHA256", "dhGroup": "DHGroup2",
            "lifeTimeSeconds": 28_800, "elapsedTimeInseconds": 800, "isSaInitiator": true,
            "quickModeSa": [{
                "localEndpoint": "203.0.113.1", "remoteEndpoint": "203.0.113.9",
                "encryption": "GCMAES256", "integrity": "GCMAES256", "pfsGroupId": "None",
                "inboundSPI": 3_658_740_296_u32, "outboundSPI": 7,
                "localTrafficSelectors": ["10.11.0.0-10.11.255.255"],
                "remoteTrafficSelectors": ["10.41.0.0-10.41.255.255"],
                "remainingLifeTimeSeconds": 100, "isSaInitiator": true,
            }],
        }])
    );
    assert_eq!(ike_sas(&[]), "[]");
}

#[test]
fn of_what_is_not_agreed_yet_nothing_is_told() {
    let begun = IkeSaStatus {
        proposal: None,
        established_for: None,
        nat_local: false,
        children: vec![],
        ..sa()
    };
    let list: Value = serde_json::from_str(&ike_sas(&[begun])).unwrap();
    for name in ["encryption", "dhGroup", "lifeTimeSeconds"] {
        assert_eq!(list[0].get(name), None);
    }
    assert_eq!(list[0]["localUdpEncapsulationPort"], 0);
    assert_eq!(list[0]["quickModeSa"], json!([]));
}
