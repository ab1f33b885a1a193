//! Longest-prefix match turned into intervals: the one place where nesting is resolved. Every form
//! of a table is a picture of this sequence.

use super::{Bits, Prefix, RouteEntry};

/// Consecutive addresses with one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval<B> {
    pub(super) first: B,
    pub(super) last: B,
    pub(super) leaf: u32,
}

/// The intervals of a range of addresses, in order and without gaps; adjacent ones have different
/// leaves. Leaf 0 is "no route".
pub(super) struct Intervals<'a, P: Prefix> {
    /// Those not yet begun.
    routes: &'a [RouteEntry<P>],
    /// Last address and leaf of the prefixes around `at`, outermost first.
    open: Vec<(P::Bits, u32)>,
    at: P::Bits,
    end: P::Bits,
    done: bool,
    /// Read ahead to merge equal neighbours.
    held: Option<Interval<P::Bits>>,
}

impl<'a, P: Prefix> Intervals<'a, P> {
    /// Of all addresses.
    pub(super) fn new(routes: &'a [RouteEntry<P>]) -> Self {
        Self::over(routes, Vec::new(), P::Bits::ZERO, P::Bits::MAX)
    }

    /// Of the addresses from `first` to `last`, without a look at routes that do not touch them.
    pub(super) fn of_range(routes: &'a [RouteEntry<P>], first: P::Bits, last: P::Bits) -> Self {
        let begin = routes.partition_point(|r| r.prefix.first() < first);
        let end = routes.partition_point(|r| r.prefix.first() <= last);
        let mut open = Vec::new();
        for length in 0..=P::Bits::WIDTH {
            let network = first.masked(length);
            // From here on prefixes around `first` begin at it, so `begin` has them.
            if network == first {
                break;
            }
            let key = (network, length);
            let found = routes[..begin]
                .binary_search_by(|r| (r.prefix.first(), r.prefix.length()).cmp(&key));
            if let Ok(found) = found {
                open.push((routes[found].prefix.last(), routes[found].leaf()));
            }
        }
        Self::over(&routes[begin..end], open, first, last)
    }

    fn over(
        routes: &'a [RouteEntry<P>],
        open: Vec<(P::Bits, u32)>,
        first: P::Bits,
        last: P::Bits,
    ) -> Self {
        Self {
            routes,
            open,
            at: first,
            end: last,
            done: false,
            held: None,
        }
    }

    /// The routes that begin in the range and are still to come.
    pub(super) fn routes(&self) -> &'a [RouteEntry<P>] {
        self.routes
    }

    fn next_unmerged(&mut self) -> Option<Interval<P::Bits>> {
        if self.done {
            return None;
        }
        while let Some((entry, rest)) = self.routes.split_first() {
            if entry.prefix.first() > self.at {
                break;
            }
            self.open.push((entry.prefix.last(), entry.leaf()));
            self.routes = rest;
        }
        let (mut last, leaf) = self.open.last().copied().unwrap_or((self.end, 0));
        last = last.min(self.end);
        if let Some(entry) = self.routes.first()
            && entry.prefix.first() <= last
        {
            last = entry.prefix.first().previous();
        }
        let interval = Interval {
            first: self.at,
            last,
            leaf,
        };
        self.done = last == self.end;
        self.at = last.next();
        while self.open.last().is_some_and(|&(open, _)| open < self.at) && !self.done {
            self.open.pop();
        }
        Some(interval)
    }
}

impl<P: Prefix> Iterator for Intervals<'_, P> {
    type Item = Interval<P::Bits>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut current = match self.held.take() {
            Some(held) => held,
            None => self.next_unmerged()?,
        };
        while let Some(after) = self.next_unmerged() {
            if after.leaf != current.leaf {
                self.held = Some(after);
                break;
            }
            current.last = after.last;
        }
        Some(current)
    }
}

/// Answers, for ranges asked for in ascending order, whether one leaf fills them.
pub(super) struct Cursor<'a, P: Prefix> {
    intervals: Intervals<'a, P>,
    current: Option<Interval<P::Bits>>,
}

impl<'a, P: Prefix> Cursor<'a, P> {
    pub(super) fn new(mut intervals: Intervals<'a, P>) -> Self {
        let current = intervals.next();
        Self { intervals, current }
    }

    /// The leaf of all addresses from `first` to `last`, if they have one.
    #[inline]
    pub(super) fn uniform(&mut self, first: P::Bits, last: P::Bits) -> Option<u32> {
        while let Some(current) = &self.current {
            if current.last >= first {
                return (current.last >= last).then_some(current.leaf);
            }
            self.current = self.intervals.next();
        }
        Some(0)
    }
}
