//! The memory that packets stand in, and the tokens that say who may touch which part of it.
//!
//! An [`Area`] is cut into frames of one size, and registered with every socket of an engine. Each
//! frame has exactly one [`Frame`], made when the area is. It is not cloned: whoever hands a frame to
//! the kernel gives the token up, and gets it back only with the kernel's word that the frame is done
//! with. So what the kernel may be writing cannot be named, let alone read.

use std::{io, num::NonZeroUsize, ptr::NonNull, sync::Arc};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes of a frame. The size that every driver with zero-copy takes.
pub(super) const FRAME: usize = 4096;

/// Frames side by side, page-aligned.
#[derive(Debug)]
pub(super) struct Area {
    start: NonNull<u8>,
    frames: u32,
}

// SAFETY: the memory is only reached through tokens, each of which exists once and lends its bytes by
// the rules for references; the address and the number never change.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

/// The right to one frame.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is dropped is never used again"]
pub(super) struct Frame(u32);

impl Area {
    /// Memory for `frames` frames, and all of their tokens.
    pub(super) fn new(frames: u32) -> io::Result<(Arc<Self>, Vec<Frame>)> {
        let length =
            NonZeroUsize::new(frames as usize * FRAME).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: new memory at no particular address.
        let start = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE,
            )
        }?;
        let area = Self {
            start: start.cast(),
            frames,
        };
        Ok((Arc::new(area), (0..frames).map(Frame).collect()))
    }

    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    pub(super) fn length(&self) -> u64 {
        u64::from(self.frames) * FRAME as u64
    }

    fn place(&self, frame: &Frame) -> NonNull<u8> {
        assert!(frame.0 < self.frames, "a frame of another area");
        // SAFETY: inside the mapping, as just seen.
        unsafe { self.start.add(frame.0 as usize * FRAME) }
    }

    pub(super) fn bytes_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8; FRAME] {
        let place = self.place(frame);
        // SAFETY: the frame lies in the mapping, whose bytes are all initialised (to zero), and the
        // area outlives the reference. The token is borrowed mutably and there is no other, so
        // nobody else names these bytes; the kernel has none while there is a token.
        unsafe { place.cast().as_mut() }
    }

    /// Where in the area byte `offset` of the frame is, as sockets count.
    pub(super) fn offset(frame: &Frame, offset: usize) -> u64 {
        u64::from(frame.0) * FRAME as u64 + offset as u64
    }

    /// The frame at a place that a socket told, and where in it the place is.
    ///
    /// # Safety
    /// The frame's token was given up to the kernel, which has given the frame back: nobody else
    /// makes the token of this place.
    pub(super) unsafe fn returned(&self, at: u64) -> Option<(Frame, usize)> {
        let number = u32::try_from(at / FRAME as u64).ok()?;
        (number < self.frames).then_some((Frame(number), at as usize % FRAME))
    }

    /// `length` bytes of a frame, as far as they are in it.
    pub(super) fn part<'a>(
        &'a self,
        frame: &'a mut Frame,
        offset: usize,
        length: usize,
    ) -> Option<&'a mut [u8]> {
        self.bytes_mut(frame)
            .get_mut(offset..offset.checked_add(length)?)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: this mapping, of this length, and no token's reference outlives the area. What the
        // kernel still writes goes to pages that it holds itself.
        let unmapped = unsafe { munmap(self.start.cast(), self.length() as usize) };
        if let Err(errno) = unmapped {
            log::error!("unmapping packet memory: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_has_bytes_of_its_own() {
        let (area, mut frames) = Area::new(4).unwrap();
        for (number, frame) in frames.iter_mut().enumerate() {
            area.bytes_mut(frame).fill(number as u8 + 1);
        }
        for (number, frame) in frames.iter_mut().enumerate() {
            let expected = [number as u8 + 1; FRAME];
            assert_eq!(area.bytes_mut(frame), &expected);
        }
        assert_eq!(area.part(&mut frames[3], 4000, 96).unwrap().len(), 96);
        assert!(area.part(&mut frames[3], 4000, 97).is_none());
        assert!(area.part(&mut frames[3], 1, usize::MAX).is_none());
    }

    #[test]
    fn places_lead_back_to_their_frames() {
        let (area, mut frames) = Area::new(4).unwrap();
        let frame = frames.pop().unwrap();
        let at = Area::offset(&frame, 300);
        assert_eq!(at, 3 * 4096 + 300);
        drop(frame);
        // SAFETY: the token was given up just now.
        let (frame, offset) = unsafe { area.returned(at) }.unwrap();
        assert_eq!((frame, offset), (Frame(3), 300));
        // SAFETY: there is no such frame, so no token is made.
        assert!(unsafe { area.returned(4 * 4096) }.is_none());
    }
}
