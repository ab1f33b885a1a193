//! Socket options that no library of ours knows.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Sets an option whose value is an `int`.
pub(crate) fn set(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a live `i32`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The value of an option that is an `int`.
pub(crate) fn get(socket: &impl AsFd, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a live `i32`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value)
}

/// Whether the socket's packets carry DF, and are refused where the path is known to be narrower.
pub(crate) fn dont_fragment(socket: &impl AsFd, v6: bool, on: bool) -> io::Result<()> {
    match (v6, on) {
        (false, true) => set(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        ),
        (false, false) => set(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        ),
        (true, true) => set(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        ),
        (true, false) => set(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
        ),
    }
}

/// Carries out `send` with packets that may be fragmented.
///
/// IKE and the worker share the sockets of port 4500, and each does this from its own thread, rarely.
/// Both may be at it at once, which the other's packets survive: those of ESP that leave without DF
/// meanwhile are fragmented on the way rather than refused, and those that are to be fragmented
/// while the other sets DF again are refused as too big, which counts as a loss on the way and has
/// the path measured. Whoever ends last leaves DF set.
pub(crate) fn fragmenting<S: AsFd, T>(
    socket: &S,
    v6: bool,
    send: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    /// However `send` ends.
    struct Again<'a, S: AsFd>(&'a S, bool);

    impl<S: AsFd> Drop for Again<'_, S> {
        fn drop(&mut self) {
            if let Err(error) = dont_fragment(self.0, self.1, true) {
                log::warn!("forbidding to fragment packets again: {error}");
            }
        }
    }

    dont_fragment(socket, v6, false)?;
    let _again = Again(socket, v6);
    send()
}
