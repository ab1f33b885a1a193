//! The IKE header (RFC 7296, 3.1).

use std::{cmp::Ordering, fmt};

use super::{DecodeError, reader::Reader};

/// Bytes of an IKE header.
pub const HEADER_LEN: usize = 28;
const VERSION_2_0: u8 = 0x20;
const FLAG_INITIATOR: u8 = 0x08;
const FLAG_RESPONSE: u8 = 0x20;

/// Type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeType(pub u8);

impl ExchangeType {
    pub const IKE_SA_INIT: Self = Self(34);
    pub const IKE_AUTH: Self = Self(35);
    pub const CREATE_CHILD_SA: Self = Self(36);
    pub const INFORMATIONAL: Self = Self(37);
    /// RFC 9242
    pub const IKE_INTERMEDIATE: Self = Self(43);
    /// RFC 9370
    pub const IKE_FOLLOWUP_KE: Self = Self(44);
}

impl fmt::Display for ExchangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::IKE_SA_INIT => "IKE_SA_INIT",
            Self::IKE_AUTH => "IKE_AUTH",
            Self::CREATE_CHILD_SA => "CREATE_CHILD_SA",
            Self::INFORMATIONAL => "INFORMATIONAL",
            Self::IKE_INTERMEDIATE => "IKE_INTERMEDIATE",
            Self::IKE_FOLLOWUP_KE => "IKE_FOLLOWUP_KE",
            Self(other) => return write!(f, "exchange type {other}"),
        })
    }
}

/// What every message begins with, but for its length and its first payload's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub initiator_spi: u64,
    /// 0 in the first message of an initiator.
    pub responder_spi: u64,
    pub exchange: ExchangeType,
    /// Sent by the original initiator of the IKE SA.
    pub from_initiator: bool,
    pub response: bool,
    pub message_id: u32,
}

impl Header {
    /// The header, the type of the first payload, and the length the header claims.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, u8, usize), DecodeError> {
        let what = "the header";
        let mut reader = Reader::new(bytes);
        if reader.len() < HEADER_LEN {
            return Err(DecodeError::Truncated {
                what,
                have: reader.len(),
                need: HEADER_LEN,
            });
        }
        let initiator_spi = reader.u64(what)?;
        let responder_spi = reader.u64(what)?;
        let first = reader.u8(what)?;
        let version = reader.u8(what)?;
        let exchange = ExchangeType(reader.u8(what)?);
        let flags = reader.u8(what)?;
        let message_id = reader.u32(what)?;
        let length = usize::try_from(reader.u32(what)?).unwrap_or(usize::MAX);
        if initiator_spi == 0 {
            return Err(DecodeError::BadValue("the initiator's SPI"));
        }
        let major = version >> 4;
        let header = Self {
            initiator_spi,
            responder_spi,
            exchange,
            from_initiator: flags & FLAG_INITIATOR != 0,
            response: flags & FLAG_RESPONSE != 0,
            message_id,
        };
        match major.cmp(&(VERSION_2_0 >> 4)) {
            Ordering::Less => Err(DecodeError::MajorVersion(major)),
            Ordering::Equal => Ok((header, first, length)),
            Ordering::Greater => Err(DecodeError::NewerVersion(major, header)),
        }
    }

    /// Appends the header of a message of `length` bytes in all.
    pub(super) fn write(&self, first: u8, length: usize, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.from_initiator {
            flags |= FLAG_INITIATOR;
        }
        if self.response {
            flags |= FLAG_RESPONSE;
        }
        out.extend_from_slice(&self.initiator_spi.to_be_bytes());
        out.extend_from_slice(&self.responder_spi.to_be_bytes());
        out.extend_from_slice(&[first, VERSION_2_0, self.exchange.0, flags]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
}
