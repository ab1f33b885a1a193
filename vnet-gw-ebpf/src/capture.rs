//! Copies of packets for user space, of ports with [`Port::CAPTURE`]: outside the path, which only
//! tests the flag.
//!
//! A packet that is sent is copied as it came, before any step; one that is delivered as the port
//! gets it, after the rewrite. The kernel copies the bytes itself, those that are not linear too.

use core::mem::size_of;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_CURRENT_CPU, xdp_md},
    helpers::generated::{bpf_ktime_get_ns, bpf_perf_event_output},
};
use vnet_gw_common::{
    Addr6,
    capture::{self, Capture, Event, Key, MAX_SNAP},
    port::Port,
};

use crate::{
    family::load6,
    maps::{VG_CAPTURES, VG_PACKETS},
    packet::{ETH_LEN, Hook, Packet, Tc, Xdp},
    parse::{ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6},
};

const TCP: u32 = 6;
const UDP: u32 = 17;

/// Copies what is about to go into a port that is captured.
#[inline(always)]
pub fn delivered<H: Hook>(hook: H, id: u32, port: &Port) {
    if port.flags & Port::CAPTURE != 0 {
        tell(hook, id, Event::DELIVERED, 0);
    }
}

/// What [`tell`] does at XDP. A function of its own to the verifier, which walks it once instead of
/// with every state that a packet can come in.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_gw_tell_xdp(ctx: *mut xdp_md, id: u32, kind: u32, reason: u32) -> u32 {
    copy(Xdp(ctx), id, kind, reason)
}

/// The same at TC.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_gw_tell_tc(ctx: *mut __sk_buff, id: u32, kind: u32, reason: u32) -> u32 {
    copy(Tc(ctx), id, kind, reason)
}

/// Tells user space of a packet; `kind` is one of `Event::*`. Its headers are linear.
#[inline(always)]
pub fn tell<H: Hook>(hook: H, id: u32, kind: u32, reason: u32) {
    if H::TC {
        vnet_gw_tell_tc(hook.as_ptr().cast(), id, kind, reason);
    } else {
        vnet_gw_tell_xdp(hook.as_ptr().cast(), id, kind, reason);
    }
}

/// A number comes back, since the verifier wants one from every such function.
#[inline(always)]
fn copy<H: Hook>(hook: H, id: u32, kind: u32, reason: u32) -> u32 {
    let Some(capture) = VG_CAPTURES.get_ptr_mut(id) else {
        return 0;
    };
    // SAFETY: a live element; user space replaces it as a whole, and a mixture of two costs a copy
    // too many or too few.
    let (snap, filters_used) = unsafe { ((*capture).snap, (*capture).filters_used) };
    let mut event = Event {
        // SAFETY: no arguments, no memory.
        time: unsafe { bpf_ktime_get_ns() },
        port: id,
        kind,
        len: hook.frame_len() as u32,
        copied: 0,
        reason,
        reserved: 0,
    };
    if kind != Event::REFUSED {
        // SAFETY: as above.
        if filters_used != 0 && !admitted(unsafe { &*capture }, hook.packet(), kind) {
            return 0;
        }
        let most = if snap < MAX_SNAP { snap } else { MAX_SNAP };
        event.copied = if event.len < most { event.len } else { most };
    }
    let flags = u64::from(event.copied) << 32 | BPF_F_CURRENT_CPU;
    // SAFETY: context and map are valid, and the event is as long as is said. The kernel checks the
    // number of bytes of the packet.
    let failed = unsafe {
        bpf_perf_event_output(
            hook.as_ptr(),
            (&raw const VG_PACKETS).cast_mut().cast(),
            flags,
            (&raw mut event).cast(),
            size_of::<Event>() as u64,
        )
    };
    if failed != 0 {
        // SAFETY: as above.
        unsafe { capture::count_lost(capture) };
    }
    0
}

/// Whether a filter fits the packet, or may.
#[inline(always)]
fn admitted(capture: &Capture, packet: Packet, kind: u32) -> bool {
    if !packet.has(ETH_LEN) {
        return false;
    }
    // SAFETY: 14 bytes are there.
    let key = match u16::from_be(unsafe { packet.load::<u16>(12) }) {
        ETH_P_IP => key4(packet, kind == Event::SENT),
        ETH_P_IPV6 => key6(packet, kind == Event::SENT),
        // A tag is not looked behind here.
        ETH_P_8021Q | ETH_P_8021AD => return true,
        _ => return false,
    };
    key.is_some_and(|key| capture.admits(&key))
}

#[inline(always)]
fn key4(packet: Packet, sent: bool) -> Option<Key> {
    if !packet.has(ETH_LEN + 20) {
        return None;
    }
    // SAFETY: all within the 34 bytes seen above.
    let (first, fragment, protocol, source, destination) = unsafe {
        (
            packet.load::<u8>(14),
            u16::from_be(packet.load::<u16>(20)),
            packet.load::<u8>(23),
            u32::from_be(packet.load::<u32>(26)),
            u32::from_be(packet.load::<u32>(30)),
        )
    };
    let at = ETH_LEN + (first as usize & 0xf) * 4;
    let ports = if fragment & 0x1fff == 0 {
        ports(packet, protocol, at)
    } else {
        NO_PORTS
    };
    Some(key(
        sent,
        (Addr6::from_v4(source), ports.0),
        (Addr6::from_v4(destination), ports.1),
        protocol,
        false,
    ))
}

#[inline(always)]
fn key6(packet: Packet, sent: bool) -> Option<Key> {
    if !packet.has(ETH_LEN + 40) {
        return None;
    }
    // SAFETY: all within the 54 bytes seen above.
    let (protocol, source, destination) =
        unsafe { (packet.load::<u8>(20), load6(packet, 22), load6(packet, 38)) };
    // What stands behind extension headers is for user space to find.
    let later = matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135);
    let ports = ports(packet, protocol, ETH_LEN + 40);
    Some(key(
        sent,
        (source, ports.0),
        (destination, ports.1),
        protocol,
        later,
    ))
}

const NO_PORTS: (u32, u32) = (Key::NO_PORT, Key::NO_PORT);

#[inline(always)]
fn ports(packet: Packet, protocol: u8, at: usize) -> (u32, u32) {
    if !matches!(u32::from(protocol), TCP | UDP) {
        return NO_PORTS;
    }
    match packet.double_word(at) {
        Some(both) => {
            let both = u32::from_be(both);
            (both >> 16, both & 0xffff)
        }
        None => NO_PORTS,
    }
}

#[inline(always)]
fn key(
    sent: bool,
    source: (Addr6, u32),
    destination: (Addr6, u32),
    protocol: u8,
    later: bool,
) -> Key {
    let (local, remote) = if sent {
        (source, destination)
    } else {
        (destination, source)
    };
    Key {
        local: local.0,
        remote: remote.0,
        local_port: local.1,
        remote_port: remote.1,
        protocol: u32::from(protocol),
        later,
    }
}
