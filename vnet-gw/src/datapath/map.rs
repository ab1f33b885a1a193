//! Maps by their descriptor, with the sizes checked that the kernel takes for granted.

use std::{
    io,
    mem::size_of_val,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    slice,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use aya::Pod;
use aya_obj::generated::{bpf_cmd, bpf_map_type};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::sys::{self, MapInfo};

/// An open map.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    info: MapInfo,
    /// Values per key: 1, or the number of possible CPUs.
    per_key: usize,
}

impl Map {
    /// # Errors
    /// What asking for the map's information failed with.
    pub(super) fn new(fd: OwnedFd, cpus: u32) -> io::Result<Self> {
        let info = sys::map_info(fd.as_fd())?;
        let per_cpu = bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32;
        let per_key = if info.kind == per_cpu {
            cpus as usize
        } else {
            1
        };
        Ok(Self { fd, info, per_key })
    }

    /// A new array of `entries` values of type `V`.
    pub(super) fn array<V: Pod>(name: &str, entries: u32, flags: u32) -> io::Result<Self> {
        let fd = sys::create_array(name, size_of::<V>(), entries, flags)?;
        Self::new(fd, 1)
    }

    pub(super) fn by_id(id: u32) -> io::Result<Self> {
        Self::new(sys::map_by_id(id)?, 1)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Memory of its values, in bytes.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.info.entries) * u64::from(self.info.value_size) * self.per_key as u64
    }

    fn check(&self, key: &[u8], value: Option<usize>) -> io::Result<()> {
        let size = match self.per_key {
            1 => self.info.value_size as usize,
            cpus => (self.info.value_size as usize).next_multiple_of(8) * cpus,
        };
        if key.len() == self.info.key_size as usize && value.is_none_or(|given| given == size) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "key or value size differs from the map's",
        ))
    }

    /// The value of `key`, `None` where there is none.
    pub(super) fn get<V: Pod + Default>(&self, key: u32) -> io::Result<Option<V>> {
        let mut value = [V::default()];
        Ok(self.get_into(key, &mut value)?.then_some(value[0]))
    }

    /// Whether there is a value of `key`; it goes to `value` (one for every CPU of a per-CPU map).
    pub(super) fn get_into<V: Pod>(&self, key: u32, value: &mut [V]) -> io::Result<bool> {
        let (key, value) = (key.to_ne_bytes(), bytes_mut(value));
        self.check(&key, Some(value.len()))?;
        // SAFETY: the sizes were checked.
        match unsafe { sys::lookup(self.fd(), &key, value) } {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn set<V: Pod>(&self, key: u32, value: V) -> io::Result<()> {
        let value = [value];
        let (key, value) = (key.to_ne_bytes(), bytes(&value));
        self.check(&key, Some(value.len()))?;
        // SAFETY: the sizes were checked.
        unsafe { sys::update(self.fd(), &key, value) }
    }

    /// One value for every CPU of a per-CPU map.
    pub(super) fn set_from<V: Pod>(&self, key: u32, values: &[V]) -> io::Result<()> {
        let (key, values) = (key.to_ne_bytes(), bytes(values));
        self.check(&key, Some(values.len()))?;
        // SAFETY: the sizes were checked.
        unsafe { sys::update(self.fd(), &key, values) }
    }

    /// Fine where there is no such key.
    pub(super) fn delete(&self, key: u32) -> io::Result<()> {
        let key = key.to_ne_bytes();
        self.check(&key, None)?;
        // SAFETY: the size was checked.
        match unsafe { sys::delete(self.fd(), &key) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// The keys of a hash.
    pub(super) fn keys(&self) -> io::Result<Vec<u32>> {
        let (mut keys, mut next) = (Vec::new(), [0; 4]);
        self.check(&next, None)?;
        loop {
            let before: Option<[u8; 4]> = keys.last().map(|key: &u32| key.to_ne_bytes());
            let before = before.as_ref().map(<[u8; 4]>::as_slice);
            // SAFETY: the size was checked.
            match unsafe { sys::next_key(self.fd(), before, &mut next) } {
                Ok(()) => keys.push(u32::from_ne_bytes(next)),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
                Err(error) => return Err(error),
            }
            if keys.len() > self.info.entries as usize {
                // A hash changed under us starts over.
                return Ok(keys);
            }
        }
    }

    /// Every value of an array (for an outer map: the inner maps' ids, 0 for none), by one call
    /// where the kernel has batches for the type.
    pub(super) fn read_all<V: Pod>(&self, blank: V) -> io::Result<Vec<V>> {
        let entries = self.info.entries as usize;
        let mut values = vec![blank; entries];
        self.check(&[0; 4], Some(size_of::<V>()))?;
        if self.outer() {
            // A batch lookup of an outer map ends at its first empty slot.
            for (key, value) in values.iter_mut().enumerate() {
                self.get_into(key as u32, slice::from_mut(value))?;
            }
            return Ok(values);
        }
        let mut keys = vec![0u32; entries];
        let command = bpf_cmd::BPF_MAP_LOOKUP_BATCH;
        // SAFETY: both vectors have room for every element, and the value's size was checked.
        let read = unsafe {
            sys::batch(
                command,
                self.fd(),
                keys.as_mut_ptr(),
                values.as_mut_ptr().cast(),
                entries,
            )
        }?;
        values.truncate(read);
        Ok(values)
    }

    /// Writes many values; for an outer map `V` is the inner map's descriptor and readers of what
    /// was there before are gone when it returns. One call where the kernel can.
    pub(super) fn set_all<V: Pod>(&self, values: &[(u32, V)]) -> io::Result<()> {
        let Some((_, first)) = values.first() else {
            return Ok(());
        };
        self.check(&[0; 4], Some(size_of_val(first)))?;
        if values.len() > 1 {
            let mut keys: Vec<u32> = values.iter().map(|(key, _)| *key).collect();
            let mut all: Vec<V> = values.iter().map(|(_, value)| *value).collect();
            let command = bpf_cmd::BPF_MAP_UPDATE_BATCH;
            // SAFETY: both vectors have as many elements as there are values, of a checked size.
            let written = unsafe {
                sys::batch(
                    command,
                    self.fd(),
                    keys.as_mut_ptr(),
                    all.as_mut_ptr().cast(),
                    values.len(),
                )
            };
            match written {
                Ok(_) => return Ok(()),
                // No batches for this type of map before 5.6 (arrays) and 5.13 (outer maps).
                Err(error) if no_batches(&error) => {}
                Err(error) => return Err(error),
            }
        }
        values
            .iter()
            .try_for_each(|(key, value)| self.set(*key, *value))
    }

    fn outer(&self) -> bool {
        self.info.kind == bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS as u32
    }

    /// Maps an array made with `BPF_F_MMAPABLE` into memory.
    pub(super) fn map(&self) -> io::Result<Mapping> {
        let length =
            (self.info.value_size as usize).next_multiple_of(8) * self.info.entries as usize;
        Mapping::new(self.fd(), length)
    }
}

fn no_batches(error: &io::Error) -> bool {
    // ENOTSUPP, which has no name in user space.
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | 524)
    )
}

/// The bytes of values, for a map operation.
pub(super) fn bytes<T: Pod>(values: &[T]) -> &[u8] {
    // SAFETY: `Pod` promises that every byte of `T` is initialised.
    unsafe { slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of values that a map operation fills.
pub(super) fn bytes_mut<T: Pod>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: `Pod` promises that every byte of `T` is initialised, and that every bit pattern is a
    // value of it.
    unsafe { slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// An array map in our memory, shared with the kernel and whoever else has it mapped: only atomic
/// access is sound.
#[derive(Debug)]
pub(super) struct Mapping {
    start: std::ptr::NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and is accessed through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let size = std::num::NonZeroUsize::new(length)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice, over nothing of ours.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    pub(super) fn words(&self) -> &[AtomicU32] {
        // SAFETY: mapped for as long as `self` lives, page-aligned, of that length; shared memory
        // that everybody (kernel included) changes by aligned words is what atomics are for.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.length / 4) }
    }

    pub(super) fn longs(&self) -> &[AtomicU64] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.length / 8) }
    }

    /// Fills the mapping from its start.
    ///
    /// Only for a map that no program can see yet.
    pub(super) fn fill<T: Pod>(&mut self, values: &[T]) -> io::Result<()> {
        let from = bytes(values);
        if from.len() > self.length {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // SAFETY: both sides are live and long enough, and cannot overlap: one is a mapping of its
        // own. Nobody else of this process has a reference into it (`&mut`), and no program sees it.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start.as_ptr(), from.len()) };
        Ok(())
    }

    /// Copies from the mapping's start, word by word; whether it is long enough.
    pub(super) fn copy_to<T: Pod>(&self, values: &mut [T]) -> bool {
        let to = bytes_mut(values);
        if to.len() > self.length {
            return false;
        }
        for (to, from) in to.chunks_exact_mut(8).zip(self.longs()) {
            to.copy_from_slice(&from.load(Ordering::Relaxed).to_ne_bytes());
        }
        true
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, with no reference left. Failing leaks address space only.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}
