//! Waiting for many descriptors at once.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

/// Events taken in one call; what is left comes with the next.
const EVENTS: usize = 32;

/// Names a descriptor in a [`Ready`].
pub type Token = u64;

/// An epoll instance. It tells of a descriptor when it becomes readable, not as long as it is: who
/// is told reads until there is nothing left.
pub struct Poll(Epoll);

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches for readability. A descriptor that is watched already stays so; a closed one is
    /// forgotten by itself.
    pub fn watch(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        match self
            .0
            .add(descriptor, EpollEvent::new(flags, token(&descriptor)))
        {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until something is ready, at most for `patience` (`None`: as long as it takes).
    pub fn wait(&self, ready: &mut Ready, patience: Option<Duration>) -> io::Result<()> {
        // Rounded up: half a millisecond of patience must not become a busy loop.
        let timeout = patience.map_or(EpollTimeout::NONE, |patience| {
            let millis = patience.as_micros().div_ceil(1000);
            EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
        });
        ready.count = 0;
        match self.0.wait(&mut ready.events, timeout) {
            Ok(count) => ready.count = count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

/// How a descriptor is told of.
pub fn token(descriptor: &impl AsFd) -> Token {
    descriptor.as_fd().as_raw_fd() as Token
}

/// What became ready.
pub struct Ready {
    events: [EpollEvent; EVENTS],
    count: usize,
}

impl Ready {
    pub fn new() -> Self {
        Self {
            events: [EpollEvent::empty(); EVENTS],
            count: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn contains(&self, token: Token) -> bool {
        self.events[..self.count]
            .iter()
            .any(|event| event.data() == token)
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self::new()
    }
}
