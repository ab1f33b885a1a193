//! Notifications (RFC 7296, 3.10).

use std::fmt;

use super::{DecodeError, Protocol, reader::Reader};

/// Types below this one are errors.
const FIRST_STATUS: u16 = 16384;

/// Type of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotifyType(pub u16);

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        impl NotifyType {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// As the registry of IANA has it.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

types! {
    UNSUPPORTED_CRITICAL_PAYLOAD = 1,
    INVALID_IKE_SPI = 4,
    INVALID_MAJOR_VERSION = 5,
    INVALID_SYNTAX = 7,
    INVALID_MESSAGE_ID = 9,
    INVALID_SPI = 11,
    NO_PROPOSAL_CHOSEN = 14,
    INVALID_KE_PAYLOAD = 17,
    AUTHENTICATION_FAILED = 24,
    SINGLE_PAIR_REQUIRED = 34,
    NO_ADDITIONAL_SAS = 35,
    INTERNAL_ADDRESS_FAILURE = 36,
    FAILED_CP_REQUIRED = 37,
    TS_UNACCEPTABLE = 38,
    INVALID_SELECTORS = 39,
    TEMPORARY_FAILURE = 43,
    CHILD_SA_NOT_FOUND = 44,
    /// RFC 9370: an IKE_FOLLOWUP_KE that belongs to nothing.
    STATE_NOT_FOUND = 47,
    INITIAL_CONTACT = 16384,
    SET_WINDOW_SIZE = 16385,
    ADDITIONAL_TS_POSSIBLE = 16386,
    IPCOMP_SUPPORTED = 16387,
    NAT_DETECTION_SOURCE_IP = 16388,
    NAT_DETECTION_DESTINATION_IP = 16389,
    COOKIE = 16390,
    USE_TRANSPORT_MODE = 16391,
    HTTP_CERT_LOOKUP_SUPPORTED = 16392,
    REKEY_SA = 16393,
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
    NON_FIRST_FRAGMENTS_ALSO = 16395,
    /// RFC 4555
    MOBIKE_SUPPORTED = 16396,
    ADDITIONAL_IP4_ADDRESS = 16397,
    ADDITIONAL_IP6_ADDRESS = 16398,
    NO_ADDITIONAL_ADDRESSES = 16399,
    UPDATE_SA_ADDRESSES = 16400,
    COOKIE2 = 16401,
    NO_NATS_ALLOWED = 16402,
    /// RFC 4478
    AUTH_LIFETIME = 16403,
    /// RFC 4739
    MULTIPLE_AUTH_SUPPORTED = 16404,
    /// RFC 5685
    REDIRECT_SUPPORTED = 16406,
    /// RFC 5998
    EAP_ONLY_AUTHENTICATION = 16417,
    /// RFC 6023
    CHILDLESS_IKEV2_SUPPORTED = 16418,
    /// RFC 6290
    QUICK_CRASH_DETECTION = 16419,
    /// RFC 6311
    IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420,
    /// RFC 7383
    IKEV2_FRAGMENTATION_SUPPORTED = 16430,
    /// RFC 7427
    SIGNATURE_HASH_ALGORITHMS = 16431,
    /// RFC 8784
    USE_PPK = 16435,
    /// RFC 9242
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438,
    /// RFC 9370
    ADDITIONAL_KEY_EXCHANGE = 16441,
}

impl NotifyType {
    /// Errors are answers; unknown ones in a response mean that the request failed, unknown
    /// statuses are ignored.
    pub fn is_error(self) -> bool {
        self.0 < FIRST_STATUS
    }
}

impl fmt::Display for NotifyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None if self.is_error() => write!(f, "error {}", self.0),
            None => write!(f, "status {}", self.0),
        }
    }
}

/// A notify payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    pub kind: NotifyType,
    /// Of the SA that `spi` names; [`Protocol::NONE`] where there is no SPI.
    pub protocol: Protocol,
    pub spi: Vec<u8>,
    pub data: Vec<u8>,
}

impl Notify {
    /// About the IKE SA as a whole, or about no SA.
    pub fn new(kind: NotifyType, data: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            protocol: Protocol::NONE,
            spi: Vec::new(),
            data: data.into(),
        }
    }

    /// About the CHILD SA of this SPI: REKEY_SA, CHILD_SA_NOT_FOUND.
    pub fn of_child(kind: NotifyType, spi: crate::sa::Spi) -> Self {
        Self {
            kind,
            protocol: Protocol::ESP,
            spi: spi.0.to_be_bytes().to_vec(),
            data: Vec::new(),
        }
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a notify payload";
        let protocol = Protocol(reader.u8(what)?);
        let spi_len = reader.u8(what)?;
        let kind = NotifyType(reader.u16(what)?);
        let spi = reader.take(spi_len.into(), what)?.to_vec();
        Ok(Self {
            kind,
            protocol,
            spi,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let spi_len = u8::try_from(self.spi.len()).unwrap_or(0);
        out.extend_from_slice(&[self.protocol.0, spi_len]);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        if spi_len > 0 {
            out.extend_from_slice(&self.spi);
        }
        out.extend_from_slice(&self.data);
    }
}
