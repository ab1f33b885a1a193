//! Diffie-Hellman modulo the primes of RFC 2409 and RFC 3526, in constant time.

use aws_lc_rs::rand;
use crypto_bigint::{
    U320, U1024, U2048, Uint,
    modular::{ConstMontyForm, ConstMontyParams},
};
use zeroize::{Zeroize, Zeroizing};

use super::exchange::ExchangeError;
use crate::secret::Secret;

/// What RFC 3526, 8 asks for a 2048-bit prime at its larger estimate of the strength; more than
/// enough for the 1024-bit one.
type Exponent = U320;
const EXPONENT_BYTES: usize = 40;

crypto_bigint::const_monty_params!(
    Prime1024,
    U1024,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    "The prime of the second Oakley group (RFC 2409, 6.2)."
);
crypto_bigint::const_monty_params!(
    Prime2048,
    U2048,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    "The prime of the 2048-bit MODP group (RFC 3526, 3)."
);

/// A private exponent modulo `P`.
pub(super) struct ModpKey<P, const LIMBS: usize> {
    exponent: Zeroizing<Exponent>,
    prime: std::marker::PhantomData<P>,
}
pub(super) type Modp1024Key = ModpKey<Prime1024, { U1024::LIMBS }>;
pub(super) type Modp2048Key = ModpKey<Prime2048, { U2048::LIMBS }>;

impl<P: ConstMontyParams<LIMBS>, const LIMBS: usize> ModpKey<P, LIMBS> {
    pub(super) fn generate() -> Result<Self, ExchangeError> {
        let mut bytes = Zeroizing::new([0; EXPONENT_BYTES]);
        rand::fill(bytes.as_mut()).map_err(|_| ExchangeError::Library)?;
        Ok(Self::from_exponent(&bytes))
    }

    fn from_exponent(bytes: &[u8; EXPONENT_BYTES]) -> Self {
        Self {
            exponent: Zeroizing::new(Exponent::from_be_slice(bytes)),
            prime: std::marker::PhantomData,
        }
    }

    pub(super) fn public(&self) -> Vec<u8> {
        self.raise(&Uint::from_u8(2))
            .to_be_bytes()
            .as_ref()
            .to_vec()
    }

    /// `peer` is as long as the prime.
    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, ExchangeError> {
        let peer = Uint::<LIMBS>::from_be_slice(peer);
        let largest = P::PARAMS.modulus().wrapping_sub(&Uint::ONE);
        // 1 < value < p - 1: these primes are safe ones, so nothing else has a small order
        // (RFC 6989, 2.1). The value is public.
        if peer <= Uint::ONE || peer >= largest {
            return Err(ExchangeError::Invalid);
        }
        let mut secret = self.raise(&peer);
        let mut bytes = secret.to_be_bytes();
        let out = Secret::new(bytes.as_ref());
        secret.zeroize();
        bytes.zeroize();
        Ok(out)
    }

    fn raise(&self, base: &Uint<LIMBS>) -> Uint<LIMBS> {
        ConstMontyForm::<P, LIMBS>::new(base)
            .pow(&self.exponent)
            .retrieve()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prime_facts<P: ConstMontyParams<LIMBS>, const LIMBS: usize>() {
        let one = ConstMontyForm::<P, LIMBS>::new(&Uint::ONE);
        let minus_one = P::PARAMS.modulus().wrapping_sub(&Uint::ONE);
        let q = minus_one.wrapping_shr(1);
        for base in [3_u8, 5, 7, 11] {
            let base = ConstMontyForm::<P, LIMBS>::new(&Uint::from_u8(base));
            assert_eq!(base.pow(&minus_one), one, "p is prime");
        }
        let two = ConstMontyForm::<P, LIMBS>::new(&Uint::from_u8(2));
        assert_eq!(two.pow(&q), one, "2 generates the subgroup of prime order");
    }

    #[test]
    fn the_primes_are_primes_and_two_is_in_the_subgroup() {
        prime_facts::<Prime1024, { U1024::LIMBS }>();
        prime_facts::<Prime2048, { U2048::LIMBS }>();
    }

    #[test]
    fn values_outside_the_group_are_refused() {
        let key = Modp2048Key::generate().unwrap();
        let p = Prime2048::PARAMS.modulus().as_ref().to_owned();
        let bad = [
            Uint::ZERO,
            Uint::ONE,
            p.wrapping_sub(&Uint::ONE),
            p,
            p.wrapping_add(&Uint::from_u8(2)),
            Uint::MAX,
        ];
        for value in bad {
            let peer = value.to_be_bytes();
            assert_eq!(key.agree(peer.as_ref()), Err(ExchangeError::Invalid));
        }
        for value in [Uint::from_u8(2), p.wrapping_sub(&Uint::from_u8(2))] {
            assert!(key.agree(value.to_be_bytes().as_ref()).is_ok());
        }
    }

    #[test]
    fn a_secret_keeps_its_leading_zeros() {
        // 2^3 modulo p is 8: everything in front of it stays (RFC 7296, 2.14).
        let mut three = [0; EXPONENT_BYTES];
        three[EXPONENT_BYTES - 1] = 3;
        let key = Modp1024Key::from_exponent(&three);
        let mut two = [0; 128];
        two[127] = 2;
        let mut eight = [0; 128];
        eight[127] = 8;
        assert_eq!(key.agree(&two).unwrap().expose(), eight);
        assert_eq!(key.public(), eight);
    }

    /// Made with Python's `pow`.
    #[test]
    fn powers_are_those_of_another_implementation() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
                .collect()
        };
        let exponent =
            hex("0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f101112131415161718");
        let key = Modp1024Key::from_exponent(&exponent.try_into().unwrap());
        let public = "5f1dd5c2c0e707f8c05145e878620d6d8d2d368fb8a41837ef861c18e661c495\
                      5e51b61205f8d4f0ff8a3921e84f143b04f0a36ef5283e597f1873c37a40d5ae\
                      28e724a151c4cda15d4a523d14c175dbd6b3a48a2c87942173def5d4af53f37e\
                      01fb1333f43867fd03d39c9fa8241d0115f9cd6cf8eb37350ce1d2fa43570f32";
        let peer = "bcf0c8ba5d51161b217b0c8ff79b99d2ee73e0fea233fbb7bea874389c8056f9\
                    4fe86e0f545b5dc5a2f94feba7e895fc06677555797a0f950ba2087393254a4d\
                    ebc2a9e4acfa10a36b13827e89b98432d8cba3c37be9fde38d344bb04b0369e3\
                    05b320c9c6d78ac2195694b0a38fc21c1128f8f786aaa6a3ac86f0989951a929";
        let shared = "b13af36f02ea0986616fff3657067cfca35ac0dc08eea8d8bd06cec9c84d8535\
                      85108ed806b828c6ef0346819d1c149bef50e7ca2016a2d08dea0be6d1806920\
                      7618ba429821d24ef8e84c72d98f8cf217d9707e85ecb6d9049350c2efa77d25\
                      a5e0953e66c22ad502194ac18c4a75bd524fae05683199d52ab401c0e9d5e73f";
        assert_eq!(key.public(), hex(public));
        assert_eq!(key.agree(&hex(peer)).unwrap().expose(), hex(shared));
    }
}
