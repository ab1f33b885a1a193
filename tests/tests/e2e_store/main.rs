//! What is kept: through kills at any moment, full disks, and restarts.

mod daemon;
mod disk;
mod kills;
