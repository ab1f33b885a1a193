//! Whole messages, and those in the clear.

use super::{
    DecodeError, HEADER_LEN, Header, OpenError, Payload,
    payload::{PAYLOAD_HEADER, next_payload, payload_type, read_chain, write_chain},
    reader::Reader,
};

/// How the payloads of a message are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all: IKE_SA_INIT, and notices about unknown SPIs.
    Clear,
    /// An encrypted payload (RFC 7296, 3.14).
    Encrypted,
    /// One fragment of an encrypted message (RFC 7383).
    Fragment { number: u16, total: u16 },
}

/// A datagram whose header and framing are right. Nothing in it is known to be true.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub header: Header,
    pub protection: Protection,
    bytes: &'a [u8],
    first: u8,
    /// Of the encrypted payload, where there is one.
    encrypted: Option<Encrypted>,
}

/// Where the encrypted payload is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted {
    /// Type of the first payload inside.
    pub(super) inner: u8,
    /// Where its IV begins; everything before that is associated data of an AEAD (RFC 5282, 5.1).
    pub(super) start: usize,
}

impl<'a> Packet<'a> {
    /// Reads the header and walks over the payloads' headers. `bytes` is the datagram without the
    /// non-ESP marker of port 4500.
    ///
    /// # Errors
    /// What is wrong with the header or with the payloads' lengths.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, first, length) = Header::read(bytes)?;
        if length != bytes.len() {
            return Err(DecodeError::MessageLength {
                said: length,
                have: bytes.len(),
            });
        }
        let mut packet = Self {
            header,
            protection: Protection::Clear,
            bytes,
            first,
            encrypted: None,
        };
        packet.find_encrypted()?;
        Ok(packet)
    }

    /// The encrypted payload is the last one; what stands before it is not acted on.
    fn find_encrypted(&mut self) -> Result<(), DecodeError> {
        let mut reader = Reader::new(self.bytes.get(HEADER_LEN..).unwrap_or_default());
        let mut kind = self.first;
        let mut seen = 0;
        while kind != payload_type::NONE {
            seen += 1;
            if seen > super::MAX_PAYLOADS {
                return Err(DecodeError::TooManyPayloads);
            }
            let start = self.bytes.len() - reader.len() + PAYLOAD_HEADER;
            let (next, _, body) = next_payload(&mut reader)?;
            if !matches!(kind, payload_type::SK | payload_type::SKF) {
                kind = next;
                continue;
            }
            let mut start = start;
            self.protection = if kind == payload_type::SK {
                Protection::Encrypted
            } else {
                let what = "a fragment";
                let mut body = Reader::new(body);
                let (number, total) = (body.u16(what)?, body.u16(what)?);
                if number == 0 || total == 0 || number > total {
                    return Err(DecodeError::BadValue("a fragment's number"));
                }
                start += 4;
                Protection::Fragment { number, total }
            };
            self.encrypted = Some(Encrypted { inner: next, start });
            break;
        }
        if reader.is_empty() {
            Ok(())
        } else if self.encrypted.is_some() {
            Err(DecodeError::MisplacedEncrypted)
        } else {
            Err(DecodeError::Trailing("the last payload"))
        }
    }

    /// The whole message, as AUTH signs it (RFC 7296, 2.15).
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The payloads of a message in the clear.
    ///
    /// # Errors
    /// What is wrong with one of them; [`DecodeError::MisplacedEncrypted`] when the message is
    /// not in the clear.
    pub fn payloads(&self) -> Result<Vec<Payload>, DecodeError> {
        read_chain(self.first, self.bytes.get(HEADER_LEN..).unwrap_or_default())
    }

    pub(super) fn encrypted(&self) -> Result<Encrypted, OpenError> {
        self.encrypted.ok_or(OpenError::NotEncrypted)
    }
}

/// A message in the clear.
pub fn encode(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let mut body = Vec::new();
    let first = write_chain(payloads, &mut body);
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    header.write(first, HEADER_LEN + body.len(), &mut out);
    out.extend_from_slice(&body);
    out
}
