use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

const ALL: [Group; 5] = [
    Group::Modp1024,
    Group::Modp2048,
    Group::Ecp256,
    Group::Ecp384,
    Group::Curve25519,
];

struct Vector {
    group: Group,
    private_i: &'static str,
    private_r: &'static str,
    public_i: &'static str,
    public_r: &'static str,
    shared: &'static str,
}

const VECTORS: [Vector; 4] = [
    // RFC 5114, A.6
    Vector {
        group: Group::Ecp256,
        private_i: "814264145f2f56f2e96a8e337a1284993faf432a5abce59e867b7291d507a3af",
        private_r: "2ce1788ec197e096db95a200cc0ab26a19ce6bccad562b8eee1b593761cf7f41",
        public_i: "2af502f3be8952f2c9b5a8d4160d09e97165be50bc42ae4a5e8d3b4ba83aeb15\
                   eb0faf4ca986c4d38681a0f9872d79d56795bd4bff6e6de3c0f5015ece5efd85",
        public_r: "b120de4aa36492795346e8de6c2c8646ae06aaea279fa775b3ab0715f6ce51b0\
                   9f1b7eece20d7b5ed8ec685fa3f071d83727027092a8411385c34dde5708b2b6",
        shared: "dd0f5396219d1ea393310412d19a08f1f5811e9dc8ec8eea7f80d21c820c2788",
    },
    // RFC 5114, A.7
    Vector {
        group: Group::Ecp384,
        private_i: "d27335ea71664af244dd14e9fd1260715dfd8a7965571c48d709ee7a7962a156\
                    d706a90cbcb5df2986f05feadb9376f1",
        private_r: "52d1791fdb4b70f89c0f00d456c2f7023b6125262c36a7df1f80231121cce3d3\
                    9be52e00c194a4132c4a6c768bcd94d2",
        public_i: "793148f1787634d5da4c6d9074417d05e057ab62f82054d10ee6b0403d627954\
                   7e6a8ea9d1fd77427d016fe27a8b8c66c6c41294331d23e6f480f4fb4cd40504\
                   c947392e94f4c3f06b8f398bb29e42368f7a685923de3b67baced214a1a1d128",
        public_r: "5cd42ab9c41b5347f74b8d4efb708b3d5b36db65915359b44abc17647b6b9999\
                   789d72a84865ae2f223f12b5a1abc120e171458feaa939aaa3a8bfac46b404bd\
                   8f6d5b348c0fa4d80ceca16356ca933240bde8723415a8ece035b0edf36755de",
        shared: "5ea1fc4af7256d2055981b110575e0a8cae53160137d904c59d926eb1b8456e4\
                 27aa8a4540884c37de159a58028abc0e",
    },
    // RFC 7748, 6.1
    Vector {
        group: Group::Curve25519,
        private_i: "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        private_r: "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        public_i: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        public_r: "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        shared: "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    },
    // RFC 8031, A
    Vector {
        group: Group::Curve25519,
        private_i: "751fb4308655b476b6789b7325f9ea8cddd16a58533ff6d9e60009464a5f9d94",
        private_r: "0a54645253290d60ddadd0e030bacd9e5501efdc220755a1e978f1b839a05688",
        public_i: "48d5ddd4061257ba166fa3f9bbdb74f1a4e81c089384fa77f790709f0dfbc766",
        public_r: "0be7c1f5aad87d7e448662673298a443478b859745179eaf564c79c0ef6eee25",
        shared: "c74950607a12327f3204d94b6825bfb068b7f8319a9e3708ed3d43ce8130c950",
    },
];

fn key(group: Group, private: &str) -> EphemeralKey {
    let (algorithm, ecp) = match group {
        Group::Ecp256 => (&agreement::ECDH_P256, true),
        Group::Ecp384 => (&agreement::ECDH_P384, true),
        _ => (&agreement::X25519, false),
    };
    let key = PrivateKey::from_private_key(algorithm, &hex(private)).unwrap();
    EphemeralKey::from_key(group, Key::Curve { key, ecp }).unwrap()
}

#[test]
fn the_curves_give_the_published_secrets() {
    for vector in VECTORS {
        let initiator = key(vector.group, vector.private_i);
        let responder = key(vector.group, vector.private_r);
        assert_eq!(initiator.public(), hex(vector.public_i));
        assert_eq!(responder.public(), hex(vector.public_r));
        let shared = Secret::new(hex(vector.shared));
        assert_eq!(initiator.agree(&hex(vector.public_r)).unwrap(), shared);
        assert_eq!(responder.agree(&hex(vector.public_i)).unwrap(), shared);
    }
}

#[test]
fn two_sides_agree_in_every_group() {
    for group in ALL {
        let (a, b) = (
            EphemeralKey::generate(group).unwrap(),
            EphemeralKey::generate(group).unwrap(),
        );
        assert_eq!(a.public().len(), group.public_len());
        assert_ne!(a.public(), b.public());
        let shared = a.agree(b.public()).unwrap();
        assert_eq!(shared, b.agree(a.public()).unwrap());
        assert_eq!(a.group(), group);
    }
}

#[test]
fn public_values_that_are_none_are_refused() {
    for group in ALL {
        let key = EphemeralKey::generate(group).unwrap();
        let need = group.public_len();
        for have in [0, 1, need - 1, need + 1] {
            assert_eq!(
                key.agree(&vec![3; have]),
                Err(ExchangeError::Length { have, need })
            );
        }
        // Zero is no element of a MODP group, (0, 0) on none of the curves, and u = 0 has a small
        // order on Curve25519.
        assert_eq!(key.agree(&vec![0; need]), Err(ExchangeError::Invalid));
    }
    for group in [Group::Ecp256, Group::Ecp384] {
        let key = EphemeralKey::generate(group).unwrap();
        let mut off_curve = key.public().to_vec();
        off_curve[5] ^= 1;
        assert_eq!(key.agree(&off_curve), Err(ExchangeError::Invalid));
    }
    // u = 1 and u = -1 have a small order, too.
    let key = EphemeralKey::generate(Group::Curve25519).unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    assert_eq!(key.agree(&one), Err(ExchangeError::Invalid));
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    assert_eq!(key.agree(&minus_one), Err(ExchangeError::Invalid));
}
