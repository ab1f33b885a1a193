//! The gateway's port as a tap device.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    mem,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    slice,
};

use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};
use vnet_gw_core::packet::{
    Segments, VirtioHeader,
    virtio::{VIRTIO_HEADER_LEN, gso},
};

use crate::io::{InnerPacket, Poll, Port, Ready, SuperLimits, link, token, tun};

const HEADER: usize = VIRTIO_HEADER_LEN;
const ETHERNET: usize = 14;
/// What a read may bring: a super-packet of 64 KiB and its headers.
const BUFFER: usize = HEADER + ETHERNET + 65_535;
/// The kernel takes no more segments from a tap in one packet.
const MAX_SEGMENTS: usize = 128;
/// The kernel takes no longer IP packet.
const MAX_BYTES: usize = 65_535;
/// More parts than a super-packet has: the virtio and Ethernet headers, and one for each segment.
const PARTS: usize = MAX_SEGMENTS + 1;
/// Packets that may wait for us: at 1,000, several Gbit/s of single packets lost one in seven.
const QUEUE: u32 = 10_000;
/// Not among the constants of libc.
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;

/// A tap that lives as long as this does.
pub(in crate::io) struct Tap {
    file: File,
    buffer: Box<[u8]>,
    /// Virtio header and Ethernet header in front of what is written.
    head: [u8; HEADER + ETHERNET],
    mac: [u8; 6],
    readable: bool,
    /// Whether the kernel takes super-packets of UDP.
    udp: bool,
    /// For those that it does not take: as one, and one of its packets.
    whole: Vec<u8>,
    single: Vec<u8>,
}

impl Tap {
    /// What failed, in words, where it did.
    pub(in crate::io) fn create(
        device: &str,
        mac: [u8; 6],
        mtu: u32,
    ) -> Result<Self, (&'static str, io::Error)> {
        let file = tun::tap(device, libc::IFF_NO_PI | libc::IFF_VNET_HDR)?;
        let length = HEADER as i32;
        // SAFETY: TUNSETVNETHDRSZ reads an int.
        let result =
            unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length) };
        if result < 0 {
            return Err(("setting its header", io::Error::last_os_error()));
        }
        let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        // Kernels before 6.2 do not know UDP segmentation here.
        let udp = offload(&file, tcp | TUN_F_USO4 | TUN_F_USO6).is_ok();
        if !udp {
            offload(&file, tcp).map_err(|error| ("setting its offloads", error))?;
        }
        link::prepare(device, mac, mtu, QUEUE).map_err(|error| ("configuring it", error))?;

        let mut head = [0; HEADER + ETHERNET];
        head[HEADER..][..6].copy_from_slice(&mac_from_u64(FABRIC_MAC));
        head[HEADER + 6..][..6].copy_from_slice(&mac);
        Ok(Self {
            file,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            head,
            mac,
            readable: true,
            udp,
            whole: Vec::new(),
            single: vec![0; MAX_BYTES],
        })
    }
}

fn offload(file: &File, flags: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    let result = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(flags),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Port for Tap {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        poll.watch(self.file.as_fd())
    }

    fn ready(&mut self, ready: &Ready) {
        self.readable |= ready.contains(token(&self.file));
    }

    fn read(&mut self) -> io::Result<Option<InnerPacket<'_>>> {
        while self.readable {
            let length = match self.file.read(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The device is down: it tells when it is up again.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let Some((head, packet)) = self.buffer[..length].split_at_checked(HEADER + ETHERNET)
            else {
                continue;
            };
            let ethernet = &head[HEADER..];
            let ip = matches!(ethernet[12..], [0x08, 0x00] | [0x86, 0xdd]);
            // What is not for the gateway's MAC was flooded by nobody of ours.
            if !ip || ethernet[..6] != self.mac || packet.is_empty() {
                continue;
            }
            let offload = head.first_chunk().map(VirtioHeader::from_bytes);
            let Some(offload) = offload.and_then(|header| header.without_link(ETHERNET as u16))
            else {
                continue;
            };
            return Ok(Some(InnerPacket {
                offload,
                packet: &mut self.buffer[HEADER + ETHERNET..length],
            }));
        }
        Ok(None)
    }

    fn has_more(&self) -> bool {
        self.readable
    }

    fn write(
        &mut self,
        offload: &VirtioHeader,
        arena: &[u8],
        parts: &[Range<usize>],
    ) -> io::Result<()> {
        if offload.gso_type != gso::UDP_L4 {
            return self.write_one(offload, arena, parts);
        }
        if self.udp {
            match self.write_one(offload, arena, parts) {
                // Kernels before 6.9 take fewer segments.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                result => return result,
            }
        }
        self.write_each(offload, arena, parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn limits(&self) -> SuperLimits {
        SuperLimits {
            bytes: MAX_BYTES,
            segments: MAX_SEGMENTS,
        }
    }
}

impl Tap {
    /// Cuts up what the kernel does not take in one.
    fn write_each(
        &mut self,
        offload: &VirtioHeader,
        arena: &[u8],
        parts: &[Range<usize>],
    ) -> io::Result<()> {
        let (mut whole, mut single) = (mem::take(&mut self.whole), mem::take(&mut self.single));
        whole.clear();
        for part in parts {
            whole.extend_from_slice(&arena[part.clone()]);
        }
        let mut result = Ok(());
        if let Ok(segments) = Segments::new(offload, &whole) {
            for index in 0..segments.len() {
                if let Some(length) = segments.write(index, &mut single) {
                    let (plain, part) = (VirtioHeader::default(), 0..length);
                    let written = self.write_one(&plain, &single, slice::from_ref(&part));
                    result = result.and(written);
                }
            }
        }
        (self.whole, self.single) = (whole, single);
        result
    }

    fn write_one(
        &mut self,
        offload: &VirtioHeader,
        arena: &[u8],
        parts: &[Range<usize>],
    ) -> io::Result<()> {
        let first = parts.first().and_then(|part| arena.get(part.start));
        let Some(first) = first else {
            return Ok(());
        };
        self.head[..HEADER].copy_from_slice(&offload.with_link(ETHERNET as u16).to_bytes());
        let kind: [u8; 2] = if first >> 4 == 6 {
            [0x86, 0xdd]
        } else {
            [0x08, 0x00]
        };
        self.head[HEADER + 12..].copy_from_slice(&kind);
        let mut slices = [IoSlice::new(&[]); PARTS];
        if parts.len() >= slices.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        slices[0] = IoSlice::new(&self.head);
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(&arena[part.clone()]);
        }
        (&self.file)
            .write_vectored(&slices[..=parts.len()])
            .map(drop)
    }
}
