//! Both providers say the same, of true packets and of forged ones.

use proptest::{collection::vec, prelude::*};

use crate::crypto::{Aead, AeadAlgorithm, AesCbc, CryptoError, aws_lc, portable};

fn algorithm() -> impl Strategy<Value = AeadAlgorithm> {
    prop::sample::select(AeadAlgorithm::ALL.to_vec())
}

proptest! {
    #[test]
    fn sealing_is_the_same_and_each_opens_the_others(
        algorithm in algorithm(),
        key: [u8; 32],
        nonce: [u8; 12],
        aad in vec(any::<u8>(), 0..40),
        plain in vec(any::<u8>(), 0..3000),
    ) {
        let key = &key[..algorithm.key_len()];
        let ours = aws_lc::AeadKey::new(algorithm, key).unwrap();
        let theirs = portable::AeadKey::new(algorithm, key).unwrap();
        let (mut one, mut one_tag) = (plain.clone(), [0; 16]);
        let (mut other, mut other_tag) = (plain.clone(), [0; 16]);
        ours.seal_in_place(&nonce, &aad, &mut one, &mut one_tag).unwrap();
        theirs.seal_in_place(&nonce, &aad, &mut other, &mut other_tag).unwrap();
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one_tag, other_tag);
        theirs.open_in_place(&nonce, &aad, &mut one, &one_tag).unwrap();
        ours.open_in_place(&nonce, &aad, &mut other, &other_tag).unwrap();
        prop_assert_eq!(&one, &plain);
        prop_assert_eq!(&other, &plain);
    }

    #[test]
    fn a_flipped_bit_is_refused_by_both(
        algorithm in algorithm(),
        key: [u8; 32],
        nonce: [u8; 12],
        aad in vec(any::<u8>(), 1..40),
        plain in vec(any::<u8>(), 1..300),
        place: prop::sample::Index,
        bit in 0..8u32,
    ) {
        let key = &key[..algorithm.key_len()];
        let ours = aws_lc::AeadKey::new(algorithm, key).unwrap();
        let theirs = portable::AeadKey::new(algorithm, key).unwrap();
        let (mut data, mut tag) = (plain, [0; 16]);
        ours.seal_in_place(&nonce, &aad, &mut data, &mut tag).unwrap();
        let (mut nonce, mut aad) = (nonce, aad);
        // Somewhere in what is authenticated: nonce, associated data, ciphertext or tag.
        let mut at = place.index(12 + aad.len() + data.len() + 16);
        for part in [&mut nonce[..], &mut aad, &mut data, &mut tag] {
            if let Some(byte) = part.get_mut(at) {
                *byte ^= 1 << bit;
                break;
            }
            at -= part.len();
        }
        let forged = Err(CryptoError::Integrity);
        prop_assert_eq!(ours.open_in_place(&nonce, &aad, &mut data.clone(), &tag), forged);
        prop_assert_eq!(theirs.open_in_place(&nonce, &aad, &mut data, &tag), forged);
    }

    #[test]
    fn cbc_is_the_same(
        key_len in prop::sample::select(vec![16usize, 24, 32]),
        key: [u8; 32],
        iv: [u8; 16],
        blocks in vec(any::<[u8; 16]>(), 0..100),
    ) {
        let plain = blocks.concat();
        let ours = aws_lc::CbcKey::new(&key[..key_len]).unwrap();
        let theirs = portable::CbcKey::new(&key[..key_len]).unwrap();
        let (mut one, mut other) = (plain.clone(), plain.clone());
        ours.encrypt_in_place(&iv, &mut one).unwrap();
        theirs.encrypt_in_place(&iv, &mut other).unwrap();
        prop_assert_eq!(&one, &other);
        theirs.decrypt_in_place(&iv, &mut one).unwrap();
        ours.decrypt_in_place(&iv, &mut other).unwrap();
        prop_assert_eq!(&one, &plain);
        prop_assert_eq!(&other, &plain);
    }
}

#[test]
fn both_refuse_what_does_not_fit() {
    fn refusals<A: Aead, C: AesCbc>() {
        for algorithm in AeadAlgorithm::ALL {
            let wanted = algorithm.key_len();
            for given in [0, wanted - 1, wanted + 1] {
                assert_eq!(
                    A::new(algorithm, &vec![1; given]).err(),
                    Some(CryptoError::KeyLength { given, wanted })
                );
            }
        }
        for given in [0, 15, 17, 33] {
            assert!(C::new(&vec![1; given]).is_err());
        }
        let key = C::new(&[1; 16]).unwrap();
        for length in [1, 15, 17] {
            let part = Err(CryptoError::DataLength);
            assert_eq!(key.encrypt_in_place(&[0; 16], &mut vec![0; length]), part);
            assert_eq!(key.decrypt_in_place(&[0; 16], &mut vec![0; length]), part);
        }
    }
    refusals::<aws_lc::AeadKey, aws_lc::CbcKey>();
    refusals::<portable::AeadKey, portable::CbcKey>();
}
