//! Copies of packets for user space: which packets of a port, how much of each, and what a copy
//! looks like.
//!
//! The kernel's filters are wider than what a person may ask for (a range where that is a list,
//! extension headers not followed): they spare copies, and user space looks again.

use crate::{Addr6, branchless::opaque};

/// Filters a port can have; with more wishes than that, everything is copied.
pub const MAX_FILTERS: usize = 8;
/// The longest copy: the size of a perf record is 16 bits, its headers included.
pub const MAX_SNAP: u32 = 61_440;
/// A copy always has this much of a packet, for user space to filter by.
pub const MIN_SNAP: u32 = 192;

/// What is copied of one port's packets. By port id, while [`Port::CAPTURE`] is set.
///
/// [`Port::CAPTURE`]: crate::port::Port::CAPTURE
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Copies that found no room. Counted up by the programs.
    pub lost: u64,
    /// Bytes of each packet, at most [`MAX_SNAP`].
    pub snap: u32,
    /// Filters in use; 0 copies everything.
    pub filters_used: u32,
    pub filters: [Filter; MAX_FILTERS],
}

/// A packet that fits all of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Addresses of the side behind the port; IPv4 as `::ffff:a.b.c.d`.
    pub local: [Addr6; 2],
    pub remote: [Addr6; 2],
    /// First and last, of TCP and UDP. A packet without ports has [`Key::NO_PORT`].
    pub local_ports: [u32; 2],
    pub remote_ports: [u32; 2],
    /// First and last IP protocol number.
    pub protocols: [u32; 2],
}

const _: () = assert!(size_of::<Filter>() == 88);
const _: () = assert!(size_of::<Capture>() == 16 + MAX_FILTERS * 88);

impl Filter {
    /// Every IP packet.
    pub const ANY: Self = Self {
        local: [Addr6 { hi: 0, lo: 0 }, Addr6::LAST],
        remote: [Addr6 { hi: 0, lo: 0 }, Addr6::LAST],
        local_ports: [0, u32::MAX],
        remote_ports: [0, u32::MAX],
        protocols: [0, u32::MAX],
    };

    #[inline(always)]
    fn admits(&self, key: &Key) -> bool {
        within(key.local, &self.local)
            && within(key.remote, &self.remote)
            && (key.later
                || within(key.local_port, &self.local_ports)
                    && within(key.remote_port, &self.remote_ports)
                    && within(key.protocol, &self.protocols))
    }
}

impl Capture {
    /// Everything of a port, whole.
    pub const ALL: Self = Self {
        lost: 0,
        snap: MAX_SNAP,
        filters_used: 0,
        filters: [Filter::ANY; MAX_FILTERS],
    };

    /// Whether a packet is copied; a frame that is not IP has no key, and no filter fits it.
    #[inline(always)]
    pub fn admits(&self, key: &Key) -> bool {
        // Not unrolled, for the stack is small. Every way out of a turn leads to the same state of
        // the next, so the verifier does not walk their combinations.
        let mut i = opaque(0) as usize;
        while i < MAX_FILTERS && i < self.filters_used as usize {
            if self.filters[i].admits(key) {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// One more copy lost, also where several CPUs count at once. (The BPF target has atomic additions,
/// but Rust offers only those of targets that can compare and swap.)
///
/// # Safety
/// `capture` points to a live element of the map.
#[inline(always)]
pub unsafe fn count_lost(capture: *mut Capture) {
    const { assert!(core::mem::offset_of!(Capture, lost) == 0) };
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the aligned word at the pointer, as the caller promises.
    unsafe {
        use core::sync::atomic::{AtomicU64, Ordering};
        AtomicU64::from_ptr(&raw mut (*capture).lost).fetch_add(1, Ordering::Relaxed);
    }
    #[cfg(target_arch = "bpf")]
    // SAFETY: adds to the aligned word at the pointer, as the caller promises.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({0} + 0) += {1}",
            in(reg) capture,
            in(reg) 1u64,
            options(nostack)
        );
    }
}

#[inline(always)]
fn within<T: Copy + PartialOrd>(x: T, range: &[T; 2]) -> bool {
    range[0] <= x && x <= range[1]
}

/// What filters look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub local: Addr6,
    pub remote: Addr6,
    pub local_port: u32,
    pub remote_port: u32,
    pub protocol: u32,
    /// What stands above IP was not looked for: behind extension headers.
    pub later: bool,
}

impl Key {
    /// The "port" of a packet that has none; only filters for every port fit it.
    pub const NO_PORT: u32 = u32::MAX;
}

/// What stands before the bytes of each copy.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub time: u64,
    /// Id of the port.
    pub port: u32,
    /// One of `Event::*`.
    pub kind: u32,
    /// Bytes of the whole frame, from its Ethernet header on.
    pub len: u32,
    /// Bytes of it that follow.
    pub copied: u32,
    /// With [`Event::REFUSED`]: the [`Reason`](crate::verdict::Reason).
    pub reason: u32,
    pub reserved: u32,
}

impl Event {
    /// What came out of the port's device, before anything was done about it.
    pub const SENT: u32 = 0;
    /// What is about to go into it.
    pub const DELIVERED: u32 = 1;
    /// The packet that this CPU told of last as sent is refused; no bytes follow.
    pub const REFUSED: u32 = 2;
}

const _: () = assert!(size_of::<Event>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    const fn v4(a: u8, d: u8) -> Addr6 {
        Addr6::from_v4(u32::from_be_bytes([a, 0, 0, d]))
    }

    fn key() -> Key {
        Key {
            local: v4(10, 4),
            remote: v4(20, 5),
            local_port: 40_000,
            remote_port: 443,
            protocol: 6,
            later: false,
        }
    }

    fn one(filter: Filter) -> Capture {
        let mut capture = Capture::ALL;
        capture.filters_used = 1;
        capture.filters[0] = filter;
        capture
    }

    #[test]
    fn every_field_can_refuse() {
        assert!(one(Filter::ANY).admits(&key()));
        let exact = Filter {
            local: [v4(10, 4); 2],
            remote: [v4(20, 0), v4(20, 5)],
            local_ports: [40_000, 40_000],
            remote_ports: [443, 500],
            protocols: [6, 6],
        };
        assert!(one(exact).admits(&key()));
        for other in [
            Key {
                local: v4(10, 5),
                ..key()
            },
            Key {
                remote: v4(20, 6),
                ..key()
            },
            Key {
                local_port: 39_999,
                ..key()
            },
            Key {
                remote_port: 442,
                ..key()
            },
            Key {
                protocol: 17,
                ..key()
            },
            Key {
                local_port: Key::NO_PORT,
                ..key()
            },
        ] {
            assert!(!one(exact).admits(&other), "{other:?}");
        }
        let later = Key {
            protocol: 0,
            local_port: Key::NO_PORT,
            later: true,
            ..key()
        };
        assert!(one(exact).admits(&later));
        assert!(!one(exact).admits(&Key {
            remote: v4(21, 0),
            ..later
        }));
    }

    #[test]
    fn one_filter_of_those_in_use_is_enough() {
        let no = Filter {
            protocols: [17, 17],
            ..Filter::ANY
        };
        let mut capture = Capture::ALL;
        capture.filters = [no; MAX_FILTERS];
        capture.filters[3] = Filter::ANY;
        capture.filters_used = 3;
        assert!(!capture.admits(&key()));
        capture.filters_used = 4;
        assert!(capture.admits(&key()));
    }
}
