//! What the end-to-end tests share, and what the benches do.

pub mod api_bed;
pub mod az;
pub mod bed;
pub mod frames;
pub mod gateway;
pub mod http;
pub mod ike_shell;
pub mod killed;
pub mod metrics;
pub mod mutated;
pub mod pump;
pub mod regions;
pub mod report;
pub mod shape;
pub mod site;
pub mod tap;
pub mod test_run;
pub mod transit_bed;
pub mod tshark;
pub mod tunnel_bed;
pub mod vpn_bed;
