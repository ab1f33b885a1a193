//! The daemon as a library: what `main` and the tests drive.
pub mod datapath;
