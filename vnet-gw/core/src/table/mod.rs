//! From routes and endpoints to the bytes of the BPF tables (`vnet_gw_common::{table, endpoint}`),
//! and back.
//!
//! The order in which the parts are used for one table:
//!
//! 1. [`ActionNumbers`] and [`RouteNumbers`] turn actions and prefixes into numbers that stay the
//!    same from one configuration to the next ([`list`] reads the routes' back after a restart).
//! 2. [`build4`], [`build6`] make the table; its form follows from its size alone.
//! 3. A live [`Directory`] is changed in place by its [`DirectoryEditor`], which the build hands
//!    out and [`DirectoryEditor::adopt`] restores; every other form is built anew and swapped.
//! 4. [`verify`] compares what the kernel holds with what it should.
//!
//! [`endpoints`] stands alone: it builds the bucket arrays from (scope, address, endpoint).
//!
//! Routes come in ordered by network, then prefix length, without duplicates: the order of
//! `Ipv4Net` and `Ipv6Net` themselves when their host bits are zero.

pub mod actions;
pub mod directory;
pub mod endpoints;
mod intervals;
pub mod list;
pub mod numbers;
mod prefix;
mod small;
#[cfg(test)]
mod tests;
mod tree;
pub mod verify;

use ipnet::{Ipv4Net, Ipv6Net};
use vnet_gw_common::table::{Action, Block, Header, Leaf, SmallTable4, SmallTable6};

pub use self::{
    actions::{ActionChange, ActionNumbers},
    directory::{AdoptError, Directory, DirectoryEditor, EditError, Edited, LiveBlocks},
    endpoints::{
        Endpoints4, Endpoints6, build_endpoints4, build_endpoints6, decode_endpoints4,
        decode_endpoints6,
    },
    list::{decode_list4, decode_list6, encode_list4, encode_list6},
    numbers::{RouteChange, RouteNumbers},
    prefix::{Bits, Prefix},
    verify::{Drift, verify_directory, verify_small4, verify_small6, verify_tree},
};

/// One route of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEntry<P> {
    pub prefix: P,
    /// From 1; less than the stride of the table's counters.
    pub route: u32,
    /// From 1; index into the table's actions.
    pub action: u32,
}

impl<P> RouteEntry<P> {
    fn leaf(&self) -> u32 {
        Leaf::new(self.route, self.action).0
    }
}

/// An IPv4 table, ready for the kernel.
#[derive(Clone, Debug)]
pub enum Table4 {
    /// The one element of an inner map of `SMALL4`.
    Small(Box<SmallTable4>),
    /// The elements of an inner map of `BIG4`.
    Directory(Directory),
}

/// An IPv6 table, ready for the kernel.
#[derive(Clone, Debug)]
pub enum Table6 {
    /// The one element of an inner map of `SMALL6`.
    Small(Box<SmallTable6>),
    /// The elements of an inner map of `BIG6`.
    Tree(Vec<Block>),
}

/// Input that no table can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(
        "route {prefix}: it stands out of order or twice; give each prefix once, by network, then length"
    )]
    Unsorted { prefix: String },
    #[error(
        "route {prefix}: number {number} is not in 1..{stride}, the counters of this table; renumber its routes"
    )]
    RouteNumber {
        prefix: String,
        number: u32,
        stride: u32,
    },
    #[error("route {prefix}: action {number} is not among the table's {actions} actions")]
    ActionNumber {
        prefix: String,
        number: u32,
        actions: usize,
    },
    #[error(
        "{count} routes in one table of one family, which holds {max}; summarise prefixes or remove routes"
    )]
    TooManyRoutes { count: usize, max: u32 },
    #[error(
        "{count} different next hops in one table of one family, which holds {max}; point routes at fewer appliances or peerings"
    )]
    TooManyActions { count: usize, max: u32 },
    #[error("endpoint {address}: scope 0 marks free entries; give its VNet another number")]
    NoScope { address: std::net::IpAddr },
    #[error("endpoint {address} of scope {scope} is given twice; one NIC has an address")]
    DuplicateEndpoint {
        scope: u32,
        address: std::net::IpAddr,
    },
    #[error(
        "{count} endpoints of one family do not fit into {buckets} buckets, the largest endpoint table; use fewer NICs or addresses"
    )]
    TooManyEndpoints { count: usize, buckets: u64 },
}

/// The table of `routes` (sorted), whose action numbers index `actions` (`[0]` is
/// [`Action::NO_ROUTE`]) and whose counters have `stride` elements a CPU. Small where at most 128
/// intervals and 78 actions are in use.
pub fn build4(
    routes: &[RouteEntry<Ipv4Net>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Result<Table4, TableError> {
    check_table(routes, actions, stride)?;
    Ok(match small::build4(routes, actions, stride, generation) {
        Some(table) => Table4::Small(table),
        None => Table4::Directory(directory::build(routes, actions, stride, generation)),
    })
}

/// The same for IPv6: small where at most 128 intervals and 30 actions are in use, else a tree.
pub fn build6(
    routes: &[RouteEntry<Ipv6Net>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Result<Table6, TableError> {
    check_table(routes, actions, stride)?;
    Ok(match small::build6(routes, actions, stride, generation) {
        Some(table) => Table6::Small(table),
        None => Table6::Tree(tree::build(routes, actions, stride, generation)),
    })
}

/// The words that all forms' headers share.
fn header<P>(
    form: u32,
    family: u32,
    routes: &[RouteEntry<P>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Header {
    let mut header = Header::default();
    header.0[Header::FORM] = form;
    header.0[Header::FAMILY] = family;
    header.0[Header::STRIDE] = stride;
    header.0[Header::ACTIONS] = actions.len() as u32;
    header.0[Header::ROUTES] = routes.iter().map(|r| r.route).max().unwrap_or(0) + 1;
    header.0[Header::GENERATION] = generation;
    header
}

fn check_table<P: Prefix>(
    routes: &[RouteEntry<P>],
    actions: &[Action],
    stride: u32,
) -> Result<(), TableError> {
    if actions.len() > Leaf::MAX_ACTIONS as usize {
        let max = Leaf::MAX_ACTIONS - 1;
        return Err(TableError::TooManyActions {
            count: actions.len() - 1,
            max,
        });
    }
    if routes.len() >= Leaf::MAX_ROUTES as usize {
        let max = Leaf::MAX_ROUTES - 1;
        return Err(TableError::TooManyRoutes {
            count: routes.len(),
            max,
        });
    }
    check_routes(routes, actions.len(), stride)
}

/// Order and numbers of a run of routes.
fn check_routes<P: Prefix>(
    routes: &[RouteEntry<P>],
    actions: usize,
    stride: u32,
) -> Result<(), TableError> {
    let stride = stride.min(Leaf::MAX_ROUTES);
    let mut before = None;
    for entry in routes {
        let key = (entry.prefix.first(), entry.prefix.length());
        if before.is_some_and(|before| before >= key) {
            return Err(TableError::Unsorted {
                prefix: entry.prefix.to_string(),
            });
        }
        before = Some(key);
        if entry.route == 0 || entry.route >= stride {
            let prefix = entry.prefix.to_string();
            return Err(TableError::RouteNumber {
                prefix,
                number: entry.route,
                stride,
            });
        }
        if entry.action == 0 || entry.action as usize >= actions {
            let prefix = entry.prefix.to_string();
            return Err(TableError::ActionNumber {
                prefix,
                number: entry.action,
                actions,
            });
        }
    }
    Ok(())
}
