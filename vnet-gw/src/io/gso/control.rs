//! Control messages of `sendmsg(2)` and `recvmsg(2)`.

/// Room for the three that we send or receive at once, at 24 bytes each.
const ROOM: usize = 96;
/// `struct cmsghdr` on every 64-bit Linux.
const HEADER: usize = 16;

const _: () = assert!(size_of::<libc::cmsghdr>() == HEADER);

/// Aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; ROOM],
}

/// What came with a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) tos: u8,
    /// `UDP_GRO`: 0 where the datagram came alone.
    pub(super) segment: usize,
}

impl Control {
    pub(super) const EMPTY: Self = Self { bytes: [0; ROOM] };

    pub(super) const fn capacity() -> usize {
        ROOM
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }

    /// Puts down what a datagram of these segments (0: it is a single one) and that TOS needs:
    /// the length in bytes.
    pub(super) fn compose(&mut self, v6: bool, tos: u8, segment: u16) -> usize {
        let mut used = 0;
        if segment != 0 {
            used = self.put(
                used,
                libc::SOL_UDP,
                libc::UDP_SEGMENT,
                &segment.to_ne_bytes(),
            );
        }
        if tos != 0 {
            let (level, kind) = if v6 {
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            } else {
                (libc::IPPROTO_IP, libc::IP_TOS)
            };
            used = self.put(used, level, kind, &i32::from(tos).to_ne_bytes());
        }
        used
    }

    fn put(&mut self, at: usize, level: i32, kind: i32, value: &[u8]) -> usize {
        let length = HEADER + value.len();
        let out = &mut self.bytes[at..at + length.next_multiple_of(8)];
        out[..8].copy_from_slice(&length.to_ne_bytes());
        out[8..12].copy_from_slice(&level.to_ne_bytes());
        out[12..16].copy_from_slice(&kind.to_ne_bytes());
        out[HEADER..length].copy_from_slice(value);
        at + length.next_multiple_of(8)
    }

    /// Reads the first `length` bytes, as the kernel left them.
    pub(super) fn parse(&self, length: usize) -> Received {
        let mut received = Received::default();
        let mut rest = &self.bytes[..length.min(ROOM)];
        while let Some((header, _)) = rest.split_first_chunk::<HEADER>() {
            let number = |at: usize| {
                header[at..]
                    .first_chunk()
                    .map_or(0, |b| i32::from_ne_bytes(*b))
            };
            let length = header.first_chunk().map_or(0, |b| usize::from_ne_bytes(*b));
            let Some(value) = rest.get(HEADER..length) else {
                break;
            };
            match (number(8), number(12)) {
                (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    received.tos = integer(value) as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => received.segment = integer(value),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
        }
        received
    }
}

/// Kernels differ in the width of some.
fn integer(value: &[u8]) -> usize {
    let mut wide = [0; 4];
    let width = value.len().min(4);
    wide[..width].copy_from_slice(&value[..width]);
    // Only the lowest byte or two are ever used, so that this is right on little-endian machines;
    // on others the kernel's narrow values are at the other end.
    let number = if cfg!(target_endian = "little") {
        u32::from_le_bytes(wide)
    } else {
        u32::from_be_bytes(wide) >> (8 * (4 - width))
    };
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_can_be_read() {
        let mut control = Control::EMPTY;
        let length = control.compose(false, 0xb9, 1400);
        assert_eq!(length, 48);
        assert_eq!(control.parse(length).tos, 0xb9);
        assert_eq!(control.compose(true, 0, 0), 0);
        assert_eq!(control.parse(0), Received::default());
    }

    #[test]
    fn a_length_that_leads_out_ends_it() {
        let mut control = Control::EMPTY;
        control.bytes[0] = 200;
        assert_eq!(control.parse(ROOM), Received::default());
        control.bytes[0] = 0;
        assert_eq!(control.parse(ROOM), Received::default());
    }
}
