//! Queues and offloads of a device, by ioctl, in the calling thread's network namespace.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `struct ethtool_channels`
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    value: u32,
}

const GET_CHANNELS: u32 = 0x3c;

/// An offload, by the number of the command that sets it.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Offload {
    TransmitChecksum = 0x17,
    TcpSegmentation = 0x1f,
    GenericSegmentation = 0x24,
    GenericReceive = 0x2c,
}

/// Receive queues; 1 where the driver does not tell.
pub(crate) fn queues(device: &str) -> u32 {
    let mut channels = Channels {
        command: GET_CHANNELS,
        ..Channels::default()
    };
    // SAFETY: the command fills a `struct ethtool_channels`, which this is.
    let told = unsafe { ioctl(device, &mut channels) };
    told.map_or(1, |()| channels.receive + channels.combined)
        .max(1)
}

pub(crate) fn set(device: &str, offload: Offload, on: bool) -> io::Result<()> {
    let mut value = Value {
        command: offload as u32,
        value: u32::from(on),
    };
    // SAFETY: these commands read a `struct ethtool_value`, which this is.
    unsafe { ioctl(device, &mut value) }
}

/// # Safety
/// `T` begins with the command's number and is what that command reads and fills.
unsafe fn ioctl<T>(device: &str, value: &mut T) -> io::Result<()> {
    let socket: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: integers and a pointer; all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    if device.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut *value).cast();
    // SAFETY: `request` is live, and so is what its pointer leads to; the caller's promise.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
