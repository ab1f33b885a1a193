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

mod change;
mod document;
mod state;
mod status;
mod target;
pub mod view;

pub use change::{Applied, Assign, Change, Outcome, Precondition, Put, SharedKeyChange};
pub use document::{Document, Origin, ProvisioningState, ResourceGroup};
pub use state::State;
pub use status::status_of;
pub use target::{Collection, GroupId, Scope, Target};
pub use view::{ConnectionLive, Live, NoLive, TunnelLive};
