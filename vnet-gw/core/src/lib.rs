//! The pure half of `vnet-gw`: from Azure resources to the tables the data path reads.
//!
//! Nothing here does I/O, reads a clock or knows that a kernel exists; what comes in is a string
//! or a value, what goes out is a value. The stages, in order:
//!
//! 1. [`model`]: an ARM template becomes a validated [`model::Topology`], or an [`model::ArmError`].
//! 2. [`effective`]: the effective routes of a subnet, and why each won or lost.
//! 3. [`compile`]: the [`compile::Image`], what the data path should hold, by resource.
//! 4. [`table`]: the bytes of the BPF tables in the forms of `vnet_gw_common::table`.
//!
//! Beside the first, [`arm`]: resources as Azure's REST API keeps, changes and shows them;
//! [`netcfg`] makes templates of what Azure's classic model exported.
//!
//! [`metering`] says what of the traffic is counted, and for whom.
//!
//! [`watcher`] answers questions: which way a packet takes through all of it, and why.
//! [`capture`] says what a packet capture takes, [`probe`] what goes out to try a path.
//!
//! And the VPN: [`ike`] negotiates [`sa`]s, [`esp`] seals and opens packets with them, [`packet`]
//! is what a tunnel does to the packets inside, [`crypto`] what IKE and ESP ask of the
//! cryptographic libraries.
#![forbid(unsafe_code)]

pub mod arm;
pub mod capture;
pub mod compile;
pub mod crypto;
pub mod effective;
pub mod esp;
mod hash;
pub mod ike;
pub mod metering;
pub mod model;
pub mod monitor;
pub mod netcfg;
pub mod packet;
pub mod probe;
pub mod sa;
pub mod secret;
pub mod security;
pub mod table;
pub mod watcher;
