//! Taps, which live as long as their descriptor.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

/// Makes a tap. `flags` are `IFF_*` besides `IFF_TAP`.
///
/// # Errors
/// What was being done, and why it failed.
pub(crate) fn tap(device: &str, flags: i32) -> Result<File, (&'static str, io::Error)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|error| ("opening /dev/net/tun", error))?;
    // SAFETY: integers and a union of them; all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= libc::IFNAMSIZ {
        return Err(("naming the device", io::ErrorKind::InvalidInput.into()));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | flags) as i16;
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which this is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 {
        return Err(("making the tap", io::Error::last_os_error()));
    }
    Ok(file)
}
