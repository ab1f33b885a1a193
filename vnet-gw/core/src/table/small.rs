//! The small form: all intervals in one array element.

use ipnet::{Ipv4Net, Ipv6Net};
use vnet_gw_common::{
    Addr6,
    table::{
        ACTION_WORDS, Action, Header, SMALL_INTERVALS, SMALL4_ACTIONS, SMALL6_ACTIONS, SmallTable4,
        SmallTable6,
    },
};

use super::{
    Bits, Prefix, RouteEntry, header,
    intervals::{Interval, Intervals},
};

/// `None` where the routes or actions are too many.
pub(super) fn build4(
    routes: &[RouteEntry<Ipv4Net>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Option<Box<SmallTable4>> {
    let intervals = few(routes)?;
    let actions_in_table = placed::<SMALL4_ACTIONS>(actions)?;
    let mut header = header(Header::FORM_SMALL, 4, routes, actions, stride, generation);
    header.0[Header::INTERVALS] = intervals.len() as u32;
    Some(Box::new(SmallTable4 {
        header: header.0,
        starts: padded(&intervals, |i| i.first, u32::MAX),
        leaves: padded(&intervals, |i| i.leaf, intervals.last()?.leaf),
        actions: actions_in_table,
    }))
}

/// `None` where the routes or actions are too many.
pub(super) fn build6(
    routes: &[RouteEntry<Ipv6Net>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Option<Box<SmallTable6>> {
    let intervals = few(routes)?;
    let actions_in_table = placed::<SMALL6_ACTIONS>(actions)?;
    let mut header = header(Header::FORM_SMALL, 6, routes, actions, stride, generation);
    header.0[Header::INTERVALS] = intervals.len() as u32;
    Some(Box::new(SmallTable6 {
        header: header.0,
        starts: padded(
            &intervals,
            |i| Addr6::from_bits(i.first),
            Addr6::from_bits(u128::MAX),
        ),
        leaves: padded(&intervals, |i| i.leaf, intervals.last()?.leaf),
        actions: actions_in_table,
    }))
}

fn few<P: Prefix>(routes: &[RouteEntry<P>]) -> Option<Vec<Interval<P::Bits>>> {
    let intervals: Vec<_> = Intervals::new(routes).take(SMALL_INTERVALS + 1).collect();
    (intervals.len() <= SMALL_INTERVALS).then_some(intervals)
}

fn placed<const N: usize>(actions: &[Action]) -> Option<[[u32; ACTION_WORDS]; N]> {
    let mut words = [[0; ACTION_WORDS]; N];
    for (to, from) in words.get_mut(..actions.len())?.iter_mut().zip(actions) {
        *to = from.0;
    }
    Some(words)
}

fn padded<B: Bits, T: Copy>(
    intervals: &[Interval<B>],
    value: impl Fn(&Interval<B>) -> T,
    padding: T,
) -> [T; SMALL_INTERVALS] {
    std::array::from_fn(|i| intervals.get(i).map_or(padding, &value))
}
