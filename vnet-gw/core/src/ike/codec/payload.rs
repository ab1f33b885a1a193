//! Payloads (RFC 7296, 3.2 to 3.16).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DecodeError, Notify, Proposal, Protocol, proposal, reader::Reader, selector};
use crate::{ike::Identity, sa::Spi, sa::TrafficSelector};

/// More in one message is no IKE but an attack on memory: a careful peer sends a dozen.
pub const MAX_PAYLOADS: usize = 128;
/// Of the generic payload header.
pub(super) const PAYLOAD_HEADER: usize = 4;
const CRITICAL: u8 = 0x80;

/// Payload types that the framing itself must know.
pub mod payload_type {
    pub const NONE: u8 = 0;
    pub const SK: u8 = 46;
    /// RFC 7383
    pub const SKF: u8 = 53;
}

/// A key exchange payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExchangeData {
    /// Transform id of the method: [`crate::ike::Group::from_transform_id`], [`super::ML_KEM_768`].
    pub method: u16,
    pub data: Vec<u8>,
}

/// An authentication payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// [`Authentication::SHARED_KEY`] is all we know.
    pub method: u8,
    pub data: Vec<u8>,
}

impl Authentication {
    pub const SHARED_KEY: u8 = 2;
}

/// A delete payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA that carries it.
    Ike,
    /// The sender's inbound ESP SAs.
    Esp(Vec<Spi>),
    /// SAs of a protocol that is not ours.
    Other(Protocol),
}

/// What a message is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Sa(Vec<Proposal>),
    KeyExchange(KeyExchangeData),
    IdInitiator(Identity),
    IdResponder(Identity),
    Certificate(Vec<u8>),
    CertificateRequest(Vec<u8>),
    Authentication(Authentication),
    /// 16 to 256 bytes.
    Nonce(Vec<u8>),
    Notify(Notify),
    Delete(Delete),
    VendorId(Vec<u8>),
    SelectorsInitiator(Vec<TrafficSelector>),
    SelectorsResponder(Vec<TrafficSelector>),
    Configuration(Vec<u8>),
    Eap(Vec<u8>),
}

impl Payload {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Sa(_) => 33,
            Self::KeyExchange(_) => 34,
            Self::IdInitiator(_) => 35,
            Self::IdResponder(_) => 36,
            Self::Certificate(_) => 37,
            Self::CertificateRequest(_) => 38,
            Self::Authentication(_) => 39,
            Self::Nonce(_) => 40,
            Self::Notify(_) => 41,
            Self::Delete(_) => 42,
            Self::VendorId(_) => 43,
            Self::SelectorsInitiator(_) => 44,
            Self::SelectorsResponder(_) => 45,
            Self::Configuration(_) => 47,
            Self::Eap(_) => 48,
        }
    }

    /// `None` for a type that nobody told us of.
    fn read(kind: u8, body: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(Some(match kind {
            33 => Self::Sa(proposal::read(reader)?),
            34 => {
                let what = "a key exchange payload";
                let method = reader.u16(what)?;
                reader.take(2, what)?;
                Self::KeyExchange(KeyExchangeData {
                    method,
                    data: reader.rest().to_vec(),
                })
            }
            35 => Self::IdInitiator(read_identity(reader)?),
            36 => Self::IdResponder(read_identity(reader)?),
            37 => Self::Certificate(body.to_vec()),
            38 => Self::CertificateRequest(body.to_vec()),
            39 => {
                let what = "an authentication payload";
                let method = reader.u8(what)?;
                reader.take(3, what)?;
                Self::Authentication(Authentication {
                    method,
                    data: reader.rest().to_vec(),
                })
            }
            40 if (16..=256).contains(&body.len()) => Self::Nonce(body.to_vec()),
            40 => return Err(DecodeError::BadLength("a nonce")),
            41 => Self::Notify(Notify::read(reader)?),
            42 => Self::Delete(read_delete(reader)?),
            43 => Self::VendorId(body.to_vec()),
            44 => Self::SelectorsInitiator(selector::read(reader)?),
            45 => Self::SelectorsResponder(selector::read(reader)?),
            47 => Self::Configuration(body.to_vec()),
            48 => Self::Eap(body.to_vec()),
            _ => return Ok(None),
        }))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sa(proposals) => proposal::write(proposals, out),
            Self::KeyExchange(ke) => {
                out.extend_from_slice(&ke.method.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(&ke.data);
            }
            Self::IdInitiator(identity) | Self::IdResponder(identity) => {
                identity_body(identity, out);
            }
            Self::Authentication(auth) => {
                out.extend_from_slice(&[auth.method, 0, 0, 0]);
                out.extend_from_slice(&auth.data);
            }
            Self::Notify(notify) => notify.write(out),
            Self::Delete(delete) => write_delete(delete, out),
            Self::SelectorsInitiator(selectors) | Self::SelectorsResponder(selectors) => {
                selector::write(selectors, out);
            }
            Self::Certificate(data)
            | Self::CertificateRequest(data)
            | Self::Nonce(data)
            | Self::VendorId(data)
            | Self::Configuration(data)
            | Self::Eap(data) => out.extend_from_slice(data),
        }
    }
}

/// A chain of payloads that fills `bytes`. Unknown payloads are skipped unless they are critical
/// (RFC 7296, 2.5); for those we know, the critical bit means nothing.
pub(super) fn read_chain(first: u8, bytes: &[u8]) -> Result<Vec<Payload>, DecodeError> {
    let mut payloads = Vec::new();
    let mut seen = 0;
    let mut kind = first;
    let mut reader = Reader::new(bytes);
    while kind != payload_type::NONE {
        seen += 1;
        if seen > MAX_PAYLOADS {
            return Err(DecodeError::TooManyPayloads);
        }
        let (next, critical, body) = next_payload(&mut reader)?;
        if matches!(kind, payload_type::SK | payload_type::SKF) {
            return Err(DecodeError::MisplacedEncrypted);
        }
        match Payload::read(kind, body)? {
            Some(payload) => payloads.push(payload),
            None if critical => return Err(DecodeError::UnsupportedCritical(kind)),
            None => {}
        }
        kind = next;
    }
    reader.end("the last payload")?;
    Ok(payloads)
}

/// Type of the one after it, whether it is critical, and the payload without its generic header.
pub(super) fn next_payload<'a>(
    reader: &mut Reader<'a>,
) -> Result<(u8, bool, &'a [u8]), DecodeError> {
    let what = "a payload";
    let next = reader.u8(what)?;
    let critical = reader.u8(what)? & CRITICAL != 0;
    let length = reader.u16(what)?;
    let body = reader.body(length, PAYLOAD_HEADER, what)?.rest();
    Ok((next, critical, body))
}

/// Appends the chain and tells the type of its first payload.
pub(super) fn write_chain(payloads: &[Payload], out: &mut Vec<u8>) -> u8 {
    let kinds = payloads.iter().map(Payload::kind).collect::<Vec<_>>();
    for (i, payload) in payloads.iter().enumerate() {
        let start = out.len();
        let next = kinds.get(i + 1).copied().unwrap_or(payload_type::NONE);
        out.extend_from_slice(&[next, 0, 0, 0]);
        payload.write(out);
        let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = out.get_mut(start + 2..start + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
    kinds.first().copied().unwrap_or(payload_type::NONE)
}

const ID_IPV4_ADDR: u8 = 1;
const ID_FQDN: u8 = 2;
const ID_IPV6_ADDR: u8 = 5;
const ID_KEY_ID: u8 = 11;

fn read_identity(mut reader: Reader<'_>) -> Result<Identity, DecodeError> {
    let what = "an identification payload";
    let kind = reader.u8(what)?;
    reader.take(3, what)?;
    let data = reader.rest();
    let other = || Identity::Other {
        kind,
        data: data.to_vec(),
    };
    Ok(match kind {
        ID_IPV4_ADDR => {
            let octets: [u8; 4] = data.try_into().map_err(|_| DecodeError::BadLength(what))?;
            Identity::Ip(IpAddr::V4(Ipv4Addr::from(octets)))
        }
        ID_IPV6_ADDR => {
            let octets: [u8; 16] = data.try_into().map_err(|_| DecodeError::BadLength(what))?;
            Identity::Ip(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        // A name that is no text is nobody's we know, and stays byte for byte: AUTH covers it.
        ID_FQDN => match std::str::from_utf8(data) {
            Ok(name) => Identity::Fqdn(name.to_owned()),
            Err(_) => other(),
        },
        ID_KEY_ID => Identity::KeyId(data.to_vec()),
        _ => other(),
    })
}

/// An identification payload without its generic header: what AUTH is computed over as RestOfIDPayload
/// (RFC 7296, 2.15). Its three reserved bytes are zero, as a receiver sees them in every peer's.
pub fn identity_body(identity: &Identity, out: &mut Vec<u8>) {
    let kind = match identity {
        Identity::Ip(IpAddr::V4(_)) => ID_IPV4_ADDR,
        Identity::Ip(IpAddr::V6(_)) => ID_IPV6_ADDR,
        Identity::Fqdn(_) => ID_FQDN,
        Identity::KeyId(_) => ID_KEY_ID,
        Identity::Other { kind, .. } => *kind,
    };
    out.extend_from_slice(&[kind, 0, 0, 0]);
    match identity {
        Identity::Ip(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
        Identity::Ip(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
        Identity::Fqdn(name) => out.extend_from_slice(name.as_bytes()),
        Identity::KeyId(data) | Identity::Other { data, .. } => out.extend_from_slice(data),
    }
}

fn read_delete(mut reader: Reader<'_>) -> Result<Delete, DecodeError> {
    let what = "a delete payload";
    let protocol = Protocol(reader.u8(what)?);
    let spi_len = usize::from(reader.u8(what)?);
    let count = usize::from(reader.u16(what)?);
    if reader.len() != spi_len * count {
        return Err(DecodeError::BadLength(what));
    }
    match protocol {
        Protocol::IKE if spi_len == 0 => Ok(Delete::Ike),
        Protocol::ESP if spi_len == 4 => {
            let mut spis = Vec::with_capacity(count);
            while !reader.is_empty() {
                spis.push(Spi(reader.u32(what)?));
            }
            Ok(Delete::Esp(spis))
        }
        Protocol::IKE | Protocol::ESP => Err(DecodeError::BadLength("an SPI of a delete payload")),
        other => Ok(Delete::Other(other)),
    }
}

fn write_delete(delete: &Delete, out: &mut Vec<u8>) {
    match delete {
        Delete::Ike => out.extend_from_slice(&[Protocol::IKE.0, 0, 0, 0]),
        Delete::Esp(spis) => {
            let spis = spis.get(..usize::from(u16::MAX)).unwrap_or(spis);
            let count = u16::try_from(spis.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&[Protocol::ESP.0, 4]);
            out.extend_from_slice(&count.to_be_bytes());
            for spi in spis {
                out.extend_from_slice(&spi.0.to_be_bytes());
            }
        }
        Delete::Other(protocol) => out.extend_from_slice(&[protocol.0, 0, 0, 0]),
    }
}
