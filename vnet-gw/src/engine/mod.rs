//! The one writer: takes changes, validates them together, makes them durable, and has the daemon's
//! loop carry them out.
//!
//! What arrives while a batch is on its way makes up the next one: one validation, one commit and
//! one change of the data path for all of it. A submission that does not hold is taken out and
//! answered alone; the others of its batch go on.

mod caller;
mod handle;

pub use caller::{Caller, Who};
pub use handle::{Carried, Engine, EngineError, Receipt, Submission};
