//! Published vectors, through both providers.

use super::hex;
use crate::crypto::{
    Aead, AeadAlgorithm, AesCbc, CryptoError, IntegrityAlgorithm, IntegrityKey, aws_lc, portable,
};

struct Case {
    algorithm: AeadAlgorithm,
    key: &'static str,
    nonce: &'static str,
    aad: &'static str,
    plain: &'static str,
    /// Ciphertext and tag.
    sealed: &'static str,
}

const CASES: [Case; 6] = [
    // draft-mcgrew-gcm-test-01, section 4: the packets of RFC 4106.
    Case {
        algorithm: AeadAlgorithm::Aes128Gcm,
        key: "4c80cdefbb5d10da906ac73c3613a634",
        nonce: "2e443b684956ed7e3b244cfe",
        aad: "000043218765432100000000",
        plain: "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
                00000000045f736970045f756470037369700963796265726369747902646b00
                0021000101020201",
        sealed: "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
                 cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
                 61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
    },
    Case {
        algorithm: AeadAlgorithm::Aes192Gcm,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c",
        nonce: "cafebabefacedbaddecaf888",
        aad: "0000a5f80000000a",
        plain: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e
                501016d075680001",
        sealed: "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0
                 315b27452144cc7795457b9652037f5318027b5b4cd7a636",
    },
    Case {
        algorithm: AeadAlgorithm::Aes256Gcm,
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
        nonce: "112233440102030405060708",
        aad: "4a2cbfe300000002",
        plain: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
                7002400020bf0000020405b40101040201020201",
        sealed: "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
                 748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49
                 15956c96",
    },
    // The cipher's own specification (McGrew and Viega), case 13: nothing at all.
    Case {
        algorithm: AeadAlgorithm::Aes256Gcm,
        key: "0000000000000000000000000000000000000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plain: "",
        sealed: "530f8afbc74536b9a963b4f1c4cb738b",
    },
    // RFC 7634, appendix A.
    Case {
        algorithm: AeadAlgorithm::ChaCha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        nonce: "a0a1a2a31011121314151617",
        aad: "0102030400000005",
        plain: "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
                0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
                2425262728292a2b2c2d2e2f303132333435363701020204",
        sealed: "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
                 14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
                 cbec163fac469b502773f6fb94e664da9165b82829f641e0
                 76aaa8266b7fb0f7b11b369907e1ad43",
    },
    // RFC 8439, 2.8.2.
    Case {
        algorithm: AeadAlgorithm::ChaCha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        nonce: "070000004041424344454647",
        aad: "50515253c0c1c2c3c4c5c6c7",
        plain: "4c616469657320616e642047656e746c656d656e206f662074686520636c6173
                73206f66202739393a204966204920636f756c64206f6666657220796f75206f
                6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73
                637265656e20776f756c642062652069742e",
        sealed: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
                 3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
                 92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
                 3ff4def08e4b7a9de576d26586cec64b6116
                 1ae10b594f09e26a7e902ecbd0600691",
    },
];

#[test]
fn aeads_make_and_open_the_published_packets() {
    fn with<A: Aead>() {
        for case in &CASES {
            let key = A::new(case.algorithm, &hex(case.key)).unwrap();
            let nonce = hex(case.nonce).try_into().unwrap();
            let (aad, plain, sealed) = (hex(case.aad), hex(case.plain), hex(case.sealed));
            let (mut data, mut tag) = (plain.clone(), [0; 16]);
            key.seal_in_place(&nonce, &aad, &mut data, &mut tag)
                .unwrap();
            assert_eq!([&data[..], &tag].concat(), sealed);
            key.open_in_place(&nonce, &aad, &mut data, &tag).unwrap();
            assert_eq!(data, plain);
        }
    }
    with::<aws_lc::AeadKey>();
    with::<portable::AeadKey>();
}

/// RFC 3602, section 4, cases 1 and 5: the second is an ESP packet around an ICMP echo.
#[test]
fn cbc_makes_and_opens_the_published_blocks() {
    fn with<C: AesCbc>() {
        for (key, iv, plain, cipher) in [
            (
                "06a9214036b8a15b512e03d534120006",
                "3dafba429d9eb430b422da802c9fac41",
                "53696e676c6520626c6f636b206d7367",
                "e353779c1079aeb82708942dbe77181a",
            ),
            (
                "90d382b410eeba7ad938c46cec1a82bf",
                "e96e8c08ab465763fd098d45dd3ff893",
                "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
                 18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637
                 0102030405060708090a0b0c0d0e0e01",
                "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
                 a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
                 a269add047ad2d5913ac19b7cfbad4a6",
            ),
        ] {
            let key = C::new(&hex(key)).unwrap();
            let iv = hex(iv).try_into().unwrap();
            let mut data = hex(plain);
            key.encrypt_in_place(&iv, &mut data).unwrap();
            assert_eq!(data, hex(cipher));
            key.decrypt_in_place(&iv, &mut data).unwrap();
            assert_eq!(data, hex(plain));
        }
    }
    with::<aws_lc::CbcKey>();
    with::<portable::CbcKey>();
}

/// RFC 2202, case 5 (the one of RFC 2404's truncation), and RFC 4868, 2.7.2.
#[test]
fn hmacs_are_the_published_ones() {
    use IntegrityAlgorithm::{HmacSha1_96, HmacSha2_256_128, HmacSha2_384_192, HmacSha2_512_256};
    for (algorithm, key, text, icv) in [
        (
            HmacSha1_96,
            vec![0x0c; 20],
            "Test With Truncation",
            "4c1a03424b55e07fe7f27be1",
        ),
        (
            HmacSha2_256_128,
            vec![0x0b; 32],
            "Hi There",
            "198a607eb44bfbc69903a0f1cf2bbdc5",
        ),
        (
            HmacSha2_256_128,
            b"Jefe".repeat(8),
            "what do ya want for nothing?",
            "167f928588c5cc2eef8e3093caa0e87c",
        ),
        (
            HmacSha2_384_192,
            vec![0x0b; 48],
            "Hi There",
            "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
        ),
        (
            HmacSha2_512_256,
            vec![0x0b; 64],
            "Hi There",
            "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
        ),
    ] {
        let key = IntegrityKey::new(algorithm, &key).unwrap();
        let mut made = vec![0; algorithm.icv_len()];
        let (one, two) = text.as_bytes().split_at(3);
        key.sign(&[one, two], &mut made).unwrap();
        assert_eq!(made, hex(icv), "{algorithm:?}");
        assert_eq!(key.verify(&[text.as_bytes()], &made), Ok(()));
        let shorter = &made[..made.len() - 1];
        assert_eq!(
            key.verify(&[text.as_bytes()], shorter),
            Err(CryptoError::DataLength)
        );
        made[0] ^= 1;
        assert_eq!(
            key.verify(&[text.as_bytes()], &made),
            Err(CryptoError::Integrity)
        );
    }
}

#[test]
fn hmac_keys_have_one_length() {
    for algorithm in IntegrityAlgorithm::ALL {
        let wanted = algorithm.key_len();
        for given in [0, wanted - 1, wanted + 1] {
            let refused = IntegrityKey::new(algorithm, &vec![1; given]).err();
            assert_eq!(refused, Some(CryptoError::KeyLength { given, wanted }));
        }
    }
}
