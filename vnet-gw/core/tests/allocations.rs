//! Nothing that is done for each packet asks for memory: not in Rust, and not inside AWS-LC, which
//! has an allocator of its own to be counted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ffi::{c_char, c_int, c_void},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    sync::Once,
};

use vnet_gw_core::{
    esp::{InboundSa, OutboundSa},
    packet::{Coalescer, Fragments, Segments, VirtioHeader, clamp_mss, ecn, virtio::gso},
    sa::{ChildSa, Encapsulation, EspIntegrity, EspSuite, Sa, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

const PACKETS: usize = 1000;
/// Lengths of inner packets.
const LENGTHS: [usize; 2] = [64, 1400];

/// [`System`], and a count of what was asked of it.
struct Counting;

thread_local! {
    /// By this thread, so that tests can run side by side. No destructor and no late beginning:
    /// either would ask for memory.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn note() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: what the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: what the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: what the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

unsafe extern "C" fn c_alloc(size: usize, _: *const c_char, _: c_int) -> *mut c_void {
    note();
    // SAFETY: any size will do.
    unsafe { libc::malloc(size) }
}

unsafe extern "C" fn c_realloc(
    at: *mut c_void,
    size: usize,
    _: *const c_char,
    _: c_int,
) -> *mut c_void {
    note();
    // SAFETY: AWS-LC had it from `malloc`, before it was told of `c_alloc` or after.
    unsafe { libc::realloc(at, size) }
}

unsafe extern "C" fn c_free(at: *mut c_void, _: *const c_char, _: c_int) {
    // SAFETY: AWS-LC had it from `malloc`, before it was told of `c_alloc` or after.
    unsafe { libc::free(at) }
}

/// How often `work` asked for memory.
fn allocations(work: impl FnOnce()) -> u64 {
    static AWS_LC: Once = Once::new();
    AWS_LC.call_once(|| {
        // SAFETY: the functions are `malloc`, `realloc` and `free` with a count beside.
        let set = unsafe {
            aws_lc_sys::CRYPTO_set_mem_functions(Some(c_alloc), Some(c_realloc), Some(c_free))
        };
        assert_eq!(set, 1);
    });
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

#[test]
fn both_allocators_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
    let aws_lc = allocations(|| {
        // SAFETY: any size will do, and what was given out is given back.
        unsafe { aws_lc_sys::OPENSSL_free(aws_lc_sys::OPENSSL_malloc(100)) }
    });
    assert_eq!(aws_lc, 1);
}

fn suites() -> Vec<EspSuite> {
    let mut suites = vec![
        EspSuite::Aes128Gcm,
        EspSuite::Aes192Gcm,
        EspSuite::Aes256Gcm,
        EspSuite::ChaCha20Poly1305,
    ];
    for key_bits in [128, 192, 256] {
        for integrity in [
            EspIntegrity::HmacSha1_96,
            EspIntegrity::HmacSha2_256_128,
            EspIntegrity::HmacSha2_384_192,
        ] {
            suites.push(EspSuite::AesCbc {
                key_bits,
                integrity,
            });
        }
    }
    suites
}

fn key_len(suite: EspSuite) -> usize {
    match suite {
        EspSuite::Aes128Gcm => 20,
        EspSuite::Aes192Gcm => 28,
        EspSuite::Aes256Gcm | EspSuite::ChaCha20Poly1305 => 36,
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => {
            usize::from(key_bits / 8)
                + match integrity {
                    EspIntegrity::HmacSha1_96 => 20,
                    EspIntegrity::HmacSha2_256_128 => 32,
                    EspIntegrity::HmacSha2_384_192 => 48,
                }
        }
    }
}

/// A pair that leads to itself.
fn child(suite: EspSuite) -> ChildSa {
    let sa = Sa {
        spi: Spi(0x1234_5678),
        suite,
        esn: true,
        keys: Secret::new(vec![7; key_len(suite)]),
    };
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4500);
    let selectors: Vec<_> = ["10.1.0.0/16", "10.4.0.0/16"]
        .iter()
        .map(|prefix| TrafficSelector::prefix(prefix.parse().unwrap()))
        .collect();
    ChildSa {
        tunnel: TunnelId(1),
        inbound: sa.clone(),
        outbound: sa,
        encapsulation: Encapsulation::Udp {
            local: address,
            remote: address,
        },
        local_selectors: selectors.clone(),
        remote_selectors: selectors,
        send_at_once: true,
        soft_bytes: None,
        hard_bytes: None,
    }
}

/// A packet of TCP that is an acknowledgement with data.
fn inner(length: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; length];
    packet[..20].copy_from_slice(&[
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 1, 0, 4, 10, 4, 0, 4,
    ]);
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    packet
}

/// Seals, opens and refuses as a worker does.
fn seal_and_open(suite: EspSuite) {
    let child = child(suite);
    let mut outbound = OutboundSa::new(&child).unwrap();
    let mut inbound = InboundSa::new(&child).unwrap();
    for length in LENGTHS {
        let packet = inner(length);
        let (at, room) = (outbound.payload_offset(), outbound.sealed_len(length));
        let mut slot = vec![0; room];
        let mut again = slot.clone();
        let mut pass = || {
            slot[at..at + length].copy_from_slice(&packet);
            let _ = ecn::outer(&slot[at..]);
            let sealed = outbound.seal(&mut slot, length).unwrap();
            again.copy_from_slice(&slot);
            // Forged, true, and replayed.
            again[sealed - 1] ^= 1;
            assert!(inbound.open(&mut again[..sealed]).is_err());
            again.copy_from_slice(&slot);
            let opened = inbound.open(&mut slot[..sealed]).unwrap();
            clamp_mss(&mut slot[opened.clone()], 1400);
            assert_eq!(slot[opened][20..], packet[20..]);
            assert!(inbound.open(&mut again[..sealed]).is_err());
        };
        // The thread's random numbers begin with the first.
        pass();
        let count = allocations(|| (0..PACKETS).for_each(|_| pass()));
        assert_eq!(count, 0, "{suite:?}, {length} bytes");
    }
}

#[test]
fn no_suite_asks_for_memory() {
    suites().into_iter().for_each(seal_and_open);
}

#[test]
fn super_packets_are_cut_and_put_together_without() {
    const SEGMENT: usize = 1348;
    const SEGMENTS: usize = 40;
    let packet = inner(40 + SEGMENTS * SEGMENT);
    let header = VirtioHeader {
        flags: 1,
        gso_type: gso::TCP_V4,
        hdr_len: 40,
        gso_size: SEGMENT as u16,
        csum_start: 20,
        csum_offset: 16,
    };
    let mut arena = vec![0; SEGMENTS * (40 + SEGMENT)];
    let mut coalescer = Coalescer::with_capacity(SEGMENTS);
    let mut whole = 0;
    let mut pass = || {
        let segments = Segments::new(&header, &packet).unwrap();
        let mut at = 0;
        for index in 0..segments.len() {
            let length = segments.write(index, &mut arena[at..]).unwrap();
            coalescer.push(&arena, at..at + length);
            at += length;
        }
        coalescer.finish(&mut arena, |_, _, parts: &[Range<usize>]| {
            whole += usize::from(parts.len() == SEGMENTS);
        });
    };
    assert_eq!(
        allocations(|| (0..PACKETS / SEGMENTS).for_each(|_| pass())),
        0
    );
    assert_eq!(whole, PACKETS / SEGMENTS);
}

#[test]
fn packets_are_fragmented_without() {
    let packet = inner(1400);
    let mut out = vec![0; 1400];
    let count = allocations(|| {
        for _ in 0..PACKETS {
            let fragments = Fragments::new(&packet, 576).unwrap();
            for index in 0..fragments.len() {
                fragments.write(index, &mut out).unwrap();
            }
        }
    });
    assert_eq!(count, 0);
}
