//! Hosts in network namespaces, wired by veth pairs: what the example, the tests and the benches
//! run in.
//!
//! A [`Lab`] owns everything it makes. A guardian process watches it through a pipe and cleans up
//! when the lab is dropped, panics or dies by a signal, SIGKILL included; labs whose guardian died
//! as well are swept by the next one. Nothing here knows the daemon beyond its command line.

pub mod clients;
pub mod daemon;
pub mod lab;
pub mod nat;
pub mod netns;
pub mod probe;
pub mod process;
pub mod strongswan;
pub mod template;
pub mod underlay;
pub mod workload;

pub use clients::Clients;
pub use daemon::Daemon;
pub use lab::Lab;
pub use nat::Nat;
pub use netns::Netns;
pub use process::Process;
pub use strongswan::StrongSwan;
pub use underlay::Underlay;
pub use workload::Workload;
