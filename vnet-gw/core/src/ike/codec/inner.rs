//! The payloads inside an encrypted one.

use super::{
    DecodeError, HEADER_LEN, Header, Payload,
    payload::{PAYLOAD_HEADER, payload_type, read_chain, write_chain},
};

/// Payloads as they are inside an encrypted payload: decrypted, or about to be encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    pub(super) first: u8,
    pub(super) bytes: Vec<u8>,
}

impl Inner {
    pub fn encode(payloads: &[Payload]) -> Self {
        let mut bytes = Vec::new();
        let first = write_chain(payloads, &mut bytes);
        Self { first, bytes }
    }

    /// # Errors
    /// What is wrong with one of them: the peer did it, for the bytes are proven to be its.
    pub fn payloads(&self) -> Result<Vec<Payload>, DecodeError> {
        read_chain(self.first, &self.bytes)
    }

    /// What IntAuth of an IKE_INTERMEDIATE message is computed over (RFC 9242, 3.3.2): the message
    /// as it would be if it were neither encrypted nor fragmented.
    pub fn intermediate_octets(&self, header: &Header) -> Vec<u8> {
        let length = PAYLOAD_HEADER + self.bytes.len();
        let mut out = Vec::with_capacity(HEADER_LEN + length);
        header.write(payload_type::SK, HEADER_LEN + length, &mut out);
        out.extend_from_slice(&[self.first, 0]);
        out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }
}
