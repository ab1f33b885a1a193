//! Security groups with real packets, at both hooks and in both families: `web` may ask `db` for
//! what the group of `db`'s subnet allows, and nobody asks `web` for anything.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod flood;
mod lasting;
mod pieces;
mod stateful;
mod world;

use vnet_gw_tests::bed::Hook;

/// Runs a scenario at both hooks.
fn at_both_hooks(scenario: impl Fn(Hook)) {
    for hook in Hook::ALL {
        scenario(hook);
    }
}
