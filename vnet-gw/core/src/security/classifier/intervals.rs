//! One dimension: where the set of rules that hold changes, and to what.

use super::{
    layout::Key,
    rows::{Bits, Rows},
};

/// A rule, and a range of numbers it holds for, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<K> {
    rule: usize,
    first: K,
    last: K,
}

impl<K> Span<K> {
    pub(super) fn new(rule: usize, first: K, last: K) -> Self {
        Self { rule, first, last }
    }
}

/// Starts in order, the first 0, with the number of the row that holds from there on; neighbours
/// differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intervals<K>(pub(super) Vec<(K, u32)>);

impl<K: Key> Intervals<K> {
    /// Of ranges that are apart for each rule.
    pub(super) fn of_spans(spans: &[Span<K>], rules: usize, rows: &mut Rows) -> Self {
        let mut events = Vec::with_capacity(spans.len() * 2);
        for span in spans {
            events.push((Some(span.first), span.rule));
            events.push((span.last.after(), span.rule));
        }
        Self::run(Bits::new(rules), events, Bits::toggle, rows)
    }

    /// Of groups of rules: each event begins or ends the group with that index. `None`: past the
    /// highest number.
    pub(super) fn sweep(
        everywhere: Bits,
        events: Vec<(Option<K>, usize)>,
        masks: &[Bits],
        rows: &mut Rows,
    ) -> Self {
        let toggle = |bits: &mut Bits, group: usize| {
            if let Some(mask) = masks.get(group) {
                bits.toggle_all(mask);
            }
        };
        Self::run(everywhere, events, toggle, rows)
    }

    fn run(
        mut bits: Bits,
        events: Vec<(Option<K>, usize)>,
        toggle: impl Fn(&mut Bits, usize),
        rows: &mut Rows,
    ) -> Self {
        let mut events: Vec<(K, usize)> = events
            .into_iter()
            .filter_map(|(at, what)| Some((at?, what)))
            .collect();
        events.sort_unstable();
        let mut intervals: Vec<(K, u32)> = Vec::new();
        let mut from = K::ZERO;
        let mut end = |from: K, bits: &Bits| {
            let row = rows.number(bits);
            if intervals.last().is_none_or(|(_, last)| *last != row) {
                intervals.push((from, row));
            }
        };
        for (at, what) in events {
            if at != from {
                end(from, &bits);
                from = at;
            }
            toggle(&mut bits, what);
        }
        end(from, &bits);
        Self(intervals)
    }
}
