//! The four rings of a socket: memory shared with the kernel, one writer and one reader each.
//!
//! Numbers count on and wrap; the low bits are the place in the ring. Both ends keep a copy of the
//! other's number and look again only when it says that nothing is left.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A ring's mapping, and where in it the kernel put what.
#[derive(Debug)]
struct Shared<T> {
    mapping: NonNull<libc::c_void>,
    length: NonZeroUsize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
}

// SAFETY: the pointers lead into a mapping that lives as long as this does; the numbers are atomic,
// and entries are touched by one end only, through `&mut self` of the ring that owns this.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        assert!(size.is_power_of_two(), "the kernel takes no other");
        let length = offsets.desc as usize + size as usize * size_of::<T>();
        let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        let page_offset = i64::try_from(page_offset).map_err(io::Error::other)?;
        // SAFETY: new memory at no particular address.
        let mapping = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE,
                socket,
                page_offset,
            )
        }?;
        let at = |offset: u64| {
            // SAFETY: the kernel names offsets inside the ring that it has mapped.
            unsafe { mapping.cast::<u8>().add(offset as usize) }
        };
        Ok(Self {
            mapping,
            length,
            producer: at(offsets.producer).cast(),
            consumer: at(offsets.consumer).cast(),
            flags: at(offsets.flags).cast(),
            entries: at(offsets.desc).cast(),
            size,
        })
    }

    fn entry(&self, number: u32) -> NonNull<T> {
        // SAFETY: masked, so one of the `size` entries.
        unsafe { self.entries.add((number & (self.size - 1)) as usize) }
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: aligned by the kernel and mapped as long as `self` is there.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> u32 {
        // SAFETY: as above.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: this mapping, of this length, which nothing refers to any more.
        if let Err(errno) = unsafe { munmap(self.mapping, self.length.get()) } {
            log::error!("unmapping a ring: {errno}");
        }
    }
}

/// A ring that we write: fill and transmit.
#[derive(Debug)]
pub(super) struct Producer<T> {
    shared: Shared<T>,
    /// Ours; the kernel has seen those before [`Self::submit`].
    written: u32,
    /// The kernel's, as last seen.
    consumed: u32,
}

impl<T: Copy> Producer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let shared = Shared::map(socket, page_offset, offsets, size)?;
        Ok(Self {
            written: shared.producer().load(Ordering::Relaxed),
            consumed: shared.consumer().load(Ordering::Acquire),
            shared,
        })
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&mut self) -> bool {
        if self.written.wrapping_sub(self.consumed) < self.shared.size {
            return true;
        }
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        self.written.wrapping_sub(self.consumed) < self.shared.size
    }

    /// Writes an entry, which the kernel sees after [`Self::submit`]; whether there was room.
    #[must_use]
    pub(super) fn push(&mut self, entry: T) -> bool {
        if !self.has_room() {
            return false;
        }
        // SAFETY: an entry between the kernel's number and ours is ours to write.
        unsafe { self.shared.entry(self.written).write(entry) };
        self.written = self.written.wrapping_add(1);
        true
    }

    pub(super) fn submit(&mut self) {
        self.shared
            .producer()
            .store(self.written, Ordering::Release);
    }

    /// Entries that the kernel has not taken yet.
    pub(super) fn waiting(&self) -> u32 {
        let consumed = self.shared.consumer().load(Ordering::Acquire);
        self.written.wrapping_sub(consumed)
    }

    /// The kernel sleeps until it is called.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.shared.flags() & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring that we read: receive and completion.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    shared: Shared<T>,
    /// Ours; the kernel gets the places back with [`Self::release`].
    read: u32,
    /// The kernel's, as last seen.
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let shared = Shared::map(socket, page_offset, offsets, size)?;
        Ok(Self {
            read: shared.consumer().load(Ordering::Relaxed),
            produced: shared.producer().load(Ordering::Acquire),
            shared,
        })
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        if self.read == self.produced {
            self.produced = self.shared.producer().load(Ordering::Acquire);
            if self.read == self.produced {
                return None;
            }
        }
        // SAFETY: an entry between our number and the kernel's was written before the kernel's
        // number was, and is not written again before `release`.
        let entry = unsafe { self.shared.entry(self.read).read() };
        self.read = self.read.wrapping_add(1);
        Some(entry)
    }

    pub(super) fn release(&mut self) {
        self.shared.consumer().store(self.read, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    /// A writer and a reader of one ring in memory of our own, numbers just before they wrap.
    fn pair(size: u32) -> (Producer<u64>, Consumer<u64>) {
        let file = memfd_create(c"ring", MFdFlags::empty()).unwrap();
        nix::unistd::ftruncate(&file, 4096).unwrap();
        let offsets = libc::xdp_ring_offset {
            producer: 0,
            consumer: 64,
            desc: 256,
            flags: 128,
        };
        let start = u32::MAX - 2;
        for at in [0, 64] {
            nix::sys::uio::pwrite(&file, &start.to_ne_bytes(), at).unwrap();
        }
        (
            Producer::map(file.as_fd(), 0, &offsets, size).unwrap(),
            Consumer::map(file.as_fd(), 0, &offsets, size).unwrap(),
        )
    }

    #[test]
    fn entries_come_out_in_order_across_the_wrap() {
        let (mut writer, mut reader) = pair(4);
        let mut next = 0;
        for round in 0..10 {
            for entry in 0..4 {
                assert!(writer.push(round * 4 + entry));
            }
            assert!(!writer.push(99), "a fifth in a ring of four");
            assert_eq!(reader.pop(), None, "not submitted yet");
            writer.submit();
            assert_eq!(writer.waiting(), 4);
            while let Some(entry) = reader.pop() {
                assert_eq!(entry, next);
                next += 1;
            }
            assert!(!writer.has_room(), "not released yet");
            reader.release();
            assert_eq!(writer.waiting(), 0);
        }
        assert_eq!(next, 40);
    }
}
