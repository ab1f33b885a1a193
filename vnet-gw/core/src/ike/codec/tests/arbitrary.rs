//! Any message that there is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    ike::Identity,
    sa::{Spi, TrafficSelector},
};

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..most)
}

fn transform() -> impl Strategy<Value = Transform> {
    (any::<u8>(), any::<u16>(), option::of(any::<u16>())).prop_map(|(kind, id, key_bits)| {
        Transform {
            kind: TransformType(kind),
            id,
            key_bits,
            unknown_attribute: false,
        }
    })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (any::<u8>(), any::<u8>(), bytes(12), vec(transform(), 0..9)).prop_map(
        |(number, protocol, spi, transforms)| Proposal {
            number,
            protocol: Protocol(protocol),
            spi,
            transforms,
        },
    )
}

fn identity() -> impl Strategy<Value = Identity> {
    prop_oneof![
        any::<u32>().prop_map(|ip| Identity::Ip(Ipv4Addr::from(ip).into())),
        any::<u128>().prop_map(|ip| Identity::Ip(Ipv6Addr::from(ip).into())),
        "[a-z.ä]{0,40}".prop_map(Identity::Fqdn),
        bytes(40).prop_map(Identity::KeyId),
        (12_u8.., bytes(40)).prop_map(|(kind, data)| Identity::Other { kind, data }),
        // A name that is not text is kept as it came.
        Just(Identity::Other {
            kind: 2,
            data: vec![0xff, 0xfe]
        }),
    ]
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let v4 = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| -> (IpAddr, IpAddr) {
        (
            Ipv4Addr::from(a.min(b)).into(),
            Ipv4Addr::from(a.max(b)).into(),
        )
    });
    let v6 = (any::<u128>(), any::<u128>()).prop_map(|(a, b)| -> (IpAddr, IpAddr) {
        (
            Ipv6Addr::from(a.min(b)).into(),
            Ipv6Addr::from(a.max(b)).into(),
        )
    });
    (any::<u8>(), any::<(u16, u16)>(), prop_oneof![v4, v6]).prop_map(
        |(protocol, ports, addresses)| TrafficSelector {
            protocol,
            ports,
            addresses,
        },
    )
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u16>(), any::<u8>(), bytes(9), bytes(80)).prop_map(|(kind, protocol, spi, data)| {
        Notify {
            kind: NotifyType(kind),
            protocol: Protocol(protocol),
            spi,
            data,
        }
    })
}

pub(super) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(proposal(), 1..6).prop_map(Payload::Sa),
        (any::<u16>(), bytes(300))
            .prop_map(|(method, data)| Payload::KeyExchange(KeyExchangeData { method, data })),
        identity().prop_map(Payload::IdInitiator),
        identity().prop_map(Payload::IdResponder),
        bytes(60).prop_map(Payload::Certificate),
        bytes(60).prop_map(Payload::CertificateRequest),
        (any::<u8>(), bytes(70))
            .prop_map(|(method, data)| Payload::Authentication(Authentication { method, data })),
        vec(any::<u8>(), 16..=256).prop_map(Payload::Nonce),
        notify().prop_map(Payload::Notify),
        Just(Payload::Delete(Delete::Ike)),
        vec(any::<u32>().prop_map(Spi), 0..9).prop_map(|s| Payload::Delete(Delete::Esp(s))),
        Just(Payload::Delete(Delete::Other(Protocol::AH))),
        bytes(40).prop_map(Payload::VendorId),
        vec(selector(), 0..5).prop_map(Payload::SelectorsInitiator),
        vec(selector(), 0..5).prop_map(Payload::SelectorsResponder),
        bytes(40).prop_map(Payload::Configuration),
        bytes(40).prop_map(Payload::Eap),
    ]
}

pub(super) fn payloads() -> impl Strategy<Value = Vec<Payload>> {
    vec(payload(), 0..12)
}

pub(super) fn any_header() -> impl Strategy<Value = Header> {
    (
        1_u64..,
        any::<u64>(),
        any::<u8>(),
        any::<(bool, bool)>(),
        any::<u32>(),
    )
        .prop_map(
            |(initiator_spi, responder_spi, exchange, (from_initiator, response), message_id)| {
                Header {
                    initiator_spi,
                    responder_spi,
                    exchange: ExchangeType(exchange),
                    from_initiator,
                    response,
                    message_id,
                }
            },
        )
}
