//! The counters of one table: a row of them for every CPU, then the list of what they count.

use std::{
    io,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use vnet_gw_common::{Counter, maps::INNER_FLAGS, table::counter_elements};

use super::family::Family;
use crate::datapath::map::{Map, Mapping};

/// An inner map of `COUNTERS4` or `COUNTERS6`, mapped into memory.
#[derive(Debug)]
pub(in crate::datapath) struct CounterMap<F> {
    id: u32,
    mapping: Mapping,
    rows: u32,
    stride: u32,
    family: PhantomData<F>,
}

impl<F: Family> CounterMap<F> {
    /// All zero.
    pub(super) fn create(name: &str, rows: u32, stride: u32) -> io::Result<(Map, Self)> {
        let entries = counter_elements(rows, stride, F::NUMBER);
        let map = Map::array::<Counter>(name, entries, INNER_FLAGS)?;
        let counters = Self::with_stride(&map, rows, stride)?;
        Ok((map, counters))
    }

    /// Those in the kernel, unless their size is not that of `stride`.
    pub(super) fn adopt(map: &Map, rows: u32, stride: u32) -> io::Result<Option<Self>> {
        let entries = counter_elements(rows, stride, F::NUMBER);
        if map.info().entries != entries || map.info().value_size as usize != size_of::<Counter>() {
            return Ok(None);
        }
        Self::with_stride(map, rows, stride).map(Some)
    }

    fn with_stride(map: &Map, rows: u32, stride: u32) -> io::Result<Self> {
        let (id, mapping) = (map.info().id, map.map()?);
        Ok(Self {
            id,
            mapping,
            rows,
            stride,
            family: PhantomData,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn size(&self) -> u64 {
        self.mapping.length() as u64
    }

    fn cell(&self, row: u32, number: u32) -> (&AtomicU64, &AtomicU64) {
        let at = (row as usize * self.stride as usize + number as usize) * 2;
        let longs = self.mapping.longs();
        (&longs[at], &longs[at + 1])
    }

    /// Over all CPUs.
    pub(super) fn read(&self, number: u32) -> Counter {
        let mut sum = Counter::default();
        if number >= self.stride {
            return sum;
        }
        for row in 0..self.rows {
            let (packets, bytes) = self.cell(row, number);
            sum.packets = sum.packets.wrapping_add(packets.load(Ordering::Relaxed));
            sum.bytes = sum.bytes.wrapping_add(bytes.load(Ordering::Relaxed));
        }
        sum
    }

    /// For a number that no packet counts at.
    pub(super) fn zero(&self, number: u32) {
        for row in 0..self.rows {
            let (packets, bytes) = self.cell(row, number);
            packets.store(0, Ordering::Relaxed);
            bytes.store(0, Ordering::Relaxed);
        }
    }

    fn list(&self) -> &[AtomicU64] {
        let from = self.rows as usize * self.stride as usize * 2;
        &self.mapping.longs()[from..from + self.stride as usize * F::LIST_WORDS]
    }

    /// What the numbers count, as a restarted daemon finds it.
    pub(super) fn prefixes(&self) -> Vec<Option<F::Net>> {
        let words: Vec<u64> = self
            .list()
            .iter()
            .map(|w| w.load(Ordering::Relaxed))
            .collect();
        F::decode(&words)
    }

    /// Writes what a number counts.
    pub(super) fn set_prefix(&self, number: u32, prefix: Option<F::Net>) {
        let mut words = Vec::with_capacity(F::LIST_WORDS);
        F::encode(prefix, &mut words);
        let list = self.list().iter().skip(number as usize * F::LIST_WORDS);
        for (to, from) in list.zip(words) {
            to.store(from, Ordering::Relaxed);
        }
    }

    /// Makes the list say `assigned` and nothing else; returns how many numbers it was wrong about.
    pub(super) fn mend_list(&self, assigned: impl Iterator<Item = (F::Net, u32)>) -> usize {
        let mut want = vec![None; self.stride as usize];
        for (prefix, number) in assigned {
            if let Some(slot) = want.get_mut(number as usize) {
                *slot = Some(prefix);
            }
        }
        let mut wrong = 0;
        for ((number, want), held) in (0..).zip(want).zip(self.prefixes()) {
            if held != want {
                wrong += 1;
                self.set_prefix(number, want);
            }
        }
        wrong
    }

    /// Adds what `old` counted, given that no packet counts there any more, while packets count
    /// here.
    ///
    /// A program adds to its CPU's row without locking, in softirq context. So the sums go to the
    /// row of one CPU, by a thread bound to that CPU: an atomic addition there is not interrupted,
    /// and so loses neither its own counts nor the program's.
    pub(super) fn carry_over(&self, old: &Self, numbers: impl Iterator<Item = u32>) {
        let me = Pid::from_raw(0);
        let before = sched_getaffinity(me);
        let cpu = sched_getcpu().unwrap_or(0);
        let mut only = CpuSet::new();
        // Unbound, a few packets that are counted at this very moment may be lost from the counts.
        let bound = only.set(cpu).is_ok() && sched_setaffinity(me, &only).is_ok();
        let row = (cpu as u32).min(self.rows.saturating_sub(1));
        for number in numbers {
            let counted = old.read(number);
            if number < self.stride && counted != Counter::default() {
                let (packets, bytes) = self.cell(row, number);
                packets.fetch_add(counted.packets, Ordering::Relaxed);
                bytes.fetch_add(counted.bytes, Ordering::Relaxed);
            }
        }
        if let (true, Ok(before)) = (bound, before) {
            // Back to where the thread may run at all; it could before, so it can now.
            let _ = sched_setaffinity(me, &before);
        }
    }
}
