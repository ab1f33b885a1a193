//! Ports, subnets and the settings of the instance.

use crate::Addr6;

/// One port: a NIC's netdev with our program on it. Indexed by port id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// MAC address of the NIC (the workload's), the only source it may send from.
    pub mac: u64,
    /// Primary IPv4 address; meaningful with [`Port::HAS_V4`]. Further ones are found among the
    /// endpoints.
    pub ip4: u32,
    /// The VNet: scope of the addresses this port may send from.
    pub scope: u32,
    /// Primary IPv6 address; meaningful with [`Port::HAS_V6`].
    pub ip6: Addr6,
    /// Route tables (IPv4 and IPv6) and [`Subnet`] of this port.
    pub table: u32,
    /// The netdev.
    pub ifindex: u32,
    /// Largest layer-3 packet this port takes, in bytes.
    pub mtu: u32,
    /// `Port::*` bits.
    pub flags: u32,
    /// Hash of the networkInterface's resource id: how a restarted daemon knows it again.
    pub nic_hash: u64,
    /// With [`Port::TRACE`]: one packet in this many is traced (at least 1).
    pub trace_every: u32,
    /// Flows that were decided under another generation are decided anew (`flushConnection`).
    pub generation: u32,
}

impl Port {
    /// The entry is in use.
    pub const PRESENT: u32 = 1;
    /// `enableIPForwarding`: the port may send from addresses that are not its own.
    pub const IP_FORWARDING: u32 = 1 << 1;
    pub const HAS_V4: u32 = 1 << 2;
    pub const HAS_V6: u32 = 1 << 3;
    /// The port's program runs at the TCX (or clsact) hook; else at XDP.
    pub const TC: u32 = 1 << 4;
    /// `bpf_redirect_peer` works on the netdev (veth or netkit whose peer is in another netns).
    pub const PEER: u32 = 1 << 5;
    /// Decisions on this port's packets are logged.
    pub const TRACE: u32 = 1 << 6;
    /// The port of a VPN gateway: nothing behind it asks for neighbours, and what came out of it
    /// never goes back into it.
    pub const GATEWAY: u32 = 1 << 7;
    /// The internet port: its far end is the host's network stack. `mac` is that end's; of its
    /// addresses only [`Port::HAS_V4`] and [`Port::HAS_V6`] count: the host carries that family.
    pub const INTERNET: u32 = 1 << 9;
    /// Security groups hold for it: its [`Security`](crate::nsg::Security) is asked.
    pub const SECURED: u32 = 1 << 8;
    /// Its packets are copied to user space, as its [`Capture`](crate::capture::Capture) says.
    pub const CAPTURE: u32 = 1 << 12;
    /// Either of what makes the path look at a packet besides forwarding it.
    pub const WATCHED: u32 = Self::TRACE | Self::CAPTURE;
}

const _: () = assert!(size_of::<Port>() == 64);
const _: () = assert!(core::mem::offset_of!(Port, nic_hash) == 48);

pub const MAX_SUBNET_PREFIXES: usize = 4;

/// An IPv4 prefix of a subnet; unused entries have `mask` 0 and `base` 1, which nothing matches.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetPrefix4 {
    pub base: u32,
    pub mask: u32,
}

/// An IPv6 prefix of a subnet; unused entries have `mask` 0 and `base` 1, which nothing matches.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetPrefix6 {
    pub base: Addr6,
    pub mask: Addr6,
}

/// What the fabric answers for in a subnet. Indexed by table id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub prefixes4: [SubnetPrefix4; MAX_SUBNET_PREFIXES],
    pub prefixes6: [SubnetPrefix6; MAX_SUBNET_PREFIXES],
    /// Source of ICMP errors: the subnet's first usable-by-the-fabric address (`.1`); 0 for none.
    pub gateway4: u32,
    /// Scope of the VNet; 0 marks a free entry.
    pub scope: u32,
    /// Source of ICMPv6 errors (`::1` of the subnet); 0 for none.
    pub gateway6: Addr6,
    /// Hash of the subnet's resource id: how a restarted daemon knows it again.
    pub subnet_hash: u64,
}

const _: () = assert!(size_of::<Subnet>() == 192);

impl Subnet {
    pub const EMPTY: Self = Self {
        prefixes4: [SubnetPrefix4 { base: 1, mask: 0 }; MAX_SUBNET_PREFIXES],
        prefixes6: [SubnetPrefix6 {
            base: Addr6 { hi: 0, lo: 1 },
            mask: Addr6 { hi: 0, lo: 0 },
        }; MAX_SUBNET_PREFIXES],
        gateway4: 0,
        scope: 0,
        gateway6: Addr6 { hi: 0, lo: 0 },
        subnet_hash: 0,
    };

    #[inline(always)]
    pub fn contains4(&self, addr: u32) -> bool {
        let mut i = 0;
        while i < MAX_SUBNET_PREFIXES {
            let p = &self.prefixes4[i];
            if addr & p.mask == p.base {
                return true;
            }
            i += 1;
        }
        false
    }

    #[inline(always)]
    pub fn contains6(&self, addr: Addr6) -> bool {
        let mut i = 0;
        while i < MAX_SUBNET_PREFIXES {
            let p = &self.prefixes6[i];
            if addr.hi & p.mask.hi == p.base.hi && addr.lo & p.mask.lo == p.base.lo {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// Of the whole instance. Each field that changes while packets flow is one aligned word.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`maps::ABI_VERSION`](crate::maps::ABI_VERSION) of the daemon that made the maps.
    pub abi: u32,
    /// Rows of every counter map: the number of possible CPUs.
    pub cpus: u32,
    /// An [`EndpointsWord`](crate::endpoint::EndpointsWord).
    pub endpoints4: u64,
    /// The same for IPv6.
    pub endpoints6: u64,
    /// ICMP errors a port may cause: one in this many nanoseconds on average.
    pub icmp_interval_ns: u64,
    /// … and this many at once.
    pub icmp_burst: u32,
    /// `Settings::*` bits.
    pub flags: u32,
    /// The internet port, as the [`Endpoint`](crate::endpoint::Endpoint) that takes what goes to the
    /// internet; 0 for none.
    pub internet: u64,
    pub reserved2: [u64; 2],
}

impl Settings {
    /// Refused flows are remembered, for the flow log.
    pub const FLOW_LOG: u32 = 1;
}

const _: () = assert!(size_of::<Settings>() == 64);

/// The fabric's MAC address, as in Azure: every neighbour a workload sees has this one.
pub const FABRIC_MAC: u64 = crate::mac_to_u64([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc]);
/// The fabric's link-local address, every subnet's IPv6 router, as in Azure.
pub const FABRIC_LINK_LOCAL: Addr6 = Addr6 {
    hi: 0xfe80 << 48,
    lo: 0x0000_1234_5678_9abc,
};

/// State of a port's token bucket for ICMP errors, as a virtual time (GCRA): the moment at which
/// the bucket is full again, in nanoseconds of the monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateState {
    pub full_at: u64,
}

impl RateState {
    /// Takes a token at `now` (ns): the new state, or `None` where none is left.
    #[inline(always)]
    pub fn take(self, now: u64, interval_ns: u64, burst: u32) -> Option<Self> {
        let from = if self.full_at > now {
            self.full_at
        } else {
            now
        };
        let full_at = from.wrapping_add(interval_ns);
        if full_at.wrapping_sub(now) > interval_ns.wrapping_mul(burst as u64) {
            return None;
        }
        Some(Self { full_at })
    }
}
