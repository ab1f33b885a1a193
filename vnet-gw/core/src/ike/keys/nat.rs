//! Finding NATs (RFC 7296, 2.23).

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest;

/// Bytes of the notification's data.
pub const NAT_HASH_LEN: usize = 20;

/// The data of NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP for an address and port:
/// with SPIs as they are in the header of the message.
pub fn nat_detection_hash(spi_i: u64, spi_r: u64, address: SocketAddr) -> [u8; NAT_HASH_LEN] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&spi_i.to_be_bytes());
    context.update(&spi_r.to_be_bytes());
    // An IPv4 address on an IPv6 socket is an IPv4 address in the packet.
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    context.update(&address.port().to_be_bytes());
    let digest = context.finish();
    let mut hash = [0; NAT_HASH_LEN];
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}
