//! A hash map in the kernel, read many elements at a time while packets change it.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, OwnedFd},
};

use aya::Pod;

use crate::datapath::{
    map::{bytes, bytes_mut},
    sys::{self, Batch},
};

/// A hash of `K` → `V`.
#[derive(Debug)]
pub(super) struct Hash<K, V> {
    fd: OwnedFd,
    types: PhantomData<(K, V)>,
}

/// Elements that one call reads; a kernel bucket is read whole, so it must hold the fullest.
const AT_ONCE: usize = 4_096;

impl<K: Pod, V: Pod> Hash<K, V> {
    /// # Errors
    /// Where keys or values of the map have other sizes.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info = sys::map_info(fd.as_fd())?;
        let fits =
            info.key_size as usize == size_of::<K>() && info.value_size as usize == size_of::<V>();
        if !fits {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "key or value size differs from the map's",
            ));
        }
        Ok(Self {
            fd,
            types: PhantomData,
        })
    }

    /// Visits what is there. Elements that come or go meanwhile may or may not be among it.
    pub(super) fn each(&self, blank: (K, V), mut visit: impl FnMut(K, V)) -> io::Result<()> {
        let (mut keys, mut values) = (vec![blank.0; AT_ONCE], vec![blank.1; AT_ONCE]);
        let mut from = None;
        loop {
            let Batch { count, next } = sys::read_hash(
                &self.fd,
                from,
                bytes_mut(&mut keys),
                bytes_mut(&mut values),
                AT_ONCE,
            )?;
            for (key, value) in keys.iter().zip(&values).take(count) {
                visit(*key, *value);
            }
            match next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    pub(super) fn get(&self, key: K, blank: V) -> io::Result<Option<V>> {
        let mut value = [blank];
        // SAFETY: `new` has compared the sizes.
        match unsafe { sys::lookup(self.fd.as_fd(), bytes(&[key]), bytes_mut(&mut value)) } {
            Ok(()) => Ok(Some(value[0])),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&self, key: K) -> io::Result<bool> {
        // SAFETY: `new` has compared the size.
        match unsafe { sys::delete(self.fd.as_fd(), bytes(&[key])) } {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
