//! The datapath module against the kernel, without the daemon: what it creates, adopts, changes,
//! mends and removes. Needs root, and fails without.
#![expect(
    unreachable_pub,
    reason = "one crate, whose modules share what stands in `bed`"
)]

mod bed;
mod capture;
mod changes;
mod devices;
mod drift;
mod lifecycle;
mod scale;
