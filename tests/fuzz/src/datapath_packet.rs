//! Packets through the programs of the data path, in the kernel (`BPF_PROG_TEST_RUN`): what is held
//! against what is in [`vnet_gw_tests::mutated`]. Needs root.
//!
//! The kernel's code has no coverage counters. In their place each way that a packet took (port, hook,
//! family, verdict, route, what security groups were asked) is a counter of ours, which libFuzzer
//! looks at like its own.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU8, Ordering},
};

use vnet_gw_tests::mutated::{Feature, Mutated, mutate};

const WAYS: usize = Feature::MAX as usize + 1;

#[expect(
    unsafe_code,
    reason = "a section by whose name libFuzzer finds the counters; an array of bytes is what it wants \
              there"
)]
// SAFETY: libFuzzer reads and clears the bytes between runs, never beside one.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static TAKEN: [AtomicU8; WAYS] = [const { AtomicU8::new(0) }; WAYS];

thread_local! {
    static BED: RefCell<Option<Mutated>> = const { RefCell::new(None) };
}

/// A port, what stands beside a packet, and the packet. It ends in one verdict that is counted.
pub fn datapath_packet(data: &[u8]) {
    BED.with_borrow_mut(|bed| {
        let mutated = bed.get_or_insert_with(|| match Mutated::new() {
            Ok(mutated) => mutated,
            Err(error) => panic!("no data path to send packets into: {error:#}"),
        });
        match mutated.run(data) {
            Ok(Some(way)) => {
                if let Some(taken) = TAKEN.get(usize::from(way)) {
                    taken.store(1, Ordering::Relaxed);
                }
            }
            Ok(None) => {}
            Err(error) => panic!("{error:#}"),
        }
    });
}

/// What the packet in the first `size` bytes of `data` is changed to, there; its length.
pub fn change_packet(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut input = data.get(..size).unwrap_or_default().to_vec();
    mutate(&mut input, seed.into());
    input.truncate(max_size.min(data.len()));
    for (to, byte) in data.iter_mut().zip(&input) {
        *to = *byte;
    }
    input.len()
}
