//! Flows as user space has them: taken out once they are over, counted, and written to a log.
//!
//! Everything comes from looks at the flow tables every few seconds, by a thread of its own, so
//! that packets pay nothing for it: a flow that has ended stays there for some seconds more, and is
//! seen. Only one that is pushed out of the table of flows that may yet come about, which a flood
//! does, may begin and end unseen.

mod book;
mod file;
mod keeper;
mod record;

pub use self::{
    file::{FlowLogFile, FlowLogOptions},
    keeper::{FlowCounts, Keeper},
};
