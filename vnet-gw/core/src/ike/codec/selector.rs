//! Traffic selectors (RFC 7296, 3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DecodeError, reader::Reader};
use crate::sa::TrafficSelector;

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;

/// Selectors of types we do not know are left out: RFC 7296, 3.13.1 has the responder narrow to
/// what it understands.
pub(super) fn read(mut reader: Reader<'_>) -> Result<Vec<TrafficSelector>, DecodeError> {
    let what = "a traffic selector payload";
    let count = reader.u8(what)?;
    reader.take(3, what)?;
    let mut selectors = Vec::new();
    for _ in 0..count {
        let kind = reader.u8(what)?;
        let protocol = reader.u8(what)?;
        let length = reader.u16(what)?;
        let mut body = reader.body(length, 4, "a traffic selector")?;
        if !matches!(kind, TS_IPV4_ADDR_RANGE | TS_IPV6_ADDR_RANGE) {
            continue;
        }
        let what = "a traffic selector";
        let ports = (body.u16(what)?, body.u16(what)?);
        let addresses: (IpAddr, IpAddr) = if kind == TS_IPV4_ADDR_RANGE {
            let mut next = || body.array::<4>(what).map(Ipv4Addr::from);
            (next()?.into(), next()?.into())
        } else {
            let mut next = || body.array::<16>(what).map(Ipv6Addr::from);
            (next()?.into(), next()?.into())
        };
        body.end(what)?;
        if addresses.0 > addresses.1 {
            return Err(DecodeError::BadValue("the address range of a selector"));
        }
        selectors.push(TrafficSelector {
            protocol,
            ports,
            addresses,
        });
    }
    reader.end(what)?;
    Ok(selectors)
}

/// As many selectors as a payload may have: they are counted in one octet.
pub const MAX_SELECTORS: usize = 255;

/// At most [`MAX_SELECTORS`]; a selector whose two addresses are of different families has no encoding and is
/// left out.
pub(super) fn write(selectors: &[TrafficSelector], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u8;
    for selector in selectors {
        let Some(next) = count.checked_add(1) else {
            break;
        };
        let (kind, length) = match selector.addresses {
            (IpAddr::V4(_), IpAddr::V4(_)) => (TS_IPV4_ADDR_RANGE, 16_u16),
            (IpAddr::V6(_), IpAddr::V6(_)) => (TS_IPV6_ADDR_RANGE, 40),
            _ => continue,
        };
        out.extend_from_slice(&[kind, selector.protocol]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&selector.ports.0.to_be_bytes());
        out.extend_from_slice(&selector.ports.1.to_be_bytes());
        for address in [selector.addresses.0, selector.addresses.1] {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
        count = next;
    }
    if let Some(first) = out.get_mut(start) {
        *first = count;
    }
}
