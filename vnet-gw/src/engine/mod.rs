//! The one writer: takes changes, validates them together, makes them durable, and has the daemon's
//! loop carry them out.
//!
//! ```text
//!  Engine::submit ─► queue: a lane a caller ─► batch: State::apply, all at once; who does not hold
//!                                                │      is answered alone
//!                                                ▼
//!                                              compile ─► Store::commit: one fsync
//!                                                           │
//!  Engine::state ◄─ board: the state, and what ◄── publish ─┤
//!                   of it is carried    ▲                   ▼
//!                                       └── done ◄─ Delivery ─► the daemon's loop, the data path
//! ```
//!
//! What arrives while a batch is on its way makes up the next one: one validation, one commit and
//! one change of the data path for all of it. A submission that does not hold is taken out and
//! answered alone; the others of its batch go on. Whoever is answered is durable first.
//!
//! What of it the data path carries is not kept in the store: after a start everything is carried
//! out anew, and told anew.

pub mod activity;
mod assign;
mod audit;
mod batch;
mod board;
mod caller;
mod delivery;
mod handle;
mod metrics;
mod queue;
mod records;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

pub use assign::SystemAssign;
pub(crate) use board::forget;
pub use caller::{Caller, Who};
pub use delivery::{Deliveries, Delivery};
pub use handle::{Carried, Engine, EngineError, Noted, Receipt, Submission};
pub use metrics::EngineMetrics;
pub use records::LoadError;
pub use thread::Running;
pub use writer::{EngineOptions, OpenError, Writer};
