//! The VPN side of the daemon: one thread that runs IKE for every gateway of this host and hands
//! what it negotiates to the gateways' crypto workers.
