//! What differs between IPv4 and IPv6 tables.

use std::{fmt::Debug, net::IpAddr};

use aya::Pod;
use ipnet::{Ipv4Net, Ipv6Net};
use vnet_gw_common::{
    Addr6,
    table::{Action, Block, HEADER_WORDS, SmallTable4, SmallTable6},
};
use vnet_gw_core::{
    compile::{GATEWAY_ENDPOINT4, GATEWAY_ENDPOINT6},
    compile::{SubnetImage, TableImage},
    table::{
        self, DirectoryEditor, Drift, EditError, Edited, Prefix, RouteEntry, Table4, Table6,
        TableError, list,
    },
};

use super::live::Live;
use crate::datapath::TableForm;

/// A table as built, not yet in the kernel.
pub(in crate::datapath) enum Built<S> {
    Small(Box<S>),
    Big(Vec<Block>, Option<DirectoryEditor>),
}

pub(in crate::datapath) trait Family: 'static {
    /// Index into pairs of maps.
    const AT: usize;
    /// 4 or 6
    const NUMBER: u32;
    const NAME: &'static str;
    /// `u64` words of a prefix in the list behind the counters.
    const LIST_WORDS: usize;
    const BIG_FORM: TableForm;
    type Net: Prefix + Copy + Ord + Debug + Send + Sync;
    type Small: Pod + Debug;

    fn image(subnet: &SubnetImage) -> &TableImage<Self::Net>;
    fn action_with_next_hop(action: Action, next_hop: IpAddr) -> Action;
    /// The next hop is the endpoint of the scope's gateway port.
    fn action_to_gateway(action: Action) -> Action;
    fn encode(prefix: Option<Self::Net>, words: &mut Vec<u64>);
    fn decode(words: &[u64]) -> Vec<Option<Self::Net>>;
    fn blank() -> Self::Small;
    fn header(small: &Self::Small) -> &[u32; HEADER_WORDS];
    fn actions(small: &Self::Small) -> Vec<Action>;

    fn build(
        routes: &[RouteEntry<Self::Net>],
        actions: &[Action],
        stride: u32,
        generation: u32,
    ) -> Result<Built<Self::Small>, TableError>;

    fn verify_small(
        held: &Self::Small,
        routes: &[RouteEntry<Self::Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<Drift, TableError>;

    fn verify_big(
        live: &Live,
        routes: &[RouteEntry<Self::Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<Drift, TableError>;

    /// An editor for a big table that is in the kernel already, where the form has one.
    fn adopt_editor(live: &Live) -> Option<DirectoryEditor>;

    fn edit(
        editor: &mut DirectoryEditor,
        live: &mut Live,
        routes: &[RouteEntry<Self::Net>],
        actions: &[Action],
        changed: &[Self::Net],
    ) -> Result<Edited, EditError>;
}

#[derive(Debug)]
pub(in crate::datapath) struct V4;

#[derive(Debug)]
pub(in crate::datapath) struct V6;

impl Family for V4 {
    const AT: usize = 0;
    const NUMBER: u32 = 4;
    const NAME: &'static str = "IPv4";
    const LIST_WORDS: usize = list::WORDS4;
    const BIG_FORM: TableForm = TableForm::Directory;
    type Net = Ipv4Net;
    type Small = SmallTable4;

    fn image(subnet: &SubnetImage) -> &TableImage<Ipv4Net> {
        &subnet.v4
    }

    fn action_with_next_hop(action: Action, next_hop: IpAddr) -> Action {
        match next_hop {
            IpAddr::V4(address) => action.with_next_hop4(address.to_bits()),
            IpAddr::V6(_) => action,
        }
    }

    fn action_to_gateway(action: Action) -> Action {
        Self::action_with_next_hop(action, GATEWAY_ENDPOINT4.into())
    }

    fn encode(prefix: Option<Ipv4Net>, words: &mut Vec<u64>) {
        words.push(list::encode_prefix4(prefix));
    }

    fn decode(words: &[u64]) -> Vec<Option<Ipv4Net>> {
        table::decode_list4(words)
    }

    fn blank() -> SmallTable4 {
        SmallTable4 {
            header: [0; _],
            starts: [0; _],
            leaves: [0; _],
            actions: [[0; _]; _],
        }
    }

    fn header(small: &SmallTable4) -> &[u32; HEADER_WORDS] {
        &small.header
    }

    fn actions(small: &SmallTable4) -> Vec<Action> {
        small.actions.into_iter().map(Action).collect()
    }

    fn build(
        routes: &[RouteEntry<Ipv4Net>],
        actions: &[Action],
        stride: u32,
        generation: u32,
    ) -> Result<Built<SmallTable4>, TableError> {
        Ok(match table::build4(routes, actions, stride, generation)? {
            Table4::Small(small) => Built::Small(small),
            Table4::Directory(directory) => Built::Big(directory.blocks, Some(directory.editor)),
        })
    }

    fn verify_small(
        held: &SmallTable4,
        routes: &[RouteEntry<Ipv4Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<Drift, TableError> {
        table::verify_small4(held, routes, actions, stride)
    }

    fn verify_big(
        live: &Live,
        routes: &[RouteEntry<Ipv4Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<Drift, TableError> {
        table::verify_directory(live, routes, actions, stride)
    }

    fn adopt_editor(live: &Live) -> Option<DirectoryEditor> {
        // A damaged one is found by the comparison that follows, and built anew.
        DirectoryEditor::adopt(live).ok()
    }

    fn edit(
        editor: &mut DirectoryEditor,
        live: &mut Live,
        routes: &[RouteEntry<Ipv4Net>],
        actions: &[Action],
        changed: &[Ipv4Net],
    ) -> Result<Edited, EditError> {
        editor.apply(live, routes, actions, changed)
    }
}

impl Family for V6 {
    const AT: usize = 1;
    const NUMBER: u32 = 6;
    const NAME: &'static str = "IPv6";
    const LIST_WORDS: usize = list::WORDS6;
    const BIG_FORM: TableForm = TableForm::Tree;
    type Net = Ipv6Net;
    type Small = SmallTable6;

    fn image(subnet: &SubnetImage) -> &TableImage<Ipv6Net> {
        &subnet.v6
    }

    fn action_with_next_hop(action: Action, next_hop: IpAddr) -> Action {
        match next_hop {
            IpAddr::V4(_) => action,
            IpAddr::V6(address) => action.with_next_hop6(Addr6::from_bits(address.to_bits())),
        }
    }

    fn action_to_gateway(action: Action) -> Action {
        Self::action_with_next_hop(action, GATEWAY_ENDPOINT6.into())
    }

    fn encode(prefix: Option<Ipv6Net>, words: &mut Vec<u64>) {
        words.extend(list::encode_prefix6(prefix));
    }

    fn decode(words: &[u64]) -> Vec<Option<Ipv6Net>> {
        table::decode_list6(words)
    }

    fn blank() -> SmallTable6 {
        let none = Addr6 { hi: 0, lo: 0 };
        SmallTable6 {
            header: [0; _],
            starts: [none; _],
            leaves: [0; _],
            actions: [[0; _]; _],
        }
    }

    fn header(small: &SmallTable6) -> &[u32; HEADER_WORDS] {
        &small.header
    }

    fn actions(small: &SmallTable6) -> Vec<Action> {
        small.actions.into_iter().map(Action).collect()
    }

    fn build(
        routes: &[RouteEntry<Ipv6Net>],
        actions: &[Action],
        stride: u32,
        generation: u32,
    ) -> Result<Built<SmallTable6>, TableError> {
        Ok(match table::build6(routes, actions, stride, generation)? {
            Table6::Small(small) => Built::Small(small),
            Table6::Tree(blocks) => Built::Big(blocks, None),
        })
    }

    fn verify_small(
        held: &SmallTable6,
        routes: &[RouteEntry<Ipv6Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<Drift, TableError> {
        table::verify_small6(held, routes, actions, stride)
    }

    fn verify_big(
        live: &Live,
        routes: &[RouteEntry<Ipv6Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<Drift, TableError> {
        table::verify_tree(&live.blocks(), routes, actions, stride)
    }

    fn adopt_editor(_live: &Live) -> Option<DirectoryEditor> {
        None
    }

    fn edit(
        _editor: &mut DirectoryEditor,
        _live: &mut Live,
        _routes: &[RouteEntry<Ipv6Net>],
        _actions: &[Action],
        _changed: &[Ipv6Net],
    ) -> Result<Edited, EditError> {
        // A tree is never edited; the caller builds it anew.
        Err(EditError::OutOfBlocks)
    }
}
