//! Driver and offloads of a device, by ioctl, in the calling thread's network namespace.

use std::{
    io,
    mem::zeroed,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::netlink::text;

const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GGRO: u32 = 0x2b;

/// `struct ethtool_value`
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`
#[repr(C)]
struct EthtoolDriver {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<EthtoolDriver>() == 196);

pub(super) struct Ethtool(OwnedFd);

impl Ethtool {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self(socket(
            AddressFamily::Inet,
            SockType::Datagram,
            flags,
            None,
        )?))
    }

    pub(super) fn driver(&self, device: &str) -> io::Result<String> {
        let mut info = EthtoolDriver {
            command: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            rest: [0; 160],
        };
        // SAFETY: the command fills a `struct ethtool_drvinfo`, which this is.
        unsafe { self.ioctl(device, &mut info) }?;
        Ok(text(&info.driver))
    }

    pub(super) fn gro(&self, device: &str) -> io::Result<bool> {
        self.flag(device, ETHTOOL_GGRO)
    }

    pub(super) fn tx_checksum(&self, device: &str) -> io::Result<bool> {
        self.flag(device, ETHTOOL_GTXCSUM)
    }

    fn flag(&self, device: &str, command: u32) -> io::Result<bool> {
        let mut value = EthtoolValue { command, data: 0 };
        // SAFETY: both commands fill a `struct ethtool_value`, which this is.
        unsafe { self.ioctl(device, &mut value) }?;
        Ok(value.data != 0)
    }

    /// # Safety
    /// `T` begins with the command's number and is what that command reads and fills.
    unsafe fn ioctl<T>(&self, device: &str, value: &mut T) -> io::Result<()> {
        // SAFETY: integers and a pointer; all zeroes is a value of it.
        let mut request: libc::ifreq = unsafe { zeroed() };
        // The last byte stays 0.
        if device.len() >= libc::IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut *value).cast();
        // SAFETY: `request` is live, and so is what its pointer leads to; the caller's promise.
        let result =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
