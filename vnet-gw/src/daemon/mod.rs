//! The daemon: one loop over a closed enum of events ([`Event`]).
//!
//! The runtime has one thread and the loop calls the data path directly. Its calls are system calls
//! that do not wait for anybody, in numbers that a change needs; while one runs, packets are
//! forwarded as before, and the worst that a control client sees is a late answer. What does take
//! long, reading and compiling a large configuration and writing large answers, runs beside the
//! loop on the blocking pool; what may wait for ever, a client, has a task of its own.
//!
//! When the daemon ends, forwarding goes on: everything it made is pinned in the kernel. `vnet-gw
//! down` takes it away, and so does `--ephemeral` at the end of the process.

mod captures;
mod change;
mod config;
mod event;
mod fabric;
mod file_set;
mod host;
pub mod keys;
mod lock;
mod logging;
mod monitors;
mod notify;
mod probes;
pub(crate) mod records;
mod rows;
mod run;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod watch;

pub use captures::DEFAULT_CAPTURES;
pub use config::{ConfigFiles, LoadError, Loaded};
pub use event::Event;
pub use fabric::{Fabric, TraceLog};
pub use file_set::FileSet;
pub use host::Host;
pub use lock::{InstanceLock, LockError};
pub use logging::{LogFormat, LogLevel, init as init_logging};
pub use run::{RunOptions, run};
pub use state::{Daemon, Settings};
