//! What is kept: through kills at any moment, full disks, and restarts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod daemon;
mod disk;
mod kills;
