//! Messages out of a socket, and what to do where the kernel does not take them.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    control::Control,
    path::{Path, Paths},
    send::{MESSAGES, Message, OLD_MAX_SEGMENTS},
};
use crate::io::SendFailure;

/// How long to wait for room in a socket's queue before its packets are given up.
const PATIENCE: Duration = Duration::from_millis(5);

/// Messages that most calls are for: clearing the headers of [`MESSAGES`] costs more than one takes.
const FEW: usize = 4;

/// What a transmission learned of the kernel and the devices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learned {
    /// The kernel is an older one: [`OLD_MAX_SEGMENTS`].
    pub(super) fewer_segments: bool,
}

/// Sends messages, all of one socket, in order.
pub(super) fn transmit(
    socket: BorrowedFd<'_>,
    arena: &[u8],
    messages: &[&Message],
    paths: &mut Paths,
    failed: &mut dyn FnMut(SendFailure),
) -> Learned {
    let mut learned = Learned::default();
    let mut rest = messages;
    while let [first, after @ ..] = rest {
        let all = rest.iter().copied();
        let sent = match rest.len() {
            ..=FEW => send::<FEW>(socket, arena, all, paths),
            _ => send::<MESSAGES>(socket, arena, all, paths),
        };
        let error = match sent {
            Ok(count) => {
                rest = &rest[count.max(1)..];
                continue;
            }
            Err(error) => error,
        };
        rest = after;
        let code = error.raw_os_error();
        let segments = first.segments();
        let pieces = match code {
            // The device cannot make the checksums that segmentation needs.
            Some(libc::EIO) if segments > 1 => {
                paths.no_segmentation(first.to.path);
                1
            }
            Some(libc::EINVAL) if segments > OLD_MAX_SEGMENTS => OLD_MAX_SEGMENTS,
            _ => {
                failed(failure(first, error));
                continue;
            }
        };
        let mut whole = true;
        for piece in first.split(pieces) {
            if let Err(error) = send::<1>(socket, arena, std::iter::once(&piece), paths) {
                whole = false;
                failed(failure(&piece, error));
            }
        }
        learned.fewer_segments |= whole && pieces == OLD_MAX_SEGMENTS;
    }
    learned
}

fn failure(message: &Message, error: io::Error) -> SendFailure {
    SendFailure {
        path: message.to.path,
        packets: message.segments(),
        error,
    }
}

/// How many of the first `N` went; the error is the first one's.
fn send<'a, const N: usize>(
    socket: BorrowedFd<'_>,
    arena: &[u8],
    messages: impl Iterator<Item = &'a Message>,
    paths: &Paths,
) -> io::Result<usize> {
    let mut controls = [Control::EMPTY; N];
    // SAFETY: integers and pointers; all zeroes is a value of both.
    let (mut parts, mut headers): ([libc::iovec; N], [libc::mmsghdr; N]) =
        unsafe { std::mem::zeroed() };
    let mut count = 0;
    for message in messages.take(N) {
        let Some(path): Option<&Path> = paths.get(message.to.path) else {
            // Forgotten while packets waited: they go nowhere, and those before go first.
            if count == 0 {
                return Ok(1);
            }
            break;
        };
        let bytes = &arena[message.range.clone()];
        parts[count] = libc::iovec {
            // The kernel only reads from it.
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let segment = match message.segments() {
            1 => 0,
            _ => message.segment as u16,
        };
        let used = controls[count].compose(path.remote.is_ipv6(), message.to.tos, segment);
        let header = &mut headers[count].msg_hdr;
        header.msg_name = (&raw const path.raw).cast_mut().cast();
        header.msg_namelen = path.raw.len();
        header.msg_iov = &raw mut parts[count];
        header.msg_iovlen = 1;
        if used != 0 {
            header.msg_control = controls[count].as_mut_ptr();
            header.msg_controllen = used as _;
        }
        count += 1;
    }
    let mut waited = false;
    loop {
        // SAFETY: `count` messages are set up above; what their pointers lead to, names, parts,
        // controls and the arena, lives until after the call, and the kernel only reads it.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count as u32,
                libc::MSG_DONTWAIT,
            )
        };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok(sent);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock if !waited => {
                waited = true;
                wait(socket);
            }
            _ => return Err(error),
        }
    }
}

/// For room in the socket's queue. What went wrong shows in the next send.
fn wait(socket: BorrowedFd<'_>) {
    let mut descriptors = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::from(PATIENCE.as_millis() as u8);
    let _ = poll(&mut descriptors, patience);
}
