//! Proposals and transforms as they are on the wire (RFC 7296, 3.3).

use std::fmt;

use super::{DecodeError, Transform, TransformType, reader::Reader};

/// Protocol of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// In notifications without an SPI.
    pub const NONE: Self = Self(0);
    pub const IKE: Self = Self(1);
    pub const AH: Self = Self(2);
    pub const ESP: Self = Self(3);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IKE => f.write_str("IKE"),
            Self::AH => f.write_str("AH"),
            Self::ESP => f.write_str("ESP"),
            Self(other) => write!(f, "protocol {other}"),
        }
    }
}

const LAST: u8 = 0;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
const ATTRIBUTE_KEY_LENGTH: u16 = 14;
/// The attribute's value is in the two bytes of its length.
const ATTRIBUTE_SHORT: u16 = 0x8000;

/// One proposal of an SA payload: any one transform of each type in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// 1 for the first one; the answer repeats the number of the chosen one.
    pub number: u8,
    pub protocol: Protocol,
    /// Nothing in IKE_SA_INIT, 8 bytes in an IKE rekey, 4 bytes for ESP.
    pub spi: Vec<u8>,
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// The transforms of one type, in order.
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = Transform> {
        self.transforms
            .iter()
            .copied()
            .filter(move |t| t.kind == kind)
    }

    /// The SPI of an ESP proposal.
    pub fn esp_spi(&self) -> Option<crate::sa::Spi> {
        let bytes = self.spi.as_slice().try_into().ok()?;
        Some(crate::sa::Spi(u32::from_be_bytes(bytes)))
    }

    /// The SPI of an IKE proposal in a rekey.
    pub fn ike_spi(&self) -> Option<u64> {
        self.spi.as_slice().try_into().ok().map(u64::from_be_bytes)
    }
}

pub(super) fn read(mut reader: Reader<'_>) -> Result<Vec<Proposal>, DecodeError> {
    let what = "a proposal";
    let mut proposals = Vec::new();
    loop {
        let more = reader.u8(what)?;
        reader.u8(what)?;
        let length = reader.u16(what)?;
        let mut body = reader.body(length, 4, what)?;
        let number = body.u8(what)?;
        let protocol = Protocol(body.u8(what)?);
        let spi_len = body.u8(what)?;
        let count = body.u8(what)?;
        let spi = body.take(spi_len.into(), what)?.to_vec();
        proposals.push(Proposal {
            number,
            protocol,
            spi,
            transforms: transforms(body, count)?,
        });
        match more {
            LAST => break,
            MORE_PROPOSALS => {}
            _ => return Err(DecodeError::BadValue("the first byte of a proposal")),
        }
    }
    reader.end("the proposals")?;
    Ok(proposals)
}

fn transforms(mut reader: Reader<'_>, count: u8) -> Result<Vec<Transform>, DecodeError> {
    let what = "a transform";
    let mut transforms = Vec::new();
    for left in (0..count).rev() {
        let more = reader.u8(what)?;
        if more != if left == 0 { LAST } else { MORE_TRANSFORMS } {
            return Err(DecodeError::BadValue("the first byte of a transform"));
        }
        reader.u8(what)?;
        let length = reader.u16(what)?;
        let mut body = reader.body(length, 4, what)?;
        let kind = TransformType(body.u8(what)?);
        body.u8(what)?;
        let id = body.u16(what)?;
        transforms.push(attributes(Transform::new(kind, id), body)?);
    }
    reader.end("the transforms")?;
    Ok(transforms)
}

/// Only the key length is defined. A transform with any other attribute must not be chosen
/// (RFC 7296, 3.3.6), so it is marked.
fn attributes(mut transform: Transform, mut reader: Reader<'_>) -> Result<Transform, DecodeError> {
    let what = "an attribute";
    while !reader.is_empty() {
        let kind = reader.u16(what)?;
        let value = reader.u16(what)?;
        if kind & ATTRIBUTE_SHORT == 0 {
            reader.take(value.into(), what)?;
            transform.unknown_attribute = true;
        } else if kind & !ATTRIBUTE_SHORT == ATTRIBUTE_KEY_LENGTH && transform.key_bits.is_none() {
            transform.key_bits = Some(value);
        } else {
            transform.unknown_attribute = true;
        }
    }
    Ok(transform)
}

/// At most 255 proposals of at most 255 transforms.
pub(super) fn write(proposals: &[Proposal], out: &mut Vec<u8>) {
    let proposals = proposals.get(..255).unwrap_or(proposals);
    for (i, proposal) in proposals.iter().enumerate() {
        let transforms = &proposal.transforms;
        let transforms = transforms.get(..255).unwrap_or(transforms);
        let more = if i + 1 == proposals.len() {
            LAST
        } else {
            MORE_PROPOSALS
        };
        let start = begin(more, out);
        let spi_len = u8::try_from(proposal.spi.len()).unwrap_or(0);
        let count = u8::try_from(transforms.len()).unwrap_or(u8::MAX);
        out.extend_from_slice(&[proposal.number, proposal.protocol.0, spi_len, count]);
        if spi_len > 0 {
            out.extend_from_slice(&proposal.spi);
        }
        for (i, transform) in transforms.iter().enumerate() {
            let more = if i + 1 == transforms.len() {
                LAST
            } else {
                MORE_TRANSFORMS
            };
            let start = begin(more, out);
            out.extend_from_slice(&[transform.kind.0, 0]);
            out.extend_from_slice(&transform.id.to_be_bytes());
            if let Some(bits) = transform.key_bits {
                out.extend_from_slice(&(ATTRIBUTE_SHORT | ATTRIBUTE_KEY_LENGTH).to_be_bytes());
                out.extend_from_slice(&bits.to_be_bytes());
            }
            finish(start, out);
        }
        finish(start, out);
    }
}

/// Four bytes whose last two are the length that `finish` knows.
fn begin(more: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[more, 0, 0, 0]);
    start
}

fn finish(start: usize, out: &mut [u8]) {
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
