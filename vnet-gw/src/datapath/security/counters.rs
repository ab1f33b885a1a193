//! The counters of one rule set: a row of them for every CPU, then the list of what they count.

use std::{io, sync::atomic::Ordering, time::Duration};

use vnet_gw_common::{
    maps::{INNER_FLAGS, rule_counter_elements},
    nsg::RuleCounter,
};

use crate::datapath::map::{Map, Mapping};

/// An inner map of `RULE_COUNTERS`, mapped into memory.
#[derive(Debug)]
pub(super) struct Counters {
    id: u32,
    mapping: Mapping,
    rows: u32,
    stride: u32,
}

impl Counters {
    /// All zero, all free.
    pub(super) fn create(rows: u32, stride: u32) -> io::Result<(Map, Self)> {
        let entries = rule_counter_elements(rows, stride);
        let map = Map::array::<RuleCounter>("vg_rule_counts", entries, INNER_FLAGS)?;
        let counters = Self::of(&map, rows, stride)?;
        Ok((map, counters))
    }

    /// Those in the kernel, unless their size is not that of `stride`.
    pub(super) fn adopt(map: &Map, rows: u32, stride: u32) -> io::Result<Option<Self>> {
        let info = map.info();
        if stride == 0
            || info.entries != rule_counter_elements(rows, stride)
            || info.value_size as usize != size_of::<RuleCounter>()
        {
            return Ok(None);
        }
        Self::of(map, rows, stride).map(Some)
    }

    fn of(map: &Map, rows: u32, stride: u32) -> io::Result<Self> {
        Ok(Self {
            id: map.info().id,
            mapping: map.map()?,
            rows,
            stride,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn stride(&self) -> u32 {
        self.stride
    }

    pub(super) fn size(&self) -> u64 {
        self.mapping.length() as u64
    }

    fn places(&self, number: u32) -> impl Iterator<Item = usize> {
        let (stride, number) = (self.stride as usize, number as usize);
        (0..self.rows as usize)
            .filter(move |_| number < stride)
            .map(move |row| (row * stride + number) * 2)
    }

    /// Over all CPUs: the sum, and the latest.
    pub(super) fn read(&self, number: u32) -> RuleCounter {
        let longs = self.mapping.longs();
        self.places(number)
            .fold(RuleCounter::default(), |sum, at| RuleCounter {
                hits: sum.hits.wrapping_add(longs[at].load(Ordering::Relaxed)),
                last: sum.last.max(longs[at + 1].load(Ordering::Relaxed)),
            })
    }

    /// For a number that no packet counts at.
    pub(super) fn set(&self, number: u32, value: RuleCounter) {
        let longs = self.mapping.longs();
        for (row, at) in self.places(number).enumerate() {
            let hits = if row == 0 { value.hits } else { 0 };
            longs[at].store(hits, Ordering::Relaxed);
            longs[at + 1].store(value.last, Ordering::Relaxed);
        }
    }

    /// Hash of the name of what each number counts; 0: it is free.
    pub(super) fn names(&self) -> Vec<u64> {
        let from = self.rows as usize * self.stride as usize * 2;
        let list = self.mapping.longs()[from..].iter();
        list.take(self.stride as usize)
            .map(|name| name.load(Ordering::Relaxed))
            .collect()
    }

    pub(super) fn set_name(&self, number: u32, name: u64) {
        let from = self.rows as usize * self.stride as usize * 2;
        if number < self.stride {
            self.mapping.longs()[from + number as usize].store(name, Ordering::Relaxed);
        }
    }
}

/// How long ago a time of the kernel's monotonic clock was; `None` for 0, which is never.
pub(in crate::datapath) fn ago(ns: u64) -> Option<Duration> {
    if ns == 0 {
        return None;
    }
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).ok()?;
    Some(Duration::from(now).saturating_sub(Duration::from_nanos(ns)))
}
