//! The window against a set that remembers everything.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::build::{child, pair, seal, seal_odd, udp};
use crate::{
    esp::{OpenError, ReplayWindow, WINDOW},
    sa::EspSuite,
};

/// What RFC 4303 asks for, at leisure.
#[derive(Default)]
struct Model {
    top: u64,
    seen: BTreeSet<u64>,
}

impl Model {
    fn admits(&self, sequence: u64) -> bool {
        sequence != 0 && sequence + WINDOW > self.top && !self.seen.contains(&sequence)
    }

    fn mark(&mut self, sequence: u64) {
        self.seen.insert(sequence);
        self.top = self.top.max(sequence);
    }
}

/// Where the next packet's number lies from the highest so far.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        10 => -70..70i64,
        4 => -4200..-4000i64,
        2 => -10000..200i64,
        2 => 4000..4200i64,
        1 => 0..100_000i64,
        1 => Just(1 << 33),
    ]
}

proptest! {
    #[test]
    fn the_window_is_the_model(start in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 100), 0..1u64 << 40], steps in vec(step(), 1..400)) {
        let (mut window, mut model) = (ReplayWindow::new(), Model::default());
        if start > 0 {
            window.mark(start);
            model.mark(start);
        }
        for step in steps {
            let sequence = model.top.saturating_add_signed(step);
            prop_assert_eq!(window.admits(sequence), model.admits(sequence), "{} at {}", sequence, model.top);
            if model.admits(sequence) {
                window.mark(sequence);
                model.mark(sequence);
            }
            prop_assert_eq!(window.top(), model.top);
            prop_assert!(sequence == 0 || !window.admits(sequence));
        }
    }

    /// Every number within reach of the window is guessed from its low half.
    #[test]
    fn the_high_half_is_guessed(
        top in prop_oneof![1..1u64 << 34, Just((1 << 32) - 1), Just(1 << 32), (0..8192u64).prop_map(|low| (5 << 32) - 4096 + low)],
        distance in -4095..0x7fff_ffffi64,
    ) {
        let sequence = top.saturating_add_signed(distance);
        prop_assume!(sequence > 0);
        let mut window = ReplayWindow::new();
        window.mark(top);
        prop_assert_eq!(window.extend(sequence as u32), Some(sequence));
    }
}

#[test]
fn there_is_nothing_before_the_first_nor_after_the_last() {
    let mut window = ReplayWindow::new();
    assert!(!window.admits(0));
    assert_eq!(window.extend(u32::MAX), None);
    assert_eq!(window.extend(1), Some(1));
    window.mark(u64::MAX - 1);
    assert_eq!(window.extend(u32::MAX), Some(u64::MAX));
    assert_eq!(window.extend(5), None);
    window.mark(u64::MAX);
    assert!(!window.admits(u64::MAX));
}

#[test]
fn packets_come_once_in_any_order_and_across_the_wrap_of_the_low_half() {
    let child = child(EspSuite::Aes128Gcm, true);
    let (mut outbound, mut inbound) = pair(&child);
    let start = (3 << 32) - 2000;
    outbound.skip_to(start);
    inbound.skip_to(start);
    let mut packets: Vec<Vec<u8>> = (0..4000u32)
        .map(|index| seal(&mut outbound, &udp(false, &index.to_be_bytes())))
        .collect();
    // Reordered by up to 4000: read by columns what was written by rows.
    packets = (0..40)
        .flat_map(|column| (0..100).map(move |row| row * 40 + column))
        .map(|index| packets[index].clone())
        .collect();
    for packet in &packets {
        assert!(inbound.open(&mut packet.clone()).is_ok());
    }
    for packet in &mut packets {
        assert_eq!(inbound.open(packet), Err(OpenError::Replayed));
    }
    assert_eq!(inbound.packets(), 4000);
}

#[test]
fn without_extension_the_last_number_is_the_last() {
    let child = child(EspSuite::Aes128Gcm, false);
    let (_, mut inbound) = pair(&child);
    let mut last = seal_odd(&child, u64::from(u32::MAX) - 1, 4, &udp(false, b"last"));
    assert!(inbound.open(&mut last.clone()).is_ok());
    assert_eq!(inbound.open(&mut last), Err(OpenError::Replayed));
    let mut first = seal_odd(&child, 0, 4, &udp(false, b"first"));
    assert_eq!(inbound.open(&mut first), Err(OpenError::Replayed));
    assert!(inbound.wants_rekey());
}
