//! The public addresses of our gateways: whether the host has them, and their port 500.

use std::{collections::BTreeSet, io, net::IpAddr, time::Instant};

use super::{Hub, Ike, PORT, Workers, tunnels::unhurried};

/// Why nothing can come or go at a public address of ours.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// When to try the port again; `None` while the host does not have the address.
    pub(super) retry: Option<Instant>,
    attempts: u32,
}

impl<I: Ike, W: Workers> Hub<I, W> {
    /// The addresses of this host from now on.
    pub(in crate::vpn) fn addresses(&mut self, now: Instant, present: BTreeSet<IpAddr>) {
        if present == self.present {
            return;
        }
        self.present = present;
        self.look_at_addresses(now);
        self.tell_troubles();
        // Traffic moves first; sockets follow.
        self.settle();
        self.run_workers(now);
    }

    /// Compares the public addresses with those of the host.
    pub(super) fn look_at_addresses(&mut self, now: Instant) {
        let public = self.public_addresses();
        let troubled: Vec<IpAddr> = self.trouble.keys().copied().collect();
        for address in troubled.into_iter().filter(|one| !public.contains(one)) {
            // No gateway's any more; should it be one's again, IKE starts afresh.
            self.trouble.remove(&address);
            self.ike.local_address(now, address, true);
        }
        for address in public {
            let known = self.trouble.get(&address);
            if !self.present.contains(&address) {
                if known.is_none_or(|trouble| trouble.retry.is_some()) {
                    let reason = format!("this host does not have the address {address}");
                    log::warn!("{reason}: its tunnels wait for it");
                    self.trouble.insert(
                        address,
                        Trouble {
                            reason,
                            retry: None,
                            attempts: 0,
                        },
                    );
                    self.ike.local_address(now, address, false);
                }
            } else if let Some(trouble) = self.trouble.get_mut(&address)
                && trouble.retry.is_none()
            {
                // Back: the port decides.
                trouble.retry = Some(now);
                trouble.attempts = 0;
            }
        }
    }

    fn public_addresses(&self) -> BTreeSet<IpAddr> {
        let images = self.gateways.values().map(|gateway| &gateway.image);
        images
            .flat_map(|image| image.instances.iter().map(|one| one.public_address))
            .collect()
    }

    /// Whether port 500 of `address` should be open.
    pub(in crate::vpn) fn wants_port(&self, address: IpAddr) -> bool {
        self.present.contains(&address) && self.public_addresses().contains(&address)
    }

    /// Addresses whose port 500 should be opened now, `open` telling which are open.
    pub(in crate::vpn) fn ports_to_open(
        &self,
        now: Instant,
        open: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        let due = |address: &IpAddr| match self.trouble.get(address) {
            None => true,
            Some(trouble) => trouble.retry.is_some_and(|at| at <= now),
        };
        let mut wanted: Vec<IpAddr> = self.public_addresses().into_iter().collect();
        wanted.retain(|address| self.present.contains(address) && !open(*address) && due(address));
        wanted
    }

    /// What came of opening port 500 of `address`.
    pub(in crate::vpn) fn port_opened(
        &mut self,
        now: Instant,
        address: IpAddr,
        result: io::Result<()>,
    ) {
        match result {
            Ok(()) => {
                if self.trouble.remove(&address).is_none() {
                    return;
                }
                log::info!("port {PORT} of {address}: open");
                self.tell_troubles();
                self.ike.local_address(now, address, true);
            }
            Err(error) => {
                let attempts = self.trouble.get(&address).map_or(0, |one| one.attempts);
                let reason = format!("port {PORT} of {address}: {}", in_words(&error));
                if self.trouble.get(&address).map(|one| &one.reason) != Some(&reason) {
                    log::warn!("{reason}");
                }
                let trouble = Trouble {
                    reason,
                    retry: Some(now + unhurried(attempts)),
                    attempts: attempts.saturating_add(1),
                };
                self.trouble.insert(address, trouble);
                self.tell_troubles();
                self.ike.local_address(now, address, false);
            }
        }
        self.settle();
        self.run_workers(now);
    }
}

/// What to do about a port that could not be opened.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "taken by another program; end the other IKE daemon of this host".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; run as root, or with CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}
