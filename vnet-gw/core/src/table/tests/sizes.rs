//! What tables take of the kernel's memory, and, printed (`--nocapture`, `--release`), of time.

use std::time::Instant;

use vnet_gw_common::{
    Counter,
    endpoint::Endpoint,
    table::{SmallTable4, counter_elements},
};

use super::*;
use crate::table::{
    DirectoryEditor, RouteNumbers, build_endpoints4, build4, build6, encode_list4, verify_directory,
};

const PAGE: usize = 4096;
const CPUS: u32 = 2;
const MB: usize = 1_000_000;

/// An array map that user space can map: its head has a page of its own.
fn mmapable(bytes: usize) -> usize {
    PAGE + bytes.next_multiple_of(PAGE)
}

fn counters(stride: u32) -> usize {
    mmapable(counter_elements(CPUS, stride, 4) as usize * size_of::<Counter>())
}

fn kernel_memory(table: &Table4, stride: u32) -> usize {
    let table = match table {
        // Not to be mapped; the head has the rest of its page.
        Table4::Small(_) => size_of::<SmallTable4>().next_multiple_of(PAGE),
        Table4::Directory(directory) => mmapable(size_of_val(&directory.blocks[..])),
    };
    table + counters(stride)
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    eprintln!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

#[test]
fn a_thousand_tables_of_fifty_routes_take_less_than_20_mb() {
    let nets = bgp_nets(50_000);
    let mut bytes = 0;
    for chunk in 0..1000 {
        // Spread over the address space: as many intervals as 50 routes can have.
        let nets: Vec<Ipv4Net> = nets.iter().copied().skip(chunk).step_by(1000).collect();
        assert_eq!(nets.len(), 50);
        let mut numbers = RouteNumbers::default();
        numbers.assign(nets.iter().copied()).unwrap();
        let routes = numbered(&nets, 20);
        let table = build4(&routes, &some_actions(20), numbers.stride(), 1).unwrap();
        bytes += kernel_memory(&table, numbers.stride());
    }
    assert!(bytes < 20 * MB, "{bytes} bytes");
}

/// Prefix lengths as in [`bgp_length`]: 59 % /24, 36 % shorter, 5 % longer.
#[test]
fn a_million_routes_take_less_than_150_mb() {
    let nets = bgp_nets(1_000_000);
    let mut numbers = RouteNumbers::default();
    timed("number 1,000,000 routes", || {
        numbers.assign(nets.iter().copied())
    })
    .unwrap();
    let change = timed("… again", || numbers.assign(nets.iter().copied())).unwrap();
    assert!(change.added.is_empty() && change.freed.is_empty());
    let stride = numbers.stride();
    let mut routes = numbered(&nets, 100);
    let actions = some_actions(100);
    let table = timed("build", || build4(&routes, &actions, stride, 1)).unwrap();
    let bytes = kernel_memory(&table, stride);
    eprintln!(
        "memory: {} MB, of it counters {} MB",
        bytes / MB,
        counters(stride) / MB
    );
    assert!(bytes < 150 * MB, "{bytes} bytes");
    timed("list of prefixes", || encode_list4(&routes, stride));

    let Table4::Directory(mut directory) = table else {
        panic!("a million routes are many")
    };
    let blocks = &mut directory.blocks[..];
    let drift = timed("verify", || {
        verify_directory(blocks, &routes, &actions, stride)
    })
    .unwrap();
    assert!(drift.is_none(), "{drift:?}");
    let adopted = timed("adopt", || DirectoryEditor::adopt(blocks)).unwrap();
    assert_eq!(adopted.free_blocks(), directory.editor.free_blocks());
    assert_eq!(adopted.free_chunks(), directory.editor.free_chunks());

    // Another leaf for a /16 in the midst of it.
    let changed = routes
        .iter()
        .position(|r| r.prefix.prefix_len() == 16 && r.prefix.addr().octets()[0] > 100);
    let changed = &mut routes[changed.unwrap()];
    changed.action = changed.action % 100 + 1;
    let net = [changed.prefix];
    let edited = timed("edit of a /16", || {
        directory.editor.apply(blocks, &routes, &actions, &net)
    })
    .unwrap();
    assert!(edited.slots > 0 && edited.slots <= 256 + 4096, "{edited:?}");
    let drift = verify_directory(blocks, &routes, &actions, stride).unwrap();
    assert!(drift.is_none(), "{drift:?}");

    // A default route on top of them all.
    routes.insert(
        0,
        RouteEntry {
            prefix: net4("0.0.0.0/0"),
            route: stride - 1,
            action: 1,
        },
    );
    let net = [net4("0.0.0.0/0")];
    timed("edit of the default route", || {
        directory.editor.apply(blocks, &routes, &actions, &net)
    })
    .unwrap();
    let drift = verify_directory(blocks, &routes, &actions, stride).unwrap();
    assert!(drift.is_none(), "{drift:?}");
    let mut random = Random(3);
    for _ in 0..20 {
        let addr = random.next() as u32;
        assert_eq!(directory_leaf(blocks, addr), naive(&routes, addr));
    }
}

#[test]
fn a_hundred_thousand_routes_of_each_family() {
    let nets = bgp_nets(100_000);
    let actions = some_actions(100);
    let routes = numbered(&nets, 100);
    let table = timed("build of 100,000 IPv4 routes", || {
        build4(&routes, &actions, 1 << 17, 1)
    });
    assert!(matches!(table, Ok(Table4::Directory(_))));
    let wide = |net: &Ipv4Net| {
        let bits = u128::from(net.network().to_bits()) << 80 | 0x2001 << 112;
        Ipv6Net::new_assert(bits.into(), 16 + net.prefix_len())
    };
    let nets: Vec<Ipv6Net> = nets.iter().map(wide).collect();
    let routes = numbered(&nets, 100);
    let table = timed("build of 100,000 IPv6 routes", || {
        build6(&routes, &actions, 1 << 17, 1)
    });
    let table = table.unwrap();
    assert!(matches!(table, Table6::Tree(_)));
    for entry in routes.iter().step_by(5000) {
        let addr = entry.prefix.last();
        assert_eq!(leaf6(&table, addr), naive(&routes, addr));
    }
}

#[test]
fn endpoints_in_quantity() {
    // In debug builds a tenth, to be done soon.
    let count = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let entries: Vec<_> = (0..count)
        .map(|i| (1 + i % 50, 0x0a00_0000 + i, Endpoint::new(u64::from(i), 1)))
        .collect();
    let built = timed(&format!("{count} endpoints"), || build_endpoints4(&entries)).unwrap();
    let filled = count as usize * 2;
    assert!(built.buckets.len() * 4 >= filled && built.buckets.len() * 2 <= filled);
}
