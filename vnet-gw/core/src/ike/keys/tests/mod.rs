//! Published vectors, and the properties that hold between the two sides.

mod strongswan;

use super::{derive::suite_key_len, *};
use crate::{
    ike::{
        Group, Identity, IkeCipher, IkeIntegrity, IkeProposal, Prf,
        codec::{ExchangeType, Header, Inner, Payload},
    },
    sa::{EspIntegrity, EspSuite},
    secret::Secret,
};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

struct PrfPlus {
    prf: Prf,
    key: &'static str,
    seed: &'static str,
    out: &'static str,
}

/// NIST CAVP's vectors for SP 800-135's IKEv2 key derivation, as strongSwan's test suite
/// (`test_vectors/kdf_prf_plus.c`) has them: SKEYSEED, Ni | Nr | SPIi | SPIr, the key material.
const PRF_PLUS: [PrfPlus; 3] = [
    PrfPlus {
        prf: Prf::HmacSha2_256,
        key: "37fde90b81d63692620f67367b62092e3efdc6a03509137d731004767ff35010",
        seed: "ed80dc79912c32a935fb6d1a3feac07847c1858efc932ea4606fd05609624002",
        out: "63d018a08f7a29daa7d1f92cb63f45fa39bbaf5e5f1a78139613bb891e3e6bf9\
              d0448f7c74e05b4c1a25c0b61e62c875e852f287e192d4ae536112db51972164\
              00bd5e123470efc15f53161865fe8b19a1416518a157d651ecd2caddab6a9eae\
              6a27a55af088218d5156edaa9789f934d9836ed43edffda553822202ff9f7d48\
              60ca72e0",
    },
    PrfPlus {
        prf: Prf::HmacSha2_384,
        key: "54436a9ea95d6ff79b967f4b07f6de976a376e8ea26aa9574709afc60243c9c1\
              41da4ca0e158e627a75ea87f6feb07ef",
        seed: "d672b0bc852829b93509f3b7247063640f9a016d7b22223c85f710daf8b982d8",
        out: "10b00a654643b3b985764f86e23ef62431122fcc96de16e338a372bee49391db\
              1f83a7358c080380abbf4af47cdb83b9530343168f7dbc9221260e1546c6b383\
              e2235d2705a727f0b41aebf6a1b4c61cb460660152a17ba74c20d5191ba68417\
              94945270d829587b7f3294639ea7b77149e1d07230ac16e0cd5ab236fa3212bd\
              569ee70f",
    },
    PrfPlus {
        prf: Prf::HmacSha2_512,
        key: "daf9bd6f2f912da553867966af386e67909a8df0ca7e84b83b355cb7d7f1026f\
              17d8ea34b5d57fd0d1ba389528fca1e81d1c8ce511b28a2458241143fee30ccc",
        seed: "df7931db9b429e10b8aa8e4d460423939ba40af9157f47925383c7cd3d1046e6",
        out: "919a75deaeccbd393bebc89615f8a215edb7073b2319d86740221eee7a2deb92\
              509044d7e61fcb1bf9676b3881c7ced49e6bba1549da3113601677a2445d91ac\
              13a597335782dd3a9cf496d9e19b932f27dd35e36f8070d232d0a3b3f4c4a0b4\
              ba4470778dc090f31f52ab1b6d81e4c7dfb35063ad96c327adcdbde714cc9a6b\
              5ef049b8",
    },
];

#[test]
fn prf_plus_gives_the_published_key_material() {
    for vector in PRF_PLUS {
        let (seed, out) = (hex(vector.seed), hex(vector.out));
        let (a, b) = seed.split_at(9);
        let all = vector.prf.plus(&hex(vector.key), &[a, b], out.len());
        assert_eq!(all.expose(), out);
        for len in [0, 1, vector.prf.output_len(), out.len() - 1] {
            let some = vector.prf.plus(&hex(vector.key), &[&seed], len);
            assert_eq!(some.expose(), &out[..len]);
        }
    }
}

/// NIST CAVP's IKEv2 vector with SHA-1, as libreswan's tests have it (`test_prf.c` and the notes of
/// its CAVS program): every key that IKEv2 derives.
mod cavp {
    use super::*;

    pub(super) const PROPOSAL: IkeProposal = IkeProposal {
        cipher: IkeCipher::AesCbc {
            key_bits: 128,
            integrity: IkeIntegrity::HmacSha1_96,
        },
        prf: Prf::HmacSha1,
        group: Group::Modp1024,
    };
    pub(super) const NI: &str = "32b50d5f4a3763f3";
    pub(super) const NR: &str = "9206a04b26564cb1";
    pub(super) const SPI_I: u64 = 0x34c9_e7c1_8886_8785;
    pub(super) const SPI_R: u64 = 0x3ff7_7d76_0d2b_2199;
    pub(super) const G_IR: &str =
        "4b2c1f971981a8ad8d0abeafabf38cf75fc8349c148142465ed9c8b516b8be52";
    pub(super) const G_IR_NEW: &str =
        "863f3c9d06efd39d2b907b97f8699e5dd5251ef64a2a176f36ee40c87d4f9330";
    pub(super) const SKEYSEED: &str = "a9a7b222b59f8f48645f28a1db5b5f5d7479cba7";
    pub(super) const DKM: &str = "a14293677cc80ff8f9cc0eee30d895da9d8f405666e30ef0dfcb63c634a46002\
          a2a63080e514a062768b76606f9fa5e992204fc5a670bde3f10d6b027113936a\
          5c55b648a194ae587b0088d52204b702c979fa280870d2ed41efa9c549fd1119\
          8af1670b143d384bd275c5f594cf266b05ebadca855e4249520a441a81157435\
          a7a56cc4";
    /// The first 72 of 132 bytes, which are AES-128 and SHA-1 both ways.
    pub(super) const CHILD: &str = "8059e3ee8810e6c3a91bc8bcd2a7a41151b8d0e6ae239c7b38093ad85ef4c581\
          1a8e7b5d1cdabd9560b2d5e092d1f24e2d4b85eccdf0ad0dc9abd94b51ee7181\
          4ca6dbc8bb51b630";
    pub(super) const CHILD_DH: &str = "bb43244c1860ad65ee1e211ffe8bb3661750c8f89cb9f547df7f4fa61d373016\
          28190e38c66232eab4b3ab14c400a5197dd3730ed4820a8a10394d51e1c04000\
          52f63ebd36b0e7ef";
    pub(super) const SKEYSEED_REKEY: &str = "63e81194946ebd05df7df5ebf5d8750056bf1f1d";

    pub(super) fn keys() -> IkeKeys {
        let (nonce_i, nonce_r) = (hex(NI), hex(NR));
        IkeKeys::initial(
            PROPOSAL,
            &Secret::new(hex(G_IR)),
            &exchanged(&nonce_i, &nonce_r),
        )
    }

    pub(super) fn exchanged<'a>(nonce_i: &'a [u8], nonce_r: &'a [u8]) -> Exchanged<'a> {
        Exchanged {
            nonce_i,
            nonce_r,
            spi_i: SPI_I,
            spi_r: SPI_R,
        }
    }
}

#[test]
fn keys_of_an_ike_sa_are_the_published_ones() {
    let (ni, nr) = (hex(cavp::NI), hex(cavp::NR));
    let skeyseed = Prf::HmacSha1.compute(&[ni, nr].concat(), &[&hex(cavp::G_IR)]);
    assert_eq!(skeyseed.expose(), hex(cavp::SKEYSEED));
    assert_eq!(cavp::keys().concatenated(), hex(cavp::DKM));
}

#[test]
fn keys_of_child_sas_are_the_published_ones() {
    let suite = EspSuite::AesCbc {
        key_bits: 128,
        integrity: EspIntegrity::HmacSha1_96,
    };
    let (ni, nr) = (hex(cavp::NI), hex(cavp::NR));
    let keys = cavp::keys();
    let (to_r, to_i) = keys.child(suite, &[], &ni, &nr);
    assert_eq!([to_r.expose(), to_i.expose()].concat(), hex(cavp::CHILD));
    let fresh = [Secret::new(hex(cavp::G_IR_NEW))];
    let (to_r, to_i) = keys.child(suite, &fresh, &ni, &nr);
    assert_eq!([to_r.expose(), to_i.expose()].concat(), hex(cavp::CHILD_DH));
}

#[test]
fn keys_of_a_rekeyed_ike_sa_come_from_the_published_seed() {
    let (ni, nr) = (hex(cavp::NI), hex(cavp::NR));
    let with = cavp::exchanged(&ni, &nr);
    // Another suite, so that the old PRF and the new one cannot be mixed up.
    let proposal = IkeProposal {
        cipher: IkeCipher::Aes256Gcm,
        prf: Prf::HmacSha2_384,
        group: Group::Ecp384,
    };
    let new = cavp::keys().rekeyed(proposal, &Secret::new(hex(cavp::G_IR_NEW)), &[], &with);
    let seed = [
        ni.as_slice(),
        &nr,
        &cavp::SPI_I.to_be_bytes(),
        &cavp::SPI_R.to_be_bytes(),
    ]
    .concat();
    let right = Prf::HmacSha2_384.plus(&hex(cavp::SKEYSEED_REKEY), &[&seed], 3 * 48 + 2 * 36);
    assert_eq!(new.concatenated(), right.expose());
}

/// RFC 9370, 2.2.2 and 2.2.4 written out.
#[test]
fn additional_key_exchanges_change_the_keys_as_the_rfc_says() {
    let (ni, nr) = (hex(cavp::NI), hex(cavp::NR));
    let with = cavp::exchanged(&ni, &nr);
    let keys = cavp::keys();
    let sk_d = hex(&cavp::DKM[..40]);
    let extra = Secret::new([9; 32]);
    let seed = [
        ni.as_slice(),
        &nr,
        &cavp::SPI_I.to_be_bytes(),
        &cavp::SPI_R.to_be_bytes(),
    ]
    .concat();

    let after = keys.after_additional(&extra, &with);
    let skeyseed = Prf::HmacSha1.compute(&sk_d, &[&[9; 32], &ni, &nr]);
    let right = Prf::HmacSha1.plus(skeyseed.expose(), &[&seed], 132);
    assert_eq!(after.concatenated(), right.expose());

    let shared = Secret::new([7; 32]);
    let rekeyed = keys.rekeyed(cavp::PROPOSAL, &shared, std::slice::from_ref(&extra), &with);
    let skeyseed = Prf::HmacSha1.compute(&sk_d, &[&[7; 32], &ni, &nr, &[9; 32]]);
    let right = Prf::HmacSha1.plus(skeyseed.expose(), &[&seed], 132);
    assert_eq!(rekeyed.concatenated(), right.expose());

    let (to_r, _) = keys.child(EspSuite::Aes128Gcm, &[shared, extra], &ni, &nr);
    let right = Prf::HmacSha1.plus(&sk_d, &[&[7; 32], &ni, &nr, &[9; 32]], 20);
    assert_eq!(to_r, right);
}

#[test]
fn key_material_of_an_esp_sa_is_as_long_as_its_suite_says() {
    let (ni, nr) = (hex(cavp::NI), hex(cavp::NR));
    for (suite, length) in [
        (EspSuite::Aes128Gcm, 20),
        (EspSuite::Aes192Gcm, 28),
        (EspSuite::Aes256Gcm, 36),
        (EspSuite::ChaCha20Poly1305, 36),
        (
            EspSuite::AesCbc {
                key_bits: 256,
                integrity: EspIntegrity::HmacSha2_384_192,
            },
            80,
        ),
    ] {
        assert_eq!(suite_key_len(suite), length);
        let (a, b) = cavp::keys().child(suite, &[], &ni, &nr);
        assert_eq!((a.len(), b.len()), (length, length));
        assert_ne!(a, b);
    }
}

/// RFC 7296, 2.15 written out.
#[test]
fn auth_is_what_the_rfc_says() {
    let identity = Identity::Ip("192.0.2.7".parse().unwrap());
    let (key, sk_p) = (Secret::new(*b"made-up"), Secret::new([5; 32]));
    let mut signed = SignedOctets {
        message: b"IKE_SA_INIT",
        peer_nonce: &[1; 16],
        identity: &identity,
        sk_p: &sk_p,
        intermediate: None,
    };
    let prf = Prf::HmacSha2_256;
    let auth = shared_key_auth(prf, &key, &signed);
    let padded = prf.compute(b"made-up", &[b"Key Pad for IKEv2"]);
    let maced_id = prf.compute(&[5; 32], &[&[1, 0, 0, 0, 192, 0, 2, 7]]);
    let octets: [&[u8]; 3] = [b"IKE_SA_INIT", &[1; 16], maced_id.expose()];
    assert_eq!(auth, prf.compute(padded.expose(), &octets));

    assert!(verify_shared_key_auth(prf, &key, &signed, auth.expose()));
    assert!(!verify_shared_key_auth(
        prf,
        &Secret::new(*b"made-uq"),
        &signed,
        auth.expose()
    ));
    assert!(!verify_shared_key_auth(
        prf,
        &key,
        &signed,
        &auth.expose()[..31]
    ));
    assert!(!verify_shared_key_auth(prf, &key, &signed, &[]));
    signed.message = b"IKE_SA_INIU";
    assert!(!verify_shared_key_auth(prf, &key, &signed, auth.expose()));
}

/// RFC 9242, 3.3.2 written out.
#[test]
fn intermediate_exchanges_are_signed_as_the_rfc_says() {
    let prf = Prf::HmacSha2_256;
    let (sk_pi, sk_pr) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let inner = Inner::encode(&[Payload::Nonce(vec![7; 16])]);
    let mut header = Header {
        initiator_spi: 0x0102_0304_0506_0708,
        responder_spi: 0x1112_1314_1516_1718,
        exchange: ExchangeType::IKE_INTERMEDIATE,
        from_initiator: true,
        response: false,
        message_id: 1,
    };
    let octets = |flags: u8| {
        let mut octets = hex("01020304050607081112131415161718");
        // Header, encrypted payload's header, nonce payload: 28 + 4 + 20.
        octets.extend_from_slice(&[46, 0x20, 43, flags, 0, 0, 0, 1, 0, 0, 0, 52]);
        octets.extend_from_slice(&[40, 0, 0, 24, 0, 0, 0, 20]);
        octets.extend_from_slice(&[7; 16]);
        octets
    };
    assert_eq!(inner.intermediate_octets(&header), octets(0x08));

    let mut chains = IntAuth::default();
    chains.update(prf, &sk_pi, &header, &inner);
    header.from_initiator = false;
    header.response = true;
    chains.update(prf, &sk_pr, &header, &inner);
    let (key, identity) = (Secret::new(*b"made-up"), Identity::KeyId(b"x".to_vec()));
    let signed = SignedOctets {
        message: b"first",
        peer_nonce: &[1; 16],
        identity: &identity,
        sk_p: &sk_pi,
        intermediate: Some((&chains, 2)),
    };
    let padded = prf.compute(b"made-up", &[b"Key Pad for IKEv2"]);
    let maced_id = prf.compute(&[1; 32], &[&[11, 0, 0, 0, b'x']]);
    let of_i = prf.compute(&[1; 32], &[&octets(0x08)]);
    let of_r = prf.compute(&[2; 32], &[&octets(0x20)]);
    let parts: [&[u8]; 6] = [
        b"first",
        &[1; 16],
        maced_id.expose(),
        of_i.expose(),
        of_r.expose(),
        &[0, 0, 0, 2],
    ];
    assert_eq!(
        shared_key_auth(prf, &key, &signed),
        prf.compute(padded.expose(), &parts)
    );
}

#[test]
fn a_nat_shows_in_the_hash() {
    let hash = |ip: &str| nat_detection_hash(1, 2, ip.parse().unwrap());
    assert_ne!(hash("192.0.2.1:500"), hash("192.0.2.1:501"));
    assert_ne!(hash("192.0.2.1:500"), hash("192.0.2.2:500"));
    assert_eq!(hash("192.0.2.1:500"), hash("[::ffff:192.0.2.1]:500"));
    assert_ne!(
        hash("[2001:db8::1]:500"),
        nat_detection_hash(1, 3, "[2001:db8::1]:500".parse().unwrap())
    );
    // SHA-1 of 16 bytes of SPIs, the address and the port, by sha1sum.
    assert_eq!(
        hash("192.0.2.1:500").to_vec(),
        hex("e551650fd0b1c24a937f8f251b195b30fec944e4")
    );
}

#[test]
fn a_cookie_is_good_for_one_sender_and_request_only() {
    let (secret, peer) = (Secret::new([3; 32]), "192.0.2.1:500".parse().unwrap());
    let cookie = make_cookie(7, &secret, &[1; 32], peer, 9);
    assert_eq!(cookie_version(&cookie), Some(7));
    assert!(verify_cookie(&cookie, &secret, &[1; 32], peer, 9));
    let other = "192.0.2.2:500".parse().unwrap();
    assert!(!verify_cookie(&cookie, &secret, &[1; 32], other, 9));
    assert!(!verify_cookie(&cookie, &secret, &[1; 31], peer, 9));
    assert!(!verify_cookie(&cookie, &secret, &[1; 32], peer, 8));
    assert!(!verify_cookie(
        &cookie,
        &Secret::new([4; 32]),
        &[1; 32],
        peer,
        9
    ));
    assert!(!verify_cookie(&cookie[..35], &secret, &[1; 32], peer, 9));
    let mut other_version = cookie;
    other_version[3] ^= 1;
    assert!(!verify_cookie(&other_version, &secret, &[1; 32], peer, 9));
    assert_eq!(cookie_version(&[1, 2, 3]), None);
}
