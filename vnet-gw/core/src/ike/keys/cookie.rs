//! Cookies against floods (RFC 7296, 2.6).

use std::net::{IpAddr, SocketAddr};

use subtle::ConstantTimeEq;

use crate::{ike::Prf, secret::Secret};

const PRF: Prf = Prf::HmacSha2_256;
const VERSION_LEN: usize = 4;
/// Bytes of a cookie; it may have up to 64.
pub const COOKIE_LEN: usize = VERSION_LEN + 32;

/// A cookie for the sender of an IKE_SA_INIT request. Nothing is kept of it: a true one comes back
/// with the same nonce, SPI and address. `version` tells which `secret` it was made with, so that
/// the one before stays good for a while after a change.
pub fn make_cookie(
    version: u32,
    secret: &Secret,
    nonce_i: &[u8],
    peer: SocketAddr,
    spi_i: u64,
) -> [u8; COOKIE_LEN] {
    let (spi, port) = (spi_i.to_be_bytes(), peer.port().to_be_bytes());
    let ip = match peer.ip().to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
    .octets();
    let version = version.to_be_bytes();
    // The nonce, the only part without a fixed length, comes last.
    let mac = PRF.compute(secret.expose(), &[&version, &spi, &ip, &port, nonce_i]);
    let mut cookie = [0; COOKIE_LEN];
    for (to, from) in cookie.iter_mut().zip(version.iter().chain(mac.expose())) {
        *to = *from;
    }
    cookie
}

/// Which secret a cookie says it was made with.
pub fn cookie_version(cookie: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*cookie.first_chunk()?))
}

/// Whether `cookie` is the one made for these; `secret` is the one of [`cookie_version`].
pub fn verify_cookie(
    cookie: &[u8],
    secret: &Secret,
    nonce_i: &[u8],
    peer: SocketAddr,
    spi_i: u64,
) -> bool {
    let Some(version) = cookie_version(cookie) else {
        return false;
    };
    let right = make_cookie(version, secret, nonce_i, peer, spi_i);
    right.ct_eq(cookie).into()
}
