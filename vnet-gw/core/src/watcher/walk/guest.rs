//! What the virtual machine of an appliance does with what it gets.

use ipnet::IpNet;

use super::has;
use crate::{
    model::NetworkInterface,
    watcher::{packet::Packet, predictor::Predictor},
};

pub(super) enum Guest<'a> {
    Takes(&'a NetworkInterface),
    Sends(&'a NetworkInterface),
    Drops,
}

impl<'a> Predictor<'a> {
    /// What the guest of an appliance does with a packet that is not for the NIC it came in by.
    pub(super) fn guest(&self, nic: &'a NetworkInterface, packet: &Packet, ttl: u8) -> Guest<'a> {
        let machine = self.machine_of(nic);
        let own = || machine.into_iter().flat_map(|machine| &machine.interfaces);
        if let Some(owner) = own().find(|nic| has(nic, packet.destination)) {
            return Guest::Takes(owner);
        }
        if ttl <= 1 {
            return Guest::Drops;
        }
        let connected = |nic: &NetworkInterface| {
            let configurations = nic.ip_configurations.iter();
            let homes = configurations.filter_map(|one| self.home(&one.subnet));
            let prefixes = homes.flat_map(|home| &home.subnet.address_prefixes);
            let host = IpNet::from(packet.destination);
            prefixes
                .filter(|prefix| prefix.contains(&host))
                .map(IpNet::prefix_len)
                .max()
        };
        let out = own().filter_map(|nic| Some((connected(nic)?, *nic)));
        let out = out.max_by_key(|(length, out)| (*length, out.id == nic.id));
        Guest::Sends(out.map_or(nic, |(_, out)| out))
    }
}
