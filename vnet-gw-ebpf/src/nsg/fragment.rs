//! Datagrams in pieces: only the first has what rules ask for, and the others follow it.

use vnet_gw_common::{
    flow::{FRAGMENT_TIMEOUT, Fragment, TIMEOUT_SHIFT, ticks},
    verdict::Reason,
};

use super::{key::Flows, reason};
use crate::{
    family::{Ip, Upper},
    verdict::Refused,
};

/// Whether a packet is a fragment, and of what. `word` has the offset in 8-byte units above bit 2, and
/// bit 0 where more follow: no constants, for each of which the verifier would walk all that comes
/// after.
#[derive(Clone, Copy)]
pub struct Piece {
    pub word: u32,
    pub id: u32,
}

impl Piece {
    pub const WHOLE: Self = Self { word: 0, id: 0 };

    #[inline(always)]
    pub fn is_first(self) -> bool {
        self.word == 1
    }

    #[inline(always)]
    pub fn is_later(self) -> bool {
        self.word > 1
    }
}

pub struct Found {
    pub upper: Upper,
    pub piece: Piece,
}

/// Remembers what was decided for the first piece.
#[inline(always)]
pub fn note<F: Flows>(ip: &Ip<F::Addr>, piece: Piece, port: u32, now: u64, refused: u32) {
    let fragment = Fragment {
        last: ticks(now),
        refused,
    };
    F::note_fragment(ip, piece.id, port, &fragment);
}

/// Decides as for the first piece.
#[inline(always)]
pub fn follow<F: Flows>(
    ip: &Ip<F::Addr>,
    piece: Piece,
    port: u32,
    now: u64,
) -> Result<(), Refused> {
    let Some(first) = F::fragment(ip, piece.id, port) else {
        return Err(Reason::FragmentUnknown.into());
    };
    // SAFETY: a live element of the map; another CPU may write it anew, word by word.
    let Fragment { last, refused } = unsafe { *first };
    let age = ticks(now).wrapping_sub(last) as i32;
    if age > i32::from(FRAGMENT_TIMEOUT) << TIMEOUT_SHIFT {
        return Err(Reason::FragmentUnknown.into());
    }
    match refused {
        0 => Ok(()),
        refused => Err(reason(refused).into()),
    }
}
