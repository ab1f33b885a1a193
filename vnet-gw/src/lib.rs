//! The daemon as a library: what `main` and the tests drive.
pub mod cli;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod doctor;
