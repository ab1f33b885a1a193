//! Who has which address of a subnet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{ResourceId, prefix::is_reserved};
use crate::hash::FastMap;

/// The addresses of one subnet. Subnets of a network do not overlap, so what is unique here is so
/// in the network.
pub(super) struct Allocator<'a> {
    taken: FastMap<IpAddr, &'a ResourceId>,
    free4: Cursor,
    free6: Cursor,
}

/// Where the next look for a free address begins; addresses before it are taken, so that giving
/// out all of them takes linear time.
struct Cursor {
    prefixes: Vec<IpNet>,
    prefix: usize,
    offset: u128,
}

impl<'a> Allocator<'a> {
    /// Of a subnet with these prefixes, for about so many addresses.
    pub(super) fn new(prefixes: &[IpNet], count: usize) -> Self {
        let cursor = |ipv6: bool| {
            let mut prefixes: Vec<IpNet> = prefixes
                .iter()
                .filter(|p| matches!(p, IpNet::V6(_)) == ipv6)
                .copied()
                .collect();
            prefixes.sort_unstable();
            Cursor {
                prefixes,
                prefix: 0,
                offset: 0,
            }
        };
        Self {
            taken: FastMap::with_capacity_and_hasher(count, Default::default()),
            free4: cursor(false),
            free6: cursor(true),
        }
    }

    /// Takes an address.
    ///
    /// # Errors
    ///
    /// Who has it; `None` where it is not to be had by anybody.
    pub(super) fn take(
        &mut self,
        address: IpAddr,
        who: &'a ResourceId,
    ) -> Result<(), Option<&'a ResourceId>> {
        let mut prefixes = self.free4.prefixes.iter().chain(&self.free6.prefixes);
        let prefix = prefixes
            .find(|prefix| prefix.contains(&address))
            .ok_or(None)?;
        if is_reserved(prefix, address) {
            return Err(None);
        }
        match self.taken.get(&address) {
            Some(other) => Err(Some(other)),
            None => {
                self.taken.insert(address, who);
                Ok(())
            }
        }
    }

    /// Takes the lowest free address of a family.
    pub(super) fn lowest_free(&mut self, ipv6: bool, who: &'a ResourceId) -> Option<IpAddr> {
        loop {
            let cursor = if ipv6 {
                &mut self.free6
            } else {
                &mut self.free4
            };
            let address = cursor.next()?;
            if let Ok(()) = self.take(address, who) {
                return Some(address);
            }
        }
    }
}

impl Cursor {
    fn next(&mut self) -> Option<IpAddr> {
        loop {
            let prefix = self.prefixes.get(self.prefix)?;
            let offset = self.offset;
            self.offset += 1;
            let address = match prefix.network() {
                IpAddr::V4(network) => {
                    let offset = u32::try_from(offset).ok();
                    let bits = offset.and_then(|offset| network.to_bits().checked_add(offset));
                    bits.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                }
                IpAddr::V6(network) => network
                    .to_bits()
                    .checked_add(offset)
                    .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
            };
            match address.filter(|address| prefix.contains(address)) {
                Some(address) => return Some(address),
                None => {
                    self.prefix += 1;
                    self.offset = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_of_every_prefix_in_turn() {
        let who = ResourceId::new("/a");
        let prefixes =
            ["10.0.1.0/29", "10.0.0.0/29", "fd00::/64"].map(|prefix| prefix.parse().unwrap());
        let mut allocator = Allocator::new(&prefixes, 0);
        allocator.take("10.0.0.5".parse().unwrap(), &who).unwrap();
        assert_eq!(
            allocator.take("10.0.0.5".parse().unwrap(), &who),
            Err(Some(&who))
        );
        assert_eq!(allocator.take("10.0.0.7".parse().unwrap(), &who), Err(None));
        assert_eq!(allocator.take("10.0.2.4".parse().unwrap(), &who), Err(None));
        let given: Vec<String> = std::iter::from_fn(|| allocator.lowest_free(false, &who))
            .map(|address| address.to_string())
            .collect();
        assert_eq!(
            given,
            ["10.0.0.4", "10.0.0.6", "10.0.1.4", "10.0.1.5", "10.0.1.6"]
        );
        assert_eq!(
            allocator.lowest_free(true, &who),
            Some("fd00::4".parse().unwrap())
        );
    }
}
