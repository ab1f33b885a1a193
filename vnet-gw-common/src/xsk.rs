//! Names and sizes of the I/O engine `xsk`: its programs stand in an object of their own, and its
//! maps live as long as the engine.

/// Program of the underlay device.
pub const PROG_NET: &str = "vnet_gw_xsk_net";
/// Program of the far end of a gateway's port.
pub const PROG_PORT: &str = "vnet_gw_xsk_port";
/// AF_XDP sockets by receive queue.
pub const SOCKETS: &str = "VX_SOCKETS";
/// Set of the gateway's public addresses, in network order.
pub const ADDRESSES4: &str = "VX_ADDRESSES4";
pub const ADDRESSES6: &str = "VX_ADDRESSES6";

/// Receive queues of a device that are served.
pub const MAX_QUEUES: u32 = 64;
/// Public addresses of one gateway.
pub const MAX_ADDRESSES: u32 = 16;
