//! The daemon as a library: what `main` and the tests drive.
pub mod api;
pub mod capture;
pub mod cli;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod doctor;
pub mod engine;
pub mod flow_log;
pub mod identity;
pub mod internet;
pub mod io;
pub mod metering;
pub mod metrics;
pub mod store;
pub mod vpn;
pub mod worker;
