//! Why a packet left the fast path. A reason is the index of its counter.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $kind:ident;)+) => {
        /// Why a packet left the fast path: dropped, answered by the fabric, or forwarded slowly.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, by index.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name users see, stable across versions.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the counter means, in one sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }

            /// Whether the counted packet was lost.
            pub const fn is_drop(self) -> bool {
                matches!(self.kind(), Kind::Drop)
            }

            /// What became of the counted packet.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }
        }
    };
}

/// What became of the packets that a reason counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lost.
    Drop,
    /// Answered by the fabric.
    Answer,
    /// Dropped under a reason of its own; the answer that was due was held back.
    NotSent,
    /// Forwarded, by a slower way.
    Slow,
}

reasons! {
    /// The netdev has the program but is no port.
    UnknownPort = "unknown_port", Drop;
    /// The frame ends before its headers do, or a length field says more than there is.
    Truncated = "truncated", Drop;
    /// Neither IPv4, IPv6 nor ARP.
    NotIp = "not_ip", Drop;
    /// An 802.1Q or 802.1ad tag with a VLAN id, or more than two tags; priority tags (id 0) pass.
    Vlan = "vlan", Drop;
    /// The source MAC address is not the NIC's.
    SpoofedMac = "spoofed_mac", Drop;
    /// The source address is not one of the NIC's, which has no enableIPForwarding.
    SpoofedAddress = "spoofed_address", Drop;
    /// Multicast, broadcast, link-local, loopback or unspecified: never routed.
    NotRoutable = "not_routable", Drop;
    /// Header fields that cannot be true (version, header length).
    BadHeader = "bad_header", Drop;
    /// TTL or hop limit used up.
    TtlExpired = "ttl_expired", Drop;
    /// No route matches.
    NoRoute = "no_route", Drop;
    /// The route's next hop type is None.
    NextHopNone = "next_hop_none", Drop;
    /// The route's next hop type is Internet, and the instance has no internet port or the host no route of that family.
    NextHopInternet = "next_hop_internet", Drop;
    /// For the internet, but its source is not an address of the NIC that sends it: an appliance must translate what it forwards there.
    InternetSource = "internet_source", Drop;
    /// For the internet, but its destination is a private address, which is not there.
    InternetDestination = "internet_destination", Drop;
    /// The route's next hop type is VirtualNetworkGateway and the VNet has no gateway, or the packet came from it.
    NextHopGateway = "next_hop_gateway", Drop;
    /// The appliance's address is no NIC of the VNet or of a peered one, or the NIC does not forward.
    ApplianceUnreachable = "appliance_unreachable", Drop;
    /// No NIC has the destination address.
    EndpointUnreachable = "endpoint_unreachable", Drop;
    /// The NIC exists but its netdev is not here, or is down.
    PortDown = "port_down", Drop;
    /// Larger than the destination port's MTU.
    TooBig = "too_big", Drop;
    /// Forwarded traffic into a peering whose other side has no allowForwardedTraffic.
    ForwardedRefused = "forwarded_refused", Drop;
    /// An inbound rule of a network security group, of the destination's subnet or NIC, denies it.
    NsgInbound = "nsg_inbound", Drop;
    /// An outbound rule of a network security group, of the sender's NIC or subnet, denies it.
    NsgOutbound = "nsg_outbound", Drop;
    /// A later fragment where network security groups hold, and the first one was not seen.
    FragmentUnknown = "fragment_unknown", Drop;
    /// ARP for an address outside the subnet, for one's own, or not a request for IPv4 on Ethernet.
    ArpIgnored = "arp_ignored", Drop;
    /// Neighbour discovery other than a solicitation for an address of the subnet.
    NdIgnored = "nd_ignored", Drop;
    /// The kernel refused to resize the packet for an answer.
    AnswerFailed = "answer_failed", Drop;
    /// ARP requests the fabric answered.
    ArpAnswered = "arp_answered", Answer;
    /// Neighbour solicitations the fabric answered.
    NdAnswered = "nd_answered", Answer;
    /// ICMP time exceeded, sent.
    SentTimeExceeded = "sent_time_exceeded", Answer;
    /// ICMP host unreachable (ICMPv6 address unreachable), sent.
    SentUnreachable = "sent_unreachable", Answer;
    /// ICMP fragmentation needed (ICMPv6 packet too big), sent.
    SentTooBig = "sent_too_big", Answer;
    /// ICMP errors not sent because the port was over its rate.
    IcmpRateLimited = "icmp_rate_limited", NotSent;
    /// Packets that security groups admitted and whose flow found no room in the full flow table: forwarded, without the shortcut of a flow that came about.
    FlowTableFull = "flow_table_full", Slow;
}

/// Entries of the reasons map; room for reasons of later versions.
pub const REASON_SLOTS: u32 = 64;

const _: () = assert!(Reason::ALL.len() <= REASON_SLOTS as usize);
