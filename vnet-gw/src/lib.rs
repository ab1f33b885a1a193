//! The daemon as a library: what `main` and the tests drive.
pub mod cli;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod doctor;
pub mod io;
pub mod vpn;
pub mod worker;
