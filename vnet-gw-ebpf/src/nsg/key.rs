//! What differs between the families in this step: keys, and the maps they are keys of.

use vnet_gw_common::{
    Addr6,
    flow::{Denied, Flow, FlowEnd, FlowKey4, FlowKey6, Fragment, FragmentKey4, FragmentKey6},
    nsg::{self, RuleWord},
    table::{self, Block},
    verdict::Reason,
};

use super::{
    fragment::{Found, Piece},
    rules, track,
};
use crate::{
    extension,
    family::{Family, Ip, KernelBlocks, Upper, V4, V6, load6},
    maps::{
        VG_DENIED4, VG_DENIED6, VG_FLOWS4, VG_FLOWS6, VG_FRAGMENTS4, VG_FRAGMENTS6, VG_HALF_OPEN4,
        VG_HALF_OPEN6, VG_RULES4, VG_RULES6,
    },
    packet::{ETH_LEN, Hook, Packet},
    verdict::Refused,
};

/// `BPF_ANY`
const ANY: u64 = 0;

/// Source and destination of a packet that an ICMP error quotes, and what follows its header.
pub struct Quoted<A> {
    pub source: A,
    pub destination: A,
    pub upper: Upper,
}

pub trait Flows: Family + 'static {
    type Key;

    fn key(
        class: u32,
        source: FlowEnd<Self::Addr>,
        destination: FlowEnd<Self::Addr>,
    ) -> (Self::Key, usize);
    fn established(key: &Self::Key) -> Option<*mut Flow>;
    fn half_open(key: &Self::Key) -> Option<*mut Flow>;
    /// Whether there was room.
    fn establish(key: &Self::Key, flow: &Flow) -> bool;
    fn open(key: &Self::Key, flow: &Flow);
    fn forget_established(key: &Self::Key);
    fn forget_half_open(key: &Self::Key);
    fn deny(key: &Self::Key, denied: &Denied);
    fn denied(key: &Self::Key) -> Option<*mut Denied>;

    /// The upper layer, whatever stands before it, and whether the packet is a fragment.
    fn upper<H: Hook>(hook: H, ip: &Ip<Self::Addr>) -> Result<Found, Refused>;
    fn fragment(ip: &Ip<Self::Addr>, id: u32, port: u32) -> Option<*mut Fragment>;
    fn note_fragment(ip: &Ip<Self::Addr>, id: u32, port: u32, fragment: &Fragment);
    /// The packet quoted at `at`.
    fn quoted(packet: Packet, at: usize) -> Option<Quoted<Self::Addr>>;

    /// [`track::decide`](super::track::decide), as a function that the verifier walks once.
    fn decide() -> u32;
    /// [`rules::ask_one`](super::rules::ask_one), likewise.
    fn ask_one(set: u32, turned: u32) -> u64;

    /// The rule of a set that a packet meets.
    fn classify(
        set: u32,
        source: Self::Addr,
        destination: Self::Addr,
        source_port: u32,
        destination_port: u32,
    ) -> Option<(RuleWord, u32)>;
}

/// The maps of one family.
macro_rules! tables {
    ($key:ty, $established:ident, $half_open:ident, $denied:ident) => {
        type Key = $key;

        #[inline(always)]
        fn established(key: &$key) -> Option<*mut Flow> {
            $established.get_ptr_mut(key)
        }

        #[inline(always)]
        fn half_open(key: &$key) -> Option<*mut Flow> {
            $half_open.get_ptr_mut(key)
        }

        #[inline(always)]
        fn establish(key: &$key, flow: &Flow) -> bool {
            $established.insert(key, flow, ANY).is_ok()
        }

        /// An LRU hash makes room; where it cannot for once, rules are asked again.
        #[inline(always)]
        fn open(key: &$key, flow: &Flow) {
            let _ = $half_open.insert(key, flow, ANY);
        }

        #[inline(always)]
        fn forget_established(key: &$key) {
            let _ = $established.remove(key);
        }

        #[inline(always)]
        fn forget_half_open(key: &$key) {
            let _ = $half_open.remove(key);
        }

        #[inline(always)]
        fn deny(key: &$key, denied: &Denied) {
            let _ = $denied.insert(key, denied, ANY);
        }

        #[inline(always)]
        fn denied(key: &$key) -> Option<*mut Denied> {
            $denied.get_ptr_mut(key)
        }
    };
}

/// Functions that programs share. Being global, each is walked once by the verifier and not once
/// for every way that leads to it; so they take no pointers, and their callers must not rely on what
/// the verifier would know of the answer.
macro_rules! global {
    ($family:ty, $decide:ident, $ask_one:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $decide() -> u32 {
            track::decide::<$family>()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $ask_one(set: u32, turned: u32) -> u64 {
            rules::ask_one::<$family>(set, turned != 0)
        }
    };
}

global!(V4, vg_decide4, vg_ask4);
global!(V6, vg_decide6, vg_ask6);

/// The rule, and the elements of a CPU in the counters of its set.
#[inline(always)]
fn with_stride(header: &Block, rule: Option<RuleWord>) -> Option<(RuleWord, u32)> {
    rule.map(|rule| (rule, header.0[nsg::Header::STRIDE]))
}

impl Flows for V4 {
    #[inline(always)]
    fn decide() -> u32 {
        vg_decide4()
    }

    #[inline(always)]
    fn ask_one(set: u32, turned: u32) -> u64 {
        vg_ask4(set, turned)
    }

    tables!(FlowKey4, VG_FLOWS4, VG_HALF_OPEN4, VG_DENIED4);

    #[inline(always)]
    fn key(class: u32, source: FlowEnd<u32>, destination: FlowEnd<u32>) -> (FlowKey4, usize) {
        FlowKey4::new(class, source, destination)
    }

    #[inline(always)]
    fn upper<H: Hook>(hook: H, ip: &Ip<u32>) -> Result<Found, Refused> {
        let packet = hook.packet();
        if !packet.has(ETH_LEN + 20) {
            return Err(Reason::Truncated.into());
        }
        // SAFETY: within the 34 bytes seen above.
        let word = u32::from_be(unsafe { packet.load::<u32>(18) });
        let id = word >> 16 << 16 | u32::from(ip.upper.protocol);
        Ok(Found {
            upper: ip.upper,
            piece: Piece {
                word: (word & 0x1fff) << 3 | word >> 13 & 1,
                id,
            },
        })
    }

    #[inline(always)]
    fn fragment(ip: &Ip<u32>, id: u32, port: u32) -> Option<*mut Fragment> {
        VG_FRAGMENTS4.get_ptr_mut(fragment4(ip, id, port))
    }

    #[inline(always)]
    fn note_fragment(ip: &Ip<u32>, id: u32, port: u32, fragment: &Fragment) {
        let _ = VG_FRAGMENTS4.insert(fragment4(ip, id, port), fragment, ANY);
    }

    #[inline(always)]
    fn quoted(packet: Packet, at: usize) -> Option<Quoted<u32>> {
        let first = packet.byte(at)?;
        let header = usize::from(first & 0xf) * 4;
        let protocol = packet.byte(at + 9)?;
        let source = u32::from_be(packet.double_word(at + 12)?);
        let destination = u32::from_be(packet.double_word(at + 16)?);
        let offset = u16::from_be(packet.word(at + 6)?) & 0x1fff;
        if first >> 4 != 4 || header < 20 || offset != 0 {
            return None;
        }
        Some(Quoted {
            source,
            destination,
            upper: Upper {
                protocol,
                later_fragment: false,
                at: at + header,
            },
        })
    }

    #[inline(always)]
    fn classify(
        set: u32,
        source: u32,
        destination: u32,
        source_port: u32,
        destination_port: u32,
    ) -> Option<(RuleWord, u32)> {
        let blocks = KernelBlocks(VG_RULES4.get(set)?);
        let header = table::Blocks::block(&blocks, 0)?;
        let rule = nsg::classify4(
            &blocks,
            header,
            source,
            destination,
            source_port,
            destination_port,
        );
        with_stride(header, rule)
    }
}

#[inline(always)]
fn fragment4(ip: &Ip<u32>, id: u32, port: u32) -> FragmentKey4 {
    FragmentKey4 {
        source: ip.source,
        destination: ip.destination,
        id,
        port,
    }
}

impl Flows for V6 {
    #[inline(always)]
    fn decide() -> u32 {
        vg_decide6()
    }

    #[inline(always)]
    fn ask_one(set: u32, turned: u32) -> u64 {
        vg_ask6(set, turned)
    }

    tables!(FlowKey6, VG_FLOWS6, VG_HALF_OPEN6, VG_DENIED6);

    #[inline(always)]
    fn key(class: u32, source: FlowEnd<Addr6>, destination: FlowEnd<Addr6>) -> (FlowKey6, usize) {
        FlowKey6::new(class, source, destination)
    }

    #[inline(always)]
    fn upper<H: Hook>(hook: H, ip: &Ip<Addr6>) -> Result<Found, Refused> {
        if !extension::is_followed(ip.upper.protocol) {
            return Ok(Found {
                upper: ip.upper,
                piece: Piece::WHOLE,
            });
        }
        hook.linearise_more();
        let packet = hook.packet();
        let followed = extension::follow::<false>(packet, ip.upper);
        let mut piece = Piece::WHOLE;
        if followed.fragment_at != 0 {
            let at = followed.fragment_at;
            let head = packet.double_word(at).ok_or(Reason::Truncated)?;
            let id = u32::from_be(packet.double_word(at + 4).ok_or(Reason::Truncated)?);
            // One that is its own whole datagram (RFC 6946) has neither.
            piece = Piece {
                word: u32::from_be(head) & 0xfff9,
                id,
            };
        }
        let upper = match followed.upper {
            Some(upper) => upper,
            None if piece.is_later() => ip.upper,
            None => return Err(Reason::Truncated.into()),
        };
        Ok(Found { upper, piece })
    }

    #[inline(always)]
    fn fragment(ip: &Ip<Addr6>, id: u32, port: u32) -> Option<*mut Fragment> {
        VG_FRAGMENTS6.get_ptr_mut(fragment6(ip, id, port))
    }

    #[inline(always)]
    fn note_fragment(ip: &Ip<Addr6>, id: u32, port: u32, fragment: &Fragment) {
        let _ = VG_FRAGMENTS6.insert(fragment6(ip, id, port), fragment, ANY);
    }

    #[inline(always)]
    fn quoted(packet: Packet, at: usize) -> Option<Quoted<Addr6>> {
        const LEN: usize = ETH_LEN + 40 + 8 + 40;
        // Behind extension headers the packet quoted is elsewhere; such an error is a packet like
        // any other.
        if at != ETH_LEN + 40 + 8 || !packet.has(LEN) {
            return None;
        }
        const AT: usize = ETH_LEN + 40 + 8;
        // SAFETY: all within the bytes seen above.
        let (first, protocol, source, destination) = unsafe {
            (
                packet.load::<u8>(AT),
                packet.load::<u8>(AT + 6),
                load6(packet, AT + 8),
                load6(packet, AT + 24),
            )
        };
        if first >> 4 != 6 {
            return None;
        }
        Some(Quoted {
            source,
            destination,
            upper: Upper {
                protocol,
                later_fragment: false,
                at: LEN,
            },
        })
    }

    #[inline(always)]
    fn classify(
        set: u32,
        source: Addr6,
        destination: Addr6,
        source_port: u32,
        destination_port: u32,
    ) -> Option<(RuleWord, u32)> {
        let blocks = KernelBlocks(VG_RULES6.get(set)?);
        let header = table::Blocks::block(&blocks, 0)?;
        let rule = nsg::classify6(
            &blocks,
            header,
            source,
            destination,
            source_port,
            destination_port,
        );
        with_stride(header, rule)
    }
}

#[inline(always)]
fn fragment6(ip: &Ip<Addr6>, id: u32, port: u32) -> FragmentKey6 {
    FragmentKey6 {
        source: ip.source,
        destination: ip.destination,
        id,
        port,
    }
}
