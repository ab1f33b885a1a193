//! A tap as the crypto worker opens it: frames behind virtio-net headers, super-packets whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use anyhow::{Context, Result};
use nix::libc;
use vnet_gw_lab::Netns;

/// Of the header before every frame (`struct virtio_net_hdr`).
pub const VNET_HEADER: usize = 10;
/// A header and the largest super-packet.
pub const LARGEST: usize = VNET_HEADER + 14 + 65_535;

const TUN_F_CSUM: libc::c_uint = 1;
const TUN_F_TSO4: libc::c_uint = 2;
const TUN_F_TSO6: libc::c_uint = 4;

/// The device is gone when this is dropped.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes the device in `netns`. It is down.
    pub fn open(netns: &Netns, name: &str) -> Result<Self> {
        netns
            .enter(|| Self::open_here(name))?
            .with_context(|| format!("making the tap {name}"))
    }

    fn open_here(name: &str) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("opening /dev/net/tun")?;
        let mut request = libc::ifreq {
            ifr_name: [0; libc::IFNAMSIZ],
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short,
            },
        };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: the descriptor is open and the request outlives the call.
        nix::errno::Errno::result(unsafe {
            libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request)
        })?;
        let offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
        // SAFETY: the descriptor is open; the argument is a number.
        nix::errno::Errno::result(unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                libc::TUNSETOFFLOAD,
                libc::c_ulong::from(offloads),
            )
        })?;
        // SAFETY: as above.
        nix::errno::Errno::result(unsafe {
            libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK)
        })?;
        Ok(Self { file })
    }

    /// The next frame with its header, if one is there.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.file).write(frame).map(drop)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
