//! Packet memory and the two hooks: the only raw pointers into packets.
//!
//! Multi-byte loads and stores are made at whatever alignment the headers have. BPF allows that
//! (the verifier checks bounds, and alignment only where the CPU needs it), while an unaligned read
//! in Rust's sense would be compiled to single bytes.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, TC_ACT_SHOT, bpf_check_mtu_flags, xdp_action, xdp_md},
    cty::c_void,
    helpers::generated::{
        bpf_check_mtu, bpf_redirect, bpf_redirect_peer, bpf_skb_change_head, bpf_skb_change_tail,
        bpf_skb_pull_data, bpf_skb_vlan_pop, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
    },
};
use vnet_gw_common::{branchless::opaque, port::Port};

use crate::maps::VG_DEVICES;

pub const ETH_LEN: usize = 14;
/// Of a TCP segment over IPv4.
const GSO_HEADERS: u32 = 14 + 20 + 20;

/// The linear bytes of a packet, from its Ethernet header on.
#[derive(Clone, Copy)]
pub struct Packet {
    start: usize,
    end: usize,
}

impl Packet {
    #[inline(always)]
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether the first `len` bytes are there. The verifier takes this comparison as its proof,
    /// so every access is behind one of these with a constant.
    #[inline(always)]
    pub fn has(self, len: usize) -> bool {
        self.start + len <= self.end
    }

    /// # Safety
    /// `has(at + size_of::<T>())` was seen to be true, and `T` is an integer.
    #[inline(always)]
    pub unsafe fn load<T: Copy>(self, at: usize) -> T {
        // SAFETY: in bounds as the caller promises; alignment is the module's matter.
        unsafe { *((self.start + at) as *const T) }
    }

    /// # Safety
    /// As for [`Packet::load`].
    #[inline(always)]
    pub unsafe fn store<T: Copy>(self, at: usize, value: T) {
        // SAFETY: in bounds as the caller promises; alignment is the module's matter.
        unsafe { *((self.start + at) as *mut T) = value }
    }

    /// The place `at` bytes in, where that is not a constant: computed once, so that the register the
    /// verifier sees compared is the one that is used.
    #[inline(always)]
    fn at(self, at: usize) -> usize {
        opaque((self.start + at) as u64) as usize
    }

    /// The 16-bit word at `at`, in network order, if it is there.
    #[inline(always)]
    pub fn word(self, at: usize) -> Option<u16> {
        let pointer = self.at(at);
        if pointer + 2 > self.end {
            return None;
        }
        // SAFETY: in bounds by the comparison above; alignment is the module's matter.
        Some(unsafe { *(pointer as *const u16) })
    }

    /// The 32-bit word at `at`, in network order, if it is there.
    #[inline(always)]
    pub fn double_word(self, at: usize) -> Option<u32> {
        let pointer = self.at(at);
        if pointer + 4 > self.end {
            return None;
        }
        // SAFETY: in bounds by the comparison above; alignment is the module's matter.
        Some(unsafe { *(pointer as *const u32) })
    }

    /// The byte at `at`, if it is there.
    #[inline(always)]
    pub fn byte(self, at: usize) -> Option<u8> {
        let pointer = self.at(at);
        if pointer + 1 > self.end {
            return None;
        }
        // SAFETY: in bounds by the comparison above.
        Some(unsafe { *(pointer as *const u8) })
    }
}

/// Where the program is attached. What it needs of its context, so that one code serves both.
pub trait Hook: EbpfContext + Copy {
    /// Super-packets and partial checksums can occur.
    const TC: bool;

    fn packet(self) -> Packet;
    fn ifindex(self) -> u32;
    /// Bytes of the whole frame, also those that are not linear.
    fn frame_len(self) -> usize;
    /// Packets on the wire that this one stands for.
    fn segments(self) -> u64;
    /// The VLAN tag the device took off, if any.
    fn stripped_tag(self) -> Option<u16>;
    /// Removes the stripped tag, or the first one in the packet.
    fn pop_tag(self) -> bool;
    /// Makes the headers linear where they are not.
    fn linearise(self);
    /// Makes more of the packet linear: headers of unusual length.
    fn linearise_more(self);
    /// Whether a packet of `len` bytes at layer 3 fits an interface with that MTU.
    fn fits(self, port: &Port, len: u32) -> bool;
    /// The mark that the host's network stack gave the packet, which it has no more afterwards.
    fn take_mark(self) -> u32;
    /// Cuts the frame to `len` bytes.
    fn truncate(self, len: usize) -> bool;
    /// Makes room of `by` bytes before the frame.
    fn grow_head(self, by: usize) -> bool;
    /// Out of a port. `at_once`: see [`crate::rewrite`].
    fn redirect(self, id: u32, port: &Port, at_once: bool) -> u32;
    /// Out of the port it came in by, whose id that is.
    fn reflect(self, id: u32) -> u32;
    fn drop() -> u32;
}

#[derive(Clone, Copy)]
pub struct Xdp(pub *mut xdp_md);

impl EbpfContext for Xdp {
    fn as_ptr(&self) -> *mut c_void {
        self.0.cast()
    }
}

impl Hook for Xdp {
    const TC: bool = false;

    #[inline(always)]
    fn packet(self) -> Packet {
        // SAFETY: the context is valid for the whole run of the program.
        unsafe {
            Packet {
                start: (*self.0).data as usize,
                end: (*self.0).data_end as usize,
            }
        }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: as in `packet`.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn frame_len(self) -> usize {
        self.packet().len()
    }

    #[inline(always)]
    fn segments(self) -> u64 {
        1
    }

    #[inline(always)]
    fn stripped_tag(self) -> Option<u16> {
        None
    }

    #[inline(always)]
    fn pop_tag(self) -> bool {
        let packet = self.packet();
        if !packet.has(ETH_LEN + 4) {
            return false;
        }
        // SAFETY: 18 bytes are there. The MAC addresses move four bytes towards the EtherType
        // behind the tag, last bytes first since the areas overlap.
        unsafe {
            let (first, second, third): (u32, u32, u32) =
                (packet.load(0), packet.load(4), packet.load(8));
            packet.store(12, third);
            packet.store(8, second);
            packet.store(4, first);
            bpf_xdp_adjust_head(self.0, 4) == 0
        }
    }

    #[inline(always)]
    fn linearise(self) {}

    #[inline(always)]
    fn linearise_more(self) {}

    #[inline(always)]
    fn fits(self, port: &Port, len: u32) -> bool {
        len <= port.mtu
    }

    #[inline(always)]
    fn take_mark(self) -> u32 {
        0
    }

    #[inline(always)]
    fn truncate(self, len: usize) -> bool {
        let now = self.frame_len();
        // SAFETY: the context is valid; every packet pointer is made anew afterwards.
        now <= len || unsafe { bpf_xdp_adjust_tail(self.0, len as i32 - now as i32) == 0 }
    }

    #[inline(always)]
    fn grow_head(self, by: usize) -> bool {
        // SAFETY: as in `truncate`.
        unsafe { bpf_xdp_adjust_head(self.0, -(by as i32)) == 0 }
    }

    #[inline(always)]
    fn redirect(self, id: u32, _port: &Port, _at_once: bool) -> u32 {
        match VG_DEVICES.redirect(id, u64::from(xdp_action::XDP_DROP)) {
            Ok(action) | Err(action) => action,
        }
    }

    /// A redirect rather than `XDP_TX`: on a veth the latter wakes the far end only where that has an
    /// XDP program, a redirect also where it has GRO on.
    #[inline(always)]
    fn reflect(self, id: u32) -> u32 {
        match VG_DEVICES.redirect(id, u64::from(xdp_action::XDP_TX)) {
            Ok(action) | Err(action) => action,
        }
    }

    #[inline(always)]
    fn drop() -> u32 {
        xdp_action::XDP_DROP
    }
}

#[derive(Clone, Copy)]
pub struct Tc(pub *mut __sk_buff);

impl EbpfContext for Tc {
    fn as_ptr(&self) -> *mut c_void {
        self.0.cast()
    }
}

impl Tc {
    /// Makes `headers` bytes linear, or as many as there are.
    #[inline(always)]
    fn pull(self, headers: usize) {
        let (linear, all) = (self.packet().len(), self.frame_len());
        if linear < headers && linear < all {
            let want = if all < headers { all } else { headers };
            // SAFETY: the context is valid; every packet pointer is made anew afterwards. Where it
            // fails the packet stays short and is refused.
            unsafe { bpf_skb_pull_data(self.0, want as u32) };
        }
    }
}

impl Hook for Tc {
    const TC: bool = true;

    #[inline(always)]
    fn packet(self) -> Packet {
        // SAFETY: the context is valid for the whole run of the program.
        unsafe {
            Packet {
                start: (*self.0).data as usize,
                end: (*self.0).data_end as usize,
            }
        }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: as in `packet`.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn frame_len(self) -> usize {
        // SAFETY: as in `packet`.
        unsafe { (*self.0).len as usize }
    }

    #[inline(always)]
    fn segments(self) -> u64 {
        // SAFETY: as in `packet`.
        let (segments, size, len) =
            unsafe { ((*self.0).gso_segs, (*self.0).gso_size, (*self.0).len) };
        if segments != 0 {
            return u64::from(segments);
        }
        if size == 0 {
            return 1;
        }
        // A super-packet out of a tap, which the kernel counts later. Options in its headers may
        // make it one more; one shorter than headers is a packet all the same.
        let payload = if len > GSO_HEADERS {
            len - GSO_HEADERS
        } else {
            1
        };
        u64::from(payload.div_ceil(size))
    }

    #[inline(always)]
    fn stripped_tag(self) -> Option<u16> {
        // SAFETY: as in `packet`.
        unsafe { ((*self.0).vlan_present != 0).then(|| (*self.0).vlan_tci as u16) }
    }

    #[inline(always)]
    fn pop_tag(self) -> bool {
        // SAFETY: the context is valid; every packet pointer is made anew afterwards.
        unsafe { bpf_skb_vlan_pop(self.0) == 0 }
    }

    #[inline(always)]
    fn linearise(self) {
        self.pull(ETH_LEN + 40 + 20);
    }

    #[inline(always)]
    fn linearise_more(self) {
        // The longest headers of IPv4 and TCP, or those that an ICMP error quotes behind its own.
        self.pull(ETH_LEN + 192);
    }

    #[inline(always)]
    fn fits(self, port: &Port, len: u32) -> bool {
        // SAFETY: as in `packet`.
        if unsafe { (*self.0).gso_size } == 0 {
            return len <= port.mtu;
        }
        let mut mtu = 0;
        // SAFETY: the context is valid and `mtu` outlives the call. The kernel knows how long the
        // segments of a super-packet will be.
        unsafe {
            bpf_check_mtu(
                self.0.cast(),
                port.ifindex,
                &mut mtu,
                0,
                u64::from(bpf_check_mtu_flags::BPF_MTU_CHK_SEGS),
            ) == 0
        }
    }

    #[inline(always)]
    fn take_mark(self) -> u32 {
        // SAFETY: the context is valid, and its mark may be written.
        unsafe {
            let mark = (*self.0).mark;
            (*self.0).mark = 0;
            mark
        }
    }

    #[inline(always)]
    fn truncate(self, len: usize) -> bool {
        // SAFETY: as in `pop_tag`.
        self.frame_len() <= len || unsafe { bpf_skb_change_tail(self.0, len as u32, 0) == 0 }
    }

    #[inline(always)]
    fn grow_head(self, by: usize) -> bool {
        // SAFETY: as in `pop_tag`.
        unsafe { bpf_skb_change_head(self.0, by as u32, 0) == 0 }
    }

    #[inline(always)]
    fn redirect(self, _id: u32, port: &Port, at_once: bool) -> u32 {
        // SAFETY: plain values; the redirect happens after the program has ended.
        unsafe {
            if at_once && port.flags & Port::PEER != 0 {
                bpf_redirect_peer(port.ifindex, 0) as u32
            } else {
                bpf_redirect(port.ifindex, 0) as u32
            }
        }
    }

    #[inline(always)]
    fn reflect(self, _id: u32) -> u32 {
        // SAFETY: as in `redirect`.
        unsafe { bpf_redirect(self.ifindex(), 0) as u32 }
    }

    #[inline(always)]
    fn drop() -> u32 {
        TC_ACT_SHOT as u32
    }
}
