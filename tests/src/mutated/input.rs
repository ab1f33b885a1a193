//! Bytes as a packet and what stands beside it.
//!
//! | byte | what |
//! |---|---|
//! | 0 | the port it comes in by |
//! | 1 | bit 0: the TC hook; bit 1: from the port's own MAC address; bit 2: with lengths and a header checksum that hold; bit 3: a super-packet; bits 4 to 6: its mark |
//! | 2, 3 | size of a super-packet's segments, or the lower half of a mark |
//! | from 4 on | the frame |

use vnet_gw_common::internet::{RETURNING, host_mac, mark};

use super::{
    bed::DEVICES,
    headers::{self, ETH},
    model::{Given, Model},
};
use crate::{frames::checksum, test_run::Hook};

pub(super) const HEAD: usize = 4;
pub(super) const TC: u8 = 1;
pub(super) const OWN_MAC: u8 = 1 << 1;
pub(super) const REPAIRED: u8 = 1 << 2;
pub(super) const SUPER: u8 = 1 << 3;
pub(super) const MARK_AT: u32 = 4;
/// Of a frame; the kernel runs no program over more than a page.
const MOST: usize = 2_000;

pub(super) struct Input {
    hook: Hook,
    port: usize,
    mark: u32,
    gso_size: u32,
    frame: Vec<u8>,
}

impl Input {
    /// `None` where there is no whole Ethernet header.
    pub(super) fn read(data: &[u8], model: &Model) -> Option<Self> {
        let (head, frame) = data.split_at_checked(HEAD)?;
        let port = usize::from(head[0]) % DEVICES.len();
        let flags = head[1];
        let number = u16::from_be_bytes([head[2], head[3]]);
        let mut frame = frame[..frame.len().min(MOST)].to_vec();
        if frame.len() < ETH {
            return None;
        }
        // The internet port is at the TC hook wherever it is, and only there are marks.
        let tc = flags & TC != 0 || model.ports[port].internet;
        if flags & OWN_MAC != 0 {
            frame[6..12].copy_from_slice(&model.ports[port].mac);
        }
        if flags & REPAIRED != 0 {
            repair(&mut frame);
        }
        let which = usize::from(flags >> MARK_AT & 7);
        let of_scope = |(_, scope): &(_, u32)| mark(host_mac(0), *scope) | RETURNING;
        let mark = match which {
            0 => 0,
            1..=3 => model.scopes.get(which - 1).map_or(0, of_scope),
            4 => host_mac(0) as u32 | RETURNING | u32::from(number),
            _ => u32::from(number) << 16 | u32::from(number),
        };
        let gso_size = match tc && flags & SUPER != 0 {
            true => number.into(),
            false => 0,
        };
        Some(Self {
            hook: if tc { Hook::Tc } else { Hook::Xdp },
            port,
            mark: if tc { mark } else { 0 },
            gso_size,
            frame,
        })
    }

    pub(super) fn given(&self) -> Given<'_> {
        Given {
            hook: self.hook,
            port: self.port,
            mark: self.mark,
            gso_size: self.gso_size,
            frame: &self.frame,
        }
    }
}

/// Makes the lengths in an IP header those of the frame, and the header's checksum right.
fn repair(frame: &mut [u8]) {
    let mut at = ETH;
    for _ in 0..2 {
        if matches!(headers::word(frame, at - 2), Some(0x8100 | 0x88a8)) {
            at += 4;
        }
    }
    let there = frame.len().saturating_sub(at);
    match headers::word(frame, at - 2) {
        Some(0x0800) if there >= 20 => {
            frame[at + 2..at + 4].copy_from_slice(&(there as u16).to_be_bytes());
            let header = usize::from(frame[at] & 0xf).max(5) * 4;
            let end = (at + header).min(frame.len());
            frame[at + 10..at + 12].fill(0);
            let sum = checksum(&[&frame[at..end]]);
            frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(0x86dd) if there >= 40 => {
            frame[at + 4..at + 6].copy_from_slice(&((there - 40) as u16).to_be_bytes());
        }
        _ => {}
    }
}
