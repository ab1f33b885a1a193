//! Two or three IKE endpoints with their ESP on a network that a seed decides about: thousands of
//! handshakes, rekeys, collisions and failures, and every one ends in a state that both ends agree
//! on.
//!
//! `SIMULATOR_SEED=n` runs that seed alone, `SIMULATOR_TRACE=1` prints what happens in it, and
//! `SIMULATOR_RUNS=n` says how many there are otherwise.

mod agreement;
mod chance;
mod ledger;
mod network;
mod rng;
mod runs;
mod scenario;
mod worker;
mod world;
