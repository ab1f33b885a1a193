//! The next hop `Internet`: two VNets with the same addresses, a host with an uplink, and a server on
//! an internet of ours behind it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kept;
mod reached;
mod refused;
mod world;

macro_rules! at_both_hooks {
    ($($module:ident::$test:ident)+) => {
        mod xdp { $(#[test] fn $test() { crate::$module::$test(vnet_gw_tests::bed::Hook::Xdp) })+ }
        mod tcx { $(#[test] fn $test() { crate::$module::$test(vnet_gw_tests::bed::Hook::Tcx) })+ }
    };
}

at_both_hooks! {
    reached::by_both_of_two_vnets_with_the_same_addresses
    reached::with_every_byte_in_both_directions
    reached::with_errors_that_find_the_sender
    reached::and_metered_by_virtual_network
    refused::what_does_not_belong_there
    refused::what_nobody_asked_for
    refused::where_the_host_has_no_route
    kept::over_a_restart_and_away_after_down
    kept::whatever_others_remove
    kept::nothing_where_it_is_off
}
