//! One port: what its entry in the kernel should say, and what its device demands.

use std::net::IpAddr;

use vnet_gw_common::{Addr6, mac_to_u64, port::Port};
use vnet_gw_core::{
    compile::PortImage,
    model::{ResourceId, Shared},
};

use super::{Entry, Place, capture_flag, trace_flag};
use crate::datapath::{
    attach::Attacher,
    netdev::Netdev,
    report::{Hook, PortState},
};

impl Entry {
    pub(super) fn new(image: Shared<PortImage>, place: Place) -> Self {
        Self {
            place,
            image,
            trace_every: None,
            captured: false,
            ifindex: None,
            mtu: None,
            hook: None,
            state: PortState::NoDevice,
            veth: false,
            peer: false,
            warnings: Vec::new(),
            surroundings: Vec::new(),
            ahead: None,
        }
    }

    /// Whether it would still be the same device of the same NIC with the same addresses: what else
    /// the image says of a port can be changed while packets read it.
    pub(super) fn stays(&self, wanted: &PortImage, place: Place) -> bool {
        let PortImage {
            device,
            mac,
            vnet,
            subnet: _,
            addresses,
            ip_forwarding: _,
            gateway,
            security: _,
            flow_timeout: _,
        } = wanted;
        let Place {
            id,
            scope,
            table: _,
            internet,
            generation: _,
        } = place;
        let (was, at) = (&self.image, self.place);
        (&was.device, &was.vnet, &was.addresses) == (device, vnet, addresses)
            && (was.mac, was.gateway) == (*mac, *gateway)
            && (at.id, at.scope, at.internet) == (id, scope, internet)
    }

    /// Whether it is in service as it should be, as far as its device tells.
    pub(super) fn is_as(
        &self,
        wanted: &Shared<PortImage>,
        place: Place,
        device: Option<&Netdev>,
    ) -> bool {
        let same_device = match (&self.state, device) {
            (PortState::NoDevice, None) => true,
            (PortState::Up, Some(device)) => device.up,
            (PortState::DeviceDown, Some(device)) => !device.up,
            _ => false,
        };
        same_device
            && self.place == place
            && self.image == *wanted
            && self.ifindex == device.map(|device| device.ifindex)
            && self.mtu == device.map(|device| device.mtu)
    }

    /// Attaches the program; whether that took anything.
    pub(super) fn follow(
        &mut self,
        device: &Netdev,
        attacher: &Attacher<'_>,
        before: Option<&Self>,
    ) -> bool {
        self.ifindex = Some(device.ifindex);
        self.mtu = Some(device.mtu);
        self.veth = device.kind.as_deref() == Some("veth");
        // The far side of a gateway's port is the worker's, which reads what the device sends.
        self.peer = !self.image.gateway && device.redirects_to_peer();
        if device.loopback {
            self.state = PortState::Failed(format!(
                "{} is the loopback device, which leads to no workload: name the workload's device in vnet-gw:device",
                device.name
            ));
            return false;
        }
        match attacher.ensure(device, self.image.gateway) {
            Ok(attached) => {
                self.hook = Some(attached.hook);
                self.state = if device.up {
                    PortState::Up
                } else {
                    PortState::DeviceDown
                };
                let before = before.filter(|entry| entry.ifindex == self.ifindex);
                self.warnings = match before {
                    // Why the driver refused is known only from the attempt.
                    Some(before) if !attached.changed => before.warnings.clone(),
                    _ => warnings(device, attached.hook, attached.refusal.as_deref()),
                };
                attached.changed && before.is_some_and(|entry| entry.hook.is_some())
            }
            Err(why) => {
                self.state = PortState::Failed(why);
                false
            }
        }
    }

    /// A port at XDP redirects into a veth as if the veth were at XDP itself.
    pub(super) fn look_around(&mut self, attacher: &Attacher<'_>, any_xdp: bool) {
        self.surroundings.clear();
        let (Some(Hook::Tcx | Hook::Clsact), Some(ifindex)) = (self.hook, self.ifindex) else {
            return;
        };
        let name = &self.image.device;
        if any_xdp && self.veth {
            self.surroundings.push(format!(
                "{name}: other ports are at XDP, and what comes from there {}; `--hook tcx` needs neither",
                veth_needs("reaches a veth's workload")
            ));
        }
        let ahead = self.ahead.get_or_insert_with(|| attacher.ahead(ifindex));
        if !ahead.is_empty() {
            let ids: Vec<String> = ahead.iter().map(u32::to_string).collect();
            self.surroundings.push(format!(
                "{name}: TCX programs of somebody else stand before ours and may take its packets (ids {}; `bpftool prog show id ID`): stop their owner, or let it attach after vnet-gw",
                ids.join(", ")
            ));
        }
    }

    pub(super) fn value(&self, nic: &ResourceId) -> Port {
        let v4 = self
            .image
            .addresses
            .iter()
            .find_map(|address| match address {
                IpAddr::V4(address) => Some(address.to_bits()),
                IpAddr::V6(_) => None,
            });
        let v6 = self
            .image
            .addresses
            .iter()
            .find_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address.to_bits()),
            });
        let mut flags = trace_flag(self.trace_every) | capture_flag(self.captured);
        let mut set = |yes: bool, flag: u32| flags |= if yes { flag } else { 0 };
        // A device that is down delivers nothing, and would drop without a count.
        set(self.state == PortState::Up, Port::PRESENT);
        // What comes out of a tunnel is from the far side.
        set(
            self.image.ip_forwarding || self.image.gateway,
            Port::IP_FORWARDING,
        );
        set(self.image.gateway && !self.place.internet, Port::GATEWAY);
        set(self.place.internet, Port::INTERNET);
        set(v4.is_some(), Port::HAS_V4);
        set(v6.is_some(), Port::HAS_V6);
        let security = &self.image.security;
        let secured = !security.inbound.is_empty() || !security.outbound.is_empty();
        set(secured, Port::SECURED);
        set(self.hook.is_some_and(|hook| !hook.is_xdp()), Port::TC);
        set(self.peer, Port::PEER);
        Port {
            mac: mac_to_u64(self.image.mac),
            ip4: v4.unwrap_or(0),
            scope: self.place.scope,
            ip6: Addr6::from_bits(v6.unwrap_or(0)),
            table: self.place.table,
            ifindex: self.ifindex.unwrap_or(0),
            mtu: self.mtu.unwrap_or(0),
            flags,
            nic_hash: nic.stable_hash(),
            trace_every: self.trace_every.unwrap_or(0),
            generation: self.place.generation,
        }
    }
}

fn veth_needs(who: &str) -> String {
    format!(
        "{who} only if its peer has GRO on or an XDP program (`ethtool -K PEER gro on` in the workload), and only packets with complete checksums (`ethtool -K PEER tx off`)"
    )
}

/// The traps of a hook on a device, each with its remedy.
fn warnings(device: &Netdev, hook: Hook, refusal: Option<&str>) -> Vec<String> {
    let name = &device.name;
    let mut warnings = Vec::new();
    if hook == Hook::XdpGeneric {
        let why = refusal.map(|why| format!(" ({why})")).unwrap_or_default();
        warnings.push(format!(
            "{name}: its driver refuses XDP{why}, so it runs in generic mode: an skb is built for every packet, which costs the gain over kernel forwarding; use `--hook tcx`, or a device whose driver has XDP"
        ));
    }
    if hook.is_xdp() && device.kind.as_deref() == Some("veth") {
        warnings.push(format!(
            "{name}: at XDP {}; `--hook auto` needs neither",
            veth_needs("a veth delivers")
        ));
    }
    warnings
}
