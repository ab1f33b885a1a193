use proptest::{collection::vec, prelude::*};

use super::build::naive_sum;
use crate::packet::checksum;

proptest! {
    #[test]
    fn the_sum_is_the_naive_one(bytes in vec(any::<u8>(), 0..5000)) {
        prop_assert_eq!(checksum::fold(checksum::sum(&bytes)), naive_sum(&bytes).to_be_bytes());
    }

    #[test]
    fn parts_of_even_length_add_up(words in vec(any::<[u8; 2]>(), 1..500), rest in vec(any::<u8>(), 0..99)) {
        let (one, whole) = (words.concat(), [words.concat(), rest.clone()].concat());
        let sum = checksum::sum(&one) + checksum::sum(&rest);
        prop_assert_eq!(checksum::fold(sum), naive_sum(&whole).to_be_bytes());
    }

    #[test]
    fn a_corrected_checksum_is_that_of_the_changed_bytes(
        words in vec(any::<[u8; 2]>(), 2..50),
        at: prop::sample::Index,
        new: [u8; 2],
    ) {
        // A zero word among them keeps the sum away from the two zeros of one's complement.
        let mut words = [vec![[0x12, 0x34]], words].concat();
        let at = 1 + at.index(words.len() - 1);
        let mut field = checksum::finish(checksum::sum(&words.concat()));
        checksum::update(&mut field, words[at], new);
        words[at] = new;
        words.push(field);
        prop_assert_eq!(naive_sum(&words.concat()), 0xffff);
        prop_assert!(checksum::is_right(checksum::sum(&words.concat())));
    }
}

#[test]
fn the_largest_sum_does_not_overflow() {
    let bytes = vec![0xff; 65535 * 2];
    assert_eq!(checksum::fold(checksum::sum(&bytes)), [0xff, 0xff]);
    let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(
        checksum::fold(checksum::sum(&example)),
        [0xdd, 0xf2],
        "RFC 1071, 3"
    );
}
