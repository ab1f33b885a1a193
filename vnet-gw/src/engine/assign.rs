//! What no client says: GUIDs, keys, public addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use uuid::Uuid;
use vnet_gw_core::{arm::Assign, secret::Secret};

use crate::daemon::keys;

/// The most addresses of one prefix that are looked at for a free one.
const LOOKED_AT: usize = 1 << 16;

/// The system's randomness, and the prefixes of `--public-ip-pool`.
#[derive(Clone, Debug, Default)]
pub struct SystemAssign {
    pub public_ip_pool: Vec<IpNet>,
}

impl Assign for SystemAssign {
    fn guid(&mut self) -> String {
        Uuid::new_v4().to_string()
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        keys::generate(length)
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        let pool = self.public_ip_pool.iter();
        pool.flat_map(|prefix| prefix.hosts().take(LOOKED_AT))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_the_pool_in_order() {
        let pool = ["192.0.2.8/30", "203.0.113.7/32", "2001:db8::/32"];
        let assign = SystemAssign {
            public_ip_pool: pool.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        };
        let addresses = assign.public_addresses();
        let first: Vec<String> = addresses.iter().take(3).map(IpAddr::to_string).collect();
        assert_eq!(first, ["192.0.2.9", "192.0.2.10", "203.0.113.7"]);
        assert_eq!(addresses.len(), 3 + LOOKED_AT);
    }
}
