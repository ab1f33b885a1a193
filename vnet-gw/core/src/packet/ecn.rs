//! Congestion and service class through a tunnel (RFC 6040 in its normal mode, RFC 2983).

use thiserror::Error;

use super::checksum;

/// The two bits of ECN (RFC 3168, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    NotCapable = 0b00,
    Capable1 = 0b01,
    Capable0 = 0b10,
    Experienced = 0b11,
}

impl Ecn {
    /// Of a TOS byte or a traffic class.
    pub const fn of(traffic_class: u8) -> Self {
        match traffic_class & 0b11 {
            0b00 => Self::NotCapable,
            0b01 => Self::Capable1,
            0b10 => Self::Capable0,
            _ => Self::Experienced,
        }
    }
}

/// The path says congestion to a sender that does not understand it: the packet has to be dropped,
/// which is what tells that sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("congestion was experienced by a packet that is not ECN-capable")]
pub struct Congested;

/// The TOS byte or traffic class of a packet, 0 of what is none.
#[inline]
pub fn traffic_class(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 4 => *second,
        [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
        _ => 0,
    }
}

/// That of the outer header around an inner packet: a copy, DSCP and ECN (RFC 6040, 4.1).
#[inline]
pub fn outer(inner: &[u8]) -> u8 {
    traffic_class(inner)
}

/// Carries what the outer header tells about congestion into the inner packet that came out
/// (RFC 6040, 4.2, figure 4). The inner packet's service class stays as it was.
///
/// | inner \ outer | Not-ECT | ECT(0) | ECT(1) | CE |
/// |---|---|---|---|---|
/// | Not-ECT | Not-ECT | Not-ECT | Not-ECT | drop |
/// | ECT(0) | ECT(0) | ECT(0) | ECT(1) | CE |
/// | ECT(1) | ECT(1) | ECT(1) | ECT(1) | CE |
/// | CE | CE | CE | CE | CE |
#[inline]
pub fn decapsulate(inner: &mut [u8], outer_traffic_class: u8) -> Result<(), Congested> {
    let ecn = match (Ecn::of(traffic_class(inner)), Ecn::of(outer_traffic_class)) {
        (Ecn::NotCapable, Ecn::Experienced) => return Err(Congested),
        (Ecn::Capable0 | Ecn::Capable1, Ecn::Experienced) => Ecn::Experienced,
        (Ecn::Capable0, Ecn::Capable1) => Ecn::Capable1,
        _ => return Ok(()),
    };
    set(inner, ecn);
    Ok(())
}

fn set(packet: &mut [u8], ecn: Ecn) {
    match packet {
        [first, second, _, _, rest @ ..] if *first >> 4 == 4 => {
            let new = *second & !0b11 | ecn as u8;
            if let Some(checksum) = rest.get_mut(6..).and_then(|rest| rest.first_chunk_mut()) {
                checksum::update(checksum, [*first, *second], [*first, new]);
            }
            *second = new;
        }
        [first, second, ..] if *first >> 4 == 6 => {
            *second = *second & 0b1100_1111 | (ecn as u8) << 4;
        }
        _ => {}
    }
}
