//! Resources as Azure Resource Manager keeps, changes and shows them (`azure-semantics.md`, C, D).
//!
//! ```text
//! Change (PUT, PATCH, DELETE, a key …)            Document: one top-level resource, as JSON
//!    │  State::apply: all of a set, or nothing        ▲
//!    ▼                                                │ written, removed
//! model::read_document ─► model::settle ─► Topology ─► Applied ─► the store, then the data path
//!                                             │
//!                                             ▼  view::show: what a client sees
//! ```
//!
//! Nothing here does I/O or knows the time: what is made up (GUIDs, etags, keys) comes from
//! [`Assign`], what is only known while it runs (tunnels, bytes) from [`Live`].

mod carry;
mod change;
mod clean;
pub mod deployment;
mod diff;
mod document;
mod in_use;
mod json;
mod set;
mod state;
mod status;
mod target;
#[cfg(test)]
mod tests;
pub mod view;
mod write_back;

pub use change::{Applied, Assign, Change, Outcome, Precondition, Put, SharedKeyChange};
pub use diff::{ChangeType, PropertyChange, PropertyChangeType, ResourceChange, diff};
pub use document::{Document, Origin, ProvisioningState, ResourceGroup};
pub use state::State;
pub use status::status_of;
pub use target::{Collection, GroupId, Scope, Target};
pub use view::{ConnectionLive, Live, NoLive, TunnelLive};
