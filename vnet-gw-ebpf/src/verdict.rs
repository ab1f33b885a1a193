//! Why a packet leaves the fast path.

use vnet_gw_common::verdict::Reason;

/// A packet that is not forwarded.
#[derive(Clone, Copy)]
pub struct Refused {
    pub reason: Reason,
    /// For [`Reason::TooBig`]: the MTU that would have done.
    pub mtu: u32,
}

impl Refused {
    #[inline(always)]
    pub const fn for_reason(reason: Reason) -> Self {
        Self { reason, mtu: 0 }
    }
}

impl From<Reason> for Refused {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self::for_reason(reason)
    }
}
