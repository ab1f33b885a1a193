use std::net::SocketAddr;

use super::build::{child, pair, suites};
use crate::{
    esp::{Layout, TunnelMtu, max_inner, outer_len, spi_of},
    sa::{Encapsulation, EspIntegrity, EspSuite, Spi},
};

fn encapsulation(local: &str, udp: bool) -> Encapsulation {
    let local: SocketAddr = local.parse().unwrap();
    if udp {
        Encapsulation::Udp {
            local,
            remote: local,
        }
    } else {
        Encapsulation::Esp {
            local: local.ip(),
            remote: local.ip(),
        }
    }
}

#[test]
fn the_longest_inner_packet_is_the_longest() {
    for suite in suites() {
        let layout = Layout::of(suite);
        let (outbound, _) = pair(&child(suite, true));
        for sealed in 0..2000 {
            let inner = layout.inner_len(sealed);
            assert_eq!(inner, outbound.inner_len(sealed));
            if inner > 0 {
                assert!(layout.sealed_len(inner) <= sealed);
            }
            assert!(layout.sealed_len(inner + 1) > sealed);
        }
    }
}

#[test]
fn paths_have_the_room_that_they_have() {
    let cbc = EspSuite::AesCbc {
        key_bits: 256,
        integrity: EspIntegrity::HmacSha2_256_128,
    };
    for (local, udp, suite, outer, inner) in [
        // 1500 - 28 = 1472; 16 before, 16 behind, 1440 between, 2 of them the trailer.
        ("192.0.2.1:4500", true, EspSuite::Aes256Gcm, 28, 1438),
        (
            "192.0.2.1:4500",
            false,
            EspSuite::ChaCha20Poly1305,
            20,
            1446,
        ),
        ("[2001:db8::1]:4500", true, EspSuite::Aes128Gcm, 48, 1418),
        ("[2001:db8::1]:4500", false, EspSuite::Aes128Gcm, 40, 1426),
        // 1472 - 24 - 16 = 1432, whole blocks of which are 1424.
        ("192.0.2.1:4500", true, cbc, 28, 1422),
    ] {
        let encapsulation = encapsulation(local, udp);
        assert_eq!(outer_len(&encapsulation), outer);
        assert_eq!(max_inner(1500, &encapsulation, suite), inner);
    }
    let narrow = encapsulation("[2001:db8::1]:4500", true);
    assert_eq!(max_inner(1280, &narrow, EspSuite::Aes256Gcm), 1198);
    assert_eq!(max_inner(60, &narrow, EspSuite::Aes256Gcm), 0);
}

#[test]
fn a_tunnel_is_as_wide_as_its_path_but_for_ipv6s_minimum() {
    let wide = encapsulation("192.0.2.1:4500", true);
    let mtu = |underlay| TunnelMtu::new(underlay, &wide, EspSuite::Aes256Gcm);
    assert_eq!(mtu(1500), TunnelMtu { v4: 1400, v6: 1400 });
    assert_eq!(mtu(9000), TunnelMtu { v4: 1400, v6: 1400 });
    assert_eq!(mtu(1400), TunnelMtu { v4: 1338, v6: 1338 });
    assert_eq!(mtu(1280), TunnelMtu { v4: 1218, v6: 1280 });
    assert_eq!(mtu(1280).of(&[0x45]), 1218);
    assert_eq!(mtu(1280).of(&[0x60]), 1280);
}

#[test]
fn an_spi_is_none_of_the_reserved_ones() {
    assert_eq!(spi_of(&[0, 0, 1, 0]), Some(Spi(256)));
    assert_eq!(spi_of(&[0xff, 0, 0, 1, 9, 9]), Some(Spi(0xff00_0001)));
    for packet in [&[][..], &[1, 2, 3], &[0, 0, 0, 0, 1, 2], &[0, 0, 0, 255, 1]] {
        assert_eq!(spi_of(packet), None);
    }
}
