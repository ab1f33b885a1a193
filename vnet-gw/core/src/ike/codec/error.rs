//! Why a message was not taken.

use thiserror::Error;

/// The bytes are no IKEv2 message. The peer's (or an attacker's) fault, never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{what} ends after {have} bytes, {need} are needed")]
    Truncated {
        what: &'static str,
        have: usize,
        need: usize,
    },
    /// The length field of the header is not the datagram's length.
    #[error("the header says {said} bytes, the datagram has {have}")]
    MessageLength { said: usize, have: usize },
    #[error("major version {0} is not 2")]
    MajorVersion(u8),
    /// Answered with INVALID_MAJOR_VERSION (RFC 7296, 2.5), for which the header is taken to be what
    /// it is in version 2.
    #[error("major version {0} is not 2")]
    NewerVersion(u8, super::Header),
    #[error("the length field of {0} is too small or too large")]
    BadLength(&'static str),
    #[error("{0} has a value it must not have")]
    BadValue(&'static str),
    #[error("bytes are left over after {0}")]
    Trailing(&'static str),
    /// Answered with UNSUPPORTED_CRITICAL_PAYLOAD, which carries the type (RFC 7296, 2.5).
    #[error("payload type {0} is marked critical and unknown")]
    UnsupportedCritical(u8),
    #[error("more than {} payloads", super::MAX_PAYLOADS)]
    TooManyPayloads,
    #[error("an encrypted payload is not the only one, or not where it must be")]
    MisplacedEncrypted,
}

/// An encrypted message, or fragment of one, was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Nothing about the message is known to be true. It is dropped.
    #[error("the integrity check failed")]
    Integrity,
    #[error("the message has no encrypted payload of that kind")]
    NotEncrypted,
    /// Too short to hold an IV and a check value; not proven to be the peer's either.
    #[error("the encrypted payload is too short")]
    TooShort,
    /// Proven to be the peer's, and yet wrong (RFC 7296, 3.14; RFC 7383, 2.6).
    #[error("the padding or the fragment's number is wrong")]
    Content,
}
