//! The SAs of a connection, as `getikesas` tells of them.

use serde_json::{Value, json};

use crate::{
    ike::{ChildStatus, Group, IkeCipher, IkeIntegrity, IkeProposal, IkeSaStatus},
    sa::{Encapsulation, EspIntegrity, EspSuite, TrafficSelector},
};

/// The answer to `getikesas`: clients take a text, which holds the list as JSON. Algorithms have
/// Azure's names where it has one for them, else that of the RFC. Never a key.
pub fn ike_sas(sas: &[IkeSaStatus]) -> String {
    let list: Value = sas.iter().map(main_mode).collect();
    list.to_string()
}

fn main_mode(sa: &IkeSaStatus) -> Value {
    let in_udp = sa.nat_local || sa.nat_remote;
    let port = |port: u16| if in_udp { port } else { 0 };
    let mut shown = json!({
        "localEndpoint": sa.local.ip(),
        "remoteEndpoint": sa.remote.ip(),
        "initiatorCookie": sa.initiator_spi,
        "responderCookie": sa.responder_spi,
        "localUdpEncapsulationPort": port(sa.local.port()),
        "remoteUdpEncapsulationPort": port(sa.remote.port()),
        "isSaInitiator": sa.initiator,
    });
    if let Some(proposal) = &sa.proposal {
        let [encryption, integrity] = ike_algorithms(proposal);
        shown["encryption"] = encryption.into();
        shown["integrity"] = integrity.into();
        shown["dhGroup"] = dh_group(proposal.group).into();
    }
    if let Some((elapsed, left)) = sa.established_for.zip(sa.rekey_in) {
        shown["lifeTimeSeconds"] = (elapsed + left).as_secs().into();
        shown["elapsedTimeInseconds"] = elapsed.as_secs().into();
    }
    let children = sa.children.iter().map(|child| quick_mode(sa, child));
    shown["quickModeSa"] = children.collect();
    shown
}

fn quick_mode(sa: &IkeSaStatus, child: &ChildStatus) -> Value {
    let suite = esp_suite(child.proposal.suite);
    let (local, remote) = match child.encapsulation {
        Encapsulation::Esp { local, remote } => (local, remote),
        Encapsulation::Udp { local, remote } => (local.ip(), remote.ip()),
    };
    let selectors = |list: &[TrafficSelector]| list.iter().map(range).collect::<Vec<_>>();
    json!({
        "localEndpoint": local,
        "remoteEndpoint": remote,
        "encryption": suite[0],
        "integrity": suite[1],
        "pfsGroupId": child.proposal.pfs.map_or("None", pfs_group),
        "inboundSPI": child.inbound.0,
        "outboundSPI": child.outbound.0,
        "localTrafficSelectors": selectors(&child.local_selectors),
        "remoteTrafficSelectors": selectors(&child.remote_selectors),
        "remainingLifeTimeSeconds": child.rekey_in.as_secs(),
        "isSaInitiator": sa.initiator,
    })
}

fn range(selector: &TrafficSelector) -> String {
    let (first, last) = selector.addresses;
    format!("{first}-{last}")
}

fn ike_algorithms(proposal: &IkeProposal) -> [&'static str; 2] {
    match proposal.cipher {
        IkeCipher::Aes128Gcm => ["GCMAES128", "GCMAES128"],
        IkeCipher::Aes256Gcm => ["GCMAES256", "GCMAES256"],
        IkeCipher::ChaCha20Poly1305 => ["CHACHA20POLY1305", "CHACHA20POLY1305"],
        IkeCipher::AesCbc {
            key_bits,
            integrity,
        } => [
            aes(key_bits),
            match integrity {
                IkeIntegrity::HmacSha1_96 => "SHA1",
                IkeIntegrity::HmacSha2_256_128 => "SHA256",
                IkeIntegrity::HmacSha2_384_192 => "SHA384",
                IkeIntegrity::HmacSha2_512_256 => "SHA512",
            },
        ],
    }
}

fn esp_suite(suite: EspSuite) -> [&'static str; 2] {
    match suite {
        EspSuite::Aes128Gcm => ["GCMAES128", "GCMAES128"],
        EspSuite::Aes192Gcm => ["GCMAES192", "GCMAES192"],
        EspSuite::Aes256Gcm => ["GCMAES256", "GCMAES256"],
        EspSuite::ChaCha20Poly1305 => ["CHACHA20POLY1305", "CHACHA20POLY1305"],
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => [
            aes(key_bits),
            match integrity {
                EspIntegrity::HmacSha1_96 => "SHA1",
                EspIntegrity::HmacSha2_256_128 => "SHA256",
                EspIntegrity::HmacSha2_384_192 => "SHA384",
            },
        ],
    }
}

const fn aes(key_bits: u16) -> &'static str {
    match key_bits {
        128 => "AES128",
        192 => "AES192",
        _ => "AES256",
    }
}

const fn dh_group(group: Group) -> &'static str {
    match group {
        Group::Modp1024 => "DHGroup2",
        Group::Modp2048 => "DHGroup14",
        Group::Ecp256 => "ECP256",
        Group::Ecp384 => "ECP384",
        Group::Curve25519 => "Curve25519",
    }
}

const fn pfs_group(group: Group) -> &'static str {
    match group {
        Group::Modp1024 => "PFS2",
        Group::Modp2048 => "PFS14",
        Group::Ecp256 => "ECP256",
        Group::Ecp384 => "ECP384",
        Group::Curve25519 => "Curve25519",
    }
}
